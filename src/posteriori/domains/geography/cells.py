"""How large the cells of a grid are on the ellipsoid, and grids that go all around the Earth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from posteriori.core import units
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.map_grid import WGS84, MapGrid, crs_unit, parsed
from posteriori.core.raster import Raster

Floats = NDArray[np.float64]
AROUND = 1e-4
"""Columns go all around when they span 360 degrees to within this share of a cell."""


def areas(grid: MapGrid) -> Floats:
    """Area of each cell [m²], (y, x): exact on the ellipsoid for longitude and latitude, that on the map otherwise.

    The part of a cell beyond a pole has no area.

    Raises:
        DataError: the coordinate system is not known, so that nobody knows how large a degree or a step is.

    Reference: Snyder (1987), Map projections: a working manual, USGS Professional Paper 1395, eq. 3-12.
    """
    if grid.crs is None:
        raise DataError("areas need a coordinate system; give the grid its crs, such as map_grid.as_wkt('EPSG:4326').")
    if not grid.geographic:
        metre = units.factor(crs_unit(grid.crs), "m")
        if grid.transform is not None:
            a, b, _, d, e, _ = grid.transform
            return np.full(grid.shape, abs(a * e - b * d) * metre**2)
        y, x = (np.abs(np.diff(edges(centres))) for centres in grid.centres)
        return y[:, None] * x * metre**2
    y, x = (edges(centres) for centres in grid.centres)
    major, flattening = ellipsoid(grid.crs)
    zones = np.abs(np.diff(zone(np.clip(y, -90.0, 90.0), major, flattening)))
    return zones[:, None] * np.radians(np.abs(np.diff(x)))


def weights(grid: MapGrid) -> Floats:
    """Areas with mean one, (y, x): the weights of means, losses and scores; all one where no system is known."""
    if grid.crs is None:
        return np.ones(grid.shape)
    found = areas(grid)
    return found / found.mean()


def cos_latitude(grid: MapGrid) -> Floats:
    """Cosine of the latitude of each row with mean one, (y, x): what meteorology weighs with.

    Raises:
        ShapeError: the grid is not one of longitude and latitude.
    """
    if not grid.geographic:
        raise ShapeError("cosines of the latitude need longitude and latitude; use cells.weights(grid) on a map.")
    cosine = np.cos(np.radians(np.clip(grid.centres[0], -90.0, 90.0)))
    return np.broadcast_to((cosine / cosine.mean())[:, None], grid.shape).copy()


def zone(latitude: Floats, major: float, flattening: float) -> Floats:
    """Area [m²] per radian of longitude between the equator and ``latitude`` [degrees] of an ellipsoid.

    Args:
        major: semi-major axis [m]. flattening: 0 for a sphere.
    """
    sine = np.sin(np.radians(latitude))
    e2 = flattening * (2 - flattening)
    if e2 == 0:
        return np.asarray(major**2 * sine)
    e = np.sqrt(e2)
    q = sine / (1 - e2 * sine**2) + np.arctanh(e * sine) / e
    return np.asarray(0.5 * major**2 * (1 - e2) * q)


def ellipsoid(crs: str) -> tuple[float, float]:
    """Semi-major axis [m] and flattening of a coordinate system."""
    if crs == WGS84:
        return 6378137.0, 1 / 298.257223563
    found = parsed(crs).ellipsoid
    inverse = found.inverse_flattening
    return float(found.semi_major_metre), 1 / inverse if inverse else 0.0


def edges(centres: Floats) -> Floats:
    """Borders of cells halfway between their centres, one more than there are cells; a single cell has width one."""
    if len(centres) == 1:
        return np.asarray(centres[0] + np.array([-0.5, 0.5]))
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def around(grid: MapGrid) -> bool:
    """Whether the columns go once around the Earth, so that the last is the neighbour of the first."""
    if not grid.geographic or grid.transform is None or grid.rotated:
        return False
    step = abs(grid.transform[0])
    return abs(step * grid.shape[1] - 360.0) <= AROUND * step


def padded(values: Floats, grid: MapGrid, cells: int) -> Floats:
    """(*batch, y, x) with ``cells`` columns of the other side on both sides.

    Raises:
        ShapeError: the grid does not go around, or has fewer columns.
    """
    if not around(grid) or not 0 <= cells <= grid.shape[1]:
        raise ShapeError(
            f"{cells} columns of a grid {grid.shape} that {'goes' if around(grid) else 'does not go'} around."
        )
    return np.concatenate([values[..., grid.shape[1] - cells :], values, values[..., :cells]], axis=-1)


def turned(raster: Raster, west: float) -> Raster:
    """A raster that goes around the Earth with its first border at longitude ``west`` [degrees], every bit kept.

    Raises:
        ShapeError: it does not go around, or ``west`` is no border of its cells.
    """
    grid = raster.grid
    if not around(grid) or grid.transform is None:
        raise ShapeError(f"{raster.name} does not go around the Earth; only such a raster can be turned.")
    a, b, c, d, e, f = grid.transform
    steps = ((west - c) / a) % grid.shape[1]
    shift = round(steps)
    if abs(steps - shift) > 1e-3:
        raise ShapeError(f"{west} degrees is no border between columns of {raster.name}; the first is at {c}.")
    shift %= grid.shape[1]
    start = c + a * shift
    start += 360.0 * np.sign(west - start) * round(abs(west - start) / 360.0)
    stored = np.roll(raster.stored, -shift, axis=-1)
    return replace(raster, stored=stored, grid=MapGrid(grid.shape, (a, b, float(start), d, e, f), grid.crs))
