"""Is the stated uncertainty the real one: coverage, z-scores, Mahalanobis distances, sharpness, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy import special
from torch import Tensor

from posteriori.audit.estimate import Estimate, average, flat, jackknife
from posteriori.audit.joint import cholesky, whitened
from posteriori.audit.reliability import rate_error
from posteriori.core.errors import DataError, OptionError, ShapeError


@dataclass(frozen=True)
class Coverage:
    """How often intervals of one ``level`` held the truth.

    ``standard_error`` is that of independent cases, the deviation of Beta(hits + 1, misses + 1), or the cluster-robust
    one of blocks where that is larger; [``low``, ``high``] is the exact 95 % binomial (Clopper-Pearson) interval of
    independent cases.
    """

    level: float
    hits: int
    cases: int
    standard_error: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The observed share of hits."""
        return self.hits / self.cases


@dataclass(frozen=True)
class ConfidenceCoverage:
    """How often confidence intervals of one ``level`` held a fixed truth, over repeated data.

    ``elements`` is the rate of each element, (*element); ``mean`` their average, with the error over repeats;
    ``least`` is the flat position of the element covered least and ``worst`` its coverage, the interval widened
    (Bonferroni) for having been looked for.
    """

    level: float
    elements: Tensor
    mean: Estimate
    least: int
    worst: Coverage


@dataclass(frozen=True)
class Mahalanobis:
    """Squared distance per dimension, 1 on average for a true law, and the two-sided p-value under that law.

    ``standard_error`` is that of the law itself, sqrt(2 / dimensions) for a Gaussian.
    """

    value: float
    standard_error: float
    dimensions: int
    p_value: float


def credible_coverage(
    lower: Tensor, upper: Tensor, truth: Tensor, level: float, blocks: Tensor | None = None
) -> Coverage:
    """Coverage of *credible* intervals: truths vary with their data, one of each a case, all shapes (*case).

    A posterior promises that over truths from its prior; it promises nothing for one fixed truth.
    """
    hit = _hits(lower, upper, truth, level)
    coverage = _coverage(hit, level, 0.05)
    if blocks is None:
        return coverage
    clustered = average(hit, blocks).standard_error or 0.0
    return replace(coverage, standard_error=max(clustered, coverage.standard_error))


def confidence_coverage(lower: Tensor, upper: Tensor, truth: Tensor, level: float) -> ConfidenceCoverage:
    """Coverage of *confidence* intervals, (repeat, *element), of one fixed truth, (*element), over repeated data.

    A confidence interval must hold each fixed truth at its level, not only on average: read ``worst``.
    """
    if lower.shape[1:] != truth.shape:
        raise ShapeError(
            f"intervals {tuple(lower.shape)} are not (repeat, *{tuple(truth.shape)}): the truth is fixed, the data "
            "repeat. For truths that vary with their data use credible_coverage."
        )
    hit = _hits(lower, upper, truth.expand_as(lower), level)
    repeats = len(hit)
    rates = hit.mean(0)
    least = int(rates.argmin())
    worst = _coverage(hit.reshape(repeats, -1)[:, least], level, 0.05 / max(1, truth.numel()))
    return ConfidenceCoverage(level, rates, average(hit.reshape(repeats, -1).mean(1)), least, worst)


def clopper_pearson(hits: int, cases: int, miss: float = 0.05) -> tuple[float, float]:
    """Exact binomial interval of a rate, covering it with probability >= 1 - ``miss``.

    Reference: Clopper & Pearson (1934), the use of confidence or fiducial limits.
    """
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, cases - hits + 1, miss / 2))
    high = 1.0 if hits == cases else float(special.betaincinv(hits + 1, cases - hits, 1 - miss / 2))
    return low, high


def sharpness(lower: Tensor, upper: Tensor, blocks: Tensor | None = None) -> Estimate:
    """Mean width of intervals; of two calibrated laws the narrower is better."""
    return average(upper - lower, blocks)


def level_error(pit: Tensor, levels: Sequence[float] = (), blocks: Tensor | None = None) -> Estimate:
    """Mean over ``levels`` (0.05, 0.10 … 0.95) of |coverage - level| of central intervals, read from ``pit``.

    Zero for a calibrated law with many cases; about 0.3 / sqrt(n) for n independent ones.

    Reference: Kuleshov, Fenner & Ermon (2018), accurate uncertainties for deep learning using calibrated regression.
    """
    nominal = torch.tensor(levels or [i / 20 for i in range(1, 20)], dtype=torch.float64)
    inside = (2 * flat(pit, "pit")[:, None] - 1).abs() <= nominal
    return jackknife(inside.to(torch.float64), lambda mean: (mean - nominal).abs().mean(-1), blocks)


def mahalanobis(mean: Tensor, covariance: Tensor, truth: Tensor) -> Mahalanobis:
    """(y - m)ᵀ C⁻¹ (y - m) / n for N(m, C) by one triangular solve; m, y (*case, element), C (*case, element, element).

    Cases are independent; the sum follows chi-square(n).
    """
    squares = whitened(mean, cholesky(covariance), truth).square()
    return chi_square(squares.sum().item(), squares.numel())


def mahalanobis_draws(draws: Tensor, truth: Tensor) -> Mahalanobis:
    """The same from m independent draws of equal weight, (draw, *case, element), with their own mean and covariance.

    m (m - k) / ((m + 1) (m - 1) k) d² follows F(k, m - k) for a Gaussian law (Hotelling); each case's value is
    replaced by the chi-square(k) value of equal probability, so that few draws cost power but give no bias.
    Needs m >= k + 5.
    """
    m, k = len(draws), draws.shape[-1]
    if m < k + 5:
        raise DataError(f"{m} draws cannot give the covariance of {k} elements; draw at least {k + 5}, or take fewer.")
    mean = draws.mean(0)
    centred = (draws - mean).movedim(0, -2)
    factor = cholesky(centred.mT @ centred / (m - 1))
    d2 = whitened(mean, factor, truth).square().sum(-1).reshape(-1).numpy()
    tail = special.fdtrc(k, m - k, m * (m - k) / ((m + 1) * (m - 1) * k) * d2)
    return chi_square(float(special.chdtri(k, tail.clip(min=1e-300)).sum()), k * len(d2))


def chi_square(total: float, n: int) -> Mahalanobis:
    """A sum of squares that follows chi-square(n) under the law, per dimension."""
    tail = min(special.chdtrc(n, total), special.chdtr(n, total))
    return Mahalanobis(total / n, (2 / n) ** 0.5, n, min(1.0, 2 * float(tail)))


def _hits(lower: Tensor, upper: Tensor, truth: Tensor, level: float) -> Tensor:
    if not 0 < level < 1:
        raise OptionError(f"level {level} is outside (0, 1); 0.9 means a 90 % interval.")
    if not lower.shape == upper.shape == truth.shape:
        raise ShapeError(f"lower {tuple(lower.shape)}, upper {tuple(upper.shape)}, truth {tuple(truth.shape)} differ.")
    if torch.isnan(lower + upper + truth).any():
        raise DataError("an interval or a truth is NaN; mask the case.")
    return ((lower <= truth) & (truth <= upper)).to(torch.float64)


def _coverage(hit: Tensor, level: float, miss: float) -> Coverage:
    n = hit.numel()
    if n == 0:
        raise DataError("coverage needs at least one case.")
    hits = int(hit.sum())
    error = rate_error(torch.tensor(float(hits)), torch.tensor(float(n))).item()
    return Coverage(level, hits, n, error, *clopper_pearson(hits, n, miss))
