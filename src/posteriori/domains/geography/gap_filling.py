"""Gaps of rasters filled from their history: the law of the fields, chosen by what it foretells of days left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from posteriori.audit.scores import crps_gaussian
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Progress, silent
from posteriori.core.space import Space
from posteriori.domains.geography.neighbours import MOST, layers_beside, narrowed, stacked
from posteriori.inference.local_amplitude import Conditioned, LocalAmplitude, Marginals, tails
from posteriori.learn.scale_covariance import Correlations, Scales
from posteriori.learn.window_covariance import Window

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
NEAR = 0.15
"""Cells of neighbouring layers count up to this distance from a gap [shorter sides of the grid]."""
WORTH = 0.99
"""Neighbouring layers are used where they bring the score down to this share."""
HOPELESS = 1.02
"""Where they raise it to this share, nothing more is tried with them."""


@dataclass(frozen=True)
class Model:
    """A law of fields as chosen: the covariance's make-up, the spread about its answer, layers used to each side."""

    scales: Scales
    spread: LocalAmplitude
    reach: int = 0

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {"scales": asdict(self.scales), "spread": asdict(self.spread), "neighbours": self.reach}

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
        reach = stored.get("neighbours")
        if not isinstance(reach, int) or not 0 <= reach <= MOST:
            raise DataError(
                f"neighbours of this model must be a whole number of layers from 0 to {MOST}, not {reach!r}."
            )
        return Model(parts[0], parts[1], reach)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Fold:
    """A stretch of the history that is left out, with the law of the rest.

    Attributes:
        window: the law.
        fields: those left out, each with the layers beside it, NaN where there is none, (n, layer, *space.shape).
        seen: True where a cell may be used, of the same shape.
        scored: True where a cell of the middle layer is hidden and known, (n, *space.shape).
    """

    window: Window
    fields: Tensor
    seen: Tensor
    scored: Tensor


@dataclass(frozen=True)
class Trial:
    """One law that was tried, and its score on the days left out [unit of the field]."""

    scales: Scales
    crps: float
    reach: int = 0


@dataclass(frozen=True, eq=False)
class Foretold:
    """What a law said of hidden cells of fields that it had not seen, one entry a field."""

    found: list[Marginals]
    truth: list[Tensor]


@dataclass(frozen=True, eq=False)
class Past:
    """A history to learn from.

    Attributes:
        space: the grid.
        history: (n, *space.shape), NaN in gaps.
        times: of the fields [h], (n,).
        steps: whole numbers at which they lie, (n,).
        reach: layers to each side of a field that are looked at.
    """

    space: Space
    history: Tensor
    times: NDArray[np.float64]
    steps: Tensor
    reach: int


def fold(past: Past, splits: Iterable[tuple[Tensor, Tensor]], hidden: Tensor, most: int, rng: Rng) -> list[Fold]:
    """Folds of the history: for each split the law of its training fields and up to ``most`` of its test fields.

    Args:
        past: the history.
        splits: indices to learn from and to leave out.
        hidden: masks that are dealt to the fields left out, True where cells are hidden, (k, *space.shape); neighbours
            are hidden in the same cells.
        most: fields of a fold.
        rng: deals the masks.
    """
    history, steps, reach = past.history, past.steps, past.reach
    folds: list[Fold] = []
    for at, (train, test) in enumerate(splits):
        picked = test[torch.linspace(0, len(test) - 1, min(most, len(test))).round().long()]
        field = stacked(history, layers_beside(steps[picked], steps, steps[train], reach))
        hide = hidden[rng.child("masks", at).integers(len(hidden), (len(picked),))]
        start = folds[-1].window.learnt.kernel if folds else None
        learnt = Correlations.of(past.space, history[train], rng.child("kernel", at), start)
        known = ~torch.isnan(field)
        window = Window.of(learnt, history[train], steps[train], reach)
        folds.append(Fold(window, field, known & ~hide[:, None], known[:, reach] & hide))
    return folds


def foretell(folds: Sequence[Fold], scales: Scales, reach: int = 0) -> Foretold:
    """What the law of each fold says of the hidden cells of the fields left out, from ``reach`` layers to each side."""
    found, truth = [], []
    for part in folds:
        filler = Filler(part.window, Model(scales, LocalAmplitude(), reach), part.window.matrix(scales, reach))
        layers, there = narrowed(part.fields, reach), narrowed(part.seen, reach)
        for field, seen, scored in zip(layers, there, part.scored, strict=True):
            wanted = scored & filler.known
            if bool(wanted.any()) and int(filler.used(seen, wanted).sum()) >= FEWEST_SEEN:
                found.append(filler.conditioned(field, seen, wanted).alone)
                truth.append(field[reach][wanted].double())
    if not found:
        raise DataError("no field of the history has both observed and hidden cells; give a longer history.")
    return Foretold(found, truth)


