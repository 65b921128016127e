"""Modes of energies with a kink or a wall, by accelerated proximal gradient steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.prior import GaussianLaw, Prior
from posteriori.core.target import Inverse
from posteriori.inference.curvature import gradient
from posteriori.inference.tikhonov import white_residual, whitened, whitened_transpose
from posteriori.learn.penalty import Penalty
from posteriori.learn.sparse import SparseCoefficients

CHECKED = 10
"""A duality gap is looked at every so many steps."""
ROUNDING = 1e-12
"""A rise of the energy by this share is none."""
HALVINGS = 60
"""Of a step before the search is given up."""


@runtime_checkable
class Proximal(Prior, Protocol):
    """A term of an energy that need not be smooth, known by its proximal step."""

    def charge(self, x: Tensor) -> Tensor:
        """Its value, float64 (*problem,), up to a constant; infinite outside its domain."""

    def prox(self, x: Tensor, step: Tensor) -> Tensor:
        """argmin_y ½ ‖y - x‖² + step · charge(y); ``step`` broadcasts to ``x``."""


@dataclass(frozen=True)
class Optimum:
    """Where an energy is least. A point estimate: it says nothing about how sure it is.

    Attributes:
        x: (*problem, *space.shape).
        energy: there, (*problem,).
        steps: taken.
        converged: per problem.
        gap: how far the energy is from the least one at most, (*problem,); None where there is no dual at hand.
        history: energies after each step, (steps + 1, *problem).
    """

    x: Tensor
    energy: Tensor
    steps: int
    converged: Tensor
    gap: Tensor | None
    history: Tensor


@dataclass(frozen=True)
class Fista:
    """min smooth(x) + term(x) by x ← prox(y - s ∇smooth(y)) with Nesterov's y, for many problems at once.

    The step is halved until the quadratic bound holds; where a step raises the energy, momentum starts anew from a
    plain step, so that the energy never rises but by rounding. It ends where the duality gap, or without one the change
    of x, falls below ``tolerance`` of the energy (of x).

    Args:
        iterations: most steps.
        tolerance: relative duality gap, or relative change of x.
        accelerated: False for plain proximal gradient steps (ISTA).

    Reference: Beck & Teboulle (2009), A fast iterative shrinkage-thresholding algorithm for linear inverse problems,
    SIAM J. Imaging Sci. 2, 183; O'Donoghue & Candès (2015), Adaptive restart for accelerated gradient schemes, Found.
    Comput. Math. 15, 715.
    """

    iterations: int = 5000
    tolerance: float = 1e-8
    accelerated: bool = True

    def __post_init__(self) -> None:
        if self.iterations < 1 or not self.tolerance > 0:
            raise OptionError(f"iterations={self.iterations}, tolerance={self.tolerance} must be positive.")

    def minimise(
        self,
        smooth: Callable[[Tensor], Tensor],
        term: Proximal,
        start: Tensor,
        gap: Callable[[Tensor], Tensor] | None = None,
    ) -> Optimum:
        """The least of ``smooth`` ((*problem, *space.shape) → (*problem,), differentiable) plus ``term``."""
        dims = len(term.space.shape)
        x = term.prox(start, torch.zeros((), dtype=start.dtype))
        value, slope = _with_slope(smooth, x)
        energy = value + term.charge(x)
        if not bool(torch.isfinite(energy).all()):
            raise UnanswerableError("the energy is not finite where the search starts; give another start.")
        step = _first_step(smooth, x, slope, dims)
        y, t, history = x, torch.ones_like(energy), [energy]
        converged = torch.zeros_like(energy, dtype=torch.bool)
        steps = 0
        while steps < self.iterations and not bool(converged.all()):
            steps += 1
            z, found, step = _proximal_step(smooth, term, y, step, dims)
            worse = found > energy + ROUNDING * (1 + energy.abs())
            if bool(worse.any()) and steps > 1:
                plain, lower, step = _proximal_step(smooth, term, x, step, dims)
                z, found = torch.where(_wide(worse, dims), plain, z), torch.where(worse, lower, found)
                t = torch.where(worse, 1.0, t)
            following = 0.5 + 0.5 * (1 + 4 * t.square()).sqrt() if self.accelerated else torch.ones_like(t)
            y = z + _wide((t - 1) / following, dims).to(z.dtype) * (z - x)
            moved = term.space.flat(z - x).double().norm(dim=-1)
            x, energy, t = z, found, following
            history.append(energy)
            if gap is None:
                converged = moved <= self.tolerance * (term.space.flat(x).double().norm(dim=-1) + 1e-300)
            elif steps % CHECKED == 0:
                converged = gap(x) <= self.tolerance * (1 + energy.abs())
        return Optimum(x, energy, steps, converged, None if gap is None else gap(x), torch.stack(history))


def mode(target: Inverse, term: Proximal | None = None, fista: Fista | None = None) -> Optimum:
    """The most probable unknown: misfit + prior, with the prior's kink or the wall of ``term`` handled exactly.

    Without ``term`` the prior itself is proximal (``SparseCoefficients``, ``TotalVariation``); with it (``Bounds``)
    the prior is smooth and ``term`` is added. It is a point, not a posterior: for that, sample the same target by HMC,
    which is exact for these priors.

    Raises:
        UnanswerableError: no proximal term.
    """
    fista = fista or Fista()
    own = target.prior if term is None else term
    if not isinstance(own, Proximal):
        raise UnanswerableError(
            f"{type(own).__name__} has no proximal step; give one as term, e.g. Bounds, or use Laplace for smooth ones."
        )
    smooth = target.misfit if term is None else target.energy
    start = torch.zeros(*target.batch, *target.space.shape, dtype=torch.float64, device=target.data.device)
    if isinstance(target.prior, (GaussianLaw, Penalty, SparseCoefficients)):
        start = start + target.prior.location
    with torch.no_grad():
        gap = (
            duality_gap(target) if term is None and isinstance(own, SparseCoefficients) and _gaussian(target) else None
        )
        return fista.minimise(smooth, own, start, gap)


def duality_gap(target: Inverse) -> Callable[[Tensor], Tensor]:
    """How far misfit + Σ |c| / b is from its least value, at most, for a linear target with sparse coefficients.

    With r the whitened residual and θ = r · min(1, 1 / max |b W Jᵀ R^-½ r|) a feasible point of the dual, whose value
    is ½ ‖d‖² - ½ ‖d - θ‖².
    """
    seen = target.seen()
    prior = seen.prior
    assert isinstance(prior, SparseCoefficients)
    operator = seen.operator
    whole = white_residual(seen, prior.location)

    def gap(x: Tensor) -> Tensor:
        body = prior.basis.adjoint(prior.coefficients(x))
        r = whole - whitened(seen.noise, operator.codomain.flat(operator.matmul(body)).reshape(whole.shape))
        back = operator.codomain.unflat(whitened_transpose(seen.noise, r.mT).mT)
        reach = prior.basis.codomain.flat(prior.scales() * prior.basis.matmul(operator.adjoint(back))).abs().amax(-1)
        theta = r / reach.clamp_min(1.0)[:, None]
        primal = 0.5 * r.square().sum(-1) + prior.charge(x).reshape(-1)
        dual = 0.5 * (whole.square().sum(-1) - (whole - theta).square().sum(-1))
        return (primal - dual).reshape(seen.batch)

    return gap


def _gaussian(target: Inverse) -> bool:
    return target.operator.linear and isinstance(target.noise, (Normal, CorrelatedNoise))


def _with_slope(smooth: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        value = smooth(point)
        slope = gradient(value, point)
    return value.detach(), slope


def _first_step(smooth: Callable[[Tensor], Tensor], x: Tensor, slope: Tensor, dims: int) -> Tensor:
    """One over the curvature along the slope, (*problem,); a first guess, halved later where it is too long."""
    size = slope.flatten(x.ndim - dims).norm(dim=-1).clamp_min(1e-300)
    scale = (1.0 + x.flatten(x.ndim - dims).norm(dim=-1)) * 1e-4
    nudge = slope * _wide(scale / size, dims)
    change = (_with_slope(smooth, x + nudge)[1] - slope).flatten(x.ndim - dims).norm(dim=-1)
    return torch.where(change > 0, scale / change.clamp_min(1e-300), 1.0)


def _proximal_step(
    smooth: Callable[[Tensor], Tensor], term: Proximal, y: Tensor, step: Tensor, dims: int
) -> tuple[Tensor, Tensor, Tensor]:
    """prox(y - s ∇smooth(y)), its energy, and the longest s, halved from ``step``, where the quadratic bound holds."""
    value, slope = _with_slope(smooth, y)
    for _ in range(HALVINGS):
        wide = _wide(step, dims).to(y.dtype)
        z = term.prox(y - wide * slope, wide)
        gone = (z - y).flatten(y.ndim - dims).double()
        bound = value + (slope.flatten(y.ndim - dims).double() * gone).sum(-1) + 0.5 * gone.square().sum(-1) / step
        found = smooth(z)
        long = ~(found <= bound + ROUNDING * (1 + value.abs()))
        if not bool(long.any()):
            return z, found + term.charge(z), step
        step = torch.where(long, 0.5 * step, step)
    raise UnanswerableError(
        f"no step shorter than {float(step.min()):.1e} lowers the energy: its derivative is wrong, or it is not smooth "
        "there; check the operator with check_operator."
    )


def _wide(x: Tensor, dims: int) -> Tensor:
    """(*problem,) → (*problem, 1, …), to multiply fields."""
    return x.reshape(*x.shape, *(1,) * dims)
