"""Future maps of classes: calibrated chances, clustered draws with exact totals, and the cellular automaton beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posteriori.core.random import Rng
from posteriori.domains.geography.land_maps import Codes, Floats, Mask
from posteriori.domains.geography.land_potential import Pair, Potential, transitions
from posteriori.inference.exact_totals import Clustering, drawn, logit, with_total

YEARS_UNKNOWN = 0.5
"""Relative spread of a rate of growth that one interval alone tells."""


@dataclass(frozen=True, eq=False)
class Growth:
    """Maps after ``before``, the chances given.

    Attributes:
        before: classes now (y, x).
        chance: probability of each gain (class, y, x), zero where it is impossible.
        allowed: transitions (from, to).
        slope: what logits are multiplied by.
        clustering: of the noise that draws share.
    """

    before: Codes
    chance: Floats
    allowed: Mask
    slope: float
    clustering: Clustering

    def probabilities(self, quotas: Codes) -> Floats:
        """Probability of each class (class, y, x) when ``quotas`` (from, to) cells change."""
        found = np.zeros_like(self.chance)
        for _, gained, cells, p in self._scaled(quotas):
            found[gained][cells] = p
        total = found.sum(0)
        found /= np.maximum(total, 1.0)
        stays = 1 - found.sum(0)
        known = self.before >= 0
        found[np.maximum(self.before, 0)[known], *np.nonzero(known)] = stays[known]
        return found

    def member(self, quotas: Codes, rng: Rng) -> Codes:
        """One map in which exactly ``quotas`` (from, to) cells have changed."""
        after = self.before.copy()
        for start, gained, cells, p in self._scaled(quotas):
            noise = self.clustering.field(self.before.shape, rng.child("noise", start, gained))
            free = after[cells] == start
            at = np.flatnonzero(cells)[free]
            changes = drawn(p[free], int(quotas[start, gained]), noise.ravel()[at])
            after.ravel()[at[changes]] = gained
        return after

    def members(self, quotas: Codes, rng: Rng) -> Codes:
        """Maps (member, y, x), for quotas (member, from, to)."""
        return np.stack([self.member(quota, rng.child("member", at)) for at, quota in enumerate(quotas)])

    def capped(self, quotas: Codes) -> Codes:
        """The same quotas (member, from, to), none above what its cells can bear and none impossible."""
        found = np.where(self.allowed, quotas, 0)
        for start in range(len(self.allowed)):
            room = int(((self.before == start) & (self.chance > 0).any(0)).sum())
            for gained in np.flatnonzero(self.allowed[start]):
                most = int(((self.before == start) & (self.chance[gained] > 0)).sum())
                found[:, start, gained] = np.minimum(found[:, start, gained], most)
            total = found[:, start].sum(-1, keepdims=True)
            found[:, start] = np.where(total > room, found[:, start] * room // np.maximum(total, 1), found[:, start])
        return np.asarray(found)

    def _scaled(self, quotas: Codes) -> list[tuple[int, int, Mask, Floats]]:
        """From, to, cells and their probabilities, the largest quota first."""
        found = []
        for place in np.argsort(-quotas, axis=None, kind="stable"):
            start, gained = divmod(int(place), len(quotas))
            if quotas[start, gained] > 0:
                cells = (self.before == start) & (self.chance[gained] > 0)
                p = with_total(self.chance[gained][cells], float(quotas[start, gained]), self.slope)
                found.append((start, gained, cells, p))
        return found


def best_map(before: Codes, probabilities: Floats, quotas: Codes) -> Codes:
    """The one map to print: exactly ``quotas`` (from, to) changes, where they are most probable."""
    after = before.copy()
    for place in np.argsort(-quotas, axis=None, kind="stable"):
        start, gained = divmod(int(place), len(quotas))
        if quotas[start, gained] > 0:
            score = np.where(after == start, probabilities[gained], -1.0).ravel()
            after.ravel()[np.argsort(-score, kind="stable")[: int(quotas[start, gained])]] = gained
    return after


def observed_quotas(pair: Pair, allowed: Mask, open_: Mask) -> Codes:
    """What really changed where the pair says, in allowed transitions of open cells."""
    seen = transitions([Pair(pair.before, pair.after, pair.time, pair.where & open_)], len(allowed))
    return np.asarray(np.where(allowed, seen, 0))


def expected_quotas(last: Pair, span: float, classes: int, before: Codes, ahead: float, where: Mask) -> Floats:
    """Changes (from, to) in ``ahead`` years: each class gains as it did last, in proportion to what there is of it.

    log(1 + gain / area) a year of the ``last`` pair (``span`` years) goes on; the other classes give in proportion.
    """
    gains = transitions([last], classes)
    np.fill_diagonal(gains, 0)
    area = np.bincount(last.before[last.where & (last.before >= 0)], minlength=len(gains))
    rate = np.log1p(gains.sum(0) / np.maximum(area, 1)) / span
    now = np.bincount(before[where & (before >= 0)], minlength=len(gains))
    wanted = now * np.expm1(rate * ahead)
    return np.asarray(gains / np.maximum(gains.sum(0), 1) * wanted)


def rate_spread(pairs: Sequence[Pair], years: Sequence[float]) -> float:
    """Standard deviation of the logarithm of the amount of change from one interval to the next.

    That of successive rates of growth, or ``YEARS_UNKNOWN`` where there is one interval only.
    """
    rates = []
    for pair, span in zip(pairs, years, strict=True):
        changed = (pair.before != pair.after) & pair.where
        gained = np.unique(pair.after[changed])
        area = np.isin(pair.before, gained) & pair.where
        rates.append(np.log1p(changed.sum() / max(int(area.sum()), 1)) / span)
    if len(rates) < 2 or min(rates) <= 0:
        return YEARS_UNKNOWN
    return float(min(np.sqrt(np.mean(np.diff(np.log(rates)) ** 2)), 2 * YEARS_UNKNOWN))


def random_quotas(expected: Floats, spread: float, members: int, rng: Rng) -> Codes:
    """Whole quotas (member, from, to): ``expected`` times one log-normal factor of median one each."""
    factor = np.exp(spread * rng.numpy.standard_normal(members))
    return np.asarray(np.rint(factor[:, None, None] * expected), np.int64)


@dataclass(frozen=True)
class CellularAutomaton:
    """Stochastic allocation in steps: the chances of the present state, as many cells as the step's part, and again."""

    steps: int = 2

    def member(self, potential: Potential, before: Codes, time: int, quotas: Codes, where: Mask, rng: Rng) -> Codes:
        """One map with exactly ``quotas`` (from, to) changes, all within ``where``."""
        state, noise = before, Clustering()
        for step in range(self.steps):
            part = quotas * (step + 1) // self.steps - quotas * step // self.steps
            chance = np.where(where, potential(state, time), 0.0)
            state = Growth(state, chance, potential.allowed, 1.0, noise).member(part, rng.child("step", step))
        return state

    def members(
        self, potential: Potential, before: Codes, time: int, quotas: Codes, where: Mask, members: int, rng: Rng
    ) -> Codes:
        """Maps (member, y, x)."""
        if self.steps == 1:
            chance = np.where(where, potential(before, time), 0.0)
            grown = Growth(before, chance, potential.allowed, 1.0, Clustering())
            return grown.members(np.broadcast_to(quotas, (members, *quotas.shape)), rng)
        return np.stack(
            [self.member(potential, before, time, quotas, where, rng.child("ca", at)) for at in range(members)]
        )


def log_score(p: Floats, changed: Mask) -> float:
    """Mean -log probability of what came."""
    raised = logit(p)
    return float(np.mean(np.logaddexp(0.0, np.where(changed, -raised, raised))))
