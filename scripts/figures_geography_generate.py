"""What generation of fields promises. ERA5 and zSW3.asc are looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from asked import Asked, score

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
INF = math.inf
TERRAIN = ("geography/generate", "fresh=true")
OTHER_TERRAIN = ("geography/generate", f"data={DATA / 'geography' / 'dem' / 'zSW3.asc'}")
WEATHER = (
    "geography/generate",
    f"data={DATA / 'geography' / 'era5_t2m_uk_2019-03_h000-599.nc'}",
    "cells=32,48",
    "steps=1000",
)


def several(words: tuple[str, ...], *names: str) -> Callable[[], dict[str, float]]:
    """Scores of one run by name."""
    return lambda: {name: score(name, *words)() for name in names}


def asked(what: str, words: tuple[str, ...]) -> list[Asked]:
    """The same promises for any data."""
    return [
        Asked(f"{what}: Fréchet distance over the EOF-Gaussian's, equal n", -INF, 0.4, score("frechet_ratio", *words)),
        Asked(
            f"{what}: distance, floor (real against real), EOF-Gaussian",
            -INF,
            INF,
            several(words, "frechet", "frechet_floor", "frechet_gaussian"),
        ),
        Asked(f"{what}: relative error of the variogram", -INF, 0.05, score("variogram_error", *words)),
        Asked(
            f"{what}: its 95 % interval over draws, what chance alone gives, real training fields against held-out",
            -INF,
            INF,
            several(words, "variogram_low", "variogram_high", "variogram_chance", "variogram_error_floor"),
        ),
        Asked(f"{what}: power over that of real fields", 0.9, 1.1, several(words, "spectrum_low", "spectrum_high")),
        Asked(f"{what}: p that no generated field is a copy", 0.01, INF, score("memorisation_p", *words)),
        Asked(
            f"{what}: RMSE of a learner with generated fields over without", -INF, 1, score("downstream_ratio", *words)
        ),
        Asked(f"{what}: CPU seconds of training", -INF, 600, score("cpu_seconds_to_generator", *words)),
    ]


ASKED = [
    *asked("terrain", TERRAIN),
    *asked("another terrain", OTHER_TERRAIN),
    *asked("ERA5 temperature", WEATHER),
]
