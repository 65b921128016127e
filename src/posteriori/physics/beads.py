"""Coarse sites of a molecule: weighted means of its atoms, and the positions that have given ones."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.pair_potential import positions

RANK = 1e-9
"""Smallest singular value of the weights at which beads still differ."""


class Beads(TorchOperator):
    """Y = W x: coarse sites as weighted means of atoms, (*batch, particle, axis) → (*batch, bead, axis).

    Positions with given beads are ``assemble(Y, u)`` = W⁺ Y + N u, with N an orthonormal basis of what the beads do not
    see: beads are reproduced to rounding, and the volume element of x is that of u times a constant.

    Args:
        domain: the positions.
        weights: W (beads, particles), each row with the sum one.

    Raises:
        ShapeError: weights that do not fit the particles.
        OptionError: a bead that no atom maps to, beads that coincide or follow from others, or as many beads as atoms.
    """

    linear = True

    def __init__(self, domain: Space, weights: Tensor) -> None:
        super().__init__()
        weights = weights.double()
        if weights.ndim != 2 or len(domain.shape) != 2 or weights.shape[1] != domain.shape[0]:
            raise ShapeError(f"weights {tuple(weights.shape)} are not (beads, {domain.shape[0]} particles).")
        _check(weights)
        self.domain = domain
        axis = domain.dims[1]
        self.codomain = Space("bead", {"bead": len(weights), axis: domain.labels(axis)}, domain.unit)
        basis = torch.linalg.svd(weights, full_matrices=True).Vh[len(weights) :]
        self.register_buffer("weights", weights)
        self.register_buffer("back", torch.linalg.pinv(weights))
        self.register_buffer("basis", basis.mT.contiguous())
        self.weights: Tensor
        self.back: Tensor
        self.basis: Tensor

    @staticmethod
    def blocks(domain: Space, size: int) -> Beads:
        """Means of blocks of ``size`` particles in a row.

        Raises:
            OptionError: blocks that do not fill the chain.
        """
        n = domain.shape[0]
        if size < 2 or n % size:
            raise OptionError(f"blocks of {size} do not fill {n} particles; give a divisor of at least two.")
        return Beads(domain, torch.eye(n // size, dtype=torch.float64).repeat_interleave(size, 1) / size)

    def forward(self, m: Tensor) -> Tensor:
        """The beads."""
        return self.weights.to(m) @ m

    def assemble(self, coarse: Tensor, inner: Tensor) -> Tensor:
        """Positions (*batch, particle, axis) with these beads and inner vectors (*batch, particle - bead, axis)."""
        return self.back.to(inner) @ coarse + self.basis.to(inner) @ inner

    def inner(self, x: Tensor) -> Tensor:
        """The inner vectors of positions."""
        return self.basis.to(x).mT @ x

    @staticmethod
    def example() -> Beads:
        """Six particles in two beads."""
        return Beads.blocks(positions(6, 3), 3)


def _check(weights: Tensor) -> None:
    if not bool(torch.isfinite(weights).all()):
        raise OptionError("a weight of a bead is not finite.")
    for k, row in enumerate(weights):
        if not bool((row != 0).any()):
            raise OptionError(f"no atom maps to bead {k}; give it one, or leave it out.")
        if abs(float(row.sum()) - 1) > 1e-9:
            raise OptionError(f"weights of bead {k} sum to {float(row.sum()):g}; a mean needs one, divide by the sum.")
        for j, other in enumerate(weights[:k]):
            if bool(((row - other).abs() < RANK).all()):
                raise OptionError(f"beads {j} and {k} coincide: both are the same mean of atoms; drop one.")
    if weights.shape[0] >= weights.shape[1] or float(torch.linalg.svdvals(weights)[-1]) < RANK:
        raise OptionError(
            f"{weights.shape[0]} beads of {weights.shape[1]} atoms follow from each other or leave nothing to fill in; "
            "give fewer, independent ones."
        )
