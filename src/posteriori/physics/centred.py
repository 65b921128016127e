"""Positions without their centre of mass, in orthonormal coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.errors import ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space


class Centred(TorchOperator):
    """Helmert coordinates (*batch, particle - 1, axis) → centred positions (*batch, particle, axis).

    The map is an isometry onto the positions whose mean is zero: volumes, distances to the centre and Gaussians stay
    what they are, so a density of the coordinates is one of centred positions.

    Args:
        codomain: the positions, dims ``(particle, axis)``.
    """

    linear = True

    def __init__(self, codomain: Space) -> None:
        super().__init__()
        if len(codomain.shape) != 2:
            raise ShapeError(f"{codomain} is no set of positions; give a Space with the dims (particle, axis).")
        n = codomain.shape[0]
        self.codomain = codomain
        axis = codomain.dims[1]
        self.domain = Space("helmert", {"mode": n - 1, axis: codomain.labels(axis)}, codomain.unit)
        k = torch.arange(1, n, dtype=torch.float64)[:, None]
        j = torch.arange(n, dtype=torch.float64)
        rows = torch.where(j < k, 1.0, torch.where(j == k, -k, 0.0)) / (k * (k + 1)).sqrt()
        self.register_buffer("helmert", rows)
        self.helmert: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The centred positions."""
        return self.helmert.to(m).mT @ m

    def coordinates(self, x: Tensor) -> Tensor:
        """Helmert coordinates of positions (*batch, particle, axis), whose centre of mass is dropped."""
        return self.helmert.to(x) @ self.codomain.check(x, "positions")

    @staticmethod
    def example() -> Centred:
        """Four particles in the plane."""
        return Centred(Space("position", {"particle": 4, "axis": ["x", "y"]}))
