"""Forecasts of fields learnt from their past: pairs of fields one lead apart, and trials on stretches left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.splits import Split, time_folds
from posteriori.audit.scores import crps_gaussian
from posteriori.core.covariance import Covariance, DiagonalCovariance
from posteriori.core.errors import DataError, OptionError
from posteriori.domains.geography.daily_cycle import DailyCycle
from posteriori.domains.geography.persistence import Persistence, climate, damped, kept
from posteriori.inference.conformal import conformal_quantile
from posteriori.learn.linear_inverse_model import LinearInverseModel
from posteriori.learn.shared_regression import Moments, Surroundings, strengths

MODES = (2, 3, 5, 8, 12, 16)
"""Patterns of the linear inverse model to choose from."""
LEVEL = 0.9
"""Of the intervals that the spread is repaired for."""


class Law(Protocol):
    """The anomaly one lead after another: N(mean(fields), covariance)."""

    covariance: Covariance

    def mean(self, fields: Tensor) -> Tensor:
        """(n, cell) → (n, cell)."""


@dataclass(frozen=True, eq=False)
class Series:
    """Fields at even times.

    Args:
        hours: (n,), rising, from a midnight.
        fields: (n, cell), float64, defined cells only.
        mask: where those cells lie, (y, x).

    Raises:
        DataError: times that are not even, fewer than four fields, or values that are not finite.
    """

    hours: Tensor
    fields: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        steps = self.hours.diff()
        if len(steps) < 3 or not bool((steps > 0).all()) or float(steps.max() - steps.min()) > 1e-3 * float(steps[0]):
            raise DataError(
                f"{len(self.hours)} fields at uneven times cannot be paired one lead apart; give even steps of time."
            )
        bad = ~torch.isfinite(self.fields)
        if bool(bad.any()):
            at = int(bad.any(1).nonzero()[0])
            raise DataError(
                f"{int(bad.sum())} values are gaps, the first in field {at}; fill them first (geography/gap-filling)."
            )

    @property
    def step(self) -> float:
        """Hours between fields."""
        return float(self.hours[1] - self.hours[0])

    def ahead(self, lead: float) -> int:
        """Fields in ``lead`` hours; ``OptionError`` if that is no whole number of at least one."""
        number = lead / self.step
        if number < 1 - 1e-6 or abs(number - round(number)) > 1e-3:
            raise OptionError(f"lead={lead:g} h is no whole number of steps of {self.step:g} h.")
        return round(number)

    def pairs(self, within: Tensor, ahead: int) -> Tensor:
        """(p, 2) positions ``ahead`` fields apart of which all between, ends included, belong to ``within``."""
        inside = torch.zeros(len(self.hours), dtype=torch.int64)
        inside[within] = 1
        full = inside.unfold(0, ahead + 1, 1).sum(1) == ahead + 1 if len(inside) > ahead else inside[:0].bool()
        first = full.nonzero()[:, 0]
        return torch.stack([first, first + ahead], 1)


@dataclass(frozen=True, eq=False)
class Past:
    """What may be learnt from: anomalies (n, cell) of all fields about a cycle fitted ``within`` alone."""

    series: Series
    within: Tensor
    ahead: int
    cycle: DailyCycle

    @staticmethod
    def of(series: Series, within: Tensor, ahead: int) -> Past:
        """Those fields, and the daily cycle that they show."""
        return Past(series, within, ahead, DailyCycle.fitted(series.hours[within], series.fields[within]))

    @property
    def anomalies(self) -> Tensor:
        """(n, cell)."""
        return self.series.fields - self.cycle.at(self.series.hours)

    def pairs(self, ahead: int | None = None) -> Tensor:
        """Positions one lead (or ``ahead`` fields) apart, (p, 2).

        Raises:
            DataError: none.
        """
        found = self.series.pairs(self.within, ahead or self.ahead)
        if len(found) < 3:
            raise DataError(f"{len(found)} pairs of fields one lead apart to learn from; give a longer history.")
        return found


Family = Callable[[Past], Mapping[str, Law]]
"""Several laws learnt from one past, by name."""


def simple(past: Past) -> dict[str, Persistence]:
    """Climate, anomaly kept, anomaly damped."""
    now, then = past.anomalies[past.pairs()].unbind(1)
    return {"climatology": climate(now, then), "anomaly persistence": kept(now, then), "damped": damped(now, then)}


def linear_inverse(past: Past) -> dict[str, LinearInverseModel]:
    """Linear inverse models of several numbers of patterns, learnt at lags that divide the lead."""
    a = past.anomalies
    within = a[past.within]
    found = {}
    for lag in sorted({1, past.ahead // 4, past.ahead} - {0}):
        if past.ahead % lag:
            continue
        pairs = torch.searchsorted(past.within, past.pairs(lag))
        for modes in (m for m in MODES if m < min(within.shape)):
            found[f"{modes} modes, lag {lag}"] = LinearInverseModel.fitted(within, pairs, past.ahead // lag, modes)
    return found


def surroundings(past: Past, scales: tuple[float, ...]) -> dict[str, Law]:
    """Regressions on the surroundings of each cell, of several strengths; spread as their errors in the sample."""
    mask = past.series.mask
    a, pairs = past.anomalies, past.pairs()
    told = Surroundings(mask, _contrast(past)[None], scales)
    now, then = (on_grid(a[column], mask) for column in pairs.unbind(1))
    moments = Moments.of(told, now, then)
    found: dict[str, Law] = {}
    for strength in strengths():
        regression = moments.ridge(strength)
        error = a[pairs[:, 1]] - _whole(regression.mean, a[pairs[:, 0]], mask)
        found[f"strength {strength:.3g}"] = Masked(regression.mean, mask, DiagonalCovariance(error.square().mean(0)))
    return found


@dataclass(frozen=True, eq=False)
class Masked:
    """A law whose mean knows the whole grid, asked about the defined cells."""

    grid_mean: Callable[[Tensor], Tensor]
    mask: Tensor
    covariance: Covariance

    def mean(self, fields: Tensor) -> Tensor:
        """(n, cell) → (n, cell)."""
        return _whole(self.grid_mean, fields, self.mask)


@dataclass(frozen=True, eq=False)
class Trial:
    """How each law of a family did on fields left out.

    Attributes:
        crps: mean score of each.
        errors: truth less mean of each, (case, cell).
        spread: standard deviations that each stated, (fold, cell).
        fold: of each case, (case,).
        cases: positions (case, 2) of the fields now and then.
    """

    crps: Mapping[str, float]
    errors: Mapping[str, Tensor]
    spread: Mapping[str, Tensor]
    fold: Tensor
    cases: Tensor

    @property
    def best(self) -> str:
        """The name of the least score."""
        return min(self.crps, key=self.crps.__getitem__)

    def factor(self, name: str) -> float:
        """What its spread must be multiplied by for intervals of :data:`LEVEL` to hold as often."""
        needed = self.errors[name].abs() / (normal_arm() * self.spread[name][self.fold])
        return conformal_quantile(list(needed), LEVEL)


def trial(series: Series, within: Tensor, ahead: int, family: Family, folds: int, gap: float) -> Trial:
    """Every law of ``family`` on ``folds`` stretches of ``within``, learnt from the rest, ``gap`` hours away."""
    errors: dict[str, list[Tensor]] = {}
    spread: dict[str, list[Tensor]] = {}
    scores: dict[str, list[Tensor]] = {}
    fold, cases = [], []
    for number, split in enumerate(_folds(series, within, folds, gap)):
        pairs = series.pairs(split.test, ahead)
        if not len(pairs):
            raise DataError(f"a stretch left out is no longer than the lead of {ahead} fields; use fewer folds.")
        past = Past.of(series, split.train, ahead)
        now, then = past.anomalies[pairs].unbind(1)
        for name, law in family(past).items():
            error, std = then - law.mean(now), law.covariance.diagonal().sqrt()
            errors.setdefault(name, []).append(error)
            spread.setdefault(name, []).append(std)
            scores.setdefault(name, []).append(crps_gaussian(torch.zeros_like(error), std.expand_as(error), error))
        fold += [torch.full((len(pairs),), number)]
        cases += [pairs]
    crps = {name: float(torch.cat(found).mean()) for name, found in scores.items()}
    joined = {name: torch.cat(found) for name, found in errors.items()}
    stated = {name: torch.stack(found) for name, found in spread.items()}
    return Trial(crps, joined, stated, torch.cat(fold), torch.cat(cases))


def normal_arm() -> float:
    """Half the width of a central interval of :data:`LEVEL` of N(0, 1)."""
    return float(torch.special.ndtri(torch.tensor(0.5 + LEVEL / 2, dtype=torch.float64)))


def _folds(series: Series, within: Tensor, folds: int, gap: float) -> Sequence[Split]:
    local = time_folds(series.hours[within].numpy().astype(np.float64), folds, gap)
    return [Split(within[split.train], within[split.test]) for split in local]


def _contrast(past: Past) -> Tensor:
    """How much each cell takes part in the daily cycle (or varies, where there is none), centred, of unit size."""
    mask = past.series.mask
    size = past.cycle.amplitude if past.cycle.harmonics else past.anomalies[past.within].std(0)
    scaled = (size - size.mean()) / size.std().clamp_min(1e-12)
    return on_grid(scaled[None], mask)[0]


def on_grid(cells: Tensor, mask: Tensor) -> Tensor:
    """Defined cells (n, cell) as fields (n, y, x), zero elsewhere."""
    whole = torch.zeros(len(cells), *mask.shape, dtype=cells.dtype)
    whole[:, mask] = cells
    return whole


def _whole(mean: Callable[[Tensor], Tensor], fields: Tensor, mask: Tensor) -> Tensor:
    return mean(on_grid(fields, mask))[:, mask]
