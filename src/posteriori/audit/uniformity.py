"""Ranks and probability integral transforms of truths, and exact tests that they are uniform."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats
from torch import Tensor

from posteriori.audit.estimate import flat
from posteriori.audit.scores import normalised
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng

EDGE = 2.0**-53


@dataclass(frozen=True)
class Uniformity:
    """p-values of tests that independent values are uniform on (0, 1); ``z`` are their normal scores.

    ``bias`` tests mean(z) against N(0, 1/n) and ``spread`` sum(z²) against chi-square(n), two-sided and exact: below
    one spread means a law too wide, above one an over-confident law. ``anderson_darling`` and ``kolmogorov`` see any
    shape. ``p_value`` joins the first three (bias, spread, shape) by Bonferroni's rule, so that its false-alarm rate
    at p <= a is at most a.
    """

    cases: int
    mean_z: float
    spread_z: float
    bias: float
    spread: float
    anderson_darling: float
    kolmogorov: float

    @property
    def p_value(self) -> float:
        return min(1.0, 3 * min(self.bias, self.spread, self.anderson_darling))


@dataclass(frozen=True)
class Histogram:
    """Counts and what a true law expects of each bin, with the chi-square test of Pearson."""

    counts: Tensor
    expected: Tensor
    p_value: float

    @property
    def standard_error(self) -> Tensor:
        """Standard deviation of each count under a true law (binomial)."""
        return (self.expected * (1 - self.expected / self.expected.sum())).sqrt()


def ranks(draws: Tensor, truth: Tensor, rng: Rng) -> Tensor:
    """Rank 0 … m of the truth (*case) among draws (draw, *case); ties are broken at random, so any law is uniform."""
    below, ties = (draws < truth).sum(0), (draws == truth).sum(0)
    return below + (rng.uniform(truth.shape) * (ties + 1)).long()


def pit_draws(draws: Tensor, truth: Tensor, rng: Rng, weights: Tensor | None = None) -> Tensor:
    """Randomised transform of the truth (*case) through draws (draw, *case): (rank + u) / (draws + 1).

    Exactly uniform if truth and draws come from one law, continuous or not. Weighted draws count by weight, and the
    truth as one more draw of the effective sample 1 / sum w²: then uniform up to the error of the weights.
    """
    w = normalised(weights, draws)
    below = torch.where(draws < truth, w, 0.0).sum(0)
    ties = torch.where(draws == truth, w, 0.0).sum(0)
    own = w.square().sum(0)
    return (below + rng.uniform(truth.shape) * (ties + own)) / (1 + own)


def pit_gaussian(mean: Tensor, std: Tensor, truth: Tensor) -> Tensor:
    """Transform of the truth through N(mean, std²)."""
    return torch.special.ndtr((truth - mean) / std)


def pit_mixture(means: Tensor, stds: Tensor, weights: Tensor, truth: Tensor) -> Tensor:
    """Transform of the truth through a Gaussian mixture, components first."""
    return (normalised(weights, means) * pit_gaussian(means, stds, truth)).sum(0)


def pit_discrete(below: Tensor, at: Tensor, rng: Rng) -> Tensor:
    """Randomised transform of a count or class: u between P(X < y) = ``below`` and P(X <= y) = ``at``.

    Reference: Czado, Gneiting & Held (2009), predictive model assessment for count data.
    """
    return below + rng.uniform(below.shape) * (at - below)


def uniformity(pit: Tensor) -> Uniformity:
    """Test independent ``pit`` values, shape (*case), for uniformity; correlated cases give too small p-values."""
    u = flat(pit, "pit")
    if ((u < 0) | (u > 1)).any():
        raise DataError("probability integral transforms must lie in [0, 1]; ranks go through rank_histogram.")
    u = u.clamp(EDGE, 1 - EDGE).sort().values
    n = len(u)
    z = torch.special.ndtri(u)
    squares = z.square().sum().item()
    tail = min(special.chdtrc(n, squares), special.chdtr(n, squares))
    i = torch.arange(1, n + 1, dtype=torch.float64)
    a2 = -n - ((2 * i - 1) * (u.log() + torch.log1p(-u.flip(0)))).sum().item() / n
    gap = max((i / n - u).max().item(), (u - (i - 1) / n).max().item())
    return Uniformity(
        cases=n,
        mean_z=z.mean().item(),
        spread_z=math.sqrt(squares / n),
        bias=math.erfc(abs(z.mean().item()) * math.sqrt(n / 2)),
        spread=min(1.0, 2 * float(tail)),
        anderson_darling=anderson_darling_tail(a2),
        kolmogorov=float(stats.kstwo.sf(gap, n)),
    )


def rank_histogram(rank: Tensor, draws: int, bins: int = 16) -> Histogram:
    """Histogram of ranks 0 … ``draws``; bins that cannot share the ranks evenly are expected to differ."""
    if rank.numel() == 0 or rank.min() < 0 or rank.max() > draws:
        raise OptionError(f"ranks must lie in 0 … {draws}, the number of draws; give the draws that were ranked.")
    bins = min(bins, draws + 1)
    onto = torch.arange(draws + 1) * bins // (draws + 1)
    share = torch.bincount(onto, minlength=bins).to(torch.float64) / (draws + 1)
    return _histogram(torch.bincount(onto[rank.reshape(-1)], minlength=bins), share)


def pit_histogram(pit: Tensor, bins: int = 10) -> Histogram:
    """Histogram of probability integral transforms."""
    index = (flat(pit, "pit") * bins).long().clamp(0, bins - 1)
    return _histogram(torch.bincount(index, minlength=bins), torch.full((bins,), 1 / bins, dtype=torch.float64))


def anderson_darling_tail(a2: float) -> float:
    """P(A² > a2) for many independent uniform values, by inversion of the characteristic function.

    A² is distributed as sum_j Z_j² / (j (j + 1)), whose characteristic function is
    sqrt(-2 pi i t / cos(pi/2 sqrt(1 + 8 i t))); beyond 20 (p < 1e-9) the largest term alone is left, within 2 %:
    sqrt(3) erfc(sqrt(a2)). The law for n values differs by less than 0.002 from n = 8 on.

    Reference: Anderson & Darling (1954), a test of goodness of fit.
    """
    if a2 > 20:
        return math.sqrt(3) * math.erfc(math.sqrt(a2))
    u, t, log_phi = _characteristic()
    integrand = np.exp(log_phi - 1j * t * a2).imag * 4 / u
    return float(np.clip(0.5 + integrand.sum() * (u[1] - u[0]) / np.pi, 0, 1))


@cache
def _characteristic() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.complex128]]:
    """Nodes u, t = u**4 and the log of the characteristic function of A² at t, on its continuous branch."""
    u = np.linspace(0, 5.1, 20001)[1:]
    t = u**4
    s = np.sqrt(1 + 8j * t)
    log_cosine = -0.5j * np.pi * s + np.log(-np.expm1(-8 * np.pi * t / (1 + s))) - math.log(2)
    return u, t, -0.5 * (log_cosine - np.log(2 * np.pi * t) + 0.5j * np.pi)


def _histogram(counts: Tensor, share: Tensor) -> Histogram:
    if len(counts) < 2:
        raise ShapeError("a histogram test needs at least two bins.")
    expected = share * counts.sum()
    pearson = ((counts - expected).square() / expected).sum().item()
    return Histogram(counts, expected, float(special.chdtrc(len(counts) - 1, pearson)))
