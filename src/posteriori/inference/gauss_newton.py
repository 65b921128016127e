"""Gauss and Newton's view of an inverse problem with a Gaussian prior, from products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.covariance import Covariance, cholesky
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.prior import GaussianLaw
from posteriori.core.run import Progress, silent
from posteriori.core.target import Inverse, Target
from posteriori.inference.curvature import gradient, noise_curvature

HALVINGS = 30
BENT = 0.2
"""A step whose best length differs by more than this share is tried at that length too."""
STUCK = 1e-3
"""A search that stands still is at its minimum, but for rounding, where it promised less than this share."""


@dataclass(frozen=True)
class Mode:
    """Where misfit + ½ |m - centre|² in the prior's norm is least.

    Attributes:
        x: the point, flat (*batch, n).
        dual: a with m = centre + K a, (*batch, n); K is the prior covariance.
        energy: misfit + ½ aᵀ K a, float64 (*batch,).
    """

    x: Tensor
    dual: Tensor
    energy: Tensor


def gaussian_prior_of(target: Target, who: str) -> tuple[Inverse, GaussianLaw]:
    """A question with a Gaussian prior, gaps in the data left out, and that prior.

    Raises:
        UnanswerableError: it is of another kind.
    """
    if not isinstance(target, Inverse):
        raise UnanswerableError(f"{who} answers Inverse targets, not {type(target).__name__}; use HMC.")
    if not isinstance(target.prior, GaussianLaw):
        raise UnanswerableError(f"{who} needs a Gaussian prior, not {type(target.prior).__name__}; use HMC or Stein.")
    return target.seen(), target.prior


class Linearised:
    """The operator and the noise near ``x`` (*batch, n): Jᵀ W J by one ``jvp`` and one ``vjp``.

    W ≥ 0 is the curvature of the noise at the prediction; negative curvature (heavy tails) counts as zero.
    """

    def __init__(self, target: Inverse, x: Tensor) -> None:
        self.operator, self.x = target.operator, target.space.unflat(x)
        self.weigh = _weighing(target, self.x)

    def curve(self, v: Tensor) -> Tensor:
        """Jᵀ W J v for (*more, *batch, n)."""
        domain, codomain = self.operator.domain, self.operator.codomain
        x = self._points(v)
        pushed = codomain.flat(self.operator.jvp(x, domain.unflat(v)))
        return self.pull(self.weigh(pushed))

    def pull(self, r: Tensor) -> Tensor:
        """Jᵀ r for flat residuals (*more, *batch, m)."""
        domain, codomain = self.operator.domain, self.operator.codomain
        return domain.flat(self.operator.vjp(self._points(r), codomain.unflat(r))).detach()

    def _points(self, v: Tensor) -> Tensor:
        shape = (*v.shape[:-1], *self.operator.domain.shape)
        return self.x.expand(shape).contiguous().to(v.dtype)


def most_likely(
    target: Inverse,
    prior: GaussianLaw,
    centre: Tensor | None = None,
    steps: int = 50,
    inner: int = 200,
    tolerance: float = 1e-10,
    close: float = 1e-4,
    progress: Progress = silent,
) -> Mode:
    """The mode by Gauss-Newton steps, each solved by conjugate gradients in the prior's own norm, and halved until the
    energy falls; K⁻¹ is never asked for, and the prior preconditions.

    Args:
        target: without gaps (``target.seen()``).
        prior: gives K.
        centre: (*batch, n), other than the prior's mean.
        steps: most Gauss-Newton steps.
        inner: most products in each.
        tolerance: a problem is done where a whole step promises to lower the energy [nat] by less.
        close: the same for those that are slow, once ``steps`` are spent; 1e-4 nat are 0.014 standard deviations.
        progress: shows the steps.

    Reference: Bui-Thanh, Ghattas, Martin & Stadler (2013), A computational framework for infinite-dimensional Bayesian
    inverse problems, SIAM J. Sci. Comput. 35, A2494.

    Raises:
        UnanswerableError: the energy is not finite at the centre, or no mode is found within ``steps``.
    """
    if steps < 1 or inner < 1 or not tolerance > 0:
        raise OptionError(f"steps {steps}, inner {inner} and tolerance {tolerance} must be positive.")
    space, k = target.space, prior.covariance
    start = space.flat(prior.location if centre is None else space.unflat(centre))
    lead = max(target.batch, start.shape[:-1], key=len)
    x = start.to(_working(target, k)).expand(*lead, space.size).clone()
    a, pull = torch.zeros_like(x), torch.zeros_like(x)
    misfit, slope = _misfit_and_slope(target, x)
    if not bool(torch.isfinite(misfit).all()):
        raise UnanswerableError(
            "the misfit is not finite at the prior's mean, where the search starts; shift the mean."
        )
    energy, first = misfit, None
    done = torch.zeros_like(misfit, dtype=torch.bool)
    for _ in progress(range(steps), "Gauss-Newton", steps):
        g = a + slope
        kg = k.matmul(g)
        size = _dot(g, kg)
        first = size if first is None else first
        share = (size / first.clamp_min(1e-300)).clamp(0, 1).sqrt().clamp(1e-6, 0.1)
        linear = Linearised(target, x)
        da, dx = _newton_step(k, linear.curve, -g, -kg, share, inner)
        promised = 0.5 * -_dot(da, kg)
        done = done | (promised <= tolerance)
        if bool(done.all()):
            return Mode(x, a, energy)
        length, waiting, bent = torch.ones_like(energy), ~done, torch.zeros_like(done)
        moved: tuple[Tensor, ...] = (x, a, pull, energy, slope)
        for _ in range(HALVINGS):
            t = torch.where(waiting | bent, length, 0.0)[..., None].to(x.dtype)
            tried_x, tried_a, tried_pull = x + t * dx, a + t * da, pull + t * dx
            misfit, tried_slope = _misfit_and_slope(target, tried_x)
            tried = misfit + 0.5 * _dot(tried_a, tried_pull)
            better = (waiting & (tried < energy - 1e-4 * length * promised)) | (bent & (tried < moved[3]))
            moved = _where(better, (tried_x, tried_a, tried_pull, tried, tried_slope), moved)
            # the true curvature along the step, which Gauss and Newton's leaves out, may ask for another length
            best = promised * length.square() / (tried - energy + 2 * promised * length).clamp_min(1e-300)
            bent = waiting & better & ((best / length - 1).abs() > BENT)
            waiting = waiting & ~better
            if not bool((waiting | bent).any()):
                break
            length = torch.where(bent, torch.minimum(best, 2 * length), 0.5 * length)
        stuck = waiting & (promised > STUCK * (1 + energy.abs()))
        if bool(stuck.any()):
            raise UnanswerableError(
                f"{int(stuck.sum())} of {stuck.numel()} problems found no lower energy along a Gauss-Newton step that "
                f"promised {float(promised[stuck].max()):.2g} nat: check the operator's jvp and vjp (check_operator)."
            )
        done = done | waiting
        x, a, pull, energy, slope = moved
    done = done | (promised < close)
    if bool(done.all()):
        return Mode(x, a, energy)
    raise UnanswerableError(
        f"no mode within {steps} Gauss-Newton steps ({int((~done).sum())} of {done.numel()} problems are not there, "
        f"{float(promised[~done].max()):.2g} nat promised): raise steps or tolerance, or use HMC."
    )


def _newton_step(
    k: Covariance, curve: Callable[[Tensor], Tensor], g: Tensor, kg: Tensor, share: Tensor, most: int
) -> tuple[Tensor, Tensor]:
    """δ and K δ with (I + H K) δ = g, by conjugate gradients in the norm of K, to ``share`` of its size."""
    delta, kdelta = torch.zeros_like(g), torch.zeros_like(g)
    r, kr = g, kg
    p, kp = r, kr
    size = _dot(r, kr)
    enough = size * share.square()
    for _ in range(most):
        q = p + curve(kp)
        bend = _dot(q, kp)
        going = (size > enough) & (bend > 0)
        if not bool(going.any()):
            break
        step = torch.where(going, size / bend.clamp_min(1e-300), 0.0)[..., None].to(g.dtype)
        delta, kdelta, r = delta + step * p, kdelta + step * kp, r - step * q
        kr = k.matmul(r)
        left = _dot(r, kr)
        turn = torch.where(going, left / size.clamp_min(1e-300), 0.0)[..., None].to(g.dtype)
        p, kp = r + turn * p, kr + turn * kp
        size = torch.where(going, left, size)
    return delta, kdelta


def _misfit_and_slope(target: Inverse, flat: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = flat.detach().requires_grad_()
        misfit = target.misfit(target.space.unflat(point))
        slope = gradient(misfit, point)
    misfit = misfit.detach()
    good = torch.isfinite(misfit) & torch.isfinite(slope).all(-1)
    return torch.where(good, misfit, torch.inf), slope.detach()


def _weighing(target: Inverse, x: Tensor) -> Callable[[Tensor], Tensor]:
    """r → W r for flat (*more, *batch, m)."""
    noise = target.noise
    if isinstance(noise, Normal):
        variance = noise.variance(target.operator.codomain.size).detach()
        return lambda r: r / variance.to(r.dtype)
    if isinstance(noise, CorrelatedNoise):
        factor = cholesky(noise.matrix().detach().double())
        return lambda r: torch.cholesky_solve(r.double()[..., None], factor)[..., 0].to(r.dtype)
    bend = noise_curvature(target, x).detach()
    return lambda r: bend.to(r.dtype) * r


def _working(target: Inverse, k: Covariance) -> torch.dtype:
    return target.data.dtype if target.data.is_floating_point() else k.like.dtype


def _where(where: Tensor, yes: tuple[Tensor, ...], no: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(
        torch.where(where[..., None] if a.ndim > where.ndim else where, a, b) for a, b in zip(yes, no, strict=True)
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() * b.double()).sum(-1)
