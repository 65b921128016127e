"""Tikhonov's damped least squares with the whole Gaussian posterior, its strength chosen for each problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.covariance import ConditionedCovariance, Covariance, DenseCovariance, ScaledCovariance, cholesky
from posteriori.core.errors import UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise, Normal
from posteriori.core.prior import GaussianLaw
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.damping import Choice, GeneralisedCrossValidation, MaximumEvidence
from posteriori.inference.exact import noise_matrix
from posteriori.inference.filters import Filters
from posteriori.inference.problems import regression
from posteriori.learn.penalty import Penalty

FREE = 1e-12
"""A direction that data and penalty together see less than this share of the best-seen one is free."""


@dataclass(frozen=True)
class Tikhonov:
    """N(m̂, (JᵀR⁻¹J + λ LᵀL)⁻¹) with m̂ the least of (d - Jm)ᵀR⁻¹(d - Jm) + λ ‖L (m - mean)‖².

    The prior is a :class:`~posteriori.learn.penalty.Penalty` (L = 1, ∇, ∇² or the user's own, proper or not), or any
    Gaussian law, whose precision λ multiplies. Each problem of a batch has its own λ.

    Args:
        choice: how λ is found; ``Fixed(1.0)`` takes prior or penalty as they are and is then exact.

    Reference: Tarantola (2005), Inverse Problem Theory, SIAM, section 3.2; Hansen (2010), Discrete Inverse Problems,
    SIAM.
    """

    choice: Choice = field(default_factory=GeneralisedCrossValidation)

    bias: ClassVar[str] = (
        "Takes the strength chosen from the data as known: intervals leave its uncertainty out, the more so the fewer "
        "the data."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Tarantola (2005), Inverse Problem Theory, SIAM, section 3.2.",
        "Hansen (2010), Discrete Inverse Problems: Insight and Algorithms, SIAM.",
    )

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The Gaussian posterior; its strengths are ``strength(target)``.

        Raises:
            UnanswerableError: the question is not linear with Gaussian noise, or data and penalty leave a direction
                free.
        """
        with torch.no_grad():
            problem = taken_apart(target)
            strength = self.choice(problem.filters)
            mean = problem.means(strength)
            inverse = problem.target
            location = inverse.space.unflat(mean.reshape(*inverse.batch, -1))
            evidence = None
            if bool((problem.filters.penalty > 0).all()):
                evidence = problem.filters.log_evidence(strength[:, None])[:, 0].reshape(inverse.batch)
            return Gaussian(
                inverse.space,
                location,
                problem.covariance(strength),
                problems=inverse.problems,
                log_evidence=evidence,
            )

    def strength(self, target: Target) -> Tensor:
        """λ of each problem, (*problem,)."""
        with torch.no_grad():
            problem = taken_apart(target)
            return self.choice(problem.filters).reshape(problem.target.batch)

    @staticmethod
    def example() -> tuple[Tikhonov, Inverse]:
        """The strength of a Gaussian prior, by the evidence."""
        return Tikhonov(MaximumEvidence()), regression(data=12)


@dataclass(frozen=True)
class ByPenalty:
    """Data and penalty diagonal together: J X = U c, L X = V s (the generalised singular value decomposition).

    Attributes:
        target: the question, gaps left out.
        filters: c², s² and what is seen.
        directions: X, (n, n).
        expected: the mean of the penalty, (n,).
    """

    target: Inverse
    filters: Filters
    directions: Tensor
    expected: Tensor

    def means(self, strength: Tensor) -> Tensor:
        """m̂, (problems, n)."""
        f = self.filters
        weights = f.signal.sqrt() * f.seen / (f.signal + strength[:, None] * f.penalty)
        return self.expected + weights @ self.directions.mT

    def covariance(self, strength: Tensor) -> Covariance:
        """X diag(1 / (c² + λ s²)) Xᵀ, one for all problems where they share λ."""
        shared, batch = _shared(strength, self.target)
        _require_memory(shared, len(self.directions))
        half = self.directions * (self.filters.signal + shared[:, None, None] * self.filters.penalty).rsqrt()
        matrix = half @ half.mT
        return DenseCovariance(matrix.reshape(*batch, *matrix.shape[1:]))


@dataclass(frozen=True)
class ByLaw:
    """A Gaussian prior seen from the data: R^-½ J Σ Jᵀ R^-½ = U diag(c²) Uᵀ, s = 1; the unknown may be large.

    Attributes:
        target: the question, gaps left out.
        prior: its prior.
        filters: c², s² and what is seen.
        pull: Uᵀ R^-½, (m, m).
    """

    target: Inverse
    prior: GaussianLaw
    filters: Filters
    pull: Tensor

    def means(self, strength: Tensor) -> Tensor:
        """Expected values + Σ Jᵀ R^-½ U (c² + λ)⁻¹ β, (problems, n)."""
        operator = self.target.operator
        f = self.filters
        weights = (f.seen / (f.signal + strength[:, None])) @ self.pull
        shift = self.prior.covariance.matmul(operator.domain.flat(operator.adjoint(operator.codomain.unflat(weights))))
        return operator.domain.flat(self.prior.location) + shift

    def covariance(self, strength: Tensor) -> Covariance:
        """Σ/λ given the data; structured where the problems share λ, dense for each otherwise."""
        operator, m = self.target.operator, self.filters.count
        shared, batch = _shared(strength, self.target)
        if not batch:
            stretched = ScaledCovariance(self.prior.covariance, shared.rsqrt())
            s = stretched.under(operator)
            s = s + noise_matrix(self.target.noise, m).to(s)
            return ConditionedCovariance(stretched, operator, cholesky(s))
        _require_memory(shared, self.prior.covariance.size)
        across = self.pull @ self.prior.covariance.across(operator)
        weights = 1 / (shared[:, None] * (self.filters.signal + shared[:, None]))
        seen = (across.mT * weights[:, None, :]) @ across
        matrix = self.prior.covariance.dense() / shared[:, None, None] - seen
        return DenseCovariance(matrix.reshape(*batch, *matrix.shape[1:]))


def taken_apart(target: Target) -> ByPenalty | ByLaw:
    """A linear question as filters, by whichever road its prior allows.

    Raises:
        UnanswerableError: there is none; the message says why.
    """
    if not isinstance(target, Inverse):
        raise UnanswerableError(f"Tikhonov answers Inverse targets, not {type(target).__name__}; use HMC.")
    if not target.operator.linear:
        raise UnanswerableError(f"Tikhonov needs a linear operator; {target.operator} is not: use Laplace or HMC.")
    if not isinstance(target.noise, (Normal, CorrelatedNoise)):
        raise UnanswerableError(f"Tikhonov needs Gaussian noise, not {type(target.noise).__name__}: use Laplace.")
    inverse = target.seen()
    if isinstance(inverse.prior, Penalty):
        return _by_penalty(inverse, inverse.prior)
    if isinstance(inverse.prior, GaussianLaw):
        return _by_law(inverse, inverse.prior)
    raise UnanswerableError(
        f"Tikhonov needs a Penalty or a Gaussian prior, not {type(inverse.prior).__name__}: use HMC."
    )


def whitened(noise: Noise, x: Tensor) -> Tensor:
    """R^-½ x for x (*batch, m), float64."""
    if isinstance(noise, Normal):
        return x.double() / noise.variance(x.shape[-1]).double().sqrt()
    root = cholesky(noise_matrix(noise, x.shape[-1]).double())
    flat = x.double().reshape(-1, x.shape[-1])
    return torch.linalg.solve_triangular(root, flat.mT, upper=False).mT.reshape(x.shape)


def white_residual(target: Inverse, expected: Tensor) -> Tensor:
    """R^-½ (d - J expected - b), (problems, m)."""
    space = target.operator.codomain
    residual = space.flat(target.data.double() - target.operator(expected.double()))
    return whitened(target.noise, residual.reshape(-1, space.size))


def white_rows(target: Inverse, like: Tensor) -> Tensor:
    """R^-½ J, dense (m, n)."""
    operator = target.operator
    m, n = operator.codomain.size, operator.domain.size
    memory.require(4 * 8 * m * n, f"{m} data against {n} cells", "use Exact or ConjugateGradients with a fixed prior")
    return whitened(target.noise, operator.rows(like.double()).mT).mT


def _by_penalty(target: Inverse, prior: Penalty) -> ByPenalty:
    n = target.space.size
    memory.require(6 * 8 * n**2, f"a penalty on {n} cells", "use a Gaussian prior such as Smoothness")
    rows, charge = white_rows(target, prior.weights), prior.rows()
    m = len(rows)
    ratio = torch.linalg.matrix_norm(rows) / torch.linalg.matrix_norm(charge).clamp_min(1e-300)
    q, r = torch.linalg.qr(torch.cat([rows, ratio * charge]))
    pivots = r.diagonal().abs()
    if len(pivots) < n or bool((pivots < FREE * pivots.max()).any()):
        raise UnanswerableError(
            "data and penalty together leave a direction of the unknown free, so that there is no posterior: charge "
            "the values too (order 0), or use a proper prior such as Smoothness."
        )
    u, c, w = torch.linalg.svd(q[:m], full_matrices=m < n)
    k = min(m, n)
    signal = torch.cat([c.square(), c.new_zeros(n - k)])
    penalty = (q[m:] @ w.mT).square().sum(0)
    nothing = (10 * len(q) * torch.finfo(q.dtype).eps) ** 2
    penalty = torch.where(penalty > nothing, penalty, 0.0) / ratio**2
    signal = torch.where(signal > nothing, signal, 0.0)
    residual = white_residual(target, prior.location)
    seen = torch.zeros(len(residual), n, dtype=torch.float64, device=residual.device)
    seen[:, :k] = residual @ u[:, :k]
    seen = torch.where(signal > 0, seen, 0.0)
    outside = (residual - seen[:, :k] @ u[:, :k].mT).square().sum(-1)
    filters = Filters(signal, penalty, seen, outside, m, _log_noise(target))
    directions = torch.linalg.solve_triangular(r, w.mT, upper=True)
    return ByPenalty(target, filters, directions, target.space.flat(prior.location).double())


def _by_law(target: Inverse, prior: GaussianLaw) -> ByLaw:
    operator = target.operator
    m = operator.codomain.size
    memory.require(6 * 8 * m**2, f"a covariance of {m} data", "use ConjugateGradients, or fewer data")
    s = prior.covariance.under(operator).double()
    white = whitened(target.noise, whitened(target.noise, 0.5 * (s + s.mT)).mT)
    signal, u = torch.linalg.eigh(0.5 * (white + white.mT))
    residual = white_residual(target, prior.location)
    pull = whitened_transpose(target.noise, u).mT
    nothing = torch.zeros(len(residual), dtype=torch.float64, device=residual.device)
    filters = Filters(signal.clamp_min(0.0), torch.ones_like(signal), residual @ u, nothing, m, _log_noise(target))
    return ByLaw(target, prior, filters, pull)


def whitened_transpose(noise: Noise, x: Tensor) -> Tensor:
    """R^-½ᵀ x for columns x (m, k)."""
    if isinstance(noise, Normal):
        return x / noise.variance(len(x)).double().sqrt()[:, None]
    return torch.linalg.solve_triangular(cholesky(noise_matrix(noise, len(x)).double()).mT, x, upper=True)


def _log_noise(target: Inverse) -> Tensor:
    """½ log |2π R|: the energy of data that are what was predicted."""
    zero = torch.zeros(target.operator.codomain.size, dtype=torch.float64, device=target.data.device)
    return target.noise.energy(zero, zero)


def _shared(strength: Tensor, target: Inverse) -> tuple[Tensor, tuple[int, ...]]:
    """The strengths that differ and the problems that have them: one and () where all are the same."""
    if bool((strength == strength[0]).all()):
        return strength[:1], ()
    return strength, target.batch


def _require_memory(strength: Tensor, n: int) -> None:
    cheaper = "solve fewer problems at once, or share one strength (Fixed)"
    memory.require(3 * 8 * len(strength) * n**2, f"{len(strength)} covariances of {n} cells", cheaper)
