"""The elevation model that ships: 344 x 403 cells of three arc seconds about the Jacksboro fault in Tennessee."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from posteriori.core.map_grid import WGS84, MapGrid
from posteriori.core.raster import Raster

TABLE = Path(__file__).parent / "tables" / "dem.npz"
CITATIONS = (
    "Shuttle Radar Topography Mission (SRTM), 3 arc seconds, NASA and USGS; public domain.",
    "Cut and given by Matplotlib (sample data jacksboro_fault_dem.npz, pull request 3291).",
)


def load_dem() -> Raster:
    """Heights [m] above the geoid on longitude and latitude (WGS 84), int16 (1, 344, 403), north up, no gaps.

    The sample states cell size and corners alone; datum and posting (whole multiples of three arc seconds) are SRTM's.
    """
    with np.load(TABLE) as table:
        steps, corner, cell = table["steps"], table["corner"], float(table["cell"])
    elevation = steps.astype(np.int64).cumsum(0).cumsum(1).astype(np.int16)
    west, north = (float(edge) for edge in corner)
    grid = MapGrid(elevation.shape, (cell, 0.0, west, 0.0, -cell, north), WGS84)
    return Raster(
        "elevation", elevation[None], grid, "m", attributes={"standard_name": "height_above_geopotential_datum"}
    )
