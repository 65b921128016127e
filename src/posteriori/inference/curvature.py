"""Second derivatives of an energy, whole or by Gauss and Newton, for many problems at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.covariance import DenseCovariance, cholesky
from posteriori.core.errors import UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Operator, TorchOperator
from posteriori.core.prior import GaussianLaw
from posteriori.core.target import Inverse, Target, prior_energy


class Curvature(Protocol):
    """A second-derivative matrix of a target's energy."""

    def __call__(self, target: Target, x: Tensor, create_graph: bool = False) -> Tensor:
        """H (*problem, n, n) at ``x`` (*problem, *space.shape)."""


@dataclass(frozen=True)
class FullHessian:
    """All of ∂²energy/∂x², by differentiating the gradient, for energies that torch can differentiate twice."""

    def __call__(self, target: Target, x: Tensor, create_graph: bool = False) -> Tensor:
        """H (*problem, n, n).

        Raises:
            UnanswerableError: an operator is not written in torch, so that its second derivative is unknown.
        """
        for module in target.modules():
            if isinstance(module, Operator) and not isinstance(module, TorchOperator):
                raise UnanswerableError(f"{module} has no second derivative; use GaussNewton() as the curvature.")
        return hessian(target.energy, x, len(target.space.shape), create_graph)


@dataclass(frozen=True)
class GaussNewton:
    """Jᵀ W J + prior curvature, with W ≥ 0 the noise's curvature at the prediction; leaves out the operator's own bend.

    Exact for linear operators under Normal noise; needs ``jvp`` or ``vjp`` of the operator, whichever is fewer calls.
    The data are independent or Gaussian given the prediction; where W were negative (heavy tails) it is zero.

    Reference: Nocedal & Wright (2006), Numerical Optimization, Springer, section 10.3.
    """

    def __call__(self, target: Target, x: Tensor, create_graph: bool = False) -> Tensor:
        """H (*problem, n, n).

        Raises:
            UnanswerableError: the target is not an Inverse.
        """
        if not isinstance(target, Inverse):
            raise UnanswerableError(f"GaussNewton needs an Inverse target, not {type(target).__name__}: FullHessian().")
        inverse = target.seen()
        jacobian = dense_jacobian(inverse.operator, x)
        if isinstance(inverse.noise, CorrelatedNoise):
            bent = torch.cholesky_solve(jacobian, cholesky(inverse.noise.matrix().double()))
        else:
            bent = noise_curvature(inverse, x)[..., None] * jacobian
        return jacobian.mT @ bent + _prior_curvature(inverse, x, create_graph)


def hessian(f: Callable[[Tensor], Tensor], x: Tensor, dims: int, create_graph: bool = False) -> Tensor:
    """∂²f/∂x² (*problem, n, n) of ``f``: (*problem, *shape) → (*problem,), with ``dims`` axes in the shape.

    Raises:
        UnanswerableError: ``f`` is not differentiable.
        MemoryBudgetError: the matrices do not fit.
    """
    batch = x.shape[: x.ndim - dims]
    n = x[(0,) * len(batch)].numel()
    memory.require(24 * batch.numel() * n**2, f"{batch.numel()} Hessians of {n} cells", "use HMC")
    with torch.enable_grad():
        flat = x.reshape(*batch, n)
        flat = flat if flat.requires_grad else flat.detach().requires_grad_()
        energy = f(flat.reshape(x.shape))
        slope = gradient(energy, flat, create_graph=True)
        rows = []
        for i in range(n):
            row = None
            if slope.requires_grad:
                row = torch.autograd.grad(
                    slope[..., i].sum(), flat, retain_graph=True, create_graph=create_graph, allow_unused=True
                )[0]
            rows.append(torch.zeros_like(flat) if row is None else row)
    h = torch.stack(rows, -2).double()
    return 0.5 * (h + h.mT)


def gradient(energy: Tensor, x: Tensor, create_graph: bool = False) -> Tensor:
    """∂(Σ energy)/∂x.

    Raises:
        UnanswerableError: the energy does not depend on ``x`` by differentiable steps.
    """
    found = None
    if energy.requires_grad:
        found = torch.autograd.grad(energy.sum(), x, create_graph=create_graph, allow_unused=True)[0]
    if found is None:
        raise UnanswerableError(
            "the energy has no derivative in the unknown; use Importance or a method that only evaluates it."
        )
    return found


def dense_jacobian(operator: Operator, x: Tensor) -> Tensor:
    """J(x), (*problem, m, n), float64, by whichever of ``jvp`` and ``vjp`` needs fewer directions."""
    domain, codomain = operator.domain, operator.codomain
    lead = x.ndim - len(domain.shape)
    if operator.linear:
        return operator.rows(x).double().expand(*x.shape[:lead], -1, -1)
    forward = domain.size <= codomain.size
    space = domain if forward else codomain
    units = torch.eye(space.size, dtype=x.dtype, device=x.device).reshape(-1, *(1,) * lead, *space.shape)
    units = units.expand(space.size, *x.shape[:lead], *space.shape).contiguous()
    points = x.detach().expand(space.size, *x.shape).contiguous()
    if forward:
        return codomain.flat(operator.jvp(points, units)).detach().movedim(0, -1).double()
    return domain.flat(operator.vjp(points, units)).detach().movedim(0, -2).double()


def noise_curvature(target: Inverse, x: Tensor) -> Tensor:
    """The diagonal of ∂²noise/∂prediction², (*problem, m), not below zero."""
    space = target.operator.codomain
    with torch.enable_grad():
        prediction = space.flat(target.operator(x.detach())).detach().requires_grad_()
        slope = gradient(target.noise.energy(space.flat(target.data), prediction), prediction, create_graph=True)
        bend = torch.autograd.grad(slope.sum(), prediction, create_graph=True, allow_unused=True)[0]
    return torch.zeros_like(prediction) if bend is None else bend.clamp_min(0.0).double()


def _prior_curvature(target: Inverse, x: Tensor, create_graph: bool) -> Tensor:
    prior = target.prior
    if isinstance(prior, Gaussian) and isinstance(prior.covariance, DenseCovariance) and not create_graph:
        return torch.cholesky_inverse(prior.covariance.root.double())
    if isinstance(prior, GaussianLaw):
        return torch.cholesky_inverse(DenseCovariance(prior.covariance.dense()).root.double())
    return hessian(lambda v: prior_energy(prior, v), x, len(target.space.shape), create_graph)
