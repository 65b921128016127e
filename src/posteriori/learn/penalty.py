"""Tikhonov's penalty as a prior that need not be proper."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.algebra import Identity
from posteriori.core.errors import DataError, OptionError
from posteriori.core.grid import Gradient, Laplacian, volumes
from posteriori.core.operator import Operator
from posteriori.core.space import Space


class Penalty(nn.Module):
    """-log density = ½ Σ weights · (L (m - mean))² up to a constant; directions that L does not see are free.

    Args:
        operator: L, linear, on the space of the unknown.
        weights: of each value of L, operator.codomain.shape, ≥ 0; one without.
        mean: what costs nothing, one number or space.shape.

    Reference: Tikhonov & Arsenin (1977), Solutions of Ill-Posed Problems, Winston.
    """

    references: ClassVar[tuple[str, ...]] = ("Tikhonov & Arsenin (1977), Solutions of Ill-Posed Problems, Winston.",)

    def __init__(self, operator: Operator, weights: Tensor | None = None, mean: Tensor | float = 0.0) -> None:
        super().__init__()
        operator.require_linear("a penalty")
        self.operator, self.space = operator, operator.domain
        shape = operator.codomain.shape
        weight = torch.ones(shape, dtype=torch.float64) if weights is None else operator.codomain.check(weights)
        if not bool((torch.isfinite(weight) & (weight >= 0)).all()):
            raise DataError("the weights of a penalty must be finite and not negative.")
        self.register_buffer("weights", weight.double())
        self.register_buffer("location", torch.as_tensor(mean, dtype=torch.float64).expand(self.space.shape).clone())
        self.weights: Tensor
        self.location: Tensor

    def energy(self, x: Tensor) -> Tensor:
        """½ Σ weights · (L (x - mean))², float64 (*batch,)."""
        rough = self.operator.matmul(x - self.location.to(x.dtype)).double()
        return 0.5 * self.operator.codomain.flat(self.weights * rough.square()).sum(-1)

    def rows(self) -> Tensor:
        """weights^½ · L as a dense matrix, (operator.codomain.size, space.size), float64."""
        return self.operator.codomain.flat(self.weights).sqrt()[:, None] * self.operator.rows(self.weights)

    @staticmethod
    def example() -> Penalty:
        """The slope of five cells."""
        return roughness(Space("m", {"x": 5}), 1, mean=1.0)


def roughness(space: Space, order: int, mean: Tensor | float = 0.0) -> Penalty:
    """½ ∫ m² dV, ½ ∫ |∇m|² dV or ½ ∫ (∇²m)² dV for ``order`` 0, 1 or 2: 1, k² or k⁴ in Fourier space.

    Deviations from ``mean`` are charged for; no flux leaves the ends of the grid.
    """
    if order == 0:
        return Penalty(Identity(space), volumes(space), mean)
    if order == 1:
        gradient = Gradient(space)
        return Penalty(gradient, gradient.face_volumes, mean)
    if order == 2:
        return Penalty(Laplacian(space), volumes(space), mean)
    raise OptionError(f"order={order}; a penalty charges the values (0), their slopes (1) or their curvature (2).")
