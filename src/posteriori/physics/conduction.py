"""Flow through rectangular cells with potentials at their corners: compact fourth-order matrices, factorised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CORNERS = np.array([[0.25, 0.25, 0.25, 0.25], [-0.5, -0.5, 0.5, 0.5], [-0.5, 0.5, -0.5, 0.5], [1.0, -1.0, -1.0, 1.0]])
"""Mean, difference along x, along z and mixed difference of the corners (left up, left down, right up, right down)."""


@dataclass(frozen=True)
class Lattice:
    """Cells between the nodes ``x`` (nx,) and ``z`` (nz,) [m], each with one conductivity.

    The energy of a field u is a weighted sum of squares of four numbers of each cell, the drops G u: the mean of u over
    its corners, the mean differences along x and along z, and the mixed difference. With the weights of ``conduction``
    and ``storage`` that is ∫ |∇u|² and ∫ u² by one-dimensional stiffness and mass matrices (h/12) [[5, 1], [1, 5]],
    fourth-order where cells are equal.

    Nodes are numbered with z fastest: the matrix Gᵀ diag(w) G is a band of width nz + 1.

    Reference: Collatz (1960), The Numerical Treatment of Differential Equations, Springer, on Mehrstellen methods.
    """

    x: Floats
    z: Floats

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.x) * len(self.z)

    @property
    def cells(self) -> int:
        """Number of cells, numbered with z fastest."""
        return (len(self.x) - 1) * (len(self.z) - 1)

    @property
    def areas(self) -> Floats:
        """Area of each cell, (cells,)."""
        area: Floats = np.outer(np.diff(self.x), np.diff(self.z)).ravel()
        return area

    def conduction(self) -> Floats:
        """Weights (4, cells) of ∫ |∇u|²."""
        ratio = (np.diff(self.z) / np.diff(self.x)[:, None]).ravel()
        return np.stack([np.zeros(self.cells), ratio, 1 / ratio, (ratio + 1 / ratio) / 6])

    def storage(self) -> Floats:
        """Weights (4, cells) of ∫ u²."""
        found: Floats = np.array([1.0, 1 / 6, 1 / 6, 1 / 36])[:, None] * self.areas
        return found

    def drops(self, u: Floats) -> Floats:
        """G u, (4, cells, k) of fields (nodes, k)."""
        grid = u.reshape(len(self.x), len(self.z), -1)
        left, right = grid[:-1], grid[1:]
        up, down = left[:, :-1] + right[:, :-1], left[:, 1:] + right[:, 1:]
        leftwards, rightwards = left[:, :-1] + left[:, 1:], right[:, :-1] + right[:, 1:]
        mixed = left[:, :-1] - left[:, 1:] - right[:, :-1] + right[:, 1:]
        parts = [0.25 * (up + down), 0.5 * (rightwards - leftwards), 0.5 * (down - up), mixed]
        return np.stack([part.reshape(self.cells, -1) for part in parts])

    def gathered(self, flow: Floats) -> Floats:
        """Gᵀ flow, (nodes, k) of (4, cells, k)."""
        nx, nz = len(self.x), len(self.z)
        out = np.zeros((nx, nz, flow.shape[-1]))
        corner = np.einsum("pc,pnk->cnk", CORNERS, flow).reshape(4, nx - 1, nz - 1, -1)
        for at, (a, b) in enumerate(_CORNER_SLICES):
            out[a, b] += corner[at]
        return out.reshape(self.nodes, -1)

    def factor(self, weights: Floats, ground: Floats | None = None) -> Factor:
        """The Cholesky factor of Gᵀ diag(weights) G + diag(ground), weights (4, cells) and ground (nodes,)."""
        nx, nz = len(self.x), len(self.z)
        band = np.zeros((nz + 2, self.nodes))
        if ground is not None:
            band[0] = ground
        element = np.einsum("pa,pb,pn->abn", CORNERS, CORNERS, weights).reshape(4, 4, nx - 1, nz - 1)
        for a, first in enumerate(_CORNER_SLICES):
            for b in range(a, 4):
                offset = (b // 2 - a // 2) * nz + b % 2 - a % 2
                band[offset].reshape(nx, nz)[first] += element[a, b]
        return Factor(band)


class Factor:
    """The banded Cholesky factor of a positive definite matrix, shared by all right-hand sides."""

    def __init__(self, band: Floats) -> None:
        self.factor = cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False)

    def solve(self, b: Floats) -> Floats:
        """A⁻¹ b, (nodes, k)."""
        found: Floats = cho_solve_banded((self.factor, True), b, check_finite=False)
        return found


_ENDS = (slice(None, -1), slice(1, None))
_CORNER_SLICES = [(a, b) for a in _ENDS for b in _ENDS]
