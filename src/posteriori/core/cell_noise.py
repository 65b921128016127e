"""Noise keyed to the cells of a grid: any window of it can be drawn alone, in any order, and is always the same."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng

WEYL, FIRST, SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
LARGEST = 2**31
"""Rows and columns there can be."""


def cell_normal(rng: Rng, rows: slice, columns: slice) -> Tensor:
    """Standard normal numbers of the cells in these rows and columns of an endless grid, float32 (y, x).

    The number of a cell depends on the stream and on its row and column alone: windows agree where they overlap.
    Counters (row, column) go through the mixer of SplitMix64, whose values become normal by the inverse law.

    Raises:
        OptionError: rows or columns below 0 or from 2³¹ on.

    Reference: Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA; Salmon et al. (2011),
    Parallel random numbers: as easy as 1, 2, 3, SC.
    """
    for cells in (rows, columns):
        if not 0 <= cells.start <= cells.stop <= LARGEST:
            raise OptionError(f"cells {cells.start}..{cells.stop} are not on the grid of 2³¹ rows and columns.")
    row = np.arange(rows.start, rows.stop, dtype=np.uint64)[:, None]
    column = np.arange(columns.start, columns.stop, dtype=np.uint64)
    state = np.uint64(rng.entropy) + ((row << np.uint64(32)) + column + np.uint64(1)) * WEYL
    state = (state ^ (state >> np.uint64(30))) * FIRST
    state = (state ^ (state >> np.uint64(27))) * SECOND
    share = ((state ^ (state >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) + 0.5
    return torch.from_numpy(ndtri(share * 2.0**-53).astype(np.float32))
