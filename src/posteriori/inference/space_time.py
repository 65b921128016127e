"""Stacks with gaps filled by a Gaussian law in time whose errors hang together in space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.learn.gappy_gaussian import GappyGaussian, drawn, fit_gappy_gaussian
from posteriori.learn.innovation_correlation import InnovationCorrelation, fit_innovation_correlation

AT_ONCE = 4096
OUTLIER = 4.0
"""Standardised errors count no further out than this."""


@dataclass(frozen=True)
class SpaceTime:
    """A law of stacks (time, y, x): every cell's series is Gaussian, and what it leaves unexplained is kriged.

    A value is predicted from the other dates of its own cell; the errors that this prediction makes at the observed
    cells of the same date are carried to their neighbours. For a covariance that is a product of time and space, and
    neighbours that are seen at the other dates, that is the exact posterior.

    Args:
        law: of the series.
        correlation: of its errors over space.
        domain: cells that can have a value, bool (y, x).
        neighbours: observed cells of the date that speak for one gap.
    """

    law: GappyGaussian
    correlation: InnovationCorrelation
    domain: Tensor
    neighbours: int = 40

    def fill(self, values: Tensor, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of what fills the gaps of ``values`` (time, y, x).

        Observed cells keep their value and have 0; cells outside the domain are NaN. Where only some gaps are
        ``wanted``, bool (time, y, x), the others get what their own series says of them.
        """
        series = self._series(values)
        some = None if wanted is None else wanted[:, self.domain]
        mean, std = self._estimate(series, series[None], some)
        return self._grid(mean[0]), self._grid(std)

    def members(self, values: Tensor, n: int, rng: Rng) -> Tensor:
        """``n`` stacks that agree with the observed cells, (n, time, y, x).

        Each is the mean, moved by the error that it makes on a stack drawn from the law (Matheron's rule).
        """
        series = self._series(values)
        seen = torch.isfinite(series)
        shape = (int(self.domain.shape[0]), int(self.domain.shape[1]))
        stacks = []
        for i in range(n):
            white = self.correlation.fields(shape, len(series), rng.child(i))
            stacks.append(drawn(self.law, white[:, self.domain]))
        truths = torch.stack(stacks)
        both = torch.cat([series[None], torch.where(seen, truths, torch.nan)])
        mean, _ = self._estimate(series, both)
        return self._grid(torch.where(seen, series, mean[0] + truths - mean[1:]))

    def _estimate(self, series: Tensor, stacks: Tensor, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Means (stack, time, cell) of stacks with the same gaps, and their common spread (time, cell)."""
        predicted, variance = self.law.predict(series)
        found = torch.stack([self.law.predict(stack)[0] for stack in stacks[1:]]) if len(stacks) > 1 else None
        means = predicted[None] if found is None else torch.cat([predicted[None], found])
        std = variance.sqrt()
        errors = ((stacks - means) / std).clamp(-OUTLIER, OUTLIER)
        spread = torch.where(torch.isfinite(series), 0.0, std)
        means = torch.where(torch.isfinite(series), stacks, means)
        for date, gaps, near, weights, kept in self._weights(series, wanted):
            carried = (errors[:, date][:, near] * weights).sum(-1)
            means[:, date, gaps] += std[date, gaps] * carried
            spread[date, gaps] *= kept
        return means, spread

    def _weights(self, series: Tensor, wanted: Tensor | None) -> Iterator[tuple[int, Tensor, Tensor, Tensor, Tensor]]:
        """Date, gaps (gap,), their neighbours and weights (gap, neighbour), the share of the spread that is left."""
        place = self.domain.nonzero().double()
        for date, seen in enumerate(torch.isfinite(series)):
            known = seen.nonzero()[:, 0]
            gaps = (~seen if wanted is None else ~seen & wanted[date]).nonzero()[:, 0]
            if len(known) == 0 or len(gaps) == 0:
                continue
            tree = cKDTree(place[known].numpy())
            for some in gaps.split(AT_ONCE):
                near = known[_nearest(tree, place[some].numpy(), min(self.neighbours, len(known)))]
                apart = torch.cdist(place[near], place[near], compute_mode="donot_use_mm_for_euclid_dist")
                away = (place[near] - place[some][:, None]).norm(dim=-1)
                matrix = self.correlation.between(date, apart)
                matrix.diagonal(dim1=-2, dim2=-1).fill_(1.0)
                right = self.correlation.between(date, away)
                weights = torch.linalg.solve(matrix, right)
                kept = (1 - (weights * right).sum(-1)).clamp_min(1e-6).sqrt()
                yield date, some, near, weights, kept

    def _series(self, values: Tensor) -> Tensor:
        if values.ndim != 3 or values.shape[1:] != self.domain.shape or len(values) != len(self.law.mean):
            raise DataError(
                f"a stack {tuple(values.shape)} does not fit a law of {len(self.law.mean)} times over "
                f"{tuple(self.domain.shape)} cells."
            )
        return values.double()[:, self.domain]

    def _grid(self, series: Tensor) -> Tensor:
        out = series.new_full((*series.shape[:-1], prod(self.domain.shape)), torch.nan)
        out[..., self.domain.reshape(-1)] = series
        return out.reshape(*series.shape[:-1], *self.domain.shape)


def fit_space_time(
    values: Tensor, times: Tensor, domain: Tensor | None = None, neighbours: int = 40, share: float = 0.03
) -> SpaceTime:
    """The law of a stack (time, y, x), NaN in gaps, learnt from what is observed of it.

    Args:
        values: the stack.
        times: of its layers, in one unit, (time,).
        domain: cells that can have a value; without, those that have one at least once.
        neighbours: as in ``SpaceTime``.
        share: of a smooth law of time in the covariance, as in ``fit_gappy_gaussian``.
    """
    if neighbours < 1 or not 0 < share < 1:
        raise OptionError(f"neighbours={neighbours} must be at least 1 and share={share} lie in (0, 1).")
    domain = torch.isfinite(values).any(0) if domain is None else domain
    series = values.double()[:, domain]
    law = fit_gappy_gaussian(series, times, share)
    predicted, variance = law.predict(series)
    errors = torch.full(values.shape, torch.nan, dtype=torch.float64)
    errors[:, domain] = ((series - predicted) / variance.sqrt()).clamp(-OUTLIER, OUTLIER)
    return SpaceTime(law, fit_innovation_correlation(errors), domain, neighbours)


def _nearest(tree: cKDTree, points: NDArray[np.float64], k: int) -> Tensor:
    found = tree.query(points, k=k)[1]
    return torch.from_numpy(np.asarray(found).reshape(len(points), k))
