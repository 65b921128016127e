"""Three ways to fill what clouds hide, learnt alike from what is left, judged on cells that none of them has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posteriori.audit.scores import crps_draws, crps_gaussian
from posteriori.core.errors import DataError
from posteriori.core.run import Context
from posteriori.domains.geography.cloud_gaps import (
    GappyStack,
    cells_to_seen,
    days_to_seen,
    hidden_by,
    interpolated,
)
from posteriori.domains.geography.dineof import Dineof
from posteriori.domains.geography.dressing import Dressing
from posteriori.inference.space_time import SpaceTime, fit_space_time

OURS, LINE, EOFS = "posterior", "interpolation", "dineof"
STRETCHES = (1.0, 3.0, 8.0, 16.0)
"""How much further errors may hang together than correlograms of observed cells show."""
SHARES = (0.03, 0.1, 0.3, 0.6)
"""Shares of the smooth law in the covariance of the dates."""
LEVEL = 0.9
CASES = 100_000
"""Cells whose whole law is held at a time."""


@dataclass(frozen=True)
class Choice:
    """What our law has to be told: the smooth law's share, and how far errors hang together."""

    share: float = SHARES[0]
    stretch: float = 3.0


@dataclass(frozen=True, eq=False)
class Trial:
    """One set of cells hidden: those that are scored, and those from which choices and errors are learnt.

    ``scored`` and each of ``learnt`` are bool (time, y, x) over observed cells and do not meet.
    """

    stack: GappyStack
    scored: Tensor
    learnt: tuple[Tensor, ...]

    @staticmethod
    def drawn(stack: GappyStack, scored: Tensor, dates: Tensor, shapes: Tensor, sets: int, context: Context) -> Trial:
        """Cells to learn from lie at ``dates`` under ``shapes`` of other dates, outside what is scored."""
        if not bool(scored.any()):
            raise DataError("no cloud shape hides a part of a date that is scored: more dates are needed.")
        left = stack.observed & ~scored
        learnt = tuple(hidden_by(shapes, left, dates, context.rng.child("learnt", i)) for i in range(sets))
        if not any(bool(part.any()) for part in learnt):
            raise DataError("no cloud shape hides a part of a date that is learnt from: more dates are needed.")
        return Trial(stack, scored, learnt)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Mean and scale at cells (case,), with their distances in time and space (2, case)."""

    mean: Tensor
    scale: Tensor
    distances: Tensor


@dataclass(frozen=True, eq=False)
class Score:
    """Per hidden cell: the score, the error, the predicted standard deviation, whether inside, its rank in (0, 1)."""

    crps: Tensor
    error: Tensor
    spread: Tensor
    inside: Tensor
    pit: Tensor


@dataclass(frozen=True, eq=False)
class Result:
    """Scores of each way by cell, in the order of ``scored.nonzero()``, and what was chosen."""

    scores: Mapping[str, Score]
    dates: Tensor
    distances: Tensor
    choice: Choice
    modes: int


def run_trial(trial: Trial, dineof: Dineof) -> Result:
    """Choose, learn the errors, predict the scored cells, judge."""
    visible = trial.stack.without(trial.scored)
    parts = [(visible.without(held), held) for held in trial.learnt if bool(held.any())]
    choice = chosen(parts, trial.stack)
    modes = [_modes(dineof, stack, trial.stack.values, held) for stack, held in parts]
    number = int(torch.tensor(modes).median())
    ways: dict[str, Callable[[GappyStack, Tensor], Prediction]] = {
        OURS: lambda stack, wanted: _ours(stack, wanted, choice),
        LINE: lambda stack, wanted: _plain(interpolated(stack), stack, wanted),
        EOFS: lambda stack, wanted: _plain(_eofs(dineof, stack, number), stack, wanted),
    }
    truth = trial.stack.values[trial.scored]
    scores = {
        name: judged(way(visible, trial.scored), _dressed(way, parts, trial.stack.values), truth)
        for name, way in ways.items()
    }
    return Result(scores, trial.scored.nonzero()[:, 0], _distances(visible, trial.scored), choice, number)


def chosen(parts: Sequence[tuple[GappyStack, Tensor]], stack: GappyStack) -> Choice:
    """The share, then the stretch, with the best mean score at the cells held out."""
    start = Choice()
    share = min(SHARES, key=lambda share: _score(parts, stack, replace(start, share=share)))
    stretch = min(STRETCHES, key=lambda stretch: _score(parts, stack, Choice(share, stretch)))
    return Choice(share, stretch)


def _score(parts: Sequence[tuple[GappyStack, Tensor]], stack: GappyStack, choice: Choice) -> float:
    """Total score at the cells held out, their spread brought to the size of the errors."""
    total = 0.0
    for visible, held in parts:
        mean, std = (part[held] for part in model_of(visible, choice).fill(visible.values, held))
        error = stack.values[held] - mean
        wide = std * (error / std).square().mean().sqrt()
        total += float(crps_gaussian(mean, wide, stack.values[held]).sum())
    return total


def judged(prediction: Prediction, dressing: Dressing, truth: Tensor) -> Score:
    """Scores of a dressed prediction at cells whose truth is known."""
    law = dressing.quantiles(prediction.mean, prediction.scale, prediction.distances)
    low, high = dressing.interval(prediction.mean, prediction.scale, prediction.distances, LEVEL)
    middle = law.mean(0)
    return Score(
        crps=crps_draws(law, truth),
        error=middle - truth,
        spread=law.std(0),
        inside=((low <= truth) & (truth <= high)).double(),
        pit=((law < truth).double().sum(0) + 0.5 * (law == truth).double().sum(0)) / len(law),
    )


def moments(
    dressing: Dressing, mean: Tensor, scale: Tensor, distances: Tensor, cut: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (case,) of dressed laws whose values are ``cut`` to what the data can hold."""
    strata = dressing.strata(distances)
    middle, std = mean + scale * dressing.table.mean(1)[strata], scale * dressing.table.std(1)[strata]
    ends = mean + scale * dressing.table[:, [0, -1]].mT[:, strata]
    beyond = ((cut(ends) != ends) & torch.isfinite(ends)).any(0).nonzero()[:, 0]
    for part in beyond.split(CASES) if len(beyond) else ():
        law = cut(dressing.quantiles(mean[part], scale[part], distances[:, part]))
        middle[part], std[part] = law.mean(0), law.std(0)
    return middle, std


