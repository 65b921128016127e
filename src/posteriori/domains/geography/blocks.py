"""Square blocks of cells: the coarse raster that a fine one makes, and where its cells lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.map_grid import Axis, MapGrid
from posteriori.core.raster import Raster

Floats = NDArray[np.float64]


def whole_blocks(raster: Raster, size: int) -> Raster:
    """The part of a raster that holds whole blocks of ``size`` by ``size`` cells, from its first row and column.

    Raises:
        OptionError: blocks of less than one cell. ShapeError: not one whole block.
    """
    if size < 1:
        raise OptionError(f"blocks of {size} cells; give at least 1.")
    rows, columns = (n // size * size for n in raster.grid.shape)
    if not rows * columns:
        raise ShapeError(f"{raster.name} of {raster.grid.shape} cells holds no block of {size} x {size}.")
    return raster.window(slice(0, rows), slice(0, columns))


def block_means(values: Floats, size: int) -> Floats:
    """Means over blocks, (*, y, x) → (*, y / size, x / size); NaN where a cell of the block is."""
    *lead, rows, columns = values.shape
    means: Floats = values.reshape(*lead, rows // size, size, columns // size, size).mean((-3, -1))
    return means


def coarser(grid: MapGrid, size: int) -> MapGrid:
    """The grid of blocks of ``size`` x ``size`` cells; rows and columns that fill no block are left out.

    Raises:
        ShapeError: not one whole block.
    """
    shape = (grid.shape[0] // size, grid.shape[1] // size) if size >= 1 else (0, 0)
    if min(shape) < 1:
        raise ShapeError(f"blocks of {size} cells do not fit the grid {grid.shape}.")
    if grid.transform is not None:
        a, b, c, d, e, f = grid.transform
        plain = MapGrid(shape, (a * size, b * size, c, d * size, e * size, f), grid.crs)
        return replace(plain, y=_mean_axis(grid.y, size), x=_mean_axis(grid.x, size))
    return MapGrid(shape, None, grid.crs, _mean_axis(grid.y, size), _mean_axis(grid.x, size))


def _mean_axis(axis: Axis | None, size: int) -> Axis | None:
    if axis is None:
        return None
    centres = axis.centres[: len(axis.centres) // size * size].astype(np.float64)
    return replace(axis, centres=centres.reshape(-1, size).mean(1))
