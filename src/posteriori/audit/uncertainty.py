"""Where uncertainty comes from: what members disagree on, what all of them call noise, and what refits change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.estimate import Estimate, average
from posteriori.audit.scores import normalised
from posteriori.core.errors import DataError, ShapeError


@dataclass(frozen=True)
class Split:
    """Uncertainty of each case, (*case): total = epistemic + aleatoric; variance [unit²], or entropy [nat].

    ``epistemic`` is what more data can remove, ``aleatoric`` what it cannot. Their averages over cases carry the
    errors of sampled members (jackknife) and of cases, added in quadrature.
    """

    epistemic: Tensor
    aleatoric: Tensor
    mean_epistemic: Estimate
    mean_aleatoric: Estimate

    @property
    def total(self) -> Tensor:
        """Both together, (*case)."""
        return self.epistemic + self.aleatoric


@dataclass(frozen=True)
class BiasVariance:
    """Mean squared error over refits and cases: error = bias2 + variance + noise, exactly."""

    error: Estimate
    bias2: Estimate
    variance: Estimate
    noise: Estimate


def split_variance(means: Tensor, variances: Tensor, weights: Tensor | None = None) -> Split:
    """Law of total variance over members: variance of their means, and mean of their variances, (member, *case).

    Without ``weights`` members are a sample (a deep ensemble): the variance is unbiased (m - 1), its error counts
    members. With weights, (member,), the mixture is the law itself: the split is exact.
    """
    _members(means, variances, weights)
    if weights is None:
        epistemic, aleatoric = means.var(0), variances.mean(0)
        left = [(_without(means, i).var(0).mean(), _without(variances, i).mean()) for i in _each(means)]
    else:
        w = normalised(weights, means)
        epistemic = (w * (means - (w * means).sum(0)).square()).sum(0)
        aleatoric, left = (w * variances).sum(0), []
    return _split(epistemic, aleatoric, left)


def split_entropy(probabilities: Tensor, weights: Tensor | None = None) -> Split:
    """Entropy over classes [nat]: aleatoric the members' mean entropy, epistemic what their mean has on top.

    The latter is the mutual information of member and class. ``probabilities`` are (member, *case, class). With few
    sampled members it is biased down, to about (m - 1) / m of itself; with ``weights``, (member,), the mixture is the
    law itself.

    Reference: Depeweg et al. (2018), decomposition of uncertainty in Bayesian deep learning.
    """
    _members(probabilities, probabilities, weights)
    off = (probabilities.sum(-1) - 1).abs().max().item()
    if off > 1e-6 or (probabilities < 0).any():
        raise DataError(f"class probabilities must be >= 0 and sum to 1 over the last axis (off by {off:.2g}).")
    w = normalised(weights, probabilities)
    aleatoric = (w[..., 0] * _entropy(probabilities)).sum(0)
    epistemic = (_entropy((w * probabilities).sum(0)) - aleatoric).clamp(min=0)
    left = []
    if weights is None:
        for i in _each(probabilities):
            rest = _without(probabilities, i)
            own = _entropy(rest).mean()
            left.append((_entropy(rest.mean(0)).mean() - own, own))
    return _split(epistemic, aleatoric, left)


def bias_variance(refits: Tensor, truth: Tensor, noise_variance: Tensor | None = None) -> BiasVariance:
    """Split the squared error of refits (refit, *case) against truths (*case), measured with ``noise_variance``.

    Both parts are unbiased: the variance divides by (refits - 1), and bias² = (mean - y)² - variance / refits - noise,
    so that one small case may come out below zero. Errors: jackknife over refits and sampled cases, in quadrature.

    Reference: Geman, Bienenstock & Doursat (1992), neural networks and the bias/variance dilemma.
    """
    _members(refits, refits, None)
    if refits.shape[1:] != truth.shape:
        raise ShapeError(f"refits {tuple(refits.shape)} are not (refit, *{tuple(truth.shape)}).")
    noise = torch.zeros_like(truth) if noise_variance is None else noise_variance.expand_as(truth)
    whole = _bias_variance(refits, truth, noise)
    left = [[part.mean() for part in _bias_variance(_without(refits, i), truth, noise)] for i in _each(refits)]
    error, bias2, variance = (_both(part, [row[k] for row in left]) for k, part in enumerate(whole))
    return BiasVariance(error, bias2, variance, average(noise))


def _bias_variance(f: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Error, bias² and variance of each case."""
    variance = f.var(0)
    bias2 = (f.mean(0) - y).square() - variance / len(f) - noise
    return (f - y).square().mean(0), bias2, variance


def _split(epistemic: Tensor, aleatoric: Tensor, left: list[tuple[Tensor, Tensor]]) -> Split:
    first, second = [row[0] for row in left], [row[1] for row in left]
    return Split(epistemic, aleatoric, _both(epistemic, first), _both(aleatoric, second))


def _both(cases: Tensor, left: list[Tensor]) -> Estimate:
    """Mean over cases, with the error of cases and that of leaving members out."""
    over_cases = average(cases)
    if len(left) < 2:
        return over_cases
    parts = torch.stack(left)
    members = parts.var(correction=0) * (len(parts) - 1)
    return Estimate(over_cases.value, (members + (over_cases.standard_error or 0.0) ** 2).sqrt().item())


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)


def _each(members: Tensor) -> range:
    """Members to leave out one by one; none when two or fewer would be left with no variance."""
    return range(len(members) if len(members) > 2 else 0)


def _without(members: Tensor, i: int) -> Tensor:
    return torch.cat([members[:i], members[i + 1 :]])


def _members(a: Tensor, b: Tensor, weights: Tensor | None) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"means {tuple(a.shape)} and variances {tuple(b.shape)} differ.")
    if len(a) < 2 and weights is None:
        raise DataError("one member or refit shows no disagreement; give at least two.")
