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
MOST_STEPS = 200
CLOSE = 1e-10
"""Share of the cells that a total may be off."""


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


def with_totals(p: Floats, totals: Floats, slopes: Floats) -> Floats:
    """Probabilities (gain, cell) of gains that exclude each other, near ``p``, that sum to ``totals`` (gain,).

    Of a cell, the gains are to each other and to staying as ``p`` and the chance that none of them happens; these
    log-odds are multiplied by ``slopes`` (gain,) and shifted, gain by gain, until the totals are right. With one gain,
    they are its logits.

    Raises:
        DataError: totals below zero, or more in all than there are cells.
    """
    cells = p.shape[1]
    if (totals < 0).any() or totals.sum() > cells:
        told = ", ".join(f"{total:g}" for total in totals)
        raise DataError(f"totals of {told} changes among {cells} cells that may change; give totals within.")
    found, some = np.zeros(p.shape), totals > 0
    if not some.any():
        return found
    kept = np.clip(p[some], TINY, 1 - TINY)
    raised = slopes[some, None] * (np.log(kept) - np.log1p(-kept).sum(0))
    if totals.sum() < cells:
        found[some] = _balanced(raised, totals[some])
    else:
        part = _balanced(raised[:-1] - raised[-1], totals[some][:-1])
        found[some] = np.concatenate([part, 1 - part.sum(0, keepdims=True)])
    return found


def _balanced(raised: Floats, totals: Floats) -> Floats:
    """The shares exp(raised + shift) / (1 + their sum), (gain, cell), whose sums are ``totals``: Newton's descent."""
    shift = np.zeros(len(raised))

    def height(shift: Floats) -> float:
        return float(special.logsumexp(_with_zero(raised + shift[:, None]), axis=0).sum() - shift @ totals)

    for _ in range(MOST_STEPS if len(raised) else 0):
        share = special.softmax(_with_zero(raised + shift[:, None]), axis=0)[:-1]
        away = share.sum(1) - totals
        if np.abs(away).max() <= CLOSE * raised.shape[1]:
            break
        curve = np.diag(share.sum(1)) - share @ share.T
        step = np.linalg.solve(curve + 1e-12 * np.eye(len(curve)), away)
        step *= min(1.0, 10.0 / np.abs(step).max())
        here = height(shift)
        while height(shift - step) > here + 1e-9 * abs(here) and np.abs(step).max() > 1e-12:
            step /= 2
        shift = shift - step
    return np.asarray(special.softmax(_with_zero(raised + shift[:, None]), axis=0)[:-1])


def _with_zero(raised: Floats) -> Floats:
    return np.concatenate([raised, np.zeros((1, raised.shape[1]))])


def drawn(p: Floats, total: int, noise: Floats) -> NDArray[np.bool_]:
    """Which of the cells (cell,) change, exactly ``total``: those of the highest logit p + logit Phi(noise)."""
    if not 0 <= total <= len(p):
        raise DataError(f"{total} changes among {len(p)} cells that may change; give a total within.")
    score = logit(p) + special.log_ndtr(noise) - special.log_ndtr(-noise)
    found = np.zeros(len(p), bool)
    found[np.argsort(-score, kind="stable")[:total]] = True
    return found
