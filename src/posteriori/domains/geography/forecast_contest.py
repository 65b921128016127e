"""The forecast of this package and the laws it has to beat, learnt from one past and asked about one future."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from posteriori.audit.rasters.splits import time_blocks
from posteriori.core import memory
from posteriori.core.covariance import DenseCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.space import Space
from posteriori.domains.geography.forecast_standing import Standing, alike, standings
from posteriori.domains.geography.forecasting import (
    AGES,
    LEFT_OUT,
    LINEAR_INVERSE,
    RECENT_MEAN,
    Law,
    Past,
    Series,
    Trial,
    dressed_factor,
    dressed_score,
    drifts,
    elsewhere,
    laws,
    on_grid,
    simple,
    spread_of,
    trial,
)
from posteriori.domains.geography.persistence import kept
from posteriori.domains.geography.residual_trial import Missed
from posteriori.learn.ensemble_covariance import Localisation, LocalisedCovariance, choose

TAPERS = (4.0, 8.0, 16.0, 32.0)
"""Lengths [cells] to choose from, over which errors of the forecast go together."""
LINEAR_INVERSE_DRIFTING = f"{LINEAR_INVERSE}, from the {RECENT_MEAN}"
MANY = 120
"""Laws that are tried, or somewhat fewer."""
REPAIRED = ", spread repaired"
PERSISTENCE = "persistence"
OURS = "forecast"


@dataclass(frozen=True, eq=False)
class Forecast:
    """N(mean, std²) of each cell: mean (case, cell), std (cell,)."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class Blend:
    """The plain average of all laws that stretches left out cannot tell from the best.

    Args:
        members: the laws.
        errors: truth less mean on stretches left out, (case, cell).
        factor: of the spread of those errors, for intervals that hold as often as they say.
        fold, cases: stretch (case,) and positions (case, 2) of each.
    """

    members: Sequence[Law]
    errors: Tensor
    factor: float
    fold: Tensor
    cases: Tensor

    def mean(self, shown: Tensor) -> Tensor:
        """Anomalies expected one lead after the latest of ``shown``, as :meth:`Past.shown` gives them, (n, cell)."""
        return torch.stack([law.mean(shown) for law in self.members]).mean(0)

    @property
    def std(self) -> Tensor:
        """Of each cell, (cell,)."""
        return self.factor * spread_of(self.errors)


