"""A nonlinear operator by its tangent at one point, so that what is exact for linear ones answers approximately."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.errors import DataError
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.inference.curvature import dense_jacobian
from posteriori.inference.problems import Exponential


class Linearised(Operator):
    """F(m₀) + J(m₀) (m - m₀): the tangent of ``operator`` F at ``at`` m₀, matrix-free.

    With a Gaussian posterior and m₀ its mean, ``next_observation`` then ranks candidates by the Gauss-Newton
    approximation of their expected information: good where F bends little over the width of the posterior.

    Args:
        operator: any differentiable operator.
        at: the point, operator.domain.shape.

    Raises:
        DataError: the point or the prediction there is not finite.

    Reference: Chaloner & Verdinelli (1995), Bayesian experimental design: a review, Statistical Science 10, 273.
    """

    linear = True

    def __init__(self, operator: Operator, at: Tensor) -> None:
        super().__init__()
        self.operator = operator
        self.domain, self.codomain = operator.domain, operator.codomain
        self.register_buffer("at", operator.domain.check(at.detach(), "point").double())
        with torch.no_grad():
            self.register_buffer("value", operator(self.at))
        self.at: Tensor
        self.value: Tensor
        if not bool(torch.isfinite(self.at).all() and torch.isfinite(self.value).all()):
            raise DataError(f"{operator} has no finite value at the point of linearisation; give a point inside.")

    def forward(self, m: Tensor) -> Tensor:
        """F(m₀) + J(m₀) (m - m₀)."""
        return self.value.to(m.dtype) + self.jvp(m, m - self.at.to(m.dtype))

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """J(m₀) v, whatever ``m``."""
        if not v.numel():
            return v.new_zeros(*v.shape[: v.ndim - len(self.domain.shape)], *self.codomain.shape)
        return self.operator.jvp(self.at.to(v.dtype).expand_as(v).contiguous(), v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(m₀)ᵀ r, whatever ``m``."""
        batch = r.shape[: r.ndim - len(self.codomain.shape)]
        return self.operator.vjp(self.at.to(r.dtype).expand(*batch, *self.domain.shape).contiguous(), r)

    def rows(self, like: Tensor) -> Tensor:
        """J(m₀), (codomain.size, domain.size), by as many products as its smaller side has."""
        return dense_jacobian(self.operator, self.at).to(like)

    def dense(self) -> Dense:
        """The same map with J written out: quicker where it is used again and again."""
        jacobian = self.rows(self.at)
        constant = self.value - self.codomain.unflat(jacobian @ self.at.flatten())
        return Dense(self.domain, self.codomain, jacobian, constant)

    def select(self, dim: str, labels: Any) -> Linearised:
        """The tangent of the selected operator, which may be cheaper."""
        return Linearised(self.operator.select(dim, labels), self.at)

    @staticmethod
    def example() -> Linearised:
        """The exponential about a point of its own."""
        operator = Exponential(Space("m", {"x": 4}))
        return Linearised(operator, torch.tensor([0.3, -0.2, 0.0, 0.5], dtype=torch.float64))
