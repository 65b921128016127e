"""How sharp chances of change may be: slopes of log-odds, chosen and judged on squares left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from posteriori.domains.geography.land_growth import Growth
from posteriori.domains.geography.land_maps import Codes, Floats
from posteriori.domains.geography.land_potential import Pair
from posteriori.inference.exact_totals import TINY

SLOPES = (0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)


def sharpened(growth: Growth, pair: Pair, quotas: Codes, fold: Codes, each: bool) -> tuple[Growth, float]:
    """The law with the slopes that tell best what came, one for all gains or one for each, and their score.

    Args:
        growth: chances of every cell, learnt without its fold.
        pair: what came.
        quotas: amounts of change (from, to).
        fold: of each cell (y, x), numbered from 0.
        each: a slope for each gain.

    Returns:
        The score is the mean -log probability [nat] over cells that could change, those of each fold with the slopes
        that are best in the others.
    """
    folds = range(int(fold.max()) + 1)
    could = (growth.chance > 0).any(0) & pair.where
    cells = np.bincount(fold[could], minlength=len(folds))
    gains = [int(code) for code in np.argsort(-quotas.sum(0), kind="stable") if quotas[:, code].any()]

    @cache
    def loss(slopes: tuple[float, ...]) -> Floats:
        """Summed over each fold."""
        p = replace(growth, slopes=np.array(slopes)).probabilities(growth.capped(quotas[None])[0])
        came = np.take_along_axis(p, pair.after.clip(0)[None], 0)[0][could]
        lost = -np.log(np.clip(came, TINY, 1.0))
        return np.asarray(np.bincount(fold[could], lost, len(folds)), np.float64)

    def best(tried: Sequence[tuple[float, ...]], among: list[int]) -> tuple[float, ...]:
        return min(tried, key=lambda slopes: float(loss(slopes)[among].sum()))

    def fitted(among: list[int]) -> tuple[float, ...]:
        found = best([(slope,) * len(growth.slopes) for slope in SLOPES], among)
        for code in gains if each else ():
            found = best([(*found[:code], slope, *found[code + 1 :]) for slope in SLOPES], among)
        return found

    left_out = [loss(fitted([other for other in folds if other != one]))[one] for one in folds]
    return replace(growth, slopes=np.array(fitted(list(folds)))), float(np.sum(left_out) / cells.sum())
