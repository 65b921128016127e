"""Pictures of a large raster: the whole, thinned out, and the corner where four tiles meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from posteriori.core.map_grid import MapGrid
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.geography.tiles_scores import Filled
from posteriori.domains.picture import Colours, Floats
from posteriori.learn.diffusion.tiling import Tiling, Window

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

SHOWN = 400
"""Cells along the longer side of a picture."""
CORNER = 192
"""Side of the zoom on a corner of tiles [cells]."""


def whole_picture(filled: Filled, name: str, unit: str) -> Picture:
    """What is known, one member, mean and spread, every so many cells."""
    shape = filled.tiling.shape
    step = max(1, -(-max(shape) // SHOWN))
    known, members = _thinned(filled, step)
    grid = _coarse(filled.scene.source.grid, step, known.shape)
    return _panels(known, members, grid, name, unit)


def corner_picture(filled: Filled, name: str, unit: str) -> Picture:
    """The cells about a corner where tiles meet, their borders dotted."""
    tiling = filled.tiling
    window = _about_corner(tiling)
    known = filled.scene.known(window).values[0]
    grid = MapGrid(window.shape, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    figure = _panels(known, filled.read(window), grid, name, unit)
    lines = [(at * tiling.stride, at * tiling.stride + tiling.overlap) for at in range(1, max(tiling.counts))]
    for axes in figure.axes[:4]:
        for line in np.ravel(lines):
            if window.rows.start < line < window.rows.stop:
                axes.axhline(line - window.rows.start - 0.5, color="w", lw=0.7, ls=":")
            if window.columns.start < line < window.columns.stop:
                axes.axvline(line - window.columns.start - 0.5, color="w", lw=0.7, ls=":")
    return figure


def _panels(known: Floats, members: Floats, grid: MapGrid, name: str, unit: str) -> Picture:
    values = Colours(f"{name} [{unit}]")
    panels = {
        "known": Panel(known, values),
        "one member": Panel(members[0], values),
        "mean of members": Panel(members.mean(0), values),
    }
    if len(members) > 1:
        panels["spread"] = Panel(members.std(0, ddof=1), Colours(f"standard deviation [{unit}]", low=0.0))
    return maps_picture(panels, grid, columns=2)


def _thinned(filled: Filled, step: int) -> tuple[Floats, Floats]:
    """Every ``step``-th cell, (y, x) and (member, y, x)."""
    rows, columns = (-(-cells // step) for cells in filled.tiling.shape)
    known, members = np.empty((rows, columns)), np.empty((len(filled.members), rows, columns))
    for place in filled.tiling.places():
        block = filled.tiling.block(place)
        at = tuple(slice(-(-cells.start // step), -(-cells.stop // step)) for cells in (block.rows, block.columns))
        if any(part.start >= part.stop for part in at):
            continue
        first = [part.start * step - cells.start for part, cells in zip(at, (block.rows, block.columns), strict=True)]
        known[at] = filled.scene.known(block).values[0][first[0] :: step, first[1] :: step]
        members[(slice(None), *at)] = filled.read(block)[:, first[0] :: step, first[1] :: step]
    return known, members


def _coarse(grid: MapGrid, step: int, shape: tuple[int, ...]) -> MapGrid:
    if grid.transform is None:
        return MapGrid((shape[0], shape[1]), (step, 0.0, 0.0, 0.0, step, 0.0))
    a, b, x, d, e, y = grid.transform
    return MapGrid((shape[0], shape[1]), (a * step, b * step, x, d * step, e * step, y), grid.crs)


def _about_corner(tiling: Tiling) -> Window:
    ranges = []
    for cells in tiling.shape:
        middle = tiling.stride + tiling.overlap // 2 if cells > tiling.side else cells // 2
        start = max(0, min(middle - CORNER // 2, cells - CORNER))
        ranges.append(slice(start, min(start + CORNER, cells)))
    return Window(*ranges)
