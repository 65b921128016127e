"""Joint draws of cells that change: as probable as stated, in clusters, and as many as are asked for, exactly.

A cell changes where logit p + logit Phi(z) exceeds one level, z a standard normal field: at level zero each cell has
its own probability whatever the correlation of z. The level is set so that the number of changes is the total.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from posteriori.core.errors import DataError
from posteriori.core.random import Rng

Floats = NDArray[np.float64]
TINY = 1e-6
"""Probabilities are kept this far from 0 and 1."""


@dataclass(frozen=True)
class Clustering:
    """A standard normal field on a grid: a share of its variance is smooth over ``length`` [cells], the rest white."""

    length: float = 0.0
    share: float = 0.0

    def field(self, shape: tuple[int, int], rng: Rng) -> Floats:
        """One draw, (y, x); periodic, so that every cell has variance one."""
        draw = rng.numpy
        white = draw.standard_normal(shape)
        if self.share == 0 or self.length == 0:
            return np.asarray(white)
        point = np.zeros(shape)
        point[0, 0] = 1.0
        norm = np.sqrt((ndimage.gaussian_filter(point, self.length, mode="wrap") ** 2).sum())
        smooth = ndimage.gaussian_filter(draw.standard_normal(shape), self.length, mode="wrap") / norm
        return np.asarray(self.share**0.5 * smooth + (1 - self.share) ** 0.5 * white)


def logit(p: Floats) -> Floats:
    """log p / (1 - p) of probabilities kept ``TINY`` away from 0 and 1."""
    return np.asarray(special.logit(np.clip(p, TINY, 1 - TINY)))


def with_total(p: Floats, total: float, slope: float = 1.0) -> Floats:
    """Probabilities (cell,) whose logits are ``slope`` times those of ``p`` and a shift, such that they sum to total.

    Raises:
        DataError: a total below zero or above the number of cells.
    """
    if not 0 <= total <= len(p):
        raise DataError(f"a total of {total:g} changes among {len(p)} cells that may change; give one within.")
    if total in (0, len(p)):
        return np.full(len(p), float(total > 0))
    raised = slope * logit(p)
    low, high = -raised.max() - 40.0, -raised.min() + 40.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if special.expit(raised + middle).sum() > total else (middle, high)
    return np.asarray(special.expit(raised + (low + high) / 2))


def drawn(p: Floats, total: int, noise: Floats) -> NDArray[np.bool_]:
    """Which of the cells (cell,) change, exactly ``total``: those of the highest logit p + logit Phi(noise)."""
    if not 0 <= total <= len(p):
        raise DataError(f"{total} changes among {len(p)} cells that may change; give a total within.")
    score = logit(p) + special.log_ndtr(noise) - special.log_ndtr(-noise)
    found = np.zeros(len(p), bool)
    found[np.argsort(-score, kind="stable")[:total]] = True
    return found
