"""What patterns promise. Speeds and maps are looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

from asked import Asked, score, scores
from posteriori.core.random import Rng
from posteriori.domains.geography.pattern_clusters import clusters
from posteriori.domains.geography.pattern_features import principal
from posteriori.domains.geography.pattern_samples import polluted

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
MADE_UP = ("geography/patterns",)
SPEED = (*MADE_UP, f"data={DATA}/traffic/los_speed.csv")
PATCHES = (*MADE_UP, f"data={DATA}/geography/sleuth/demo200.urban.*.gif")
NOISES = 40


@cache
def false_alarms() -> float:
    """Share of fields of noise alone in which clusters are said to be."""
    found = 0
    for seed in range(NOISES):
        samples = polluted(Rng(seed), 120, planted=False)
        found += clusters(principal(samples.rows), samples.block, Rng(seed), most=3, resamples=4).found
    return found / NOISES


def stability_above_noise() -> dict[str, float]:
    """Mean adjusted Rand index over resampled blocks less the 95 % point in noise, by data."""
    runs = {"pollution": MADE_UP, "speeds": SPEED, "urban patches": PATCHES}
    found = {run: scores(*words) for run, words in runs.items()}
    return {run: float(each["stability"]) - float(each["stability_in_noise"]) for run, each in found.items()}


ASKED = [
    Asked("planted regimes: their number", 4, 4, score("clusters", *MADE_UP)),
    Asked("planted regimes: adjusted Rand index with the truth", 0.8, 1, score("rand_index.planted", *MADE_UP)),
    Asked(f"noise alone, {NOISES} fields: share said to have clusters (level 5 %)", 0, 0.125, false_alarms),
    Asked("stability above the 95 % point in noise", 1e-9, math.inf, stability_above_noise),
    Asked("speeds: stability over resampled detectors", 0.6, 1, score("stability", *SPEED)),
    Asked("urban patches: stability over resampled blocks", 0.6, 1, score("stability", *PATCHES)),
    Asked(
        "urban patches: Rand index with infill, edge, outlying",
        0.4,
        1,
        score("rand_index.infill_edge_outlying", *PATCHES),
    ),
]
