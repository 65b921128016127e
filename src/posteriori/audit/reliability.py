"""Do events come as often as stated: reliability curve, parts of Brier's score, calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.estimate import Estimate, finite, flat, jackknife
from posteriori.audit.scores import brier
from posteriori.core.errors import DataError, ShapeError


@dataclass(frozen=True)
class BrierParts:
    """score = reliability - resolution + uncertainty + within: Murphy's parts, and what binning leaves.

    ``reliability`` is 0 for perfectly stated probabilities (and biased up by about bins / (4 n)), ``resolution`` larger
    is better, ``uncertainty`` is the variance of the event, ``within`` is 0 if each bin holds one probability only.

    Reference: Stephenson, Coelho & Jolliffe (2008), two extra components in the Brier score decomposition.
    """

    score: Estimate
    reliability: Estimate
    resolution: Estimate
    uncertainty: Estimate
    within: Estimate


@dataclass(frozen=True)
class ReliabilityCurve:
    """Mean stated probability, observed frequency with its standard error, and cases of each bin that is not empty."""

    stated: Tensor
    observed: Tensor
    standard_error: Tensor
    cases: Tensor


def brier_parts(probability: Tensor, outcome: Tensor, bins: int = 10, blocks: Tensor | None = None) -> BrierParts:
    """Brier's score of an event and its parts over equal-width bins, each with its jackknife error."""
    p, o = _pairs(probability, outcome)
    onto = torch.nn.functional.one_hot(_bin(p, bins), bins).to(torch.float64)
    terms = torch.cat([onto, onto * p[:, None], onto * o[:, None], brier(p, o)[:, None]], dim=1)

    def reliability(mean: Tensor) -> Tensor:
        n, stated, observed = _by_bin(mean, bins)
        return (n * (stated - observed).square()).sum(-1)

    def resolution(mean: Tensor) -> Tensor:
        n, _, observed = _by_bin(mean, bins)
        rate = (n * observed).sum(-1, keepdim=True)
        return (n * (observed - rate).square()).sum(-1)

    def uncertainty(mean: Tensor) -> Tensor:
        rate = mean[..., 2 * bins : 3 * bins].sum(-1)
        return rate * (1 - rate)

    def score(mean: Tensor) -> Tensor:
        return mean[..., -1]

    def within(mean: Tensor) -> Tensor:
        return score(mean) - reliability(mean) + resolution(mean) - uncertainty(mean)

    parts = (score, reliability, resolution, uncertainty, within)
    return BrierParts(*(jackknife(terms, part, blocks) for part in parts))


def calibration_error(probability: Tensor, outcome: Tensor, bins: int = 10, blocks: Tensor | None = None) -> Estimate:
    """Expected calibration error: mean over cases of |stated - observed| of their bin; biased up in small samples.

    Reference: Naeini, Cooper & Hauskrecht (2015), obtaining well calibrated probabilities using Bayesian binning.
    """
    p, o = _pairs(probability, outcome)
    onto = torch.nn.functional.one_hot(_bin(p, bins), bins).to(torch.float64)
    terms = torch.cat([onto, onto * p[:, None], onto * o[:, None]], dim=1)

    def error(mean: Tensor) -> Tensor:
        n, stated, observed = _by_bin(mean, bins)
        return (n * (stated - observed).abs()).sum(-1)

    return jackknife(terms, error, blocks)


def reliability_curve(probability: Tensor, outcome: Tensor, bins: int = 10) -> ReliabilityCurve:
    """Observed frequency against stated probability in equal-width bins; errors as in ``rate_error``."""
    p, o = _pairs(probability, outcome)
    index = _bin(p, bins)
    n = torch.bincount(index, minlength=bins)
    k, total = (torch.bincount(index, weights=x, minlength=bins) for x in (o, p))
    used = n > 0
    n, k, total = n[used], k[used], total[used]
    return ReliabilityCurve(total / n, k / n, rate_error(k, n), n)


def rate_error(hits: Tensor, n: Tensor) -> Tensor:
    """Standard error of a rate: the deviation of Beta(hits + 1, n - hits + 1), never zero even at 0 or n hits."""
    a, b = hits + 1.0, n - hits + 1.0
    return (a * b / ((a + b).square() * (a + b + 1))).sqrt()


def _by_bin(mean: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Share of the cases, mean probability and frequency of each bin, zero where the bin is empty."""
    n, stated, observed = mean[..., :bins], mean[..., bins : 2 * bins], mean[..., 2 * bins : 3 * bins]
    filled = torch.where(n > 1e-15, n, 1.0)
    return n, stated / filled, observed / filled


def _bin(p: Tensor, bins: int) -> Tensor:
    return (p * bins).long().clamp(max=bins - 1)


def _pairs(probability: Tensor, outcome: Tensor) -> tuple[Tensor, Tensor]:
    if probability.shape != outcome.shape:
        raise ShapeError(f"probabilities {tuple(probability.shape)} and outcomes {tuple(outcome.shape)} differ.")
    p, o = flat(probability, "probability"), finite(outcome, "outcome").reshape(-1)
    if ((p < 0) | (p > 1)).any() or ((o != 0) & (o != 1)).any():
        raise DataError("probabilities must lie in [0, 1] and outcomes be 0 or 1; check which argument came first.")
    return p, o
