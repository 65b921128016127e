"""Forecasts of fields learnt from their past: pairs of fields one lead apart, and trials on stretches left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.splits import Split, time_folds
from posteriori.audit.scores import crps_gaussian
from posteriori.core.covariance import Covariance, DiagonalCovariance
from posteriori.core.errors import DataError, OptionError
from posteriori.domains.geography.daily_cycle import YEAR, DailyCycle
from posteriori.domains.geography.persistence import Persistence, climate, damped, kept
from posteriori.inference.conformal import conformal_quantile
from posteriori.learn.linear_inverse_model import LinearInverseModel
from posteriori.learn.shared_regression import Moments, SharedRegression, Surroundings

MODES = (2, 3, 5, 8, 12, 16)
"""Patterns of the linear inverse model to choose from."""
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the ridge regression, to choose from."""
AGES = (0, 2, 6, 12)
"""How many fields back the fields are that a forecast may look at."""
LOOKS = ((0,), (0, 2), (0, 6), (0, 12), (0, 6, 12))
"""Sets of ages for the regression to choose from."""
LINEAR_INVERSE = "linear inverse model"
RECENT_MEAN = "recent mean"
RECENT = 12
"""Fields whose mean stands for the latest past, where what is usual has been drifting."""
APART = 8
"""Starts of forecasts that laws are learnt from lie this part of the lead apart: nearer ones tell the same."""
LEFT_OUT = 50
"""Forecasts, evenly chosen, that are tried on each stretch left out."""
LEVEL = 0.9
"""Of the intervals that the spread is repaired for."""


class Law(Protocol):
    """The anomaly one lead after another: N(mean(shown), covariance)."""

    @property
    def covariance(self) -> Covariance:
        """Of the errors of the mean, over the cells."""

    def mean(self, shown: Tensor) -> Tensor:
        """(n, age + 1, cell), as :meth:`Past.shown` gives them → (n, cell)."""


@dataclass(frozen=True, eq=False)
class Series:
    """Fields at even times.

    Args:
        hours: (n,), rising, from a midnight.
        fields: (n, cell), float64, defined cells only.
        mask: where those cells lie, (y, x).
        year: hours of one in their calendar.

    Raises:
        DataError: times that are not even, fewer than four fields, or values that are not finite.
    """

    hours: Tensor
    fields: Tensor
    mask: Tensor
    year: float = YEAR

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

    def steps(self, span: float) -> int:
        """Fields in ``span`` hours; 0 if that is no whole number."""
        number = span / self.step
        return round(number) if abs(number - round(number)) <= 1e-3 else 0

    def ahead(self, lead: float) -> int:
        """Fields in ``lead`` hours; ``OptionError`` if that is no whole number of at least one."""
        number = self.steps(lead)
        if number < 1:
            raise OptionError(f"lead={lead:g} h is no whole number of steps of {self.step:g} h.")
        return number

    def pairs(self, within: Tensor, ahead: int) -> Tensor:
        """(p, 2) positions ``ahead`` fields apart of which all between, ends included, belong to ``within``."""
        inside = torch.zeros(len(self.hours), dtype=torch.int64)
        inside[within] = 1
        full = inside.unfold(0, ahead + 1, 1).sum(1) == ahead + 1 if len(inside) > ahead else inside[:0].bool()
        first = full.nonzero()[:, 0]
        return torch.stack([first, first + ahead], 1)


