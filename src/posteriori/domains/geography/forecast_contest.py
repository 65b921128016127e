"""The forecast of this package and the laws it has to beat, learnt from one past and asked about one future."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import DenseCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.space import Space
from posteriori.domains.geography.forecasting import (
    Family,
    Law,
    Past,
    Series,
    dressed_factor,
    dressed_score,
    elsewhere,
    linear_inverse,
    on_grid,
    simple,
    surroundings,
    trial,
)
from posteriori.domains.geography.persistence import kept
from posteriori.domains.geography.residual_trial import Missed
from posteriori.learn.ensemble_covariance import Localisation, LocalisedCovariance, choose

TAPERS = (4.0, 8.0, 16.0, 32.0)
"""Lengths [cells] to choose from, over which errors of the forecast go together."""
LINEAR_INVERSE = "linear inverse model"
REPAIRED = "linear inverse model, spread repaired"
PERSISTENCE = "persistence"
OURS = "forecast"


@dataclass(frozen=True, eq=False)
class Forecast:
    """N(mean, std²) of each cell: mean (case, cell), std (cell,)."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class Blend:
    """The plain average of some laws, its errors those found on stretches left out.

    Args:
        members: the laws.
        names: what they are.
        errors: truth less mean on stretches left out, (case, cell).
        factor: of the spread of those errors, for intervals that hold as often as they say.
        fold, cases: stretch (case,) and positions (case, 2) of each.
        crps: of each average that was tried, by its parts.
    """

    members: Sequence[Law]
    names: tuple[str, ...]
    errors: Tensor
    factor: float
    fold: Tensor
    cases: Tensor
    crps: Mapping[str, float]

    def mean(self, shown: Tensor) -> Tensor:
        """Anomalies expected one lead after the latest of ``shown`` (n, age, cell), (n, cell)."""
        return torch.stack([law.mean(shown) for law in self.members]).mean(0)

    @property
    def std(self) -> Tensor:
        """Of each cell, (cell,)."""
        return self.factor * self.errors.square().mean(0).sqrt()


@dataclass(frozen=True, eq=False)
class Contest:
    """What was learnt for one lead.

    Attributes:
        past: what it was learnt from.
        blend: the forecast of this package.
        rivals: the other laws of anomalies.
        chosen: the linear inverse model and the strength that did best on stretches left out.
        factors: repairs of the spread of rivals, from the same stretches.
    """

    past: Past
    blend: Blend
    rivals: Mapping[str, Law]
    chosen: Mapping[str, str]
    factors: Mapping[str, float]

    @staticmethod
    def learnt(series: Series, within: Tensor, lead: float, folds: int, gap: float) -> Contest:
        """Every choice is made on ``folds`` stretches of ``within`` that are left out in turn, ``gap`` hours away."""
        ahead = series.ahead(lead)
        families: dict[str, Family] = {
            "simple": simple,
            LINEAR_INVERSE: linear_inverse,
            "surroundings": partial(surroundings, gap=gap),
        }
        trials = {name: trial(series, within, ahead, family, folds, gap) for name, family in families.items()}
        best = {
            LINEAR_INVERSE: trials[LINEAR_INVERSE].best,
            "surroundings": trials["surroundings"].best_centre,
            "damped": "damped",
        }
        past = Past.of(series, within, ahead)
        fitted = {**simple(past), **linear_inverse(past), **families["surroundings"](past)}
        errors = {name: trials["simple" if name == "damped" else name].errors[law] for name, law in best.items()}
        stretches = trials["simple"].fold, trials["simple"].cases
        blend = _blended(errors, {name: fitted[law] for name, law in best.items()}, *stretches)
        rivals = {name: fitted[name] for name in trials["simple"].crps}
        rivals[LINEAR_INVERSE] = fitted[best[LINEAR_INVERSE]]
        factors = {LINEAR_INVERSE: trials[LINEAR_INVERSE].factor(best[LINEAR_INVERSE])}
        return Contest(past, blend, rivals, best, factors)

    def forecasts(self, cases: Tensor) -> dict[str, Forecast]:
        """Laws of the fields at ``cases[:, 1]``, given those at ``cases[:, 0]``, in the unit of the fields."""
        series, cycle = self.past.series, self.past.cycle
        now, base = self.past.shown(cases[:, 0]), cycle.at(series.hours[cases[:, 1]])
        found = {OURS: Forecast(base + self.blend.mean(now), self.blend.std)}
        for name, law in self.rivals.items():
            found[name] = Forecast(base + law.mean(now), law.covariance.diagonal().sqrt())
        lim = found[LINEAR_INVERSE]
        found[REPAIRED] = Forecast(lim.mean, self.factors[LINEAR_INVERSE] * lim.std)
        pairs = self.past.pairs()
        raw = kept(*series.fields[pairs].unbind(1))
        found[PERSISTENCE] = Forecast(raw.mean(series.fields[cases[:, 0]]), raw.covariance.diagonal().sqrt())
        return found

    def missed(self) -> Missed:
        """What the average missed on stretches left out, with what was shown, for a residual model."""
        blend, mask = self.blend, self.past.series.mask
        size = self.past.anomalies[self.past.within].std()
        std = blend.factor * elsewhere(blend.errors, blend.fold)
        shown = on_grid(self.past.shown(blend.cases[:, 0]) / size, mask)
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


def require_room(space: Space) -> None:
    """Go on only when the joint law of the errors of all cells of ``space`` fits.

    Raises:
        MemoryBudgetError: it does not.
    """
    memory.require(3 * 8 * space.size**2, f"errors of {space.size} cells that go together", "cut or coarsen the fields")


def _blended(errors: Mapping[str, Tensor], laws: Mapping[str, Law], fold: Tensor, cases: Tensor) -> Blend:
    """The average, of all that some of these laws have, that scored best on stretches left out."""
    averages = {
        names: torch.stack([errors[name] for name in names]).mean(0)
        for number in range(1, len(errors) + 1)
        for names in combinations(errors, number)
    }
    scores = {names: dressed_score(error, fold) for names, error in averages.items()}
    best = min(scores, key=scores.__getitem__)
    named = {" + ".join(names): score for names, score in scores.items()}
    factor = dressed_factor(averages[best], fold)
    return Blend([laws[name] for name in best], best, averages[best], factor, fold, cases, named)
