"""The smooth modes of a rectilinear grid: cosines where cells are equal, their like where they are not."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor, nn

from posteriori.core.grid import Floats, centres, widths
from posteriori.core.space import Space


class Modes(nn.Module):
    """Functions u_k on a grid, free of flux through its ends, with -∇² u_k = k² u_k and ∫ u_k u_l = δ_kl.

    Along each axis K u = k² W u with W the widths of the cells [the unit of the labels] and K the stiffness of
    ∫ |∂u|²; on n equal cells of width h: u_j(i) ∝ cos(π j (i + ½)/n) and k_j = (2/h) sin(π j / 2n). The modes of the
    grid are products, and a penalty of |∇m|² or |∇²m|² is diagonal in them whatever the spacing: its values are k², k⁴.

    Args:
        space: numeric labels along every dim, the centres of its cells, in rising or falling order; an axis of a
            single cell has width one.

    Raises:
        ShapeError: labels that are not numbers or not in order.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.shape, self.size = space.shape, space.size
        for axis, dim in enumerate(space.dims):
            wide = widths(space, dim)
            squared, vectors = _axis(np.abs(np.diff(centres(space, dim))), wide)
            self.register_buffer(f"squared_{axis}", squared)
            self.register_buffer(f"widths_{axis}", torch.from_numpy(wide))
            self.register_buffer(f"vectors_{axis}", vectors, persistent=False)

    def squared(self, axis: int) -> Tensor:
        """k² along one axis, (n_axis,), rising from zero."""
        return self._held("squared", axis)

    def volumes(self) -> Tensor:
        """The volume of each cell, of the grid's shape."""
        return self._outer([self._held("widths", axis) for axis in range(len(self.shape))])

    def values(self, weights: Tensor) -> Tensor:
        """Σ_k weights_k u_k, grids (*batch, *shape) of coefficients (*batch, *shape)."""
        return self._along(weights, [self._held("vectors", axis) for axis in range(len(self.shape))])

    def products(self, grid: Tensor) -> Tensor:
        """Σ_i u_k(i) grid_i, the transpose of :meth:`values`; coefficients are ``products(volumes · grid)``."""
        return self._along(grid, [self._held("vectors", axis).mT for axis in range(len(self.shape))])

    def variances(self, weights: Tensor) -> Tensor:
        """Σ_k weights_k u_k², of the grid's shape."""
        return self._along(weights, [self._held("vectors", axis).square() for axis in range(len(self.shape))])

    def _held(self, what: str, axis: int) -> Tensor:
        held = getattr(self, f"{what}_{axis}")
        assert isinstance(held, Tensor)
        return held

    def _along(self, x: Tensor, matrices: list[Tensor]) -> Tensor:
        first = x.ndim - len(self.shape)
        for axis, matrix in enumerate(matrices):
            if len(matrix) > 1 or float(matrix) != 1.0:
                x = (x.movedim(first + axis, -1) @ matrix.to(x.dtype).mT).movedim(-1, first + axis)
        return x

    def _outer(self, parts: list[Tensor]) -> Tensor:
        whole = parts[0]
        for part in parts[1:]:
            whole = whole[..., None] * part
        return whole


def _axis(gaps: Floats, wide: Floats) -> tuple[Tensor, Tensor]:
    """k² (n,) and modes in columns (n, n) along one axis, from the gaps between centres and the widths of cells."""
    if not len(gaps):
        return torch.zeros(1).double(), torch.ones(1, 1).double()
    stiff = 1 / gaps
    diagonal = (np.concatenate([stiff, [0.0]]) + np.concatenate([[0.0], stiff])) / wide
    squared, vectors = eigh_tridiagonal(diagonal, -stiff / np.sqrt(wide[1:] * wide[:-1]))
    squared[0], vectors[:, 0] = 0.0, np.sqrt(wide / wide.sum())
    modes = vectors / np.sqrt(wide)[:, None]
    modes *= np.where(modes[0] < 0, -1.0, 1.0)
    return torch.from_numpy(squared), torch.from_numpy(modes)
