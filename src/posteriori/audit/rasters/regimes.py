"""Regimes of real fields, and a score of how many of them a set of fields shows: the analogue of an inception score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from posteriori.audit.rasters.frechet import standardised
from posteriori.core.errors import DataError
from posteriori.core.random import Rng

KEPT = 6
STARTS = 8


@dataclass(frozen=True)
class Regimes:
    """Clusters of a reference's features, in its leading principal components scaled to unit variance.

    A field belongs to each with the probability of a Gaussian mixture whose parts share the spread within clusters.
    """

    reference: Tensor
    axes: Tensor
    centres: Tensor
    spread: float
    shares: Tensor

    @staticmethod
    def of(features: Tensor, number: int, rng: Rng) -> Regimes:
        """``number`` regimes of reference features (n, feature), by k-means.

        Raises:
            DataError: fewer than ten fields a regime.
        """
        if number < 2 or len(features) < 10 * number:
            raise DataError(f"{len(features)} fields cannot show {number} regimes; take 2 to {len(features) // 10}.")
        _, x = standardised(features, features)
        _, size, axes = torch.linalg.svd(x, full_matrices=False)
        kept = min(KEPT, int((size > 1e-6 * size[0]).sum()))
        axes = axes[:kept].mT / size[:kept] * len(x) ** 0.5
        points = (x @ axes).numpy()
        found = [kmeans2(points, number, minit="++", seed=rng.child(i).numpy) for i in range(STARTS)]
        within = [float(np.square(points - centres[label]).mean()) for centres, label in found]
        centres, label = found[int(np.argmin(within))]
        shares = torch.bincount(torch.from_numpy(label), minlength=number) / len(points)
        return Regimes(features, axes, torch.from_numpy(centres), min(within) ** 0.5, shares)

    def probabilities(self, features: Tensor) -> Tensor:
        """Of each regime, (n, regime)."""
        x, _ = standardised(features, self.reference)
        distance = torch.cdist(x @ self.axes, self.centres).square()
        return torch.softmax(self.shares.log() - distance / (2 * self.spread**2), 1)


def regime_score(probabilities: Tensor) -> float:
    """exp E KL(p(regime | field) ‖ p(regime)): 1 (one regime, or none told apart) to their number.

    The average p(regime) of few fields makes the plain score too small; the jackknife takes its term in 1 / n out.

    Reference: Salimans et al. (2016), improved techniques for training GANs; Chong & Forsyth (2020).
    """
    n, total = len(probabilities), probabilities.sum(0)
    if n < 3:
        raise DataError(f"{n} fields have no score of variety; give at least three.")
    negentropy = torch.special.xlogy(probabilities, probabilities).sum(1)
    entropy = -torch.special.xlogy(total / n, total / n).sum()
    without = (total - probabilities) / (n - 1)
    left = -torch.special.xlogy(without, without).sum(1).mean()
    limit = n * entropy - (n - 1) * left
    return (negentropy.mean() + limit).exp().item()
