"""The answer to a linear-Gaussian question by another road than the package's own: dense, from the unknown's side."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.prior import GaussianLaw
from posteriori.core.support import Classes
from posteriori.core.target import Boltzmann, Conditioned, Inverse, Target
from posteriori.physics.gaussian_mixture import GaussianMixture

MOST_STATES = 2**16


@dataclass(frozen=True)
class ClosedForm:
    """Mean (*problem, n), covariance (n, n) and log-evidence (*problem,), float64."""

    mean: Tensor
    covariance: Tensor
    log_evidence: Tensor


def closed_form(target: Target) -> ClosedForm:
    """H = K⁻¹ + Jᵀ R⁻¹ J; mean μ + H⁻¹ Jᵀ R⁻¹ (d - J μ - b); evidence from |H| |K| |R|. J column by column.

    Of an energy over few classes, sums over all its states; of a mixture of Gaussians, and of a Gaussian law beyond a
    plane, the moments.

    Raises:
        UnanswerableError: the question is neither, or something in it learns.
    """
    if isinstance(target, Boltzmann) and isinstance(target.space.support, Classes):
        return _summed(target, len(target.space.support.names))
    if isinstance(target, Boltzmann) and isinstance(target.potential, GaussianMixture) and target.beta == 1:
        return _mixed(target.potential)
    if isinstance(target, Conditioned) and target.operator.linear and isinstance(target.prior, GaussianLaw):
        return _beyond(target, target.prior)
    if not (
        isinstance(target, Inverse)
        and target.operator.linear
        and isinstance(target.prior, GaussianLaw)
        and isinstance(target.noise, Normal)
        and not any(p.requires_grad for p in target.parameters())
    ):
        raise UnanswerableError("there is no closed form: the question is not linear-Gaussian, or it learns.")
    seen = target.seen()
    assert isinstance(seen.noise, Normal)
    operator, domain, codomain = seen.operator, seen.operator.domain, seen.operator.codomain
    eye = torch.eye(domain.size, dtype=torch.float64)
    b = codomain.flat(operator(domain.unflat(torch.zeros_like(eye[0]))))
    j = (codomain.flat(operator(domain.unflat(eye))) - b).T
    k = target.prior.covariance.dense().double()
    variance = seen.noise.variance(codomain.size).double()
    mu = domain.flat(target.prior.location).double()
    residual = codomain.flat(seen.data).double() - mu @ j.T - b
    h = torch.linalg.inv(k) + (j.T / variance) @ j
    shift = torch.linalg.solve(h, ((residual / variance) @ j)[..., None])[..., 0]
    quadratic = (residual.square() / variance).sum(-1) - (shift * ((residual / variance) @ j)).sum(-1)
    log_det = torch.logdet(h) + torch.logdet(k) + variance.log().sum()
    evidence = -0.5 * (quadratic + log_det + codomain.size * log(2 * pi))
    return ClosedForm(mu + shift, torch.linalg.inv(h), evidence)


def _mixed(mixture: GaussianMixture) -> ClosedForm:
    """Mean and covariance of a mixture of Gaussians, whose integral is one."""
    w, means = mixture.log_weights.exp(), mixture.means
    mean = w @ means
    apart = means - mean
    own = mixture.scale**2 * torch.eye(len(mean), dtype=torch.float64)
    return ClosedForm(mean, own + apart.mT @ (w[:, None] * apart), torch.zeros((), dtype=torch.float64))


def _beyond(target: Conditioned, law: GaussianLaw) -> ClosedForm:
    """A Gaussian law where J x + b > level: β = (level - J μ - b) / s, λ = φ(β) / Q(β), log Q(β) is the evidence."""
    space = target.space
    eye = torch.eye(space.size, dtype=torch.float64)
    b = target.height(space.unflat(torch.zeros_like(eye[0])))
    j = target.height(space.unflat(eye)) - b
    k, mu = law.covariance.dense().double(), space.flat(law.location).double()
    s = (j @ k @ j).sqrt()
    beta = (target.level - j @ mu - b) / s
    evidence = torch.special.log_ndtr(-beta)
    slope = (-0.5 * beta.square() - 0.5 * log(2 * pi) - evidence).exp()
    lean = k @ j / s
    return ClosedForm(mu + lean * slope, k - torch.outer(lean, lean) * slope * (slope - beta), evidence)


def _summed(target: Boltzmann, classes: int) -> ClosedForm:
    """Mean and covariance of the codes 0, 1, … and log Σ exp(-energy)."""
    space = target.space
    if classes**space.size > MOST_STATES:
        raise UnanswerableError(f"{space} has {classes}^{space.size} states, too many to be summed.")
    digits = classes ** torch.arange(space.size)
    x = (torch.arange(classes**space.size)[:, None] // digits % classes).double()
    with torch.no_grad():
        log_p = -target.energy(space.unflat(x))
    evidence = torch.logsumexp(log_p, 0)
    p = (log_p - evidence).exp()
    mean = p @ x
    return ClosedForm(mean, (x - mean).mT @ (p[:, None] * (x - mean)), evidence)