@dataclass(frozen=True, eq=False)
class Past:
    """What may be learnt from: anomalies (n, cell) of all fields about a cycle fitted ``within`` alone.

    Laws are learnt of departures from a ``base`` (n, cell), known with each field and expected to stay: zero, or, where
    what is usual drifts, the mean of the latest fields.
    """

    series: Series
    within: Tensor
    ahead: int
    cycle: DailyCycle
    anomalies: Tensor
    base: Tensor

    @staticmethod
    def of(series: Series, within: Tensor, ahead: int) -> Past:
        """Those fields, and the cycle that they show.

        Raises:
            DataError: no cell changes in them.
        """
        if not bool((series.fields[within] != series.fields[within[0]]).any()):
            raise DataError(
                f"no cell changes over {len(within)} fields to learn from; check the variable and the times."
            )
        cycle = DailyCycle.fitted(series.hours[within], series.fields[within], series.year)
        anomalies = series.fields - cycle.at(series.hours)
        return Past(series, within, ahead, cycle, anomalies, torch.zeros_like(anomalies))

    def drifting(self) -> Past:
        """The same with the mean of the latest fields as the base."""
        return replace(self, base=self.recent)

    @cached_property
    def recent(self) -> Tensor:
        """Mean anomaly of the latest :data:`RECENT` fields at each, (n, cell); of fewer before there are so many."""
        sums = torch.cat([torch.zeros_like(self.anomalies[:1]), self.anomalies.cumsum(0)])
        last = torch.arange(1, len(sums))
        first = (last - RECENT).clamp_min(0)
        return (sums[last] - sums[first]) / (last - first)[:, None]

    @property
    def departures(self) -> Tensor:
        """Of each field from the base at the same time, (n, cell)."""
        return self.anomalies - self.base

    def shown(self, first: Tensor) -> Tensor:
        """Anomalies at ``first`` (n,) and :data:`AGES` before, then their recent mean, (n, age + 1, cell).

        None is before the first field.
        """
        aged = self.anomalies[(first[:, None] - torch.tensor(AGES)).clamp_min(0)]
        return torch.cat([aged, self.recent[first, None]], 1)

    def lessons(self) -> tuple[Tensor, Tensor]:
        """Departures from the base at hand: as shown (pair, age + 1, cell), and what came one lead later."""
        first, then = self.pairs()[:: max(1, self.ahead // APART)].unbind(1)
        base = self.base[first]
        return self.shown(first) - base[:, None], self.anomalies[then] - base

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


@dataclass(frozen=True, eq=False)
class Latest:
    """A law that looks at the latest field alone."""

    law: Persistence | LinearInverseModel

    @property
    def covariance(self) -> Covariance:
        """Of its errors."""
        return self.law.covariance

    def mean(self, shown: Tensor) -> Tensor:
        """(n, age, cell) → (n, cell)."""
        return self.law.mean(shown[:, 0])


@dataclass(frozen=True, eq=False)
class Regressed:
    """A regression on the surroundings of each cell in fields of some ``ages``."""

    regression: SharedRegression
    mask: Tensor
    ages: tuple[int, ...]
    covariance: Covariance

    def mean(self, shown: Tensor) -> Tensor:
        """(n, age, cell) → (n, cell)."""
        at = [AGES.index(age) for age in self.ages]
        return self.regression.mean(on_grid(shown[:, at], self.mask))[:, self.mask]


@dataclass(frozen=True, eq=False)
class Drifting:
    """A law of departures from the mean of the latest fields, which is expected to stay."""

    law: Law

    @property
    def covariance(self) -> Covariance:
        """Of its errors."""
        return self.law.covariance

    def mean(self, shown: Tensor) -> Tensor:
        """(n, age + 1, cell) → (n, cell)."""
        recent = shown[:, -1:]
        return recent[:, 0] + self.law.mean(shown - recent)


def laws(past: Past, gap: float) -> dict[str, Law]:
    """All that are tried: of anomalies, and of departures from a recent mean that reaches no further back than gap."""
    found = {**simple(past), **linear_inverse(past), **surroundings(past, gap)}
    if RECENT * past.series.step > gap:
        return found
    drift = past.drifting()
    shown, then = drift.lessons()
    now = shown[:, 0]
    moving = {"damped": Latest(damped(now, then)), **linear_inverse(drift), **surroundings(drift, gap)}
    found[RECENT_MEAN] = Drifting(Latest(climate(now, then)))
    return found | {f"{name}, from the {RECENT_MEAN}": Drifting(law) for name, law in moving.items()}


def drifts(name: str) -> bool:
    """Whether the law of this name starts from the recent mean."""
    return name.endswith(RECENT_MEAN)


def simple(past: Past) -> dict[str, Law]:
    """Climate, anomaly kept, anomaly damped."""
    shown, then = past.lessons()
    now = shown[:, 0]
    found = {"climatology": climate(now, then), "anomaly persistence": kept(now, then), "damped": damped(now, then)}
    return {name: Latest(law) for name, law in found.items()}


def linear_inverse(past: Past) -> dict[str, Law]:
    """Linear inverse models of several numbers of patterns, learnt at lags that divide the lead."""
    within = past.departures[past.within]
    found: dict[str, Law] = {}
    for lag in sorted({1, past.ahead // 4, past.ahead} - {0}):
        if past.ahead % lag:
            continue
        pairs = torch.searchsorted(past.within, past.pairs(lag))
        for modes in (m for m in MODES if m < min(len(pairs), *within.shape)):
            model = LinearInverseModel.fitted(within, pairs, past.ahead // lag, modes)
            found[f"{LINEAR_INVERSE}, {modes} modes, lag {lag}"] = Latest(model)
    return found


def surroundings(past: Past, gap: float) -> dict[str, Law]:
    """Regressions on the surroundings of each cell: several strengths and looks back, none beyond ``gap`` [h]."""
    mask, (shown, then) = past.series.mask, past.lessons()
    found: dict[str, Law] = {}
    for ages in (ages for ages in LOOKS if max(ages) * past.series.step <= gap):
        told = Surroundings(mask, _contrast(past)[None], ages=len(ages))
        now = on_grid(shown[:, [AGES.index(age) for age in ages]], mask)
        moments = Moments.of(told, now, on_grid(then, mask))
        for strength in STRENGTHS:
            regression = moments.ridge(strength)
            spread = DiagonalCovariance(torch.full_like(then[0], max(regression.variance, 1e-300)))
            name = f"regression, {', '.join(map(str, ages))} fields back, strength {strength:g}"
            found[name] = Regressed(regression, mask, ages, spread)
    return found


@dataclass(frozen=True, eq=False)
class Trial:
    """How each law of a family did on fields left out.

    Attributes:
        crps: mean score of each with the spread that it stated.
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

    def factor(self, name: str) -> float:
        """What its spread must be multiplied by for intervals of :data:`LEVEL` to hold as often."""
        needed = self.errors[name].abs() / (normal_arm() * self.spread[name][self.fold])
        return conformal_quantile(list(needed), LEVEL)


def trial(series: Series, within: Tensor, ahead: int, family: Family, folds: int, gap: float) -> Trial:
    """Laws of ``family`` on ``folds`` stretches of ``within``, learnt from the rest, ``gap`` hours away.

    A law that the rest of one stretch is too short to learn is left out.
    """
    errors: dict[str, list[Tensor]] = {}
    spread: dict[str, list[Tensor]] = {}
    scores: dict[str, list[Tensor]] = {}  # by case: those by cell would double the memory
    fold, cases = [], []
    for number, split in enumerate(_folds(series, within, folds, gap)):
        pairs = series.pairs(split.test, ahead)
        if not len(pairs):
            raise DataError(f"a stretch left out is no longer than the lead of {ahead} fields; use fewer folds.")
        pairs = pairs[:: -(-len(pairs) // LEFT_OUT)]
        past = Past.of(series, split.train, ahead)
        now, then = past.shown(pairs[:, 0]), past.anomalies[pairs[:, 1]]
        for name, law in family(past).items():
            error, std = then - law.mean(now), law.covariance.diagonal().sqrt()
            errors.setdefault(name, []).append(error)
            spread.setdefault(name, []).append(std)
            scores.setdefault(name, []).append(
                crps_gaussian(torch.zeros_like(error), std.expand_as(error), error).mean(1)
            )
        fold += [torch.full((len(pairs),), number)]
        cases += [pairs]
    always = [name for name, found in errors.items() if len(found) == len(fold)]
    crps = {name: float(torch.cat(scores[name]).mean()) for name in always}
    joined = {name: torch.cat(errors.pop(name)) for name in always}
    stated = {name: torch.stack(spread[name]) for name in always}
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
    size = past.cycle.amplitude if past.cycle.periods else past.departures[past.within].std(0)
    scaled = (size - size.mean()) / size.std().clamp_min(1e-12)
    return on_grid(scaled[None], mask)[0]


def on_grid(cells: Tensor, mask: Tensor) -> Tensor:
    """Defined cells (*batch, cell) as fields (*batch, y, x), zero elsewhere."""
    whole = torch.zeros(*cells.shape[:-1], *mask.shape, dtype=cells.dtype)
    whole[..., mask] = cells
    return whole


def dressed_score(error: Tensor, fold: Tensor) -> Tensor:
    """CRPS of errors (case, cell) when the spread of each stretch is that of the errors on the others, (case,)."""
    return crps_gaussian(torch.zeros_like(error), elsewhere(error, fold), error).mean(1)


def dressed_factor(error: Tensor, fold: Tensor) -> float:
    """The conformal factor of that spread for intervals of :data:`LEVEL`."""
    return conformal_quantile(list(error.abs() / (normal_arm() * elsewhere(error, fold))), LEVEL)


def elsewhere(error: Tensor, fold: Tensor) -> Tensor:
    """Root-mean-square error of the other stretches, (case, cell)."""
    return torch.stack([spread_of(error[fold != f]) for f in fold.unique()])[fold]


def spread_of(error: Tensor) -> Tensor:
    """Root-mean-square of errors (case, cell), above zero where a cell never changes, (cell,)."""
    spread = error.square().mean(0).sqrt()
    return spread.clamp_min(1e-9 * float(spread.max()) + 1e-300)
