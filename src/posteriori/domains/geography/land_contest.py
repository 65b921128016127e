"""What is chosen on maps of the past, and the trial on the maps that followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from posteriori.audit.rasters.association import join_counts
from posteriori.audit.rasters.change import change
from posteriori.audit.rasters.splits import space_blocks
from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.domains.geography.land_growth import CellularAutomaton, Growth, alike, best_map, observed_quotas
from posteriori.domains.geography.land_maps import Codes, Floats, LandMaps, Mask
from posteriori.domains.geography.land_potential import NEAR, RECIPES, WIDE, Mean, Pair, Potential, Recipe
from posteriori.domains.geography.land_slopes import sharpened
from posteriori.inference.exact_totals import Clustering

FOLDS = 4
FEW_BLOCKS = 60
"""Up to so many blocks, smaller parts are left out: what remains to learn from is to be like the whole."""
GAP = 3
"""Cells between what is learnt from and what is left out."""
CLUSTERINGS = (
    Clustering(),
    *(Clustering(float(long), share) for long in (1, 2, 4, 8) for share in (0.5, 0.8, 0.9, 1.0)),
)
STEPS = (1, 2, 4)
"""Steps that the cellular automaton may take."""
FEW = 12
"""Members by which clusterings and steps are compared."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """What did best on parts of the last learning maps that were left out.

    Attributes:
        recipe: name in ``RECIPES``.
        slopes: what the log-odds of each gain are multiplied by, (class,).
        clustering: of the draws.
        scores: mean -log probability left out, by recipe, each with the slope that is best in the other squares.
        automaton: steps and recipe of the cellular automaton that hit most in the last learning maps.
        automata: their figures of merit.
    """

    recipe: str
    slopes: Floats
    clustering: Clustering
    scores: Mapping[str, float]
    automaton: tuple[str, CellularAutomaton]
    automata: Mapping[tuple[str, int], float]


def block_labels(shape: tuple[int, int], size: int) -> Codes:
    """Label (y, x) of the square of ``size`` cells that each cell lies in."""
    at = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(-1, 2)
    return np.asarray(space_blocks(at, float(size)).numpy().reshape(shape))


def folds_of(where: Mask, size: int, rng: Rng) -> Codes:
    """Fold (y, x) of each cell: the blocks of ``where`` dealt at random, ``FOLDS`` of them or twice as many if few.

    Raises:
        DataError: one block has it all.
    """
    labels = block_labels(where.shape, size)
    every = np.unique(labels[where])
    if len(every) < 2:
        raise DataError(f"one square of block={size} cells has all that is learnt from; give a smaller block.")
    dealt = rng.permutation(len(every)).numpy() % (FOLDS if len(every) > FEW_BLOCKS else 2 * FOLDS)
    return np.asarray(dealt[np.searchsorted(every, labels).clip(max=len(every) - 1)])


def pairs_of(land: LandMaps) -> list[Pair]:
    """Successive maps, everywhere that is open."""
    return [Pair(land.codes[at], land.codes[at + 1], at, land.open) for at in range(len(land.codes) - 1)]


def parted(pair: Pair, size: int) -> tuple[Pair, Pair]:
    """Two maps only: blocks like a chess-board, to learn from and to test on (of classes that are in both)."""
    label = np.add.outer(*(np.arange(n) // size for n in pair.before.shape)) % 2
    test = label == 1
    apart = ~ndimage.binary_dilation(test, iterations=GAP)
    learn = pair.where & apart
    known = np.isin(pair.before, np.unique(pair.before[learn]))
    return replace(pair, where=learn), replace(pair, where=pair.where & test & known)


def chosen(land: LandMaps, pairs: Sequence[Pair], size: int, rng: Rng, names: Sequence[str]) -> Chosen:
    """Recipe, slopes and clustering by parts left out of the last pair, ``size`` the side of a block [cells]."""
    last = pairs[-1]
    fold = folds_of(last.where, size, rng.child("folds"))
    single: dict[Recipe, Floats] = {}
    left_out = {name: learnt_without(land, RECIPES[name], pairs, fold, single) for name in names}
    allowed = Potential.learnt(land, RECIPES[NEAR], pairs, 0).allowed
    quotas = observed_quotas(last, allowed, land.open)
    laws = {
        name: sharpened(Growth(last.before, chance, allowed, alike(chance), Clustering()), last, quotas, fold, False)
        for name, chance in left_out.items()
    }
    best = min(laws, key=lambda name: laws[name][1])
    law, score = min(laws[best], sharpened(laws[best][0], last, quotas, fold, True), key=lambda found: found[1])
    scores = {name: found[1] for name, found in laws.items()} | {best: score}
    clustering = _clustering(law, last, quotas, block_labels(fold.shape, size), rng.child("clustering"))
    automata, best_automaton = _automata(land, pairs, quotas, rng.child("automata"))
    return Chosen(best, law.slopes, clustering, scores, best_automaton, automata)


def learnt_without(
    land: LandMaps, recipe: Recipe, pairs: Sequence[Pair], fold: Codes, single: dict[Recipe, Floats]
) -> Floats:
    """Chances of the last pair (class, y, x), each block by what was learnt without it; ``single`` keeps them."""
    if isinstance(recipe.learner, Mean):
        parts = [Recipe(learner, recipe.all_features) for learner in recipe.learner.learners]
        return np.asarray(np.mean([learnt_without(land, part, pairs, fold, single) for part in parts], axis=0))
    if recipe in single:
        return single[recipe]
    last = pairs[-1]
    found = np.zeros((len(land.classes), *fold.shape))
    for each in range(int(fold.max()) + 1):
        test = fold == each
        apart = ~ndimage.binary_dilation(test, iterations=GAP)
        rest = [*pairs[:-1], replace(last, where=last.where & apart)]
        potential = Potential.learnt(land, recipe, rest, each)
        found[:, test] = potential(last.before, last.time)[:, test]
    single[recipe] = np.asarray(np.where(last.where, found, 0.0))
    return single[recipe]


def pattern(before: Codes, after: Codes, where: Mask) -> tuple[float, float]:
    """Pairs of neighbours that both changed, and patches of change."""
    changed = (before != after) & where
    alike, _ = join_counts(torch.from_numpy(changed), torch.from_numpy(where))
    _, patches = ndimage.label(changed, np.ones((3, 3)))
    return float(alike.value), float(patches)


def _clustering(law: Growth, pair: Pair, quotas: Codes, block: Codes, rng: Rng) -> Clustering:
    """The noise under which changes stick together, fall into patches, and crowd into squares, as those observed do.

    Crowding is the sum over squares of (changes - changes expected)².
    """
    quotas = law.capped(quotas[None])[0]
    p = law.probabilities(quotas)
    stays = np.take_along_axis(p, law.before.clip(0)[None], 0)[0]
    expected = np.where((law.chance > 0).any(0), 1 - stays, 0.0)

    def told(after: Codes) -> Floats:
        changed = (pair.before != after) & pair.where
        crowded = np.bincount(block.ravel(), (changed - expected).ravel())
        return np.log1p([*pattern(pair.before, after, pair.where), (crowded**2).sum()])

    truth = told(pair.after)

    def away(clustering: Clustering) -> float:
        maps = replace(law, clustering=clustering).members(np.stack([quotas] * FEW), rng)
        return float(((np.mean([told(one) for one in maps], 0) - truth) ** 2).sum())

    return min(CLUSTERINGS, key=away)


def _automata(
    land: LandMaps, pairs: Sequence[Pair], quotas: Codes, rng: Rng
) -> tuple[dict[tuple[str, int], float], tuple[str, CellularAutomaton]]:
    """Figure of merit of the automata in the last learning maps, as such models are calibrated, and the best."""
    last, found = pairs[-1], {}
    for name in (NEAR, WIDE):
        potential = Potential.learnt(land, RECIPES[name], pairs, 0)
        for steps in STEPS:
            maps = CellularAutomaton(steps).members(
                potential, last.before, last.time, quotas, last.where, FEW, rng.child(name, steps)
            )
            best = best_map(last.before, shares(maps, len(land.classes)), quotas)
            found[name, steps] = merit(last.before, best, last.after, last.where)
    name, steps = max(found, key=lambda key: found[key])
    return found, (name, CellularAutomaton(steps))


def shares(maps: Codes, classes: int) -> Floats:
    """Share of the maps (member, y, x) with each class, (class, y, x); ties broken by what is around."""
    share = np.stack([(maps == code).mean(0) for code in range(classes)])
    around = np.stack([ndimage.gaussian_filter(layer, 1.0) for layer in share])
    return np.asarray(share + 1e-3 / len(maps) * around)


def merit(before: Codes, simulated: Codes, after: Codes, where: Mask) -> float:
    """Figure of merit; of an ensemble, on average over its members."""
    if not (((simulated != before) | (after != before)) & where).any():
        raise DataError("nothing changes in the maps to judge by; give maps that are further apart.")
    initial, made, observed = (torch.from_numpy(np.ascontiguousarray(part)) for part in (before, simulated, after))
    return change(initial, made, observed, torch.from_numpy(where)).figure_of_merit


@dataclass(frozen=True, eq=False)
class Trial:
    """Maps that followed what was learnt from, forecast with the observed amounts of change.

    Attributes:
        pair: what was known, and what came.
        growth: the law.
        quotas: amounts (from, to), those observed.
        probabilities: of each class (class, y, x).
        members: maps (member, y, x).
        best: the one map to print.
        automaton: members of the cellular automaton.
        automaton_best: its one map.
    """

    pair: Pair
    growth: Growth
    quotas: Codes
    probabilities: Floats
    members: Codes
    best: Codes
    automaton: Codes
    automaton_best: Codes

    @staticmethod
    def held(land: LandMaps, learning: Sequence[Pair], test: Pair, found: Chosen, members: int, rng: Rng) -> Trial:
        """Learn on all of ``learning`` as was ``found`` best, forecast the test; see ``require_seen``.

        Raises:
            DataError: nothing that was learnt happens.
        """
        growth = grown(land, learning, test, found)
        quotas = growth.capped(observed_quotas(test, growth.allowed, land.open)[None])[0]
        if not quotas.any():
            raise DataError("no transition that was learnt happens in the maps to test on; give maps further apart.")
        p = growth.probabilities(quotas)
        name, automaton = found.automaton
        potential = Potential.learnt(land, RECIPES[name], learning, 0)
        others = automaton.members(potential, test.before, test.time, quotas, test.where, members, rng.child("ca"))
        theirs = best_map(test.before, _within(shares(others, len(p)), test), quotas)
        own = growth.members(np.stack([quotas] * members), rng.child("members"))
        return Trial(test, growth, quotas, p, own, best_map(test.before, _within(p, test), quotas), others, theirs)


def grown(land: LandMaps, learning: Sequence[Pair], test: Pair, found: Chosen) -> Growth:
    """The law of what follows ``test.before``, learnt on pairs of maps."""
    potential = Potential.learnt(land, RECIPES[found.recipe], learning, 0)
    chance = np.where(test.where, potential(test.before, test.time), 0.0)
    return Growth(test.before, chance, potential.allowed, found.slopes, found.clustering)


def _within(p: Floats, pair: Pair) -> Floats:
    return np.asarray(np.where(pair.where, p, -1.0))
