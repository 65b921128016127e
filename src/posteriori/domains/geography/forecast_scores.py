"""How forecasts did on fields to come: per case, so that whole days can be resampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.bootstrap import Interval, bootstrap_mean, bootstrap_ratio, bootstrap_root_ratio
from posteriori.audit.rasters.cells import cos_latitude
from posteriori.audit.scores import brier, crps_gaussian
from posteriori.audit.uniformity import pit_gaussian
from posteriori.core.gaussian import Gaussian
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.domains.geography.forecast_contest import OURS, Forecast
from posteriori.domains.geography.forecasting import normal_arm

CASES_AT_ONCE = 16
"""Fields whose draws are held in memory at once, as long as their draws are no more than these."""
DRAWS_AT_ONCE = 3200


@dataclass(frozen=True, eq=False)
class Judged:
    """Forecasts beside what came.

    Args:
        forecasts: laws by name, the package's own under ``OURS``.
        truth: (case, cell).
        weights: area of each cell, summing to one, (cell,).
        blocks: which cases go together, (case,).
        rng: of the resampling.
    """

    forecasts: Mapping[str, Forecast]
    truth: Tensor
    weights: Tensor
    blocks: Tensor
    rng: Rng

    @cached_property
    def crps(self) -> dict[str, Tensor]:
        """Of each law, (case,)."""
        return {
            name: crps_gaussian(f.mean, f.std.expand_as(f.mean), self.truth) @ self.weights
            for name, f in self.forecasts.items()
        }

    @cached_property
    def squares(self) -> dict[str, Tensor]:
        """Mean squared error of each law, (case,)."""
        return {name: (f.mean - self.truth).square() @ self.weights for name, f in self.forecasts.items()}

    def coverage(self, name: str = OURS) -> Tensor:
        """Share of cells inside the central 90 % interval, (case,)."""
        f = self.forecasts[name]
        return ((self.truth - f.mean).abs() <= normal_arm() * f.std).double() @ self.weights

    def spread_skill(self, name: str = OURS) -> Interval:
        """Root of mean variance over mean squared error."""
        variance = (self.forecasts[name].std.square() @ self.weights).expand(len(self.truth))
        return bootstrap_root_ratio(variance.contiguous(), self.squares[name], self.blocks, self.rng.child("spread"))

    def mean(self, cases: Tensor) -> Interval:
        """Over cases, with its interval over blocks."""
        return bootstrap_mean(cases, self.blocks, self.rng.child("mean"))

    def ratio(self, ours: Tensor, theirs: Tensor) -> Interval:
        """Mean of one score over that of another, both (case,)."""
        return bootstrap_ratio(ours, theirs, self.blocks, self.rng.child("ratio"))

    def pit(self, name: str) -> Tensor:
        """Probability that the law put below each truth, (case, cell)."""
        f = self.forecasts[name]
        return pit_gaussian(f.mean, f.std, self.truth)

    def brier(self, name: str, level: float) -> Tensor:
        """Of the event that a cell exceeds ``level``, by the closed form of the law, (case,)."""
        f = self.forecasts[name]
        return brier(torch.special.ndtr((f.mean - level) / f.std), (self.truth > level).double()) @ self.weights


def exceedance(posterior: Gaussian, level: float, draws: int, rng: Rng) -> Tensor:
    """P(value > level) of each case and cell, by draws of the joint law, (*problem, *space.shape)."""
    found, at_once = [], min(CASES_AT_ONCE, max(1, DRAWS_AT_ONCE // draws))
    cases = posterior.location.reshape(-1, *posterior.space.shape)
    for at, part in enumerate(cases.split(at_once)):
        some = Gaussian(posterior.space, part, posterior.covariance, problems={"case": None})
        result = some.probability(lambda x: x > level, draws, rng.child(at))
        found.append(torch.from_numpy(np.asarray(result["probability"].values)))
    return torch.cat(found).reshape(posterior.location.shape)


def cell_shares(grid: MapGrid, mask: Tensor) -> Tensor:
    """Area of each defined cell as a share of all, (cell,)."""
    area = torch.ones(mask.shape, dtype=torch.float64)
    if grid.geographic and not grid.rotated:
        area = cos_latitude(torch.from_numpy(grid.centres[0])).expand(mask.shape)
    cells = area[mask]
    return cells / cells.sum()
