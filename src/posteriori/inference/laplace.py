"""A Gaussian at the mode, with the curvature there."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.posterior import Posterior
from posteriori.core.prior import GaussianLaw, Samples
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.support import Classes
from posteriori.core.target import Inverse, Target
from posteriori.inference.curvature import Curvature, FullHessian, gradient
from posteriori.inference.parts import written_out
from posteriori.inference.problems import regression

START_DRAWS = 64
NUDGE = 0.1
SINGULAR = 1e-13


@dataclass(frozen=True)
class Laplace:
    """N(mode, H⁻¹), H the second derivative of the energy at its minimum; log-evidence -E + n/2 log 2π - ½ log |H|.

    Exact for linear-Gaussian targets. Elsewhere an approximation whose bias is the energy's third and higher
    derivatives over the width of the posterior: skewness, several modes and heavy tails are not seen, and the spread
    is usually too small. Repair it with Conformal, check it with Importance (k̂). Far from data, and for unknowns
    with borders, the law may reach outside the support.

    The mode is found by damped Newton steps (Levenberg & Marquardt), each problem with its own damping.

    Args:
        curvature: FullHessian, or GaussNewton where the full one is costly or not positive definite.
        steps: most steps to the mode.
        tolerance: the mode is reached when a whole step would lower the energy by less.

    Reference: Tierney & Kadane (1986), Accurate approximations for posterior moments, JASA 81, 82; Nocedal & Wright
    (2006), Numerical Optimization, Springer, section 10.3.
    """

    curvature: Curvature = FullHessian()  # noqa: RUF009
    steps: int = 100
    tolerance: float = 1e-14

    references: ClassVar[tuple[str, ...]] = (
        "Tierney & Kadane (1986), Accurate approximations for posterior moments, JASA 81, 82.",
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.tolerance > 0:
            raise OptionError(f"steps {self.steps} and tolerance {self.tolerance} must be positive.")

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The Gaussian at the mode; several problems have a covariance each.

        Raises:
            UnanswerableError: an energy without derivative, no mode within ``steps``, or a curvature there that is not
                positive definite.
        """
        fixed = written_out(target)
        mode = self.mode(fixed, context.rng)
        h = self.curvature(fixed, mode).detach()
        factor = _factor(h, self.curvature)
        covariance = DenseCovariance(torch.cholesky_inverse(factor).to(mode.dtype))
        with torch.no_grad():
            evidence = _log_evidence(fixed.energy(mode), factor)
        problems = target.problems if isinstance(target, Inverse) else None
        return Gaussian(target.space, mode, covariance, problems=problems, log_evidence=evidence)

    def log_evidence(self, target: Target) -> Tensor:
        """The Laplace formula, float64 (*problem,), differentiable in every learnt part, the motion of the mode too."""
        mode = self.mode(target, Rng(0))
        h = self.curvature(target, mode).detach()
        with torch.enable_grad():
            point = mode.detach().requires_grad_()
            slope = target.space.flat(gradient(target.energy(point), point, create_graph=True)).double()
            # one Newton step has the value of the mode and the derivative of its motion
            moved = target.space.flat(mode) - torch.linalg.solve(h, slope[..., None])[..., 0].to(mode.dtype)
            x = target.space.unflat(moved)
            return _log_evidence(
                target.energy(x), _factor(self.curvature(target, x, create_graph=True), self.curvature)
            )

    def mode(self, target: Target, rng: Rng) -> Tensor:
        """Where the energy is least, (*problem, *space.shape).

        Raises:
            UnanswerableError: it is not found within ``steps``.
        """
        if isinstance(target.space.support, Classes):
            raise UnanswerableError(f"{target.space.name} takes classes, which have no derivative; use Importance.")
        x = target.space.flat(_start(target, rng)).clone()
        eye = torch.eye(x.shape[-1], dtype=torch.float64, device=x.device)
        energy, slope = _energy_and_slope(target, x)
        if not bool(torch.isfinite(energy).all()):
            raise UnanswerableError("the energy is not finite at the prior's mean, where the search starts; use HMC.")
        damping = torch.full_like(energy, 1e-6)
        h = self.curvature(target, target.space.unflat(x)).detach()
        for _ in range(self.steps):
            scale = h.diagonal(dim1=-2, dim2=-1).abs().mean(-1).clamp_min(1e-300)
            left, convex = _decrement(h, slope, scale)
            rounding = (1e3 * torch.finfo(x.dtype).eps) ** 2 * (1 + energy.abs())
            enough = rounding.clamp_min(self.tolerance)
            if bool((left < enough).all()):
                nudge = torch.zeros_like(x) if bool(convex.all()) else _downhill(h, scale)
                if not bool(nudge.any()):
                    return target.space.unflat(x)
                x = x + nudge
                energy, slope = _energy_and_slope(target, x)
                h = self.curvature(target, target.space.unflat(x)).detach()
                continue
            factor, info = torch.linalg.cholesky_ex(h + (damping * scale)[..., None, None] * eye)
            convex = info == 0
            factor = torch.where(convex[..., None, None], factor, eye)
            step = -torch.cholesky_solve(slope[..., None], factor)[..., 0]
            promised = -0.5 * (step * (slope - (damping * scale)[..., None] * step)).sum(-1)
            tried, tried_slope = _energy_and_slope(target, x + step.to(x.dtype))
            better = convex & (tried <= energy + torch.where(left < 1e-8, 1e-13 * (1 + energy.abs()), 0.0))
            kept = ((energy - tried) / promised.clamp_min(1e-300)).clamp(-1.0, 2.0)
            x = torch.where(better[..., None], x + step.to(x.dtype), x)
            energy, slope = torch.where(better, tried, energy), torch.where(better[..., None], tried_slope, slope)
            eased = (1 - (2 * kept - 1) ** 3).clamp(0.1, 2.0)
            damping = (damping * torch.where(better, eased, 10.0)).clamp(1e-12, 1e12)
            if bool(better.any()):
                h = self.curvature(target, target.space.unflat(x)).detach()
        raise UnanswerableError(
            f"no mode within {self.steps} steps ({int((left >= enough).sum())} of {left.numel()} problems are "
            "not there): raise steps, use GaussNewton() as the curvature, or HMC."
        )

    @staticmethod
    def example() -> tuple[Laplace, Inverse]:
        """A linear question, for which it is exact."""
        return Laplace(), regression()


