"""What forecasts of temperature promise. ERA5 is looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from asked import Asked, score, scores

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
ERA5 = DATA / "geography" / "era5_t2m_uk_2019-03_h000-599.nc"
INF = math.inf
MADE_UP = ("geography/temperature",)
SPLIT = ("last_train=431", "first_test=472")
SIX = ("geography/temperature", f"data={ERA5}", "lead=6", "leads=6", *SPLIT)
DAY = ("geography/temperature", f"data={ERA5}", "lead=24", "leads=24", *SPLIT)


def briers(*words: str) -> Callable[[], dict[str, float]]:
    """Brier scores of exceedance over those of the climate, by threshold."""
    return lambda: {
        name.rpartition("_")[2]: float(value)
        for name, value in scores(*words).items()
        if name.startswith("brier_over_climatology")
    }


ASKED = [
    Asked("made-up weather: CRPS over the exact law", -INF, 1.2, score("crps_over_exact", *MADE_UP)),
    Asked("made-up weather: CRPS over a linear inverse model", -INF, 1, score("crps_over_linear_inverse", *MADE_UP)),
    Asked("ERA5 +6 h: CRPS over persistence", -INF, 1, score("crps_over_persistence", *SIX)),
    Asked("ERA5 +6 h: CRPS over a linear inverse model", -INF, 1, score("crps_over_linear_inverse", *SIX)),
    Asked("ERA5 +6 h: 90 % coverage", 0.87, 0.93, score("coverage90", *SIX)),
    Asked("ERA5 +6 h: Brier over climatology", -INF, 1, briers(*SIX)),
    Asked("ERA5 +24 h: CRPS over persistence", -INF, 1, score("crps_over_persistence", *DAY)),
    Asked("ERA5 +24 h: CRPS over a linear inverse model", -INF, 1, score("crps_over_linear_inverse", *DAY)),
    Asked("ERA5 +24 h: 90 % coverage", 0.87, 0.93, score("coverage90", *DAY)),
    Asked("ERA5 +24 h: Brier over climatology", -INF, 1, briers(*DAY)),
]