@dataclass(frozen=True, eq=False)
class Contest:
    """What was learnt for one lead.

    Attributes:
        past: what it was learnt from.
        blend: the forecast of this package.
        rivals: the other laws of anomalies.
        inverses: which linear inverse model of each kind did best on stretches left out.
        factors: repairs of the spread of each kind, from the same stretches.
        standing: how every law did there.
        left_out: CRPS there of the average that the other stretches would have chosen, over that of these models.
    """

    past: Past
    blend: Blend
    rivals: Mapping[str, Law]
    inverses: Mapping[str, str]
    factors: Mapping[str, float]
    standing: Mapping[str, Standing]
    left_out: float

    @staticmethod
    def learnt(series: Series, within: Tensor, lead: float, folds: int, gap: float, block: float) -> Contest:
        """Every choice is made on ``folds`` stretches of ``within`` that are left out in turn, ``gap`` hours away.

        What lies within ``block`` hours counts as one when the noise of scores is judged.
        """
        ahead, family = series.ahead(lead), partial(laws, gap=gap)
        tried = trial(series, within, ahead, family, folds, gap)
        past = Past.of(series, within, ahead)
        fitted = {name: law for name, law in family(past).items() if name in tried.errors}
        blocks = time_blocks(series.hours[tried.cases[:, 1]].numpy(), block)
        scores = {name: dressed_score(error, tried.fold) for name, error in tried.errors.items()}
        standing = standings(scores, blocks)
        members = alike(standing)
        errors = torch.stack([tried.errors[name] for name in members]).mean(0)
        factor = dressed_factor(errors, tried.fold)
        blend = Blend([fitted[name] for name in members], errors, factor, tried.fold, tried.cases)
        rivals = {name: fitted[name] for name in (*simple(past), RECENT_MEAN) if name in fitted}
        inverses = {}
        for kind, moving in ((LINEAR_INVERSE, False), (LINEAR_INVERSE_DRIFTING, True)):
            names = [name for name in fitted if name.startswith(LINEAR_INVERSE) and drifts(name) is moving]
            if names:
                inverses[kind] = min(names, key=tried.crps.__getitem__)
                rivals[kind] = fitted[inverses[kind]]
        factors = {kind: tried.factor(name) for kind, name in inverses.items()}
        left_out = float(_unseen(tried, scores, blocks).mean()) / min(standing[n].score for n in inverses.values())
        return Contest(past, blend, rivals, inverses, factors, standing, left_out)

    def forecasts(self, cases: Tensor) -> dict[str, Forecast]:
        """Laws of the fields at ``cases[:, 1]``, given those at ``cases[:, 0]``, in the unit of the fields."""
        series, cycle = self.past.series, self.past.cycle
        now, base = self.past.shown(cases[:, 0]), cycle.at(series.hours[cases[:, 1]])
        found = {OURS: Forecast(base + self.blend.mean(now), self.blend.std)}
        for name, law in self.rivals.items():
            found[name] = Forecast(base + law.mean(now), law.covariance.diagonal().sqrt())
        for kind, factor in self.factors.items():
            found[kind + REPAIRED] = Forecast(found[kind].mean, factor * found[kind].std)
        pairs = self.past.pairs()
        raw = kept(*series.fields[pairs].unbind(1))
        found[PERSISTENCE] = Forecast(raw.mean(series.fields[cases[:, 0]]), raw.covariance.diagonal().sqrt())
        return found

    def missed(self) -> Missed:
        """What the average missed on stretches left out, with what was shown, for a residual model."""
        blend, mask = self.blend, self.past.series.mask
        size = self.past.anomalies[self.past.within].std()
        std = blend.factor * elsewhere(blend.errors, blend.fold)
        shown = on_grid(self.past.shown(blend.cases[:, 0])[:, : len(AGES)] / size, mask)
        told = torch.stack([shown[:, 0], on_grid((std / std.mean()).log(), mask)], 1)
        fields = on_grid(torch.stack([blend.errors, std]), mask)
        return Missed(fields[0], torch.where(mask, fields[1], 1.0), told, shown.flip(1), blend.fold, mask)

    def ahead_of(self, position: int) -> Tensor:
        """What is expected one lead after the field at ``position``, (cell,)."""
        series = self.past.series
        later = series.hours[position] + self.past.ahead * series.step
        return self.past.cycle.at(later[None])[0] + self.blend.mean(self.past.shown(torch.tensor([position])))[0]

    def posterior(self, space: Space, means: Tensor) -> Gaussian:
        """The joint law of fields with these ``means`` (case, cell): errors go together over the distance that makes
        those of stretches left out most likely."""
        mask = self.past.series.mask
        history = on_grid(self.blend.errors, mask)
        tapers = [Localisation((length,)) for length in TAPERS if length < 2 * max(mask.shape)]
        taper = choose(space, history, tapers, blocks=4).best
        covariance = LocalisedCovariance(space, self.blend.factor * space.flat(history), taper).dense()
        return Gaussian(space, on_grid(means, mask), DenseCovariance(covariance), problems={"case": None})


def require_room(space: Space, folds: int) -> None:
    """Go on only when the errors of all laws on so many stretches, and the joint law of those of all cells, fit.

    Raises:
        MemoryBudgetError: they do not.
    """
    need = 8 * space.size * (3 * space.size + MANY * LEFT_OUT * folds)
    memory.require(
        need, f"errors of {space.size} cells that go together", "cut or coarsen the fields, or take fewer folds"
    )


def _unseen(tried: Trial, scores: Mapping[str, Tensor], blocks: Tensor) -> Tensor:
    """Score of each case when the laws to average were chosen on the other stretches alone, (case,)."""
    errors = torch.empty_like(tried.errors["climatology"])
    for fold in tried.fold.unique():
        at = tried.fold == fold
        chosen = alike(standings({name: found[~at] for name, found in scores.items()}, blocks[~at]))
        errors[at] = torch.stack([tried.errors[name][at] for name in chosen]).mean(0)
    return dressed_score(errors, tried.fold)
