"""Rasters brought onto another grid, always by name and never in silence."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError, ShapeError, UnitError
from posteriori.core.map_grid import MapGrid, crs_name, same_crs
from posteriori.core.raster import Kind, Raster, Stored, readable_unit
from posteriori.domains.geography.cells import edges, ellipsoid, zone
from posteriori.domains.geography.grids import places, positions, transformed
from posteriori.domains.geography.kinds import from_circle, to_circle

Floats = NDArray[np.float64]
EDGE = 1e-6
"""A place this share of a cell beyond a border lies on it."""
SEEN = 0.5
"""Share of the weight of a new cell that must lie on observed cells; below it the new cell is a gap."""


class Resampling(StrEnum):
    """How the value of a new cell comes about."""

    NEAREST = "nearest"
    """The stored number of the cell that its centre lies in."""
    BILINEAR = "bilinear"
    """Linear between the four centres around."""
    AVERAGE = "average"
    """The mean over the part of the map it covers, weighted by area: means over whole regions are kept."""


def onto(raster: Raster, grid: MapGrid, how: Resampling | None = None) -> Raster:
    """The raster on ``grid``: each layer resampled, gaps where no observed cell is near.

    Without ``how``, classes are taken from the nearest cell, with every bit; other kinds are averaged onto larger cells
    and interpolated onto smaller ones, as float64. Directions are averaged as points of a circle.

    Raises:
        DataError: one of both coordinate systems is not known, a class would be averaged, the grids do not meet, or
            gaps arise where whole numbers have no nodata number. ShapeError: averaging onto a rotated grid.
    """
    if (raster.grid.crs is None) != (grid.crs is None):
        raise DataError(
            f"{raster.name} is in {crs_name(raster.grid.crs)} and the grid in {crs_name(grid.crs)}: give both a "
            "coordinate system, replace(grid, crs=map_grid.as_wkt('EPSG:…'))."
        )
    how = how or _fitting(raster, grid)
    if how is Resampling.NEAREST:
        return _nearest(raster, grid)
    if raster.kind.classes:
        raise DataError(f"{raster.name} holds classes, which have no {how}; use Resampling.NEAREST.")
    resample = _averaged if how is Resampling.AVERAGE else _bilinear
    if raster.kind is Kind.CIRCULAR:
        in_degrees = raster.in_unit("degree").values
        values = from_circle(np.stack([resample(part, raster.grid, grid) for part in to_circle(in_degrees)]))
    else:
        values = resample(raster.values, raster.grid, grid)
    if np.isnan(values).all():
        raise DataError(f"no observed cell of {raster.name} lies on the new grid; do both speak of one place?")
    unit = "degree" if raster.kind is Kind.CIRCULAR else raster.unit
    gap, about = float("nan"), raster.attributes
    return Raster(raster.name, values, grid, unit, raster.kind, gap, layers=raster.layers, attributes=about)


def require_same_grid(first: Raster, *others: Raster) -> None:
    """Go on only when all rasters lie on the cells of the first and have one layer or as many as it.

    Raises:
        ShapeError: they do not; the message names what brings them there.
    """
    for other in others:
        if difference := first.grid.difference(other.grid):
            raise ShapeError(
                f"{other.name} does not lie on the grid of {first.name}: {difference}; "
                f"regrid.onto({other.name}, {first.name}.grid) brings it there."
            )
        if len(other.stored) not in (1, len(first.stored)):
            raise ShapeError(
                f"{other.name} has {len(other.stored)} layers, {first.name} {len(first.stored)}; select(…)."
            )


def require_same_quantity(first: Raster, other: Raster) -> None:
    """Go on only when both rasters are in one unit and of one kind, such as a history and the field to be filled.

    Raises:
        UnitError: they are not; the message names what brings them there.
    """
    if readable_unit(first.unit) != readable_unit(other.unit):
        raise UnitError(
            f"{first.name} is in [{first.unit}], {other.name} in [{other.unit}]; use in_unit({first.unit!r})."
        )
    if first.kind.classes != other.kind.classes:
        raise UnitError(f"{first.name} is {first.kind}, {other.name} {other.kind}; read both with one kind=….")


def _fitting(raster: Raster, grid: MapGrid) -> Resampling:
    if raster.kind.classes:
        return Resampling.NEAREST
    row, column = _where(raster.grid, grid)
    steps = [np.nanmedian(np.abs(np.diff(row, axis=0))) if len(row) > 1 else 1.0]
    steps += [np.nanmedian(np.abs(np.diff(column, axis=1))) if column.shape[1] > 1 else 1.0]
    return Resampling.AVERAGE if max(steps) > 1.5 else Resampling.BILINEAR


def _where(source: MapGrid, grid: MapGrid) -> tuple[Floats, Floats]:
    """Rows and columns of ``source`` (in fractions) at the centres of ``grid``, each (y, x)."""
    row, column = np.meshgrid(*(np.arange(n) + 0.5 for n in grid.shape), indexing="ij")
    x, y = transformed(*places(grid, row, column), grid.crs, source.crs)
    if source.geographic and source.transform is not None and not source.rotated:
        step = source.transform[0]
        west = min(source.transform[2], source.transform[2] + step * source.shape[1]) - EDGE * abs(step)
        x = west + (x - west) % 360.0
    return positions(source, x, y)


def _nearest(raster: Raster, grid: MapGrid) -> Raster:
    row, column = (np.floor(at + 0.5 + EDGE) for at in _where(raster.grid, grid))
    rows, columns = raster.grid.shape
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    if not inside.any():
        raise DataError(f"no cell of {raster.name} lies on the new grid; do both speak of one place?")
    picked: Stored = raster.stored[:, np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
    made = replace(raster, stored=picked, grid=grid)
    return made if inside.all() else made.hidden(~inside)


def _bilinear(values: Floats, source: MapGrid, grid: MapGrid) -> Floats:
    """Weights of observed neighbours, made to sum to one; half a cell beyond the outer centres counts as inside."""
    row, column = _where(source, grid)
    rows, columns = source.shape
    half = 0.5 + EDGE
    inside = (np.abs(row - (rows - 1) / 2) <= (rows - 1) / 2 + half) & (
        np.abs(column - (columns - 1) / 2) <= (columns - 1) / 2 + half
    )
    row, column = np.where(inside, row, 0).clip(0, rows - 1), np.where(inside, column, 0).clip(0, columns - 1)
    top, left = np.minimum(row.astype(int), max(rows - 2, 0)), np.minimum(column.astype(int), max(columns - 2, 0))
    down, along = row - top, column - left
    known = ~np.isnan(values)
    held = np.where(known, values, 0.0)
    total, weight = np.zeros((len(values), *grid.shape)), np.zeros((len(values), *grid.shape))
    for step_y, part_y in ((0, 1 - down), (1, down)):
        for step_x, part_x in ((0, 1 - along), (1, along)):
            at = (slice(None), np.minimum(top + step_y, rows - 1), np.minimum(left + step_x, columns - 1))
            share = part_y * part_x * known[at]
            total, weight = total + share * held[at], weight + share
    enough = inside & (weight >= SEEN)
    return np.where(enough, total / np.where(enough, weight, 1.0), np.nan)


def _averaged(values: Floats, source: MapGrid, grid: MapGrid) -> Floats:
    """Means over the overlap of cells: exact along common axes, else over a finer grid of nearest cells."""
    if source.rotated or grid.rotated:
        raise ShapeError("averages need grids along the axes of the map; use Resampling.BILINEAR for a rotated one.")
    known = ~np.isnan(values)
    held = np.where(known, values, 0.0)
    if same_crs(source.crs, grid.crs):
        down, along = _overlaps(source, grid)
        total, weight = (down @ part @ along.T for part in (held, known.astype(np.float64)))
        whole = down.sum(1)[:, None] * along.sum(1)
    else:
        total, weight, whole = _sampled(held, known, source, grid)
    area = _extent(source, grid, whole)
    enough = weight >= SEEN * area
    return np.where(enough, total / np.where(enough, weight, 1.0), np.nan)


def _extent(source: MapGrid, grid: MapGrid, covered: Floats) -> Floats:
    """Area of the new cells in the measure of the overlaps; those off the source count in full."""
    if not same_crs(source.crs, grid.crs):
        return np.asarray(covered, np.float64)
    measured = [np.abs(np.diff(border)) for border in _measures(grid)]
    return np.maximum(measured[0][:, None] * measured[1], np.finfo(float).tiny)


def _measures(grid: MapGrid) -> tuple[Floats, Floats]:
    """Borders of rows and columns in a measure whose product is area: zones on the ellipsoid times longitude."""
    y, x = (edges(centres) for centres in grid.centres)
    if grid.geographic and grid.crs is not None:
        major, flattening = ellipsoid(grid.crs)
        return zone(np.clip(y, -90, 90), major, flattening) / major, x
    return y, x


def _overlaps(source: MapGrid, grid: MapGrid) -> tuple[Floats, Floats]:
    """Overlap of each new row with each old one, and of each new column with each old one."""
    mine, its = _measures(source), _measures(grid)
    down = _overlap(mine[0], its[0])
    along = _overlap(mine[1], its[1])
    if source.geographic:
        along = along + _overlap(mine[1] + 360.0, its[1]) + _overlap(mine[1] - 360.0, its[1])
    return down, along


def _overlap(old: Floats, new: Floats) -> Floats:
    low_old, high_old = np.minimum(old[:-1], old[1:]), np.maximum(old[:-1], old[1:])
    low_new, high_new = np.minimum(new[:-1], new[1:]), np.maximum(new[:-1], new[1:])
    common = np.minimum(high_new[:, None], high_old) - np.maximum(low_new[:, None], low_old)
    return np.asarray(common.clip(0.0))


def _sampled(held: Floats, known: NDArray[np.bool_], source: MapGrid, grid: MapGrid) -> tuple[Floats, Floats, Floats]:
    """Sums over points laid out in each new cell, as many along a side as old cells fit, at least four."""
    if grid.transform is None:
        raise ShapeError("averages in another coordinate system need an even grid; make one with even_grid(…).")
    row, column = _where(source, grid)
    per = [np.nanmedian(np.abs(np.diff(at, axis=i))) for i, at in enumerate((row, column)) if at.shape[i] > 1]
    points = int(np.clip(np.ceil(2 * max(per, default=2.0)), 4, 16))
    a, b, c, d, e, f = grid.transform
    fine = MapGrid((grid.shape[0] * points, grid.shape[1] * points), (a / points, b, c, d, e / points, f), grid.crs)
    row, column = (np.floor(at + 0.5) for at in _where(source, fine))
    inside = (row >= 0) & (row < source.shape[0]) & (column >= 0) & (column < source.shape[1])
    at = (slice(None), np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int))
    blocks = (len(held), grid.shape[0], points, grid.shape[1], points)
    total, weight = ((part[at] * inside).reshape(blocks).sum((2, 4)) for part in (held, known))
    return total, weight, np.full(grid.shape, float(points**2))
