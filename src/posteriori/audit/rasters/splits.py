"""Splits of cases in time and of cells in space into blocks with a gap between, so that nothing leaks.

Times are numbers [h] or datetime64; a gap and a length are in hours. Positions are (case, 2) in any unit of length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from posteriori.core.errors import DataError, LeakError, OptionError
from posteriori.core.random import Rng


@dataclass(frozen=True)
class Split:
    """Indices (case,) to fit on and to test on; cases in the gap between belong to neither.

    Raises:
        LeakError: a case is in both.
        DataError: one of the two is empty.
    """

    train: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        both = self.train[torch.isin(self.train, self.test)]
        if len(both):
            raise LeakError(f"case {both[0].item()} and {len(both) - 1} more are in training and in test.")
        if not len(self.train) or not len(self.test):
            raise DataError(f"{len(self.train)} cases to fit on and {len(self.test)} to test on: shrink the gap.")


def hours(times: ArrayLike) -> NDArray[np.float64]:
    """Times [h]; datetime64 counts from the first."""
    found = np.asarray(times)
    if found.size and np.issubdtype(found.dtype, np.datetime64):
        found = (found - found.reshape(-1)[0]) / np.timedelta64(1, "h")
    found = found.astype(np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise DataError(f"times of shape {found.shape} must be one axis of finite numbers [h] or dates.")
    return found


def time_split(times: ArrayLike, last_train: float, first_test: float, gap: float) -> Split:
    """Fit up to ``last_train``, test from ``first_test`` on [h], which must lie more than ``gap`` apart.

    Raises:
        LeakError: the two are nearer than the gap.
    """
    t = hours(times)
    split = Split(*(torch.from_numpy(np.flatnonzero(part)) for part in (t <= last_train, t >= first_test)))
    require_gap(t[split.train.numpy()], t[split.test.numpy()], gap)
    return split


def time_folds(times: ArrayLike, folds: int, gap: float) -> list[Split]:
    """``folds`` contiguous stretches of equal duration, each the test once; training keeps ``gap`` [h] away from it."""
    t = hours(times)
    if folds < 2 or gap < 0:
        raise OptionError(f"folds={folds}, gap={gap}: at least two folds and a gap >= 0 h.")
    edges = np.linspace(t.min(), t.max(), folds + 1)
    which = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, folds - 1)
    splits = []
    for fold in range(folds):
        test = which == fold
        if not test.any():
            raise DataError(f"fold {fold} of {folds} holds no time; use fewer folds.")
        near = _distance(t[:, None], t[test][:, None]) <= gap
        splits.append(Split(*(torch.from_numpy(np.flatnonzero(part)) for part in (~test & ~near, test))))
    return splits


def time_blocks(times: ArrayLike, length: float = 24.0) -> Tensor:
    """Label (case,) of the stretch of ``length`` [h] that holds each time; dates are cut at midnight UTC."""
    found = np.asarray(times)
    if not length > 0:
        raise OptionError(f"blocks of {length} h; give a length > 0.")
    since = hours(found)
    if np.issubdtype(found.dtype, np.datetime64):
        since = since + (found[0] - found[0].astype("datetime64[D]")) / np.timedelta64(1, "h")
    return torch.from_numpy(np.floor(since / length).astype(np.int64))


def space_blocks(positions: ArrayLike, size: float | Sequence[float]) -> Tensor:
    """Label (case,) of the square of side ``size`` (a rectangle for two sizes) that holds each position."""
    p = _positions(positions)
    sides = np.broadcast_to(np.asarray(size, dtype=np.float64), (2,))
    if not (sides > 0).all():
        raise OptionError(f"blocks of size {size}; give lengths > 0.")
    corner = np.floor((p - p.min(0)) / sides).astype(np.int64)
    return torch.from_numpy(corner[:, 0] * (corner[:, 1].max() + 1) + corner[:, 1])


def space_folds(positions: ArrayLike, size: float | Sequence[float], folds: int, gap: float, rng: Rng) -> list[Split]:
    """Blocks of ``size`` dealt at random to ``folds`` tests; training keeps ``gap`` away from every test position."""
    p, labels = _positions(positions), space_blocks(positions, size)
    blocks, index = torch.unique(labels, return_inverse=True)
    if not 2 <= folds <= len(blocks) or gap < 0:
        raise OptionError(f"folds={folds}, gap={gap}: from two to {len(blocks)} folds (blocks) and a gap >= 0.")
    fold = (rng.permutation(len(blocks)) % folds)[index].numpy()
    splits = []
    for which in range(folds):
        test = fold == which
        near = _distance(p, p[test]) <= gap
        splits.append(Split(*(torch.from_numpy(np.flatnonzero(part)) for part in (~test & ~near, test))))
    return splits


def require_gap(train: ArrayLike, test: ArrayLike, gap: float) -> None:
    """Refuse times [h] (or positions, (case, 2)) of which one to fit on lies within ``gap`` of one to test on.

    Raises:
        LeakError: naming the nearest two.
    """
    a, b = (np.asarray(part, dtype=np.float64) for part in (train, test))
    a, b = (part[:, None] if part.ndim == 1 else part for part in (a, b))
    distance, nearest = cKDTree(b).query(a)
    worst = int(distance.argmin())
    if distance[worst] <= gap:
        raise LeakError(
            f"training at {a[worst].tolist()} lies {distance[worst]:g} from test at {b[nearest[worst]].tolist()}; "
            f"they must be more than {gap:g} apart."
        )


def _distance(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = cKDTree(others).query(points)[0]
    return found


def _positions(positions: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(positions, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 2 or not len(p) or not np.isfinite(p).all():
        raise DataError(f"positions {p.shape} must be (case, 2), finite.")
    return p
