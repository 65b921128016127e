"""Kernels on integer points: a stationary part is worked out once for each displacement and looked up for each pair.

Pairs are many (n²) and displacements few, so that the cost of a composite kernel no longer grows with its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from posteriori.core.errors import DataError

STRIP = 128
"""Rows that are worked out at once."""


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
        """Where in a flat table the displacement of each pair stands, int64 (n, m)."""
        dx = a[:, None, 0] - b[:, 0] + self.reach_x
        dy = a[:, None, 1] - b[:, 1] + self.reach_y
        height = 2 * self.reach_y + 1
        return (dx * height + dy).long()


@dataclass(frozen=True)
class LatticePart:
    """A stationary table [cells] times an amplitude at either point: ``table[b - a] · at_x[a] · at_y[b]``.

    Args:
        table: (2 reach_x + 1, 2 reach_y + 1).
        at_x, at_y: amplitudes at the points of either side, (n,) and (m,).
        view: which of the sets of points the displacement is taken in.
    """

    table: Tensor
    at_x: Tensor
    at_y: Tensor
    view: int = 0


def lattice_sum(lattice: Lattice, views: Sequence[tuple[Tensor, Tensor]], parts: Sequence[LatticePart]) -> Tensor:
    """Σ of the parts for every pair of points, (n, m), differentiable in tables and amplitudes.

    Args:
        views: pairs of point sets (n, 2) and (m, 2); a view whose two sets are one object is symmetric, and so must
            all amplitudes be then: half of the work is saved.
    """
    _refuse_far(lattice, views)
    flat = [tensor for part in parts for tensor in (part.table, part.at_x, part.at_y)]
    return _LatticeSum.apply(lattice, tuple(views), tuple(part.view for part in parts), *flat)  # type: ignore[no-untyped-call]


def _refuse_far(lattice: Lattice, views: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Refuse points further apart than the lattice reaches.

    Raises:
        DataError: they are.
    """
    for x, y in views:
        if len(x) and len(y):
            gap = torch.maximum((x.amax(0) - y.amin(0)).abs(), (y.amax(0) - x.amin(0)).abs())
            if float(gap[0]) > lattice.reach_x or float(gap[1]) > lattice.reach_y:
                raise DataError(f"points lie {gap.tolist()} apart; the lattice reaches {lattice}.")


class _LatticeSum(torch.autograd.Function):
    """Worked out in strips of rows that stay in cache; the strips are made again for the derivative, not kept."""

    @staticmethod
    def forward(ctx: Any, lattice: Lattice, views: Any, at: tuple[int, ...], *flat: Tensor) -> Tensor:
        ctx.lattice, ctx.views, ctx.at = lattice, views, at
        ctx.save_for_backward(*flat)
        (x, y), symmetric = views[0], views[0][0] is views[0][1]
        total = torch.empty(len(x), len(y), dtype=flat[0].dtype)
        for start, stop, width, index in _strips(lattice, views, symmetric):
            strip = torch.zeros(stop - start, width, dtype=flat[0].dtype)
            for g, view in enumerate(at):
                table, at_x, at_y = flat[3 * g : 3 * g + 3]
                strip += torch.take(table, index[view]).mul_(at_x[start:stop, None]).mul_(at_y[:width])
            total[start:stop, :width] = strip
            if symmetric:
                total[:start, start:stop] = strip[:, :start].mT
        return total

    @staticmethod
    def backward(ctx: Any, g_total: Tensor) -> tuple[Any, ...]:
        flat = ctx.saved_tensors
        symmetric = ctx.views[0][0] is ctx.views[0][1]
        sums = [torch.zeros_like(tensor) for tensor in flat]
        for start, stop, width, index in _strips(ctx.lattice, ctx.views, symmetric):
            strip = g_total[start:stop, :width]
            if symmetric:
                strip = strip + g_total[:width, start:stop].mT
                strip[:, start:stop] *= 0.5
            for g, view in enumerate(ctx.at):
                table, at_x, at_y = flat[3 * g : 3 * g + 3]
                half = strip * at_y[:width]
                values = torch.take(table, index[view])
                sums[3 * g + 1][start:stop] += (half * values).sum(1)
                half.mul_(at_x[start:stop, None])
                sums[3 * g + 2][:width] += values.mul_(strip).mul_(at_x[start:stop, None]).sum(0)
                counts = torch.bincount(index[view].reshape(-1), half.reshape(-1), table.numel())
                sums[3 * g] += counts.reshape(table.shape)
        return None, None, None, *sums


def _strips(lattice: Lattice, views: Any, symmetric: bool) -> Iterator[tuple[int, int, int, list[Tensor]]]:
    n, m = len(views[0][0]), len(views[0][1])
    for start in range(0, n, STRIP):
        stop = min(start + STRIP, n)
        width = stop if symmetric else m
        yield start, stop, width, [lattice.index(x[start:stop], y[:width]) for x, y in views]
