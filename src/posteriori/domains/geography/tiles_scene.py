"""A raster that is read window by window, and the clouds that hide a part of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from posteriori.core.cell_noise import cell_normal
from posteriori.core.errors import DataError, OptionError
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Layers, Raster
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.windows import window_reader
from posteriori.domains.picture import Floats
from posteriori.learn.diffusion.tiling import Window

SCALES = ((96, 1.0), (40, 0.7), (16, 0.4))
"""Sizes of clouds [cells] and what each counts."""
BORDER = 240
"""Column of the shipped elevation model where the part to learn from ends and the part to be filled begins."""
NODATA = -32768


class Source(Protocol):
    """A raster of one layer, window by window."""

    @property
    def grid(self) -> MapGrid:
        """Where the cells of the whole lie."""

    def raster(self, window: Window) -> Raster:
        """The part in a window."""


@dataclass(frozen=True)
class Mosaic:
    """The east of the shipped elevation model, mirrored until it has ``side`` x ``side`` cells; nothing is kept."""

    side: int

    @property
    def grid(self) -> MapGrid:
        """The cells of the model, continued south and east."""
        whole = load_dem().grid
        assert whole.transform is not None
        return MapGrid((self.side, self.side), whole.transform, whole.crs)

    def raster(self, window: Window) -> Raster:
        """The part in a window."""
        model = load_dem()
        stored = model.stored[0, :, BORDER:]
        rows, columns = (
            mirrored(np.arange(cells.start, cells.stop), n)
            for cells, n in zip((window.rows, window.columns), stored.shape, strict=True)
        )
        grid = self.grid.window(window.rows, window.columns)
        return replace(model, stored=stored[np.ix_(rows, columns)][None], grid=grid, nodata=NODATA)


@dataclass(frozen=True)
class File:
    """One layer of a file of a user's own."""

    path: Path
    variable: str | None = None
    layer: int = 0

    @property
    def grid(self) -> MapGrid:
        """Where the cells of the whole lie."""
        with window_reader(self.path, self.variable) as windows:
            count = len(windows.layers.labels)
            if not 0 <= self.layer < count:
                raise OptionError(f"layer={self.layer}: {self.path.name} has the layers 0 to {count - 1}.")
            return windows.grid

    def raster(self, window: Window) -> Raster:
        """The part in a window, its nodata number NaN where the file has none but could."""
        with window_reader(self.path, self.variable) as windows:
            found = windows.read(window.rows, window.columns).select(slice(self.layer, self.layer + 1))
        if found.kind.classes:
            raise DataError(
                f"{found.name} holds classes; tiles fill quantities. Use geography/land-change for classes."
            )
        if found.nodata is None and found.stored.dtype.kind != "f":
            raise DataError(
                f"{found.name} ({found.stored.dtype}) has no nodata number, so nothing marks its gaps; write one into "
                f"the file, e.g. by gdal_edit.py -a_nodata."
            )
        return replace(found, layers=Layers())


@dataclass(frozen=True)
class Scene:
    """A source of which clouds hide the ``share`` of the cells, so that what fills them can be judged.

    Args:
        source: what is known and what is behind the clouds.
        rng: the stream of the clouds.
        share: about what part of the cells is hidden, in [0, 1].
    """

    source: Source
    rng: Rng
    share: float

    def hidden(self, window: Window) -> NDArray[np.bool_]:
        """True where a cloud stands before a cell, (y, x)."""
        return clouds(self.rng, window, self.share)

    def truth(self, window: Window) -> Floats:
        """Values behind the clouds too, NaN in the gaps of the source, (y, x)."""
        return self.source.raster(window).values[0]

    def known(self, window: Window) -> Raster:
        """What is seen: the raster with the clouds as gaps."""
        return self.source.raster(window).hidden(self.hidden(window))


def clouds(rng: Rng, window: Window, share: float) -> NDArray[np.bool_]:
    """True for about the ``share`` of the cells, in blobs of several sizes; windows agree where they overlap."""
    if share <= 0 or share >= 1:
        return np.full(window.shape, share >= 1)
    height = sum((weight * _blobs(rng.child(size), window, size) for size, weight in SCALES), torch.zeros(window.shape))
    return (height > -ndtri(share) * sqrt(sum(w * w for _, w in SCALES))).numpy()


def mirrored(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Positions of an endless line in one of ``n`` cells that is mirrored at both ends."""
    folded = index % (2 * n)
    return np.where(folded < n, folded, 2 * n - 1 - folded)


def _blobs(rng: Rng, window: Window, size: int) -> Tensor:
    """Unit normal numbers at every ``size`` cells, joined smoothly so that every cell has variance one."""
    rows, columns = (
        torch.arange(cells.start, cells.stop, dtype=torch.float64) / size for cells in (window.rows, window.columns)
    )
    knots = [slice(int(at[0].floor()), int(at[-1].floor()) + 2) for at in (rows, columns)]
    values = cell_normal(rng, *knots).double()
    (up, down), (left, right) = (_between(at) for at in (rows, columns))
    i, j = (at.floor().long() - knot.start for at, knot in zip((rows, columns), knots, strict=True))
    upper = values[i][:, j] * left + values[i][:, j + 1] * right
    lower = values[i + 1][:, j] * left + values[i + 1][:, j + 1] * right
    return (upper * up[:, None] + lower * down[:, None]).float()


def _between(at: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the knots before and after, their squares adding to one."""
    turn = 0.5 * torch.pi * (at - at.floor())
    return turn.cos(), turn.sin()
