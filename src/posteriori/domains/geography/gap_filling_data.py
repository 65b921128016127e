"""What gap filling is asked: a history to learn from, fields to fill, and the cells that are hidden for scoring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.audit.rasters.splits import hours
from posteriori.core.errors import DataError, LeakError, OptionError, ShapeError
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.neighbours import layers_beside, narrowed, whole_steps
from posteriori.domains.geography.raster import read_mask, read_raster

SHARE = 0.72
"""Of the layers of one file, from the first on, that are learnt from where nothing else is said."""
BLOCK_SIDES = (0.44, 0.38)
"""Height and width of a block of hidden cells, as shares of the grid's."""
TILE = 24
STRIDES = (11, 9)
"""Rows and columns between the tiles of the elevation model."""
FEWEST = 30
"""Fields that a history needs."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A history and the fields to fill, on one grid.

    Attributes:
        history: fields to learn from, in order of time.
        past: their times [h] (numbers of layers where there are none), (n,).
        layers: all layers of the file that the fields to fill come from: their neighbours are among them.
        then: the times of those, as ``past``, (layer,).
        picked: which of those are to be filled, (field,).
        timed: whether these are times.
    """

    history: Raster
    past: NDArray[np.float64]
    layers: Raster
    then: NDArray[np.float64]
    picked: NDArray[np.int64]
    timed: bool

    @cached_property
    def fields(self) -> Raster:
        """The fields to fill."""
        return self.layers.select(self.picked)

    @property
    def now(self) -> NDArray[np.float64]:
        """Their times, (field,)."""
        return self.then[self.picked]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the grid."""
        return self.layers.grid.shape

    def neighbours(self, reach: int) -> tuple[Tensor, Tensor]:
        """Steps at which the history lies, (n,), and each field's layer and those ``reach`` to each side, (field, l).

        A step is the usual time between layers of the history; -1 stands for a layer that there is not. Without times,
        where layers lie off the steps or two share one, or where no field has a neighbour, l is 1.
        """
        apart = np.diff(np.unique(self.past))
        step = float(np.median(apart)) if self.timed and reach and len(apart) else 0.0
        past, then = (whole_steps(times - self.past.min(), step) for times in (self.past, self.then))
        if past is None or then is None:
            return torch.arange(len(self.past)), torch.from_numpy(self.picked)[:, None]
        beside = layers_beside(then[self.picked], then, past, reach)
        return past, narrowed(beside, 0 if bool((beside >= 0).sum() == len(beside)) else reach)


def ask(history: Raster, data: Raster | None, fit: str, test: str, gap: float) -> Asked:
    """The question that one or two rasters ask.

    Args:
        history: layers to learn from.
        data: layers to fill; None takes them from the history too.
        fit, test: which layers, as Python's slices ("0:432", "472::12"); without, all of two files, and of one the
            earliest 72 % and what lies more than ``gap`` behind.

    Raises:
        LeakError: a layer to fill that was learnt from. DataError, ShapeError: rasters that do not belong together.
        DataError: classes or angles, a history that is too short, or nothing to fill.
    """
    other = history if data is None else data
    if difference := history.grid.difference(other.grid):
        raise ShapeError(f"history and data lie on different grids: {difference}; regrid one of them first.")
    for raster in (history, other):
        if raster.kind.classes or raster.kind is Kind.CIRCULAR:
            raise DataError(f"{raster.name} is {raster.kind.value}; laws of fields are learnt from plain numbers.")
    if other.unit != history.unit:
        other = other.in_unit(history.unit)
    timed = history.layers.timed and other.layers.timed
    past, now = _times(history, other, timed)
    earliest = np.argsort(past, kind="stable")[: round(SHARE * len(past))]
    first = _slice(fit, "fit", len(past)) if fit or data is not None else earliest
    if test or data is not None:
        then = _slice(test, "test", len(now))
    else:
        then = np.flatnonzero(now > past[first].max() + gap)
    if len(first) < FEWEST:
        raise DataError(f"a history of {len(first)} fields is too short; at least {FEWEST} are needed.")
    if not len(then):
        raise DataError("no field is left to fill; choose others with test=, or a shorter history with fit=.")
    both = np.intersect1d(past[first], now[then]) if timed or data is None else np.zeros(0)
    if len(both):
        raise LeakError(
            f"{len(both)} of the fields to fill are in the history, hour {both[0]:g} from its first the earliest; "
            "keep them apart with fit=0:432 and test=472::12 or the like."
        )
    first = first[np.argsort(past[first], kind="stable")]
    return Asked(history.select(first), past[first], other, now, then, timed)


def cut(raster: Raster, cells: tuple[int, ...], every: int) -> Raster:
    """The first ``cells`` rows and columns, and of those every ``every``-th.

    Raises:
        OptionError: a part that is not there.
    """
    if cells and (len(cells) != 2 or not all(0 < n <= side for n, side in zip(cells, raster.grid.shape, strict=True))):
        raise OptionError(f"cells={','.join(map(str, cells))}: give rows,columns within {raster.grid.shape}.")
    rows, columns = cells or raster.grid.shape
    if every < 1 or min(rows, columns) // every < 4:
        raise OptionError(f"every={every} leaves fewer than four of {rows} x {columns} cells along a side.")
    part = raster.window(slice(0, rows), slice(0, columns))
    return replace(part, stored=part.stored[:, ::every, ::every], grid=thinned(part.grid, every))


def thinned(grid: MapGrid, every: int) -> MapGrid:
    """The grid of every ``every``-th cell, about the same centres."""
    shape = tuple(-(-side // every) for side in grid.shape)
    axes = [None if axis is None else replace(axis, centres=axis.centres[::every]) for axis in (grid.y, grid.x)]
    transform = grid.transform
    if transform is not None:
        a, b, c, d, e, f = transform
        back = 0.5 * (1 - every)
        transform = (a * every, b * every, c + back * (a + b), d * every, e * every, f + back * (d + e))
    return MapGrid((shape[0], shape[1]), transform, grid.crs, axes[0], axes[1])


def read(path: Path, variable: str | None, cells: tuple[int, ...], every: int) -> Raster:
    """A raster file, cut."""
    return cut(read_raster(path, variable), cells, every)


def tiles_of_the_dem() -> tuple[Raster, Raster]:
    """Tiles of 24 x 24 cells of the elevation model that ships, as layers: the west to learn from, the east to fill.

    They lie in different places, so their grid has none.
    """
    dem = load_dem()
    rows, columns = dem.grid.shape
    corners = [(y, x) for x in range(0, columns - TILE + 1, STRIDES[1]) for y in range(0, rows - TILE + 1, STRIDES[0])]
    border = round(SHARE * columns)

    def tiles(chosen: list[tuple[int, int]]) -> Raster:
        stored = np.stack([dem.stored[0, y : y + TILE, x : x + TILE] for y, x in chosen]).astype(np.float32)
        layers = Layers("tile", np.array([y * columns + x for y, x in chosen]))
        grid = MapGrid((TILE, TILE))
        return replace(dem, stored=stored, grid=grid, layers=layers, nodata=float("nan"))

    return tiles([c for c in corners if c[1] + TILE <= border]), tiles([c for c in corners if c[1] >= border + TILE])


def hidden_cells(asked: Asked, mask: str, share: float, draws: int, scored: NDArray[np.int64], rng: Rng) -> Tensor:
    """True where a cell is hidden for scoring, (field, draw, y, x) of the fields at the positions ``scored``.

    Args:
        mask: "random" hides each cell with probability ``share``, "block" a rectangle of 44 % by 38 % of the sides, a
            file the cells whose number is not zero (one draw).

    Raises:
        OptionError: neither a known word nor a file.
    """
    if mask in ("random", "block"):
        drawn = [[drawn_mask(asked.shape, mask, share, rng.child(int(i), k)) for k in range(draws)] for i in scored]
        return torch.stack([torch.stack(row) for row in drawn])
    if not Path(mask).exists():
        raise OptionError(f"mask={mask} is no file; give random, block, or a raster that is not zero where to hide.")
    return torch.from_numpy(read_mask(mask, asked.fields)[scored].copy())[:, None]


def drawn_mask(shape: tuple[int, int], kind: str, share: float, rng: Rng) -> Tensor:
    """One mask of hidden cells, (y, x)."""
    if kind == "random":
        return rng.uniform(shape) < share
    height, width = (max(1, round(part * side)) for part, side in zip(BLOCK_SIDES, shape, strict=True))
    top, left = (int(rng.integers(room, ())) for room in (shape[0] - height + 1, shape[1] - width + 1))
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def _times(history: Raster, other: Raster, timed: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hours from the first layer of the history, or positions of layers."""
    if not timed:
        return np.arange(float(len(history.stored))), np.arange(float(len(other.stored)))
    both = hours(np.concatenate([history.times, other.times]))
    return both[: len(history.stored)], both[len(history.stored) :]


def _slice(text: str, name: str, n: int) -> NDArray[np.int64]:
    """Positions that a slice such as "472::12" picks of ``n``."""
    parts = text.split(":") if text else ["", ""]
    try:
        picked = np.arange(n)[slice(*(int(part) if part.strip() else None for part in parts))]
    except ValueError:
        picked = None
    if picked is None or not 2 <= len(parts) <= 3:
        raise OptionError(f"{name}={text} is no slice; give start:stop or start:stop:step in layers, such as 0:432.")
    return picked