def choose(
    folds: Sequence[Fold], start: Scales, members: int, progress: Progress = silent
) -> tuple[Model, list[Trial]]:
    """The law with the lowest score on the days left out, found number by number, and the spread that was due there.

    The score is the continuous ranked probability score after the local amplitude and the best common factor.
    """
    shape = folds[0].window.learnt.space.shape
    trials = [Trial(start, _score(foretell(folds, start), LocalAmplitude(), shape))]
    for name in progress(list(CHOICES), "covariance"):
        trials += _along(folds, min(trials, key=lambda trial: trial.crps), name, shape)
    reach = folds[0].window.reach
    if reach:
        trials += _with_neighbours(folds, min(trials, key=lambda trial: trial.crps), reach, shape)
    best = min(trials, key=lambda trial: trial.crps * (1 if trial.reach == 0 else 1 / WORTH))
    told = foretell(folds, best.scales, best.reach)
    spreads = [LocalAmplitude(spread, weight, members=members) for spread, weight in REACHES]
    spread = min(spreads, key=lambda each: _score(told, each, shape))
    return Model(best.scales, dressed(told, spread, shape), best.reach), trials


def dressed(told: Foretold, spread: LocalAmplitude, shape: tuple[int, ...]) -> LocalAmplitude:
    """The spread with the factor and tails that were due for what was foretold."""
    mean, std, truth = _pooled(told, replace(spread, factor=1.0), shape)
    factor, degrees = tails((truth - mean) / std, std.square())
    return replace(spread, factor=factor, degrees=degrees)


@dataclass(frozen=True, eq=False)
class Filler:
    """A model with the history it was learnt from: answers for any field of the grid.

    Attributes:
        window: what the history tells.
        model: as chosen.
        matrix: the covariance of the known cells of all layers that the model uses.
    """

    window: Window
    model: Model
    matrix: Tensor

    @staticmethod
    def of(window: Window, model: Model) -> Filler:
        """Ready to fill."""
        return Filler(window, model, window.matrix(model.scales, model.reach))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return self.window.learnt.space.shape

    @property
    def known(self) -> Tensor:
        """Cells that the history knows, (y, x)."""
        return self.window.learnt.known

    @property
    def prior(self) -> Gaussian:
        """The law of a field with the layers beside it, (layer, y, x), as the prior of ``Inverse`` targets."""
        return self.window.prior(self.model.scales, self.model.reach)

    def used(self, seen: Tensor, wanted: Tensor) -> Tensor:
        """Of the cells ``seen`` (layer, y, x) those that count: in neighbouring layers the ones near a gap."""
        near = torch.from_numpy(distance_transform_edt(~wanted.numpy())) <= NEAR * min(self.shape)
        middle = torch.arange(len(seen))[:, None, None] == self.model.reach
        return seen & self.known & (middle | near)

    def conditioned(self, field: Tensor, seen: Tensor, wanted: Tensor) -> Conditioned:
        """The law of the cells ``wanted`` (y, x) of the middle of ``field`` given those ``seen``, (layer, y, x).

        Positions of the law count through the layers.

        Raises:
            DataError: fewer than three cells are seen.
        """
        learnt, size = self.window.learnt, len(self.window.learnt.cells)
        used = self.used(seen, wanted).flatten(1)[:, learnt.cells].flatten().nonzero()[:, 0]
        there = learnt.space.flat(wanted)[learnt.cells].nonzero()[:, 0] + self.model.reach * size
        if len(used) < FEWEST_SEEN:
            raise DataError(f"only {len(used)} cells of a field are observed; at least {FEWEST_SEEN} are needed.")
        x = field.flatten(1)[:, learnt.cells].flatten()[used].double()
        law = Conditioned.of(self.matrix, learnt.mean.repeat(len(field)), 0.0, used, there, x, size)
        seen, rest = (learnt.cells[at % size] + at // size * learnt.space.size for at in (used, there))
        return replace(law, seen=seen, rest=rest)

    def members(self, field: Tensor, seen: Tensor, wanted: Tensor, rng: Rng) -> tuple[Conditioned, Tensor]:
        """That law, and draws of the cells wanted, (member, h)."""
        law = self.conditioned(field, seen, wanted)
        return law, self.model.spread.draw(law, self.shape, rng)


def _with_neighbours(folds: Sequence[Fold], alone: Trial, reach: int, shape: tuple[int, ...]) -> list[Trial]:
    """Trials with ``reach`` layers to each side; numbers that chance correlations across layers move are tried anew."""
    trials = [Trial(alone.scales, _score(foretell(folds, alone.scales, reach), LocalAmplitude(), shape), reach)]
    if trials[0].crps > HOPELESS * alone.crps:
        return trials
    for name in ("common", "nugget", "leading"):
        trials += _along(folds, min(trials, key=lambda trial: trial.crps), name, shape)
    return trials


def _along(folds: Sequence[Fold], best: Trial, name: str, shape: tuple[int, ...]) -> list[Trial]:
    """Trials from the best so far to both sides along one number, until the score rises."""
    options, tried = CHOICES[name], []
    now = min(range(len(options)), key=lambda i: abs(options[i] - getattr(best.scales, name)))
    for step in (-1, 1):
        at, score = now + step, best.crps
        while 0 <= at < len(options):
            scales = replace(best.scales, **{name: options[at]})  # type: ignore[arg-type]
            told = foretell(folds, scales, best.reach)
            tried.append(Trial(scales, _score(told, LocalAmplitude(), shape), best.reach))
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