def learnt_dressing(stack: GappyStack, sets: Sequence[Tensor], choice: Choice) -> Dressing:
    """The errors that our filling makes at cells held out of the whole stack, in turn."""
    parts = [(stack.without(held), held) for held in sets if bool(held.any())]
    return _dressed(lambda visible, wanted: _ours(visible, wanted, choice), parts, stack.values)


def model_of(stack: GappyStack, choice: Choice) -> SpaceTime:
    """Our law of a stack."""
    model = fit_space_time(stack.values, stack.days, stack.domain, share=choice.share)
    return replace(model, correlation=model.correlation.stretched(choice.stretch))


def _dressed(
    way: Callable[[GappyStack, Tensor], Prediction], parts: Sequence[tuple[GappyStack, Tensor]], truth: Tensor
) -> Dressing:
    found = [way(stack, held) for stack, held in parts]
    errors = torch.cat([truth[held] - p.mean for p, (_, held) in zip(found, parts, strict=True)])
    scale, distances = torch.cat([p.scale for p in found]), torch.cat([p.distances for p in found], 1)
    return Dressing.learnt(errors, scale, distances)


def _ours(stack: GappyStack, wanted: Tensor, choice: Choice) -> Prediction:
    mean, std = model_of(stack, choice).fill(stack.values, wanted)
    return Prediction(mean[wanted], std[wanted], _distances(stack, wanted))


def _plain(filled: Tensor, stack: GappyStack, wanted: Tensor) -> Prediction:
    mean = filled[wanted]
    return Prediction(mean, torch.ones_like(mean), _distances(stack, wanted))


def _distances(stack: GappyStack, wanted: Tensor) -> Tensor:
    return torch.stack([days_to_seen(stack)[wanted], cells_to_seen(stack.observed)[wanted]])


def _modes(dineof: Dineof, stack: GappyStack, truth: Tensor, held: Tensor) -> int:
    """The number of functions with the least error at ``held``."""
    series = torch.where(held, truth, stack.values)[:, stack.domain]
    return dineof.filled(series, stack.days, held=held[:, stack.domain]).modes


def _eofs(dineof: Dineof, stack: GappyStack, modes: int) -> Tensor:
    out = torch.full_like(stack.values, torch.nan)
    out[:, stack.domain] = dineof.filled(stack.values[:, stack.domain], stack.days, modes=modes).values
    return out
