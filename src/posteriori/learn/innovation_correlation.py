"""How errors of prediction hang together over space: a share that fades with distance, learnt on gappy fields."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posteriori.core.random import Rng

LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
LENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0)
PAIRS = 2000.0
"""Pairs of cells at which a date's own correlogram counts as much as that of all dates together."""
MOST = 0.98
"""Largest share of an error that neighbours may have in common."""


@dataclass(frozen=True)
class InnovationCorrelation:
    """share · exp(-d / length) between cells d apart [cells], one pair for each date, float64 (time,)."""

    share: Tensor
    length: Tensor

    def between(self, date: int, distance: Tensor) -> Tensor:
        """Correlation of cells ``distance`` [cells] apart; 1 is not reached at 0, where what is unshared is missing."""
        return self.share[date] * torch.exp(-distance / self.length[date])

    def stretched(self, factor: float) -> InnovationCorrelation:
        """The same, reaching ``factor`` times as far.

        Where a date's mean is learnt from the same cells, what they have in common hides in it: correlograms of
        observed cells fade too early.
        """
        return replace(self, length=self.length * factor)

    def fields(self, shape: tuple[int, int], n: int, rng: Rng) -> Tensor:
        """White in ``n`` (…), correlated over space as the dates are on average, (n, y, x), variance 1.

        By circulant embedding; eigenvalues below zero are cut.
        """
        share, length = self.share.mean(), self.length.log().mean().exp()
        rows, columns = (2 * side for side in shape)
        y, x = (torch.minimum(torch.arange(k), k - torch.arange(k)).double() for k in (rows, columns))
        row = torch.exp(-torch.hypot(y[:, None], x) / length)
        spectrum = torch.fft.rfft2(row).real.clamp_min(0.0)
        white = torch.fft.rfft2(rng.child("shared").normal((n, rows, columns)))
        smooth = torch.fft.irfft2(white * spectrum.sqrt(), s=(rows, columns))[:, : shape[0], : shape[1]]
        own = rng.child("own").normal((n, *shape))
        return share.sqrt() * smooth + (1 - share).sqrt() * own


def fit_innovation_correlation(innovations: Tensor) -> InnovationCorrelation:
    """From standardised errors of prediction (time, y, x), NaN in gaps; a date with few pairs takes the rest's."""
    raw, pairs = correlogram(innovations)
    common = (raw * pairs).nansum(0) / pairs.sum(0).clamp_min(1.0)
    trust = pairs / (pairs + PAIRS)
    drawn = trust * torch.nan_to_num(raw) + (1 - trust) * common
    weights = pairs + PAIRS
    distance = torch.tensor(LAGS, dtype=torch.float64)
    best = torch.full((len(drawn),), torch.inf, dtype=torch.float64)
    share, length = torch.zeros_like(best), torch.ones_like(best)
    for candidate in LENGTHS:
        shape = torch.exp(-distance / candidate)
        fitted = ((weights * drawn * shape).sum(1) / (weights * shape.square()).sum(1)).clamp(0.0, MOST)
        missed = (weights * (drawn - fitted[:, None] * shape).square()).sum(1)
        better = missed < best
        best = torch.where(better, missed, best)
        share, length = torch.where(better, fitted, share), torch.where(better, candidate, length)
    return InnovationCorrelation(share, length)


def correlogram(fields: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation along rows and columns at ``LAGS`` and the number of pairs, both (time, lag); NaN without pairs."""
    observed = torch.isfinite(fields)
    x = torch.where(observed, fields, 0.0).double()
    variance = x.square().sum((1, 2)) / observed.sum((1, 2)).clamp_min(1)
    products, pairs = [], []
    for lag in LAGS:
        product, count = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(x), dtype=torch.float64)
        for dim in (1, 2):
            n = x.shape[dim] - lag
            if n > 0:
                product += (x.narrow(dim, 0, n) * x.narrow(dim, lag, n)).sum((1, 2))
                count += (observed.narrow(dim, 0, n) & observed.narrow(dim, lag, n)).sum((1, 2))
        products.append(product)
        pairs.append(count)
    count = torch.stack(pairs, 1)
    return torch.stack(products, 1) / (count * variance[:, None]), count