def _energy_and_slope(target: Target, flat: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = flat.detach().requires_grad_()
        energy = target.energy(target.space.unflat(point))
        slope = gradient(energy, point)
    energy = energy.detach()
    good = torch.isfinite(energy) & torch.isfinite(slope).all(-1)
    return torch.where(good, energy, torch.inf), slope.double()


def _decrement(h: Tensor, slope: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """What a whole step would gain, ½ gᵀ H⁻¹ g, and where H is positive definite; elsewhere with its mean diagonal."""
    factor, info = torch.linalg.cholesky_ex(h)
    safe = torch.where((info == 0)[..., None, None], factor, torch.eye(h.shape[-1], dtype=h.dtype, device=h.device))
    whole = 0.5 * (slope * torch.cholesky_solve(slope[..., None], safe)[..., 0]).sum(-1)
    return torch.where(info == 0, whole, 0.5 * slope.square().sum(-1) / scale), info == 0


def _downhill(h: Tensor, scale: Tensor) -> Tensor:
    """A step off each saddle point along its steepest way down; zero at minima and along flat valleys."""
    values, vectors = torch.linalg.eigh(h)
    steep = values[..., 0] < -1e-6 * scale
    length = torch.where(steep, NUDGE * values[..., 0].abs().clamp_min(1e-300).rsqrt(), 0.0)
    return length[..., None] * vectors[..., 0]


def _factor(h: Tensor, curvature: Curvature) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(h)
    own = h.detach().diagonal(dim1=-2, dim2=-1)
    # what is left of each diagonal element, free of units: rounding alone means a free direction
    left = factor.detach().diagonal(dim1=-2, dim2=-1).square() / own.clamp_min(1e-300)
    if bool(info.any()) or bool((left < SINGULAR).any()):
        least = float(torch.linalg.eigvalsh(h.detach()).min())
        raise UnanswerableError(
            f"the curvature at the mode is not positive definite (least eigenvalue {least:.2e}) by {curvature}: the "
            "data leave a direction free or the energy is not convex there. Use GaussNewton(), a proper prior, or HMC."
        )
    return factor


def _log_evidence(energy: Tensor, factor: Tensor) -> Tensor:
    n = factor.shape[-1]
    return 0.5 * n * log(2 * pi) - energy - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _start(target: Target, rng: Rng) -> Tensor:
    """The prior's mean for every problem; zeros without a prior that can be drawn from."""
    prior = target.prior if isinstance(target, Inverse) else None
    batch = target.batch if isinstance(target, Inverse) else ()
    like = target.data if isinstance(target, Inverse) else torch.zeros((), dtype=torch.float64)
    if isinstance(prior, GaussianLaw):
        mean = prior.location.detach()
    elif isinstance(prior, Posterior):
        mean = prior.center()
    elif isinstance(prior, Samples):
        mean = prior.sample(START_DRAWS, rng.child("start")).mean(0)
    else:
        mean = torch.zeros(target.space.shape)
    dtype = like.dtype if like.is_floating_point() else torch.float64
    return mean.to(dtype=dtype, device=like.device).expand(*batch, *target.space.shape)
