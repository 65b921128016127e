"""Stations cut into square blocks and blocks into folds: held-out stations that are not beside known ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import OptionError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def blocks_of(easting: Floats, northing: Floats, size: float) -> Integers:
    """The number of the square of side ``size`` [m] that each station lies in, 0 … many - 1, (n,).

    Squares are counted from the middle of the stations, so that another coordinate origin gives the same blocks.
    """
    if not size > 0:
        raise OptionError(f"blocks of {size} m; give a positive side.")
    columns = np.floor((easting - 0.5 * (easting.min() + easting.max())) / size).astype(np.int64)
    rows = np.floor((northing - 0.5 * (northing.min() + northing.max())) / size).astype(np.int64)
    _, numbers = np.unique(np.stack([rows, columns], 1), axis=0, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def folds_of(blocks: Integers, folds: int, rng: np.random.Generator) -> Integers:
    """A fold for each station, whole blocks together, folds of nearly equal numbers of stations, (n,).

    Blocks are taken in random order, each into the fold that holds the fewest stations so far.

    Raises:
        OptionError: fewer blocks than folds.
    """
    counts = np.bincount(blocks)
    if not 2 <= folds <= len(counts):
        raise OptionError(f"{folds} folds of {len(counts)} blocks; take smaller blocks, or 2 to {len(counts)} folds.")
    held = np.zeros(folds, dtype=np.int64)
    chosen = np.empty(len(counts), dtype=np.int64)
    for block in rng.permutation(len(counts)):
        chosen[block] = held.argmin()
        held[chosen[block]] += counts[block]
    return chosen[blocks]
