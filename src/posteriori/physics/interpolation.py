"""Points between the nodes of a grid: band-limited interpolation, and its transpose for sources."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RADIUS = 4
"""Nodes on either side of a point that take part."""
SHAPE = 6.31
"""Kaiser's b for :data:`RADIUS` 4 and wavenumbers up to half of Nyquist's (Hicks 2002, table 2)."""
ON_NODE = 1e-6
"""A point nearer than this share of a cell to a node lies on it."""


@dataclass(frozen=True)
class Taps:
    """A sparse matrix by rows: point ``p`` takes ``weight[start[p] : start[p + 1]]`` of the nodes ``(row, column)``."""

    start: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    weight: NDArray[np.float64]


def kaiser_sinc(points: NDArray[np.float64], mirror: bool = False) -> Taps:
    """Weights of the nodes about ``points`` (n, 2), given as (row, column) in units of the grid's spacing.

    A point on a node takes that node alone; else sinc(x) I_0(b sqrt(1 - (x / r)²)) / I_0(b) along each direction, on
    2 r nodes. ``mirror`` folds the nodes above row 0 back with their sign turned: a pressure-free surface lies there.

    Reference: Hicks (2002), Arbitrary source and receiver positioning in finite-difference schemes using Kaiser
    windowed sinc functions, Geophysics 67.
    """
    start, rows, columns, weights = [0], [], [], []
    for point in points:
        (down, vertical), (along, horizontal) = (_window(float(x)) for x in point)
        if mirror:
            vertical = np.where(down < 0, -vertical, vertical)
            down = np.abs(down)
        rows.append(np.repeat(down, len(along)))
        columns.append(np.tile(along, len(down)))
        weights.append(np.outer(vertical, horizontal).ravel())
        start.append(start[-1] + len(weights[-1]))
    empty = np.zeros(0, np.int64)
    return Taps(
        np.array(start, np.int64),
        np.concatenate([empty, *rows]),
        np.concatenate([empty, *columns]),
        np.concatenate([np.zeros(0), *weights]),
    )


def _window(x: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    nearest = round(x)
    if abs(x - nearest) < ON_NODE:
        return np.array([nearest], np.int64), np.ones(1)
    nodes = np.arange(int(np.floor(x)) - RADIUS + 1, int(np.floor(x)) + RADIUS + 1)
    away = x - nodes
    window = np.i0(SHAPE * np.sqrt(np.clip(1 - (away / RADIUS) ** 2, 0, None))) / np.i0(SHAPE)
    return nodes, np.sinc(away) * window
