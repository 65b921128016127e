"""Potential fields at very many stations on rough ground: level grids at a few heights, interpolated between."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.physics.block_toeplitz import LevelField
from posteriori.physics.gravity import Gravity, example_mesh
from posteriori.physics.prism_mesh import Floats, borders
from posteriori.physics.scattered import placed, station_space

Make = Callable[[Space, Floats, Floats, float], LevelField]
"""A field of one component for (mesh, northing, easting, height), such as ``Gravity``."""


class Draped(Operator):
    """One component at scattered stations, from ``levels`` grids by Fourier transforms.

    Above its sources a field is smooth: Lagrange polynomials through ``order``² grid points, and through all levels at
    Chebyshev heights, carry it to each station. The adjoint is exact, the interpolation is not. Its error, as a share
    of the largest datum of independent random cells (of cells that all have one sign), for gravity: 5e-3 (2e-4) from
    half a cell to three cells above the mesh, 6e-4 (3e-5) from one to four, 3e-5 (6e-7) from two to five; for
    magnetics about ten times that; ``refine=4`` makes it four to twenty times smaller. It is measured
    at some stations by :class:`ScatteredGravity` or :class:`ScatteredMagnetics`, exact at the cost of stations × cells.

    Args:
        domain: the mesh, even in x and y.
        make: what makes the field of a level.
        easting, northing: of the stations [m].
        height: of the stations [m], upwards, all above the mesh.
        labels: of the stations; 0, 1, … without.
        levels: number of heights.
        refine: grid points for each cell along x and y.
        order: points of the interpolation along each axis, even.
        beyond: how far [m] a station may lie outside the mesh sideways.

    Reference: Trefethen (2013), Approximation Theory and Approximation Practice, SIAM, chapter 5.
    """

    linear = True
    references: ClassVar[tuple[str, ...]] = (
        "Trefethen (2013), Approximation Theory and Approximation Practice, SIAM, chapter 5.",
    )

    def __init__(
        self,
        domain: Space,
        make: Make,
        easting: ArrayLike,
        northing: ArrayLike,
        height: ArrayLike,
        labels: ArrayLike | None = None,
        levels: int = 8,
        refine: int = 2,
        order: int = 8,
        beyond: float = 0.0,
    ) -> None:
        super().__init__()
        if levels < 1 or refine < 1 or order < 2 or order % 2:
            raise OptionError(f"levels={levels}, refine={refine}, order={order}: from 1, 1 and 2, an even order.")
        stations = placed(domain, easting, northing, height, beyond, touch=True)
        x, columns, across = _stencil(stations[:, 0], borders(domain, "x"), refine, order)
        y, rows, along = _stencil(stations[:, 1], borders(domain, "y"), refine, order)
        heights, shares = _heights(-stations[:, 2], levels)
        self.fields = torch.nn.ModuleList([make(domain, y, x, float(h)) for h in heights])
        first = self.fields[0]
        assert isinstance(first, LevelField)
        if first.codomain.dims != ("y", "x"):
            raise ShapeError(f"{first} has several components; drape one at a time.")
        self.domain = domain
        self.codomain = station_space(first.codomain.name, first.codomain.unit, stations, labels)
        index = (rows[:, :, None] * len(x) + columns[:, None, :]).reshape(len(stations), -1)
        weights = (along[:, :, None] * across[:, None, :]).reshape(len(stations), -1)
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        self.register_buffer("weights", torch.from_numpy(weights), persistent=False)
        self.register_buffer("shares", torch.from_numpy(shares), persistent=False)
        self.index: Tensor
        self.weights: Tensor
        self.shares: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The field at the stations."""
        weights, shares = self.weights.to(m.dtype), self.shares.to(m.dtype)
        total = torch.zeros(*m.shape[: m.ndim - 3], len(shares), dtype=m.dtype, device=m.device)
        for level, share in zip(self.fields, shares.unbind(1), strict=True):
            grid = level(m).flatten(-2)
            total = total + share * (grid[..., self.index] * weights).sum(-1)
        return total

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """The field of ``v``."""
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """The transpose."""
        weights, shares = self.weights.to(r.dtype), self.shares.to(r.dtype)
        total = torch.zeros(*r.shape[:-1], *self.domain.shape, dtype=r.dtype, device=r.device)
        for level, share in zip(self.fields, shares.unbind(1), strict=True):
            assert isinstance(level, LevelField)
            spread = ((r * share)[..., None] * weights).flatten(-2)
            grid = torch.zeros(*r.shape[:-1], level.codomain.size, dtype=r.dtype, device=r.device)
            grid = grid.index_add(-1, self.index.flatten(), spread)
            total = total + level.adjoint(level.codomain.unflat(grid))
        return total

    @staticmethod
    def example() -> Draped:
        """Gravity at four stations on a slope."""
        place = ([20.0, 170.0, 55.5, 90.0], [10.0, 90.0, 61.0, 30.0], [12.0, 30.0, 25.0, 18.0])
        return Draped(example_mesh(), Gravity, *place, levels=3, refine=1, order=4)


def _stencil(at: Floats, edges: Floats, refine: int, order: int) -> tuple[Floats, NDArray[np.int64], Floats]:
    """A grid about the stations, and for each the positions and Lagrange weights of ``order`` of its points."""
    step = (edges[-1] - edges[0]) / (len(edges) - 1) / refine
    origin = edges[0] + 0.5 * step * refine
    first = int(np.floor((at.min() - origin) / step)) - order // 2 + 1
    last = int(np.floor((at.max() - origin) / step)) + order // 2
    grid = origin + step * np.arange(first, last + 1, dtype=np.float64)
    place = (at - origin) / step - first
    start = np.floor(place).astype(np.int64) - order // 2 + 1
    return grid, start[:, None] + np.arange(order), _lagrange(place - start, np.arange(order, dtype=np.float64))


def _heights(height: Floats, levels: int) -> tuple[Floats, Floats]:
    """Chebyshev points between the lowest and the highest station, and the weights of each at each station."""
    low, high = float(height.min()), float(height.max())
    if high - low < 1e-9 * max(abs(high), 1.0) or levels == 1:
        return np.array([0.5 * (low + high)]), np.ones((len(height), 1))
    nodes = np.cos(np.pi * np.arange(levels) / (levels - 1))[::-1]
    return low + 0.5 * (high - low) * (1 + nodes), _lagrange(2 * (height - low) / (high - low) - 1, nodes)


def _lagrange(at: Floats, nodes: Floats) -> Floats:
    """Weights (n, nodes) of the polynomial through the nodes, at each place."""
    found = np.ones((len(at), len(nodes)))
    for i, node in enumerate(nodes):
        for other in np.delete(nodes, i):
            found[:, i] *= (at - other) / (node - other)
    return found
