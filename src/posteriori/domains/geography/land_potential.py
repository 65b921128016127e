"""How probable each cell is to gain a class: learnt from maps in time, by logistic regression or by trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from posteriori.core import optional
from posteriori.core.errors import DataError
from posteriori.domains.geography import land_drivers
from posteriori.domains.geography.land_maps import Codes, Floats, LandMaps, Mask
from posteriori.inference.exact_totals import TINY


@dataclass(frozen=True, eq=False)
class Pair:
    """Two maps that follow each other: ``before``, ``after`` (y, x) and where they may be learnt from or judged."""

    before: Codes
    after: Codes
    time: int
    where: Mask


class Chance(Protocol):
    """Learnt probability of rows of features (cell, feature) → (cell,)."""

    def __call__(self, rows: Floats) -> Floats: ...


class Learner(Protocol):
    """Rows (cell, feature), whether each cell changed (cell,) and a seed → what was learnt."""

    def __call__(self, rows: Floats, changed: Mask, seed: int) -> Chance: ...


@dataclass(frozen=True)
class Logistic:
    """Logistic regression on standardised features, ridge of unit strength."""

    def __call__(self, rows: Floats, changed: Mask, seed: int) -> Chance:
        linear = optional.require("sklearn.linear_model", "geography")
        middle, spread = rows.mean(0), rows.std(0) + 1e-9
        model = linear.LogisticRegression(C=1.0, max_iter=1000).fit((rows - middle) / spread, changed)
        return lambda given: np.asarray(model.predict_proba((given - middle) / spread)[:, 1])


@dataclass(frozen=True)
class Boosted:
    """Gradient-boosted shallow trees."""

    trees: int = 80

    def __call__(self, rows: Floats, changed: Mask, seed: int) -> Chance:
        ensemble = optional.require("sklearn.ensemble", "geography")
        model = ensemble.HistGradientBoostingClassifier(
            max_iter=self.trees,
            learning_rate=0.06,
            max_leaf_nodes=8,
            min_samples_leaf=_leaf(changed, 100),
            l2_regularization=5.0,
            early_stopping=False,
            random_state=seed,
        ).fit(rows, changed)
        return lambda given: np.asarray(model.predict_proba(given)[:, 1])


@dataclass(frozen=True)
class Randomised:
    """Extremely randomised trees, averaged.

    Reference: Geurts, Ernst & Wehenkel (2006), extremely randomized trees.
    """

    trees: int = 100

    def __call__(self, rows: Floats, changed: Mask, seed: int) -> Chance:
        ensemble = optional.require("sklearn.ensemble", "geography")
        model = ensemble.ExtraTreesClassifier(
            self.trees, min_samples_leaf=_leaf(changed, 20), max_features=0.5, random_state=seed
        ).fit(rows.astype(np.float32), changed)
        return lambda given: np.asarray(model.predict_proba(given.astype(np.float32))[:, 1])


@dataclass(frozen=True)
class Mean:
    """The mean of what several learn."""

    learners: tuple[Learner, ...]

    def __call__(self, rows: Floats, changed: Mask, seed: int) -> Chance:
        chances = [learner(rows, changed, seed) for learner in self.learners]
        return lambda given: np.asarray(np.mean([chance(given) for chance in chances], axis=0))


@dataclass(frozen=True)
class Recipe:
    """Which features one learns from, near ones or all, and how."""

    learner: Learner
    all_features: bool = True


NEAR = "logistic, neighbourhood"
WIDE = "logistic, all features"
RECIPES: Mapping[str, Recipe] = {
    NEAR: Recipe(Logistic(), False),
    WIDE: Recipe(Logistic()),
    "boosted trees": Recipe(Boosted()),
    "randomised trees": Recipe(Randomised()),
    "boosted and randomised trees": Recipe(Mean((Boosted(), Randomised()))),
    "logistic, boosted and randomised trees": Recipe(Mean((Logistic(), Boosted(), Randomised()))),
}


@dataclass(frozen=True, eq=False)
class Potential:
    """Learnt chances to gain each class.

    Attributes:
        chances: by gained class.
        classes: those before some change, each told apart in every state, (class,).
        allowed: transitions that were seen (from, to); all others are impossible.
    """

    land: LandMaps
    recipe: Recipe
    chances: Mapping[int, Chance]
    classes: Codes
    allowed: Mask

    @staticmethod
    def learnt(land: LandMaps, recipe: Recipe, pairs: Sequence[Pair], seed: int) -> Potential:
        """From what happened where the pairs say.

        Raises:
            DataError: nothing changed there.
        """
        allowed = transitions(pairs, len(land.classes)) > 0
        np.fill_diagonal(allowed, False)
        gained = np.flatnonzero(allowed.any(0))
        if not len(gained):
            raise DataError("no cell changes in the maps to learn from; give maps that are further apart.")
        classes = np.unique(np.concatenate([pair.before[pair.before >= 0] for pair in pairs]))
        chances = {}
        for code in gained.tolist():
            rows, changed = [], []
            for pair in pairs:
                could = _could(pair.before, code, allowed) & pair.where
                rows.append(features(land, recipe, pair.before, code, pair.time, classes)[could])
                changed.append(pair.after[could] == code)
            together = np.concatenate(changed)
            if together.all():
                raise DataError(f"every cell that could become {land.name(code)} did; there is nothing to learn.")
            chances[code] = recipe.learner(np.concatenate(rows), together, seed)
        return Potential(land, recipe, chances, classes, allowed)

    def __call__(self, state: Codes, time: int) -> Floats:
        """Probability that each cell gains each class before the next map, (class, y, x); zero where impossible.

        Classes that no map it was learnt from had are impossible to leave: see :func:`require_seen`.
        """
        chance = np.zeros((len(self.land.classes), *state.shape))
        for code, learnt in self.chances.items():
            could = _could(state, code, self.allowed) & self.land.open
            if could.any():
                rows = features(self.land, self.recipe, state, code, time, self.classes)[could]
                chance[code][could] = np.clip(learnt(rows), TINY, 1 - TINY)
        return chance


def transitions(pairs: Sequence[Pair], classes: int) -> Codes:
    """How many cells went from each class to each, (from, to)."""
    found = np.zeros((classes, classes), np.int64)
    for pair in pairs:
        np.add.at(found, (pair.before[pair.where], pair.after[pair.where]), 1)
    return found


def features(land: LandMaps, recipe: Recipe, state: Codes, code: int, time: int, classes: Codes) -> Floats:
    """What the gain of ``code`` is told by under a recipe, (y, x, feature)."""
    if recipe.all_features:
        return land_drivers.wide(state, code, time, land.drivers, classes, land.open)
    return land_drivers.near(state, code, time, land.drivers, classes)


def _could(state: Codes, code: int, allowed: Mask) -> Mask:
    """Where a class may be gained by what the cell is now."""
    found: Mask = (state >= 0) & allowed[np.maximum(state, 0), code]
    return found


def _leaf(changed: Mask, most: int) -> int:
    """Cells that a leaf holds at least: fewer where few changed."""
    return int(np.clip(changed.sum() // 2, 3, most))


def require_seen(land: LandMaps, state: Codes, pairs: Sequence[Pair]) -> None:
    """Go on only when every class of ``state`` was there to be learnt from.

    Raises:
        DataError: one was not.
    """
    seen = np.unique(np.concatenate([pair.before[pair.where] for pair in pairs]))
    unseen: Any = np.setdiff1d(np.unique(state[land.open & (state >= 0)]), seen)
    if len(unseen):
        raise DataError(
            f"{land.name(int(unseen[0]))} stands in the map to go on from and in none that was learnt from; "
            "recode it, or give maps that have it."
        )
