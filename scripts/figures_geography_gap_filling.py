"""What gap filling promises. ERA5 is looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from asked import Asked, scores

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
FILE = DATA / "geography" / "era5_t2m_uk_2019-03_h000-599.nc"
INF = math.inf
CASES = {
    f"{degrees}° {mask}": (mask, every) for degrees, every in ((0.5, 2), (0.25, 1)) for mask in ("random", "block")
}


def words(mask: str, every: int) -> tuple[str, ...]:
    """The run: fitted on hours 0-431, eleven fields from hour 472 on."""
    split = ("fit=0:432", "test=472::12", "cells=32,48", f"every={every}", f"mask={mask}")
    return ("geography/gap-filling", f"history={FILE}", "variable=t2m", *split)


def every_case(name: str, kinds: tuple[str, ...] = ("random", "block")) -> Callable[[], dict[str, float]]:
    """One score of every run with these masks."""
    return lambda: {case: float(scores(*words(*run))[name]) for case, run in CASES.items() if run[0] in kinds}


def learning() -> float:
    """CPU seconds in which the 32 x 48 law for random masks is learnt."""
    return float(scores(*words("random", 1))["seconds_learning"])


def contains() -> dict[str, float]:
    """1 where the interval of the coverage over days holds 0.90."""
    found = {}
    for case, run in CASES.items():
        low, high = scores(*words(*run))["interval95"]["coverage90"]
        found[case] = float(low <= 0.9 <= high)
    return found


def offline() -> float:
    """CPU seconds of the run without data."""
    return float(scores("geography/gap-filling")["seconds"])


ASKED = [
    Asked("CRPS over the localised Gaussian's", -INF, 0.90, every_case("crps_over_reference")),
    Asked("random gaps: CRPS over kriging's", -INF, 0.35, every_case("crps_over_kriging", ("random",))),
    Asked("blocks: CRPS over kriging's", -INF, 0.55, every_case("crps_over_kriging", ("block",))),
    Asked("coverage of the 90 % interval", 0.87, 0.93, every_case("coverage90")),
    Asked("interval of the coverage holds 0.90 (1: yes)", 1, 1, contains),
    Asked("spread over skill", 0.9, 1.1, every_case("spread_skill")),
    Asked("32 x 48, random gaps: CPU s of learning (10 min on two cores)", -INF, 1200, learning),
    Asked("without data: CPU s", -INF, 120, offline),
]
