"""Scores of nowcasts of rain over several cases, each cell counted where all forecasts are defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.bootstrap import Interval, bootstrap, bootstrap_ratio
from posteriori.audit.rasters.cells import field_mean
from posteriori.audit.rasters.ensemble import field_crps
from posteriori.audit.rasters.spectra import Rings, radial_spectrum
from posteriori.audit.rasters.windows import fractions_skill_terms
from posteriori.audit.scores import brier
from posteriori.core.draws import Draws
from posteriori.core.random import Rng
from posteriori.domains.geography.steps import WET

WIDTHS = (1, 3, 5, 11, 21)
"""Windows [cells] of the fractions skill score."""
RINGS = 6


def reaches(level: float) -> Callable[[Tensor], Tensor]:
    """The event that rain is at or above ``level`` [mm]."""
    return lambda rain: rain >= level


@dataclass(frozen=True, eq=False)
class RainScores:
    """Forecasts judged.

    Attributes:
        forecasts: by name, rows (member, case, y, x) [mm]; one member for a forecast without spread.
        truth: (case, y, x) [mm].
        mask: where cells count, (case, y, x).
        levels: rain [mm] whose exceedance is forecast.
        blocks: labels of the stretches that cases lie in, (case,).
        rng: for ties and resampling.
    """

    forecasts: Mapping[str, Draws]
    truth: Tensor
    mask: Tensor
    levels: tuple[float, ...]
    blocks: Tensor
    rng: Rng

    @cached_property
    def crps(self) -> dict[str, Tensor]:
        """Mean over cells of the continuous ranked probability score [mm], (case,), by name; fair for the members."""
        return {name: self._crps(found.values) for name, found in self.forecasts.items()}

    def _crps(self, found: Tensor) -> Tensor:
        if len(found) == 1:
            return field_mean((found[0] - self.truth).abs(), self.mask)
        return field_crps(found, self.truth, self.mask)

    def ratio(self, ours: str, theirs: str) -> Interval:
        """Mean CRPS of one over that of another."""
        return bootstrap_ratio(self.crps[ours], self.crps[theirs], self.blocks, self.rng.child("crps", ours, theirs))

    @cached_property
    def chances(self) -> dict[tuple[str, float], Tensor]:
        """Probability that rain reaches a level [mm], (case, y, x), by forecast and level."""
        return {
            (name, level): torch.from_numpy(found.probability(reaches(level))["probability"].to_numpy())
            for name, found in self.forecasts.items()
            for level in self.levels
        }

    def brier(self, name: str, level: float) -> Tensor:
        """Mean Brier score of each case, (case,)."""
        return field_mean(brier(self.chances[name, level], (self.truth >= level).double()), self.mask)

    def skill_terms(self, name: str, level: float, width: int) -> Tensor:
        """Error and largest error of the fractions skill score, (case, 2)."""
        return torch.stack(fractions_skill_terms(self.chances[name, level], self.truth >= level, width, self.mask), 1)

    def skill(self, name: str, level: float, width: int) -> float:
        """Fractions skill score over all cases; NaN where the event is never forecast nor seen."""
        error, largest = self.skill_terms(name, level, width).sum(0).tolist()
        return 1 - error / largest if largest > 0 else float("nan")

    def skill_gain(self, ours: str, theirs: str, level: float, width: int) -> Interval:
        """Fractions skill score of one less that of another."""
        terms = torch.cat([self.skill_terms(name, level, width) for name in (ours, theirs)], 1)

        def gain(mean: Tensor) -> Tensor:
            return mean[..., 2] / mean[..., 3].clamp(min=1e-12) - mean[..., 0] / mean[..., 1].clamp(min=1e-12)

        return bootstrap(terms, gain, self.blocks, self.rng.child("skill", ours, theirs, width))

    @cached_property
    def rings(self) -> Rings:
        """Rings of wavenumber [cycles a cell]."""
        height, width = self.truth.shape[-2:]
        return Rings.of((height, width), RINGS)

    def spectrum(self, fields: Tensor) -> Tensor:
        """Mean power of fields (*, case, y, x), zero where cells do not count, by ring."""
        return radial_spectrum(torch.where(self.mask, fields, 0.0), self.rings).flatten(0, -2).mean(0)

    def spectrum_ratio(self, name: str) -> Tensor:
        """Power of members over that of the truth, (ring,)."""
        return self.spectrum(self.forecasts[name].values) / self.spectrum(self.truth)

    def ranks(self, name: str) -> Tensor:
        """Members below the truth, ties at random, where a member or the truth is wet, (cell,).

        All n + 1 fields enter the condition alike, so the ranks of a calibrated ensemble are uniform.
        """
        found = self.forecasts[name].values
        wet = self.mask & ((found >= WET).any(0) | (self.truth >= WET))
        x, y = found[:, wet], self.truth[wet]
        ties = (x == y).sum(0)
        return (x < y).sum(0) + (self.rng.child("ties", name).uniform(y.shape) * (ties + 1)).long()

    def unevenness(self, name: str) -> float:
        """Mean over ranks of |share (n + 1) - 1|: 0 for a flat rank histogram."""
        n = len(self.forecasts[name].values)
        share = np.bincount(self.ranks(name).numpy(), minlength=n + 1)
        return float(np.abs(share / max(share.sum(), 1) * (n + 1) - 1).mean())

    def outer(self, name: str) -> float:
        """Share of truths beyond all members over 2 / (n + 1)."""
        ranks, n = self.ranks(name), len(self.forecasts[name].values)
        return float(((ranks == 0) | (ranks == n)).double().mean()) * (n + 1) / 2
