"""Gaps of rasters filled from their history: the law of the fields, chosen by what it foretells of days left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from posteriori.audit.scores import crps_gaussian
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Progress, silent
from posteriori.core.space import Space
from posteriori.inference.local_amplitude import Conditioned, LocalAmplitude, tails
from posteriori.learn.scale_covariance import Correlations, Scales

CHOICES: dict[str, tuple[float, ...]] = {
    "common": (0.02, 0.06, 0.12, 0.25, 0.5, 0.7, 0.9),
    "nugget": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
    "length": (0.12, 0.16, 0.2, 0.25, 0.32, 0.42),
    "leading": (10, 20),
    "leading_length": (0.4, 0.5, 0.6, 0.8, 1.1),
}
"""Values that are tried for each number of the law, one number after the other."""
REACHES = ((1.5, 3.0), (2.0, 3.0), (3.0, 3.0), (4.0, 10.0), (8.0, 30.0))
"""Reach [cells] and weight of the local amplitude that are tried."""
FACTORS = torch.tensor([0.6, 0.7, 0.8, 0.9, 1.0, 1.12, 1.25, 1.4, 1.6, 1.8, 2.1], dtype=torch.float64)
FEWEST_SEEN = 3
"""Observed cells that a field needs to be filled from."""


@dataclass(frozen=True)
class Model:
    """A law of fields as chosen: the covariance's make-up and the spread about its answer."""

    scales: Scales
    spread: LocalAmplitude

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {"scales": asdict(self.scales), "spread": asdict(self.spread)}

    @staticmethod
    def of(stored: dict[str, Any]) -> Model:
        """The model that :meth:`json` wrote.

        Raises:
            DataError: other contents.
        """
        parts = []
        for name, kind in (("scales", Scales), ("spread", LocalAmplitude)):
            given = stored.get(name)
            known = {each.name for each in fields(kind)}
            if not isinstance(given, dict) or set(given) != known:
                raise DataError(f"this model lacks {name!r} with {sorted(known)}; give the model.json of such a run.")
            if not all(isinstance(value, int | float) for value in given.values()):
                raise DataError(f"{name!r} of this model holds other things than numbers: {given}.")
            if not isinstance(given.get("leading", 0), int) or not isinstance(given.get("members", 0), int):
                raise DataError(f"leading patterns and members of this model must be whole numbers: {given}.")
            parts.append(kind(**given))
        return Model(parts[0], parts[1])  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Fold:
    """A stretch of the history that is left out, with the law of the rest: fields (n, *space.shape), masks the same.

    ``seen`` is True where a cell of the field may be used; ``scored`` where it is hidden and known.
    """

    learnt: Correlations
    fields: Tensor
    seen: Tensor
    scored: Tensor


@dataclass(frozen=True)
class Trial:
    """One law that was tried, and its score on the days left out [unit of the field]."""

    scales: Scales
    crps: float


@dataclass(frozen=True, eq=False)
class Foretold:
    """What a law said of hidden cells of fields that it had not seen, one entry a field."""

    found: list[Conditioned]
    truth: list[Tensor]


def fold(
    space: Space, history: Tensor, splits: Iterable[tuple[Tensor, Tensor]], hidden: Tensor, most: int, rng: Rng
) -> list[Fold]:
    """Folds of the history: for each split the law of its training fields and up to ``most`` of its test fields.

    Args:
        space: the grid.
        history: (n, *space.shape), NaN in gaps.
        splits: indices to learn from and to leave out.
        hidden: masks that are dealt to the fields left out, True where cells are hidden, (k, *space.shape).
        most: fields of a fold.
        rng: deals the masks.
    """
    folds: list[Fold] = []
    for at, (train, test) in enumerate(splits):
        picked = test[torch.linspace(0, len(test) - 1, min(most, len(test))).round().long()]
        field = history[picked]
        known = ~torch.isnan(field)
        hide = hidden[rng.child("masks", at).integers(len(hidden), (len(picked),))]
        start = folds[-1].learnt.kernel if folds else None
        learnt = Correlations.of(space, history[train], rng.child("kernel", at), start)
        folds.append(Fold(learnt, field, known & ~hide, known & hide))
    return folds


def foretell(folds: Sequence[Fold], scales: Scales) -> Foretold:
    """What the law of each fold says of the hidden cells of the fields left out."""
    found, truth = [], []
    for part in folds:
        matrix = part.learnt.matrix(scales)
        for field, seen, scored in zip(part.fields, part.seen, part.scored, strict=True):
            at, there = _within(part.learnt, seen), _within(part.learnt, scored)
            if len(at) < FEWEST_SEEN or not len(there):
                continue
            x = part.learnt.space.flat(field)[part.learnt.cells].double()
            law = Conditioned.of(matrix, part.learnt.mean, 0.0, at, there, x[at])
            cells = part.learnt.cells
            found.append(replace(law, seen=cells[at], rest=cells[there]))
            truth.append(x[there])
    if not found:
        raise DataError("no field of the history has both observed and hidden cells; give a longer history.")
    return Foretold(found, truth)


