"""What forecasts of temperature promise. Data are looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from asked import Asked, score, scores

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data")) / "geography"
ERA5 = DATA / "era5_t2m_uk_2019-03_h000-599.nc"
E1 = DATA / "misc" / "E1_north_america.nc"
INF = math.inf
MADE_UP = ("geography/temperature",)
SPLIT = ("last_train=431", "first_test=472")
RUNS = {
    "ERA5 +6 h": ("geography/temperature", f"data={ERA5}", "lead=6", "leads=6", *SPLIT),
    "ERA5 +24 h": ("geography/temperature", f"data={ERA5}", "lead=24", "leads=24", *SPLIT),
    "E1 +1 year": ("geography/temperature", f"data={E1}", "unit=year", "lead=1", "leads=1"),
    "E1 +5 years": ("geography/temperature", f"data={E1}", "unit=year", "lead=5", "leads=5"),
}


def briers(*words: str) -> Callable[[], dict[str, float]]:
    """Brier scores of exceedance over those of the climate, by threshold."""
    return lambda: {
        name.rpartition("_")[2]: float(value)
        for name, value in scores(*words).items()
        if name.startswith("brier_over_climatology")
    }


def over_usual(*words: str) -> Callable[[], float]:
    """CRPS over that of the linear inverse model of anomalies about the mean of the past, with its better spread."""

    def measured() -> float:
        found = scores(*words)
        return float(found["crps"]) / min(
            float(found[f"linear_inverse_model.{name}crps"]) for name in ("", "spread_repaired.")
        )

    return measured


def rows(name: str, *words: str) -> list[Asked]:
    """What is asked of a forecast of real fields."""
    return [
        Asked(f"{name}: CRPS over persistence", -INF, 1, score("crps_over_persistence", *words)),
        Asked(f"{name}: CRPS over a linear inverse model", -INF, 1, score("crps_over_linear_inverse", *words)),
        Asked(f"{name}: CRPS over the usual linear inverse model", -INF, 1, over_usual(*words)),
        Asked(f"{name}: CRPS over climatology", -INF, 1, score("crps_over_climatology", *words)),
        Asked(f"{name}: 90 % coverage", 0.87, 0.93, score("coverage90", *words)),
        Asked(f"{name}: Brier over climatology", -INF, 1, briers(*words)),
    ]


ASKED = [
    Asked("made-up weather: CRPS over the exact law", -INF, 1.2, score("crps_over_exact", *MADE_UP)),
    Asked("made-up weather: CRPS over a linear inverse model", -INF, 1, score("crps_over_linear_inverse", *MADE_UP)),
    *(row for name, words in RUNS.items() for row in rows(name, *words)),
]
