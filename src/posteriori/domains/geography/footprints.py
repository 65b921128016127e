"""What points and districts see of a field on a grid: sparse linear operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori.core import optional
from posteriori.core.algebra import Sparse
from posteriori.core.errors import DataError
from posteriori.core.map_grid import MapGrid, crs_name, same_crs
from posteriori.core.space import Space
from posteriori.domains.geography.cells import areas
from posteriori.domains.geography.grids import places, positions
from posteriori.domains.geography.vectors import Districts, Points
from posteriori.physics.point_values import point_values

Floats = NDArray[np.float64]
COVERED = 1 - 1e-6
"""A district counts as inside a grid when this share of its area is."""


def at_points(points: Points, grid: MapGrid, space: Space) -> Sparse:
    """The field at the points, by linear interpolation between the centres of cells: dims ("y", "x") → ("point",).

    Within half a cell of the border the nearest centres count alone.

    Raises:
        DataError: another coordinate system, or a point outside the grid; the message says which.
    """
    _require_crs(points.name, points.crs, grid)
    row, column = positions(grid, points.x, points.y)
    rows, columns = grid.shape
    outside = (np.abs(row - (rows - 1) / 2) > rows / 2) | (np.abs(column - (columns - 1) / 2) > columns / 2)
    if outside.any():
        first = int(np.argmax(outside))
        raise DataError(
            f"point {points.ids[first]} of {points.name} at ({points.x[first]:g}, {points.y[first]:g}) lies outside "
            f"the grid, {int(outside.sum())} points do; drop them."
        )
    near = np.stack([row.clip(0, rows - 1), column.clip(0, columns - 1)], axis=1)
    found = point_values(Space(space.name, {"y": rows, "x": columns}, mask=space.mask), near)
    seen = Space(points.name, {"point": points.ids}, space.unit)
    return Sparse(space, seen, found.row, found.column, found.value)


def over_districts(districts: Districts, grid: MapGrid, space: Space) -> Sparse:
    """The mean of the field over each region, cells weighted by the area inside: dims ("y", "x") → ("district",).

    A cell that a border cuts counts with the share of it, on the map, that lies inside.

    Raises:
        DataError: another coordinate system, or a region that is not wholly inside the grid.
    """
    _require_crs(districts.name, districts.crs, grid)
    shapely = optional.require("shapely", "geography")
    corner = np.meshgrid(*(np.arange(n + 1.0) for n in grid.shape), indexing="ij")
    x, y = places(grid, *corner)
    area = areas(grid) if grid.crs is not None else np.ones(grid.shape)
    found: list[tuple[NDArray[Any], NDArray[Any], Floats]] = []
    for number, shape in enumerate(districts.shapes):
        cells, share, inside = _shares(shape, x, y, shapely)
        if inside < COVERED:
            raise DataError(
                f"{inside:.0%} of district {districts.ids[number]} of {districts.name} lie on the grid; "
                "its mean speaks of the whole: cut the district or drop it."
            )
        weight = share * area.ravel()[cells]
        found.append((np.full(len(cells), number), cells, weight / weight.sum()))
    seen = Space(districts.name, {"district": districts.ids}, space.unit)
    row, column, value = (torch.from_numpy(np.concatenate(part)) for part in zip(*found, strict=True))
    return Sparse(space, seen, row, column, value)


def _shares(shape: Any, x: Floats, y: Floats, shapely: Any) -> tuple[NDArray[np.int64], Floats, float]:
    """Cells that a polygon meets, the share of each that lies inside, and the share of the polygon on the grid."""
    west, south, east, north = shape.bounds
    low_x, high_x, low_y, high_y = _hull(x, y)
    near = (high_x >= west) & (low_x <= east) & (high_y >= south) & (low_y <= north)
    cells = np.flatnonzero(near)
    row, column = np.divmod(cells, near.shape[1])
    around = ((0, 0), (0, 1), (1, 1), (1, 0))
    corners = np.stack([np.stack([x[row + i, column + j], y[row + i, column + j]], -1) for i, j in around], axis=1)
    boxes = shapely.polygons(corners)
    shapely.prepare(shape)
    common = shapely.area(boxes)
    cut = ~shapely.covers(shape, boxes)
    whole = common.copy()
    common[cut] = shapely.area(shapely.intersection(shape, boxes[cut]))
    hit = common > 0
    return cells[hit], common[hit] / whole[hit], float(common.sum() / shape.area) if shape.area > 0 else 0.0


def _hull(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Least and largest x and y of the corners of each cell."""
    found = []
    for at in (x, y):
        stack = np.stack([at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]])
        found += [stack.min(0), stack.max(0)]
    return found[0], found[1], found[2], found[3]


def _require_crs(name: str, crs: str | None, grid: MapGrid) -> None:
    if not same_crs(crs, grid.crs):
        raise DataError(f"{name} is in {crs_name(crs)}, the grid in {crs_name(grid.crs)}; use {name}.in_crs(grid.crs).")
