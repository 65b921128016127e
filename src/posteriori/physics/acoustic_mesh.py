"""A section padded for the acoustic operator: stencils, absorbing ring, where nodes lie in a flat array."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from posteriori.physics.acoustic_kernels import Taps
from posteriori.physics.acoustic_lanes import LINE
from posteriori.physics.acoustic_ring import Mesh
from posteriori.physics.interpolation import kaiser_sinc

Floats = NDArray[np.floating]
STENCILS = {
    2: (1.0, 0.0),
    4: (4 / 3, -1 / 12),
    8: (8 / 5, -1 / 5, 8 / 315, -1 / 560),
}
"""Weights w_1, w_2, … of the second derivative by order of accuracy; the centre's is -2 Σ w."""
REFLECTION = 1e-3
"""What the ring returns of a wave of its ``speed`` that meets it head on, were its grid infinitely fine."""
GROWTH = 1.5
"""Power of the depth in the ring by which its damping grows; 1.5 returns 3 to 5 dB less than 2 where nodes are few."""


@dataclass(frozen=True)
class Section:
    """``nz`` × ``nx`` nodes from depth ``z`` and distance ``x``, ``dz`` and ``dx`` [m] apart, time step ``dt`` [s].

    The ring of ``width`` nodes is a perfectly matched layer of the second-order equation (Grote & Sim 2010), made
    symmetric: for damping d_x, d_z [1/s], which grows with the depth in the ring,

        u_tt + (d_x + d_z) u_t + d_x d_z u = v² (Δu + ∂_x φ_x + ∂_z φ_z + f),
        φ_x,t + d_x φ_x = (d_z - d_x) ∂_x u,      φ_z,t + d_z φ_z = (d_x - d_z) ∂_z u.

    d is set for waves of ``speed`` [m/s]: slower ones are absorbed more. Above a free ``surface`` there is no ring.
    """

    nz: int
    nx: int
    z: float
    x: float
    dz: float
    dx: float
    dt: float
    order: int
    width: int
    speed: float
    surface: bool

    @property
    def top(self) -> int:
        """Rows of ring above the model."""
        return 0 if self.surface else self.width

    @property
    def reach(self) -> int:
        """Nodes to either side that the stencil takes."""
        return len(STENCILS[self.order])

    @property
    def rows(self) -> int:
        """Rows with the ring."""
        return self.top + self.nz + self.width

    @property
    def columns(self) -> int:
        """Columns with the ring."""
        return self.nx + 2 * self.width

    @property
    def ring(self) -> int:
        """Nodes of the ring."""
        return self.rows * self.columns - self.nz * self.nx

    @property
    def frame(self) -> int:
        """Nodes of the model that the ring's stencils take."""
        deep, free = self.reach, self.reach if self.surface else 0
        return self.nz * self.nx - (self.nz - 2 * deep + free) * (self.nx - 2 * deep)

    @property
    def fastest(self) -> float:
        """The highest velocity [m/s] at which the time step is stable: v² dt² times the largest eigenvalue is 4."""
        weights = STENCILS[self.order]
        alternating = 4 * sum(weights[0::2])  # of the wave of two nodes' length
        return 2 / (self.dt * sqrt(alternating * (self.dx**-2 + self.dz**-2)))

    def edge(self, dtype: np.dtype[np.floating]) -> int:
        """Column of the model's first node: empty ones precede the ring if that leaves fewer vectors to it."""
        lanes = LINE // dtype.itemsize
        spare = -(self.width + self.nx) % lanes
        return min((0, spare), key=lambda pad: self._vectors(pad, lanes)) + self.width

    def stride(self, dtype: np.dtype[np.floating]) -> int:
        """Numbers from one row to the next: whole vectors, with empty columns at the end."""
        lanes = LINE // dtype.itemsize
        return _whole(self.edge(dtype) + self.nx + self.width + self.reach, lanes)

    def _vectors(self, pad: int, lanes: int) -> float:
        """Cost of a row with ``pad`` empty columns in front; a vector of the ring costs 2.5 others."""
        left, right = _whole(pad + self.width, lanes), (pad + self.width + self.nx) // lanes * lanes
        end = _whole(pad + self.columns + self.reach, lanes)
        return 2.5 * end - 1.5 * max(right - left, 0)

    def size(self, dtype: np.dtype[np.floating]) -> int:
        """Numbers of a padded array."""
        return (self.rows + 2 * self.reach + 1) * self.stride(dtype)

    def zeros(self, dtype: np.dtype[np.floating]) -> Floats:
        """An empty padded array, its rows on the cache's lines."""
        return aligned(self.size(dtype), dtype)

    def whole(self, field: Floats) -> Floats:
        """The nodes of model and ring of a padded array, a view (rows, columns)."""
        first = self.edge(field.dtype) - self.width
        rows = field.reshape(-1, self.stride(field.dtype))[self.reach : self.reach + self.rows]
        return rows[:, first : first + self.columns]

    def extended(self, values: Floats) -> Floats:
        """(nz, nx) continued into the ring by its edge values, (rows, columns)."""
        return np.pad(values, ((self.top, self.width), (self.width, self.width)), mode="edge")

    def folded(self, values: Floats) -> Floats:
        """The transpose of :meth:`extended`: (rows, columns) summed onto (nz, nx)."""
        bottom, right = self.top + self.nz, self.width + self.nx
        down = values[self.top : bottom].copy()
        down[0] += values[: self.top].sum(0)
        down[-1] += values[bottom:].sum(0)
        found = down[:, self.width : right].copy()
        found[:, 0] += down[:, : self.width].sum(1)
        found[:, -1] += down[:, right:].sum(1)
        return found

    def factor(self, dtype: np.dtype[np.floating]) -> Floats:
        """What v² is multiplied by to be c2: (dt / dx)² over 1 + (d_x + d_z) dt / 2, (rows, columns)."""
        found = (self.dt / self.dx) ** 2 / (1 + (self._depth_z[0][:, None] + self._depth_x[0]) / 2)
        if self.surface:
            found[0] = 0
        return found.astype(dtype)

    def mesh(self, dtype: np.dtype[np.floating]) -> Mesh:
        """The coefficients that the kernels take."""
        stride, lanes = self.stride(dtype), LINE // dtype.itemsize
        edge = self.edge(dtype)
        left = _whole(edge, lanes)
        right = max(left, (edge + self.nx) // lanes * lanes)
        (dx, dx_half), (dz, dz_half) = self._depth_x, self._depth_z
        level = np.zeros(self.rows, np.int64)
        level[: self.top] = np.arange(self.top, 0, -1)
        level[self.top + self.nz :] = np.arange(1, self.width + 1)
        steps = np.concatenate([[0.0], dz[self.top + self.nz :]])[:, None]
        share = 1 + (dx + steps) / 2
        ratio = (self.dx / self.dz) ** 2
        half_x, half_z = 0.5 / (1 + dx_half / 2), 0.5 * ratio / (1 + dz_half / 2)
        half_x[-1] = half_z[-1] = 0  # behind the last node there is nothing

        def by_column(values: Floats) -> Floats:
            padded = aligned(stride * (len(values) if values.ndim == 2 else 1), dtype)
            padded.reshape(-1, stride)[:, edge - self.width : edge + self.nx + self.width] = values
            return padded

        horizontal = STENCILS[self.order]
        vertical = tuple(ratio * w for w in horizontal)
        centre = -2 * (sum(horizontal) + sum(vertical))
        scalar = dtype.type
        return Mesh(
            base=self.reach * stride,
            stride=stride,
            top=self.top,
            nz=self.nz,
            nx=self.nx,
            width=self.width,
            edge=edge,
            left=left,
            right=right,
            surface=self.surface,
            across=tuple(scalar(w) for w in (*horizontal, centre)),
            down=tuple(scalar(w) for w in (*vertical, 0.0)),
            level=level,
            p=by_column((2 - dx * steps) / share),
            q=by_column((1 - (dx + steps) / 2) / share),
            ax=by_column((1 - dx_half / 2) / (1 + dx_half / 2)),
            bx=by_column(half_x),
            ex=by_column(half_x * dx_half),
            dx=by_column(dx),
            az=((1 - dz_half / 2) / (1 + dz_half / 2)).astype(dtype),
            bz=half_z.astype(dtype),
            ez=(half_z * dz_half).astype(dtype),
            dz=dz.astype(dtype),
        )

    def taps(self, points: NDArray[np.float64], dtype: np.dtype[np.floating], scale: float = 1.0) -> Taps:
        """Kaiser-sinc weights of ``points`` (n, 2) at depth and distance [m], within model and ring."""
        found = kaiser_sinc((points - [self.z, self.x]) / [self.dz, self.dx], self.surface)
        row, column = found.row + self.top, found.column + self.width
        within = (row >= 0) & (row < self.rows) & (column >= 0) & (column < self.columns)
        column = column + self.edge(dtype) - self.width
        before = np.concatenate([[0], np.cumsum(within)])
        at = (row + self.reach) * self.stride(dtype) + column
        return Taps(before[found.start], at[within], (scale * found.weight[within]).astype(dtype))

    @cached_property
    def _depth_x(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._damping(self.nx, self.width, self.dx)

    @cached_property
    def _depth_z(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._damping(self.nz, self.top, self.dz)

    def _damping(self, n: int, before: int, spacing: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """d dt at the nodes and half a node behind them; it begins half a node outside the model."""
        place = np.arange(-before, n + self.width, dtype=np.float64)
        most = (1 + GROWTH) * self.speed * log(1 / REFLECTION) / (2 * max(self.width, 1) * spacing) * self.dt

        def profile(x: NDArray[np.float64]) -> NDArray[np.float64]:
            outside = np.maximum(np.maximum(-x, x - (n - 1)) - 0.5, 0)
            if not before:
                outside = np.maximum(x - (n - 1) - 0.5, 0)
            return most * (outside / max(self.width - 0.5, 0.5)) ** GROWTH

        return profile(place), profile(place + 0.5)


def _whole(n: int, lanes: int) -> int:
    """The next multiple of ``lanes``."""
    return -(-n // lanes) * lanes


def aligned(size: int, dtype: np.dtype[np.floating]) -> Floats:
    """Zeros that begin on a line of the cache, and a line of room behind them."""
    lanes = LINE // dtype.itemsize
    room = np.zeros(size + 2 * lanes, dtype)
    skip = (-room.ctypes.data % LINE) // dtype.itemsize
    return room[skip : skip + size]
