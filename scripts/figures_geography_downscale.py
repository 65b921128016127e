"""What down-scaling promises. ERA5 is looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from pathlib import Path

from asked import Asked, score

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
ERA5 = DATA / "geography" / "era5_t2m_uk_2019-03_h000-599.nc"
INF = math.inf
TILES = ("geography/downscale",)
UK = ("geography/downscale", f"data={ERA5}", "fit=0:432", "test=472:")

ASKED = [
    Asked("ERA5 4x: CRPS over bilinear dressed by cell", -INF, 0.85, score("crps_over_bilinear", *UK)),
    Asked("ERA5 4x: CRPS over bilinear dressed by cell and hour", -INF, 0.85, score("crps_over_bilinear_by_hour", *UK)),
    Asked("ERA5 4x: relative residual of block means", -INF, 1e-6, score("block_means", *UK)),
    Asked("ERA5 4x: 90 % coverage", 0.87, 0.93, score("coverage90", *UK)),
    Asked("ERA5 4x: least power of a member over the truth's", 0.8, 1.25, score("spectrum_least", *UK)),
    Asked("elevation 4x: CRPS over bilinear dressed by cell", -INF, 0.85, score("crps_over_bilinear", *TILES)),
    Asked("elevation 4x: relative residual of block means", -INF, 1e-6, score("block_means", *TILES)),
]
