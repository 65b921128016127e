"""Particles that go from noise to field with the data in view, weighted by what the view got wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws, systematic
from posteriori.core.prior import GaussianLaw
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.core.weights import ess, normalised
from posteriori.inference.plug_in.question import Levels, Question, descent, linear_question, question, require
from posteriori.inference.plug_in.reference import (
    Reference,
    Seen,
    drawn_given_data,
    log_normal,
    reference_of,
    seen_near,
)
from posteriori.inference.problems import regression
from posteriori.learn.random_fields import GaussianField


@dataclass(frozen=True)
class Twisted:
    """Draws of the posterior under a diffusion prior, right as particles and steps grow; any operator, Gaussian errors.

    At noise level σ a field x₀ given x is taken for N(x̂₀(x), V_σ) with V_σ = (K⁻¹ + σ⁻²)⁻¹ from a Gaussian reference
    of covariance K. Under that law both the draw of the next, less noisy x given the data and the weight it needs are
    known: the weight is N(y; A x̂₀(x'), S) / N(y; A m, S) with S = R + A V A ᵀ, where m is what was expected of x₀ at
    x' and x̂₀(x') what the denoiser says there. It is one for a Gaussian prior with its own covariance, whatever the
    number of steps. Operators that are not linear are linearised at each x̂₀, and the last weight has the true misfit.

    Args:
        particles: of each problem.
        levels: of the way.
        reference: a Gaussian law of the field, such as the project's localised one; without, the prior itself where
            it is Gaussian, else the localised covariance of its draws.
        threshold: share of effective particles below which they are drawn anew.

    The log-evidence is that of the diffusion prior. Rows of one problem share ancestors where particles were drawn
    anew: their number is no effective sample size.

    Reference: Wu, Trippe, Naesseth, Blei & Cunningham (2023), Practical and asymptotically exact conditional sampling
    in diffusion models, NeurIPS; Del Moral, Doucet & Jasra (2006), Sequential Monte Carlo samplers, JRSS B 68, 411.
    """

    particles: int = 64
    levels: Levels = field(default_factory=Levels)
    reference: GaussianLaw | None = None
    threshold: float = 0.5

    references: ClassVar[tuple[str, ...]] = (
        "Wu, Trippe, Naesseth, Blei & Cunningham (2023), Practical and asymptotically exact conditional sampling in "
        "diffusion models, NeurIPS.",
    )

    def __post_init__(self) -> None:
        require(self.particles >= 2, f"particles={self.particles}: at least 2.")
        require(0 <= self.threshold <= 1, f"threshold={self.threshold} is a share of the particles, in [0, 1].")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weighted rows, (particle, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, or errors that are not independent Gaussian ones.
        """
        rng = context.rng
        linear = isinstance(target, Inverse) and target.operator.linear
        asked = (linear_question if linear else question)(target, "Twisted", rng)
        with torch.no_grad():
            x, log_w, evidence, error = run(asked, self, context)
        space = asked.target.space
        draws = Draws(space, space.unflat(x), log_w, problems=asked.target.problems)
        draws.log_evidence, draws.log_evidence_error = evidence, error
        return draws

    @staticmethod
    def example() -> tuple[Twisted, Inverse]:
        """A small question whose answer is known."""
        plain = regression()
        assert isinstance(plain.prior, GaussianLaw)
        prior = GaussianField(plain.space, plain.prior.location, plain.prior.covariance.dense())
        return Twisted(200, Levels(4)), Inverse(plain.operator, prior, plain.data, plain.noise)


def run(asked: Question, method: Twisted, context: Context) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows (particle, *problem, n), log-weights (particle, *problem), log-evidence and its error (*problem,)."""
    rng, sigmas = context.rng, method.levels.of(asked.scale)
    reference = reference_of(asked, method.reference, rng)
    walk = Walk(asked, reference)
    x, expected, evidence = walk.begin(method.particles, sigmas[0], rng.child("begin"))
    log_w = torch.zeros(x.shape[:-1], dtype=torch.float64)
    variance = torch.zeros_like(evidence)
    for k, now, then in descent(sigmas, context):
        own = rng.child("step", k)
        x0 = asked.denoise(x, now)
        seen = seen_near(asked, reference, x0)
        log_w = log_w + walk.surprise(seen, expected, now)
        x, x0, seen, log_w, gained, spread = _drawn_anew(x, x0, seen, log_w, method.threshold, own)
        evidence, variance = evidence + gained, variance + spread
        x, expected = walk.step(x, x0, seen, now, then, own)
    if not asked.target.operator.linear:
        log_w = log_w + walk.surprise(Seen(asked.predict(x), expected.rows), expected, sigmas[-1])
    gained, spread = _mean_weight(log_w)
    return x, log_w, evidence + gained, (variance + spread).sqrt()


@dataclass(frozen=True, eq=False)
class Walk:
    """Steps of particles under a reference, with the data in view."""

    asked: Question
    reference: Reference

    def begin(self, n: int, sigma: Tensor, rng: Rng) -> tuple[Tensor, Seen, Tensor]:
        """Noisy fields of the reference given the data, what is expected of the data there, and its log-evidence."""
        asked, reference = self.asked, self.reference
        batch = (n, *asked.data.shape[:-1])
        mean = reference.mean.expand(*batch, -1)
        seen = seen_near(asked, reference, mean[:1])
        seen = Seen(seen.prediction.expand(*batch, -1), seen.rows)
        factor = seen.factor(asked.variance, reference.variances)
        a = drawn_given_data(reference, seen, factor, reference.variances, asked, rng)
        noise = sigma * rng.child("noise").normal(mean.shape, mean)
        share = reference.variances / (reference.variances + sigma.square())
        expected = Seen(seen.prediction + seen.to(share * (a + reference.into(noise))), seen.rows)
        evidence = log_normal(factor, asked.data - seen.prediction)[0]
        return mean + reference.back(a) + noise, expected, evidence

    def step(self, x: Tensor, x0: Tensor, seen: Seen, now: Tensor, then: Tensor, rng: Rng) -> tuple[Tensor, Seen]:
        """The next x given the data, and what is expected of the data there."""
        asked, reference = self.asked, self.reference
        left = reference.left(now)
        factor = seen.factor(asked.variance, left)
        a = drawn_given_data(reference, seen, factor, left, asked, rng)
        if float(then) == 0:
            return x0 + reference.back(a), Seen(seen.prediction + seen.to(a), seen.rows)
        ratio = (then / now).square()
        fresh = then * (1 - ratio).sqrt() * rng.child("fresh").normal(x.shape, x)
        innovation = (1 - ratio) * a + reference.into(fresh)
        moved = x0 + ratio * (x - x0) + reference.back(innovation)
        m = reference.left(then) * innovation / then.square()
        return moved, Seen(seen.prediction + seen.to(m), seen.rows)

    def surprise(self, seen: Seen, expected: Seen, sigma: Tensor) -> Tensor:
        """log N(y; seen, S) - log N(y; expected, S'), (particle, *problem)."""
        data, variance, left = self.asked.data, self.asked.variance, self.reference.left(sigma)
        before = expected.factor(variance, left)
        after = before if seen.rows.ndim == 2 else seen.factor(variance, left)
        return log_normal(after, data - seen.prediction) - log_normal(before, data - expected.prediction)


def _drawn_anew(
    x: Tensor, x0: Tensor, seen: Seen, log_w: Tensor, threshold: float, rng: Rng
) -> tuple[Tensor, Tensor, Seen, Tensor, Tensor, Tensor]:
    """Particles of equal weight in the problems where few are effective, and the log of the mean weight there."""
    n = len(log_w)
    few = ess(log_w) < threshold * n
    nothing = torch.zeros(few.shape, dtype=torch.float64)
    if not bool(few.any()):
        return x, x0, seen, log_w, nothing, nothing
    index = systematic(normalised(log_w).reshape(n, -1), n, rng.child("anew")).reshape(log_w.shape)
    index = torch.where(few, index, torch.arange(n).reshape(-1, *(1,) * few.ndim))
    where = (index, *(i.expand(index.shape) for i in _problem_index(few.shape)))
    gained, spread = _mean_weight(log_w)
    return (
        x[where],
        x0[where],
        seen.picked(where),
        torch.where(few, torch.zeros_like(log_w), log_w),
        torch.where(few, gained, nothing),
        torch.where(few, spread, nothing),
    )


def _mean_weight(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the mean weight, and the variance of that."""
    n = len(log_w)
    share = normalised(log_w)
    return torch.logsumexp(log_w, 0) - log(n), (n * share - 1).square().mean(0) / (n - 1)


def _problem_index(shape: torch.Size) -> tuple[Tensor, ...]:
    return torch.meshgrid(*(torch.arange(k) for k in shape), indexing="ij") if len(shape) else ()