def choose(
    folds: Sequence[Fold], start: Scales, members: int, progress: Progress = silent
) -> tuple[Model, list[Trial]]:
    """The law with the lowest score on the days left out, found number by number, and the spread that was due there.

    The score is the continuous ranked probability score after the local amplitude and the best common factor.
    """
    shape = folds[0].learnt.space.shape
    trials = [Trial(start, _score(foretell(folds, start), LocalAmplitude(), shape))]
    for name in progress(list(CHOICES), "covariance"):
        trials += _along(folds, min(trials, key=lambda trial: trial.crps), name, shape)
    best = min(trials, key=lambda trial: trial.crps)
    told = foretell(folds, best.scales)
    spreads = [LocalAmplitude(reach, weight, members=members) for reach, weight in REACHES]
    spread = min(spreads, key=lambda each: _score(told, each, shape))
    return Model(best.scales, dressed(told, spread, shape)), trials


def dressed(told: Foretold, spread: LocalAmplitude, shape: tuple[int, ...]) -> LocalAmplitude:
    """The spread with the factor and tails that were due for what was foretold."""
    mean, std, truth = _pooled(told, replace(spread, factor=1.0), shape)
    factor, degrees = tails((truth - mean) / std, std.square())
    return replace(spread, factor=factor, degrees=degrees)


@dataclass(frozen=True, eq=False)
class Filler:
    """A model with the history it was learnt from: answers for any field of the grid."""

    learnt: Correlations
    model: Model
    matrix: Tensor

    @staticmethod
    def of(learnt: Correlations, model: Model) -> Filler:
        """Ready to fill."""
        return Filler(learnt, model, learnt.matrix(model.scales))

    @property
    def prior(self) -> Gaussian:
        """The law of fields, as the prior of ``Inverse`` targets."""
        return self.learnt.prior(self.model.scales)

    def conditioned(self, field: Tensor, seen: Tensor, wanted: Tensor) -> Conditioned:
        """The law of the cells ``wanted`` (mask, space.shape) of ``field`` given those ``seen``.

        Raises:
            DataError: fewer than three cells are seen.
        """
        cells = self.learnt.cells
        at, there = _within(self.learnt, seen), _within(self.learnt, wanted)
        if len(at) < FEWEST_SEEN:
            raise DataError(f"only {len(at)} cells of a field are observed; at least {FEWEST_SEEN} are needed.")
        x = self.learnt.space.flat(field)[cells].double()
        law = Conditioned.of(self.matrix, self.learnt.mean, 0.0, at, there, x[at])
        return replace(law, seen=cells[at], rest=cells[there])

    def members(self, field: Tensor, seen: Tensor, wanted: Tensor, rng: Rng) -> tuple[Conditioned, Tensor]:
        """That law, and draws of the cells wanted, (member, h)."""
        law = self.conditioned(field, seen, wanted)
        return law, self.model.spread.draw(law, self.learnt.space.shape, rng)


def _along(folds: Sequence[Fold], best: Trial, name: str, shape: tuple[int, ...]) -> list[Trial]:
    """Trials from the best so far to both sides along one number, until the score rises."""
    options, tried = CHOICES[name], []
    now = min(range(len(options)), key=lambda i: abs(options[i] - getattr(best.scales, name)))
    for step in (-1, 1):
        at, score = now + step, best.crps
        while 0 <= at < len(options):
            scales = replace(best.scales, **{name: options[at]})  # type: ignore[arg-type]
            tried.append(Trial(scales, _score(foretell(folds, scales), LocalAmplitude(), shape)))
            if tried[-1].crps >= score:
                break
            score, at = tried[-1].crps, at + step
        if tried and min(trial.crps for trial in tried) < best.crps:
            break
    return tried


def _score(told: Foretold, spread: LocalAmplitude, shape: tuple[int, ...]) -> float:
    mean, std, truth = _pooled(told, spread, shape)
    return min(float(crps_gaussian(mean, factor * std, truth).mean()) for factor in FACTORS)


def _pooled(told: Foretold, spread: LocalAmplitude, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Means, standard deviations before the tails, and truths of all hidden cells, (cell,)."""
    plain = replace(spread, degrees=float("inf"))
    std = torch.cat([plain.std(found, shape) for found in told.found])
    return torch.cat([found.mean for found in told.found]), std.clamp_min(1e-12), torch.cat(told.truth)


def _within(learnt: Correlations, mask: Tensor) -> Tensor:
    """Positions among the known cells where ``mask`` (space.shape) holds."""
    return learnt.space.flat(mask)[learnt.cells].nonzero()[:, 0]
