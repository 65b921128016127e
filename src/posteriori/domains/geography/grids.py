"""Grids of a map made anew, and places on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posteriori.core import optional
from posteriori.core.errors import DataError
from posteriori.core.map_grid import MapGrid, as_wkt, crs_name, same_crs
from posteriori.domains.geography.cells import edges

Floats = NDArray[np.float64]


def even_grid(west: float, south: float, east: float, north: float, cell: float, crs: str | None = None) -> MapGrid:
    """A grid of square cells, north up, that covers these borders, in the unit of ``crs`` (WKT or "EPSG:…").

    Raises:
        DataError: borders that enclose nothing, or a cell that is not positive.
    """
    if not (east > west and north > south and cell > 0 and np.isfinite([west, south, east, north, cell]).all()):
        raise DataError(f"west {west} to east {east}, south {south} to north {north}, cell {cell}: nothing lies there.")
    shape = (int(np.ceil((north - south) / cell - 1e-9)), int(np.ceil((east - west) / cell - 1e-9)))
    return MapGrid(shape, (cell, 0.0, west, 0.0, -cell, north), None if crs is None else as_wkt(crs))


def covering(grid: MapGrid, crs: str, cell: float | None = None) -> MapGrid:
    """The even grid in another coordinate system that covers ``grid``, with about as many cells without ``cell``."""
    wkt = as_wkt(crs)
    rows, columns = grid.shape
    ring = np.linspace(0, 1, 33)
    top, left = ring * rows, ring * columns
    rows_at = np.concatenate([np.zeros(33), np.full(33, rows), top, top])
    columns_at = np.concatenate([left, left, np.zeros(33), np.full(33, columns)])
    x, y = transformed(*places(grid, rows_at, columns_at), grid.crs, wkt)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(f"parts of the grid have no place in {crs_name(wkt)}; cut the grid first.")
    size = cell or float(np.sqrt(np.ptp(x) * np.ptp(y) / (rows * columns)))
    return even_grid(x.min(), y.min(), x.max(), y.max(), size, wkt)


def transformed(x: Floats, y: Floats, given: str | None, wanted: str | None) -> tuple[Floats, Floats]:
    """Places from one coordinate system to another, x east and y north in both; infinite where there is none."""
    if same_crs(given, wanted):
        return x, y
    pyproj = optional.require("pyproj", "geography")
    found = pyproj.Transformer.from_crs(given, wanted, always_xy=True).transform(x, y)
    return np.asarray(found[0]), np.asarray(found[1])


def positions(grid: MapGrid, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Rows and columns, in fractions counted from the centre of the first cell, of places on the map of ``grid``."""
    if grid.transform is not None:
        a, b, c, d, e, f = grid.transform
        area = a * e - b * d
        column, row = (e * (x - c) - b * (y - f)) / area, (a * (y - f) - d * (x - c)) / area
        return row - 0.5, column - 0.5
    down, along = grid.centres
    return _fraction(down, y), _fraction(along, x)


def places(grid: MapGrid, row: Floats, column: Floats) -> tuple[Floats, Floats]:
    """x and y of places counted in rows and columns from the outer corner of the first cell."""
    if grid.transform is not None:
        a, b, c, d, e, f = grid.transform
        return a * column + b * row + c, d * column + e * row + f
    y, x = (edges(centres) for centres in grid.centres)
    return np.interp(column, np.arange(len(x)), x), np.interp(row, np.arange(len(y)), y)


def _fraction(centres: Floats, at: Floats) -> Floats:
    """Where places lie among uneven centres, in fractions of a cell; off the ends beyond half a cell."""
    order = np.argsort(centres)
    found = np.interp(at, centres[order], order.astype(float))
    border = np.sort(edges(centres)[[0, -1]])
    last = len(centres)
    return np.asarray(np.where(at < border[0], -float(last), np.where(at > border[1], 2.0 * last, found)))
