"""Scores of one-dimensional forecasts, a value per case; lower is better, and the true law is best on average.

Draws have shape (draw, *case), everything else (*case); scores are in the unit of the quantity unless said.
Reference: Gneiting & Raftery (2007), strictly proper scoring rules, prediction and estimation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from posteriori.audit.estimate import Estimate, flat, jackknife
from posteriori.core.errors import DataError, OptionError, ShapeError


def crps_gaussian(mean: Tensor, std: Tensor, truth: Tensor) -> Tensor:
    """Continuous ranked probability score of N(mean, std²): std [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)]."""
    positive(std, "std")
    z = (truth - mean) / std
    return std * (z * torch.erf(z / math.sqrt(2)) + 2 * _phi(z) - 1 / math.sqrt(math.pi))


def crps_mixture(means: Tensor, stds: Tensor, weights: Tensor, truth: Tensor) -> Tensor:
    """Continuous ranked probability score of a Gaussian mixture.

    ``means`` and ``stds`` (>= 0) have shape (component, *case), ``weights`` (component,) or that shape; time grows with
    the square of the components. sum_i w_i A(y - m_i, s_i) - 1/2 sum_ij w_i w_j A(m_i - m_j, sqrt(s_i² + s_j²)) with
    A(d, s) = E|N(d, s²)|.

    Reference: Grimit et al. (2006), the continuous ranked probability score for circular variables.
    """
    w = normalised(weights, means)
    near = (w * _mean_distance(truth - means, stds)).sum(0)
    spread = torch.zeros_like(near)
    for i in range(len(means)):
        between = _mean_distance(means[i] - means[i:], torch.hypot(stds[i].expand_as(stds[i:]), stds[i:]))
        share = 2 * w[i] * w[i:]
        share[0] /= 2
        spread += (share * between).sum(0)
    return near - spread / 2


def crps_draws(draws: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Continuous ranked probability score of the empirical law of the draws themselves: E|X - y| - 1/2 E|X - X'|.

    ``weights`` are normalised here, shape (draw,) or (draw, *case). A small ensemble is charged for its size; to judge
    the law it was drawn from use ``crps_fair``.
    """
    w = normalised(weights, draws)
    return (w * (draws - truth).abs()).sum(0) - _half_gini(draws, w)


def crps_fair(draws: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """The score of the law that independent draws come from, unbiased for any number >= 2 of equal-weight draws.

    With weights the spread is divided by 1 - sum w², which leaves out the pairs of a draw with itself; a case whose
    weight lies on one draw is refused.

    Reference: Ferro (2014), fair scores for ensemble forecasts.
    """
    w = normalised(weights, draws)
    pairs = 1 - w.square().sum(0)
    if (pairs <= 1e-12).any():
        raise DataError("the fair score needs at least two draws with weight in each case; use crps_draws.")
    return (w * (draws - truth).abs()).sum(0) - _half_gini(draws, w) / pairs


def log_score_gaussian(mean: Tensor, std: Tensor, truth: Tensor) -> Tensor:
    """Minus the log density of N(mean, std²) at the truth [nat; the density per unit of the quantity]."""
    positive(std, "std")
    return ((truth - mean) / std).square() / 2 + std.log() + math.log(2 * math.pi) / 2


def log_score_mixture(means: Tensor, stds: Tensor, weights: Tensor, truth: Tensor) -> Tensor:
    """Minus the log density of a Gaussian mixture at the truth [nat], shapes as in ``crps_mixture``."""
    log_density = -log_score_gaussian(means, stds, truth)
    return -torch.logsumexp(log_density + normalised(weights, means).log(), dim=0)


def log_score_classes(probabilities: Tensor, outcome: Tensor) -> Tensor:
    """Minus the log probability [nat] of the class that came, probabilities (*case, class), outcome (*case)."""
    return -probabilities.gather(-1, outcome.unsqueeze(-1)).squeeze(-1).log()


def interval_score(lower: Tensor, upper: Tensor, truth: Tensor, level: float) -> Tensor:
    """Width of a central interval plus 2 / (1 - level) times the distance by which it misses the truth."""
    if not 0 < level < 1:
        raise OptionError(f"level {level} is outside (0, 1); 0.9 means a 90 % interval.")
    miss = (lower - truth).clamp(min=0) + (truth - upper).clamp(min=0)
    return (upper - lower) + 2 / (1 - level) * miss


def quantile_score(quantile: Tensor, truth: Tensor, level: float) -> Tensor:
    """Pinball loss of the ``level`` quantile; twice its mean over all levels is the CRPS."""
    return (truth - quantile) * (level - (truth < quantile).to(quantile.dtype))


def brier(probability: Tensor, outcome: Tensor) -> Tensor:
    """(p - o)² of the probability of an event that came (o = 1) or not (0)."""
    return (probability - outcome.to(probability.dtype)).square()


def brier_classes(probabilities: Tensor, outcome: Tensor) -> Tensor:
    """Brier's score over classes, sum_k (p_k - o_k)², probabilities (*case, class), outcome (*case)."""
    came = torch.nn.functional.one_hot(outcome, probabilities.shape[-1])
    return (probabilities - came.to(probabilities.dtype)).square().sum(-1)


def rms(error: Tensor, blocks: Tensor | None = None) -> Estimate:
    """Root mean square of ``error``, shape (*case), with its jackknife error; blocks as in ``estimate.average``."""
    squares = flat(error, "error").square()[:, None]
    return jackknife(squares, lambda mean: mean[..., 0].sqrt(), blocks)


def normalised(weights: Tensor | None, draws: Tensor) -> Tensor:
    """Weights >= 0 that sum to one over the leading axis, in the shape of ``draws``, (draw, *case)."""
    if weights is None:
        return torch.full_like(draws, 1 / len(draws))
    if weights.shape not in (draws.shape, draws.shape[:1]):
        raise ShapeError(f"weights {tuple(weights.shape)} fit neither ({len(draws)},) nor {tuple(draws.shape)}.")
    total = weights.sum(0)
    if not ((weights >= 0).all() and torch.isfinite(total).all() and (total > 0).all()):
        raise DataError("weights must be finite, >= 0 and not all zero; exponentiate log-weights less their maximum.")
    w = weights / total
    return w if w.shape == draws.shape else w.reshape(-1, *[1] * (draws.ndim - 1)).expand_as(draws)


def positive(std: Tensor, name: str) -> None:
    """Refuse a standard deviation that is zero, negative or NaN, naming the first."""
    bad = ~(std > 0)
    if bad.any():
        index = tuple(bad.nonzero()[0].tolist())
        raise DataError(f"{name}{list(index)} is {std[index].item()}; it must be > 0 for this score.")


def _phi(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _mean_distance(d: Tensor, s: Tensor) -> Tensor:
    """E|N(d, s²)|, also for s = 0."""
    z = d / torch.where(s > 0, s, 1.0)
    return torch.where(s > 0, d * torch.erf(z / math.sqrt(2)) + 2 * s * _phi(z), d.abs())


def _half_gini(draws: Tensor, w: Tensor) -> Tensor:
    """1/2 E|X - X'| = integral of F (1 - F), exact for the steps of the empirical F; no cancellation."""
    x, order = draws.sort(dim=0)
    below = w.gather(0, order).cumsum(0)[:-1]
    return (x.diff(dim=0) * below * (1 - below)).sum(0)
