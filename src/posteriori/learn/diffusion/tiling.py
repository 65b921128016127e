"""A grid cut into overlapping windows, whose weights sum to one, and into the blocks that they keep."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from posteriori.core.errors import OptionError

Place = tuple[int, int]
"""Row and column of a window among the windows."""


@dataclass(frozen=True)
class Window:
    """Some rows and columns of a grid."""

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns it has."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def within(self, other: Window) -> tuple[slice, slice]:
        """Where this window lies in ``other``, which holds it."""
        top, left = other.rows.start, other.columns.start
        return (
            slice(self.rows.start - top, self.rows.stop - top),
            slice(self.columns.start - left, self.columns.stop - left),
        )

    def common(self, other: Window) -> Window:
        """What both hold; empty where they do not meet."""
        return Window(_common(self.rows, other.rows), _common(self.columns, other.columns))


@dataclass(frozen=True)
class Tiling:
    """Windows of ``side`` cells, each lying ``overlap`` cells over the next; the last of a row is cut at the border.

    Args:
        shape: rows and columns of the grid.
        side: of a window.
        overlap: of neighbours.
        margin: cells along the inner edges of a window that count nothing, since a denoiser sees too little around
            them. Where it sees no farther than this, tiles cannot be told from the whole.

    Raises:
        OptionError: an overlap of none or of more than half a window, margins that leave nothing of it, or a grid
            without cells.
    """

    shape: tuple[int, int]
    side: int = 256
    overlap: int = 64
    margin: int = 16

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not 1 <= self.overlap <= self.side // 2:
            raise OptionError(
                f"windows of {self.side} cells that overlap by {self.overlap} cannot cover {self.shape}: the overlap "
                "must be at least 1 and at most half the side."
            )
        if not 0 <= 2 * self.margin < self.overlap:
            raise OptionError(f"margins of {self.margin} cells leave nothing of an overlap of {self.overlap}.")

    @property
    def stride(self) -> int:
        """From one window to the next [cells]."""
        return self.side - self.overlap

    @property
    def counts(self) -> Place:
        """Rows and columns of windows."""
        down, right = (max(1, ceil((cells - self.overlap) / self.stride)) for cells in self.shape)
        return down, right

    def places(self) -> list[Place]:
        """Every window, row by row."""
        down, right = self.counts
        return [(i, j) for i in range(down) for j in range(right)]

    def window(self, place: Place) -> Window:
        """What is denoised at once."""
        rows, columns = (
            slice(at * self.stride, min(at * self.stride + self.side, cells))
            for at, cells in zip(place, self.shape, strict=True)
        )
        return Window(rows, columns)

    def block(self, place: Place) -> Window:
        """What is kept under this place; blocks cover the grid once."""
        rows, columns = (
            slice(at * self.stride, cells if at + 1 == count else (at + 1) * self.stride)
            for at, cells, count in zip(place, self.shape, self.counts, strict=True)
        )
        return Window(rows, columns)

    def around(self, place: Place) -> list[Place]:
        """The places whose windows reach into the block of ``place``, in one fixed order."""
        return [(i, j) for i in (place[0] - 1, place[0]) for j in (place[1] - 1, place[1]) if i >= 0 and j >= 0]

    def meeting(self, window: Window) -> list[Place]:
        """The places whose blocks hold a part of ``window``."""
        ranges = [
            range(min(cells.start // self.stride, count - 1), min((cells.stop - 1) // self.stride, count - 1) + 1)
            for cells, count in zip((window.rows, window.columns), self.counts, strict=True)
        ]
        return [(i, j) for i in ranges[0] for j in ranges[1]]

    def weight(self, place: Place) -> Tensor:
        """What each cell of a window counts, float32 (y, x); over all windows a cell's weights sum to one."""
        down, right = (
            self._ramp(at, cells, count) for at, cells, count in zip(place, self.shape, self.counts, strict=True)
        )
        return (down[:, None] * right).float()

    def _ramp(self, at: int, cells: int, count: int) -> Tensor:
        length = min(at * self.stride + self.side, cells) - at * self.stride
        line = torch.ones(length, dtype=torch.float64)
        inner = self.overlap - 2 * self.margin
        rise = ((torch.arange(self.overlap, dtype=torch.float64) + 0.5 - self.margin) / inner).clamp(0, 1)
        if at > 0:
            line[: self.overlap] = rise
        if at + 1 < count:
            line[length - self.overlap :] = 1 - rise
        return line


def _common(one: slice, other: slice) -> slice:
    start = max(one.start, other.start)
    return slice(start, max(start, min(one.stop, other.stop)))
