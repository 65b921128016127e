"""Damping whose strength is itself uncertain: averaged over what the data say of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.problems import regression
from posteriori.inference.tikhonov import ByLaw, ByPenalty, taken_apart

REACH = 5.0
"""How far the averaged strengths go to both sides, in standard deviations of log λ."""


@dataclass(frozen=True)
class AveragedStrength:
    """Mean and covariance of m under p(m | λ, d) p(λ | d), with log λ ~ N(log median, spread²) before the data.

    p(λ | d) ∝ p(d | λ) p(λ) is summed over ``points`` strengths; the covariance is the mean of those at each λ plus the
    covariance of their means. Each problem of a batch has its own p(λ | d).

    Args:
        median: of λ; 1 takes prior or penalty at its word.
        spread: standard deviation of log λ before the data.
        points: strengths in the sum.

    Reference: Gelman et al. (2013), Bayesian Data Analysis, CRC Press, section 5.4; MacKay (1999), Comparison of
    approximate methods for handling hyperparameters, Neural Computation 11, 1035.
    """

    median: float = 1.0
    spread: float = 2.0
    points: int = 41

    bias: ClassVar[str] = (
        "Gives the Gaussian with the right mean and covariance; the law itself has a sharper peak and longer tails."
    )
    references: ClassVar[tuple[str, ...]] = (
        "MacKay (1999), Comparison of approximate methods for handling hyperparameters, Neural Computation 11, 1035.",
    )

    def __post_init__(self) -> None:
        if not (self.median > 0 and self.spread > 0) or self.points < 3:
            raise OptionError(f"{self} needs a positive median and spread, and three points or more.")

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The Gaussian of the average; every problem has a covariance of its own.

        Raises:
            UnanswerableError: the question is not linear with Gaussian noise.
        """
        with torch.no_grad():
            problem = taken_apart(target)
            inverse, filters = problem.target, problem.filters
            n = inverse.space.size
            count = len(filters.outside)
            memory.require(4 * 8 * count * n**2, f"{count} covariances of {n} cells", "solve fewer problems at once")
            steps = torch.linspace(-REACH, REACH, self.points, dtype=torch.float64, device=filters.outside.device)
            tried = (log(self.median) + self.spread * steps).exp()
            before = torch.log_softmax(-0.5 * steps.square(), 0)
            together = filters.log_evidence(tried.expand(count, -1)) + before
            weights = together.softmax(-1)
            if isinstance(problem, ByPenalty):
                mean, matrix = _by_penalty(problem, tried, weights)
            else:
                mean, matrix = _by_law(problem, tried, weights)
            evidence = None
            if bool((filters.penalty > 0).all()):
                evidence = together.logsumexp(-1).reshape(inverse.batch)
            return Gaussian(
                inverse.space,
                inverse.space.unflat(mean.reshape(*inverse.batch, n)),
                DenseCovariance(matrix.reshape(*inverse.batch, n, n)),
                problems=inverse.problems,
                log_evidence=evidence,
            )

    @staticmethod
    def example() -> tuple[AveragedStrength, Inverse]:
        """The strength of a Gaussian prior, from twelve data."""
        return AveragedStrength(), regression(data=12)


def _by_penalty(problem: ByPenalty, tried: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means (problems, n) and covariances (problems, n, n), from the directions of data and penalty."""
    filters = problem.filters
    precise = filters.signal + tried[:, None] * filters.penalty
    each = (filters.signal.sqrt() * filters.seen)[:, None, :] / precise
    mean, between = _moments(each, weights)
    inner = between + torch.diag_embed(weights @ (1 / precise))
    return problem.expected + mean @ problem.directions.mT, problem.directions @ inner @ problem.directions.mT


def _by_law(problem: ByLaw, tried: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means (problems, n) and covariances (problems, n, n), from the side of the data."""
    filters, operator, prior = problem.filters, problem.target.operator, problem.prior
    across = problem.pull @ prior.covariance.across(operator)
    precise = filters.signal + tried[:, None]
    mean, between = _moments(filters.seen[:, None, :] / precise, weights)
    inner = between - torch.diag_embed(weights @ (1 / (tried[:, None] * precise)))
    whole = (weights @ (1 / tried))[:, None, None] * prior.covariance.dense()
    return operator.domain.flat(prior.location) + mean @ across, whole + across.mT @ inner @ across


def _moments(each: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean (problems, k) and covariance (problems, k, k) of ``each`` (problems, points, k)."""
    mean = (weights[..., None] * each).sum(1)
    away = each - mean[:, None, :]
    return mean, (weights[..., None] * away).mT @ away
