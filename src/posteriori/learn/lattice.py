"""Kernels on integer points: a stationary part is worked out once for each displacement and looked up for each pair.

Pairs are many (n²) and displacements few, so that the cost of a composite kernel no longer grows with its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from posteriori.core.errors import DataError


@dataclass(frozen=True)
class Lattice:
    """All displacements (dx, dy) with |dx| ≤ ``reach_x`` and |dy| ≤ ``reach_y`` between integer points (n, 2)."""

    reach_x: int
    reach_y: int

    @cached_property
    def grid(self) -> tuple[Tensor, Tensor]:
        """dx and dy of every cell of a table, both (2 reach_x + 1, 2 reach_y + 1), float64."""
        x = torch.arange(-self.reach_x, self.reach_x + 1, dtype=torch.float64)
        y = torch.arange(-self.reach_y, self.reach_y + 1, dtype=torch.float64)
        dx, dy = torch.meshgrid(x, y, indexing="ij")
        return dx, dy

    def origin(self) -> Tensor:
        """One at displacement zero, zero elsewhere: the table of independent cells."""
        dx, dy = self.grid
        return ((dx == 0) & (dy == 0)).double()

    def index(self, a: Tensor, b: Tensor) -> Tensor:
        """Where in a flat table the displacement of each pair stands, int64 (n, m).

        Raises:
            DataError: points further apart than the lattice reaches.
        """
        dx = a[:, None, 0] - b[:, 0] + self.reach_x
        dy = a[:, None, 1] - b[:, 1] + self.reach_y
        height = 2 * self.reach_y + 1
        if dx.numel() and not (
            int(dx.min()) >= 0 and int(dx.max()) <= 2 * self.reach_x and int(dy.min()) >= 0 and int(dy.max()) < height
        ):
            raise DataError(f"points lie further apart than the lattice ({self.reach_x}, {self.reach_y}) reaches.")
        return (dx * height + dy).long()


def gather(table: Tensor, index: Tensor) -> Tensor:
    """``table.flatten()[index]``, with a derivative that counts instead of scattering."""
    return _Gather.apply(table, index)  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = table.shape
        return torch.take(table, index)

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        sums = torch.bincount(index.reshape(-1), r.reshape(-1), ctx.shape.numel())
        return sums.reshape(ctx.shape), None
