"""Future maps of classes: calibrated chances, clustered draws with exact totals, and the cellular automaton beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posteriori.core.random import Rng
from posteriori.domains.geography.land_maps import Codes, Floats, Mask
from posteriori.domains.geography.land_potential import Pair, Potential, transitions
from posteriori.inference.exact_totals import TINY, Clustering, drawn, logit, with_totals

YEARS_UNKNOWN = 0.5
"""Relative spread of a rate of growth that one interval alone tells."""


@dataclass(frozen=True, eq=False)
class Growth:
    """Maps after ``before``, the chances given.

    Attributes:
        before: classes now (y, x).
        chance: probability of each gain (class, y, x), zero where it is impossible.
        allowed: transitions (from, to).
        slopes: what the log-odds of each gain are multiplied by, (class,).
        clustering: of the noise that draws share.
    """

    before: Codes
    chance: Floats
    allowed: Mask
    slopes: Floats
    clustering: Clustering

    def probabilities(self, quotas: Codes) -> Floats:
        """Probability of each class (class, y, x) when ``quotas`` (from, to) cells change."""
        found = np.zeros_like(self.chance)
        for share in self._shares(quotas):
            for gained, p in zip(share.gains, share.p, strict=True):
                found[gained][share.cells] = p
        stays = 1 - found.sum(0)
        known = self.before >= 0
        found[np.maximum(self.before, 0)[known], *np.nonzero(known)] = stays[known]
        return found

    def member(self, quotas: Codes, rng: Rng) -> Codes:
        """One map in which exactly ``quotas`` (from, to) cells have changed."""
        return self._drawn(self._shares(quotas), quotas, rng)

    def members(self, quotas: Codes, rng: Rng) -> Codes:
        """Maps (member, y, x), for quotas (member, from, to)."""
        found, shares = [], self._shares(quotas[0])
        for at, quota in enumerate(quotas):
            if at and (quota != quotas[at - 1]).any():
                shares = self._shares(quota)
            found.append(self._drawn(shares, quota, rng.child("member", at)))
        return np.stack(found)

    def capped(self, quotas: Codes) -> Codes:
        """The same quotas (member, from, to), none above what its cells can bear and none impossible."""
        found = np.where(self.allowed, quotas, 0)
        for start in range(len(self.allowed)):
            room = int(self._may_change(start).sum())
            total = found[:, start].sum(-1, keepdims=True)
            found[:, start] = np.where(total > room, found[:, start] * room // np.maximum(total, 1), found[:, start])
        return np.asarray(found)

    def _may_change(self, start: int) -> Mask:
        """Cells of a class that may change: into whatever is allowed of it, all alike."""
        return np.asarray((self.before == start) & (self.chance > 0).any(0))

    def _shares(self, quotas: Codes) -> list[_Share]:
        """What becomes of each class of which some changes."""
        found = []
        for start in np.flatnonzero(quotas.sum(1)).tolist():
            gains = np.flatnonzero(quotas[start])
            gains = gains[np.argsort(-quotas[start, gains], kind="stable")]
            cells = self._may_change(start)
            p = with_totals(self.chance[gains][:, cells], quotas[start, gains].astype(np.float64), self.slopes[gains])
            found.append(_Share(start, gains, cells, p))
        return found

    def _drawn(self, shares: Sequence[_Share], quotas: Codes, rng: Rng) -> Codes:
        """One map: gains in turn, the largest first, each among the cells that the ones before have left."""
        after = self.before.copy()
        gained = sorted({int(code) for share in shares for code in share.gains})
        noise = {code: self.clustering.field(after.shape, rng.child("noise", code)).ravel() for code in gained}
        for share in shares:
            at, left = np.flatnonzero(share.cells), np.ones(share.p.shape[1])
            for code, p in zip(share.gains.tolist(), share.p, strict=True):
                free = np.flatnonzero(after.ravel()[at] == share.start)
                chance = np.minimum(p[free] / np.maximum(left[free], TINY), 1.0)
                changes = drawn(chance, int(quotas[share.start, code]), noise[code][at[free]])
                after.ravel()[at[free[changes]]] = code
                left = left - p
        return after


@dataclass(frozen=True, eq=False)
class _Share:
    """What becomes of the class ``start``: probabilities ``p`` (gain, cell) of ``gains`` in the mask ``cells``."""

    start: int
    gains: Codes
    cells: Mask
    p: Floats


def alike(chance: Floats, slope: float = 1.0) -> Floats:
    """One slope for all classes of chances (class, y, x)."""
    return np.full(len(chance), slope)


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

    log(1 + gain / area) a year of the ``last`` pair (``span`` years) goes on, up to all cells; the other classes give
    in proportion. A class that had no area before has no such rate and gains as many cells a year as it did.
    """
    gains = transitions([last], classes)
    np.fill_diagonal(gains, 0)
    area = np.bincount(last.before[last.where & (last.before >= 0)], minlength=len(gains))
    rate = np.log1p(gains.sum(0) / np.maximum(area, 1)) / span
    now = np.bincount(before[where & (before >= 0)], minlength=len(gains))
    with np.errstate(over="ignore", invalid="ignore"):
        compound = np.minimum(np.expm1(rate * ahead) * now, np.count_nonzero(where))
    wanted = np.where(area > 0, np.where(now > 0, compound, 0.0), gains.sum(0) / span * ahead)
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
            state = Growth(state, chance, potential.allowed, alike(chance), noise).member(part, rng.child("step", step))
        return state

    def members(
        self, potential: Potential, before: Codes, time: int, quotas: Codes, where: Mask, members: int, rng: Rng
    ) -> Codes:
        """Maps (member, y, x)."""
        if self.steps == 1:
            chance = np.where(where, potential(before, time), 0.0)
            grown = Growth(before, chance, potential.allowed, alike(chance), Clustering())
            return grown.members(np.broadcast_to(quotas, (members, *quotas.shape)), rng)
        return np.stack(
            [self.member(potential, before, time, quotas, where, rng.child("ca", at)) for at in range(members)]
        )


def log_score(p: Floats, changed: Mask) -> float:
    """Mean -log probability of what came."""
    raised = logit(p)
    return float(np.mean(np.logaddexp(0.0, np.where(changed, -raised, raised))))
