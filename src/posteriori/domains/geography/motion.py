"""Motion of rain between radar frames, and fields carried along it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from posteriori.core.errors import ShapeError

Floats = NDArray[np.float64]
WIDTHS = (32.0, 20.0, 12.0)
"""Gaussian windows [cells] over which motion is taken as one vector, from coarse to fine."""
REPEATS = 3
DAMPING = 0.02
"""Of the mean squared slope: pulls motion towards that of the wider window where little is seen."""


def motion(frames: Sequence[Floats]) -> Floats:
    """Displacement per frame [cells], (2, y, x) along (y, x): the later field at p is the earlier one at p - d(p).

    A shift of the whole field by cross-correlation, then Lucas & Kanade's least squares under Gaussian windows,
    repeated on the field carried along so far; all pairs of successive frames count alike.

    Reference: Lucas & Kanade (1981), an iterative image registration technique; Bowler et al. (2004), J. Hydrol. 288.

    Raises:
        ShapeError: fewer than two frames.
    """
    if len(frames) < 2:
        raise ShapeError(f"{len(frames)} frame(s): motion needs two.")
    pairs = list(pairwise(frames))
    start = np.mean([_shift(a, b) for a, b in pairs], 0)
    flow = np.broadcast_to(start[:, None, None], (2, *frames[0].shape)).copy()
    for width in WIDTHS:
        for _ in range(REPEATS):
            flow += _increment(pairs, flow, width)
    return flow


def origins(flow: Floats, steps: float) -> Floats:
    """Where the field at each cell comes from, (2, y, x) [cells], going back ``steps`` frames along steady motion.

    Reference: Germann & Zawadzki (2002), scale-dependence of the predictability of precipitation.
    """
    rows, columns = np.indices(flow.shape[1:], dtype=np.float64)
    start = np.stack([rows, columns])
    back = np.zeros_like(flow)
    pieces = max(1, int(np.ceil(steps)))
    for _ in range(pieces):
        middle = start - back - 0.5 * _at(flow, start - back) * steps / pieces
        back = back + _at(flow, middle) * steps / pieces
    return start - back


def carried(field: Floats, origin: Floats) -> Floats:
    """A field (y, x) where its cells come from ``origin``, linearly between cells, zero from outside."""
    return np.asarray(map_coordinates(field, origin, order=1, mode="constant", cval=0.0))


def inside(origin: Floats) -> NDArray[np.bool_]:
    """Where the origin lies in the field, (y, x)."""
    rows, columns = origin.shape[1:]
    return np.asarray((origin[0] >= 0) & (origin[0] <= rows - 1) & (origin[1] >= 0) & (origin[1] <= columns - 1))


def _at(flow: Floats, where: Floats) -> Floats:
    return np.stack([map_coordinates(part, where, order=1, mode="nearest") for part in flow])


def _shift(earlier: Floats, later: Floats) -> Floats:
    """The shift [cells] of largest correlation, within a quarter of the field."""
    a, b = (np.fft.rfft2(x - x.mean(), tuple(2 * n for n in x.shape)) for x in (earlier, later))
    found = np.fft.irfft2(a.conj() * b, tuple(2 * n for n in earlier.shape))
    lags = [np.fft.fftfreq(2 * n, 1 / (2 * n)) for n in earlier.shape]
    far = (np.abs(lags[0])[:, None] > earlier.shape[0] / 4) | (np.abs(lags[1])[None] > earlier.shape[1] / 4)
    at = np.unravel_index(np.argmax(np.where(far, -np.inf, found)), found.shape)
    return np.array([lags[0][at[0]], lags[1][at[1]]])


def _increment(pairs: Sequence[tuple[Floats, Floats]], flow: Floats, width: float) -> Floats:
    """What to add to the flow so that the carried fields fit the later ones."""
    here = np.indices(flow.shape[1:]).astype(np.float64) - flow
    sums = np.zeros((5, *flow.shape[1:]))
    for earlier, later in pairs:
        moved = np.asarray(map_coordinates(earlier, here, order=1, mode="nearest"))
        gy, gx = np.gradient(gaussian_filter(0.5 * (moved + later), 1.0))
        missed = gaussian_filter(later - moved, 1.0)
        sums += np.stack([gy * gy, gx * gx, gy * gx, -gy * missed, -gx * missed])
    yy, xx, xy, by, bx = (gaussian_filter(part, width) for part in sums)
    damping = DAMPING * 0.5 * float((yy + xx).mean()) + 1e-12
    yy, xx = yy + damping, xx + damping
    determinant = yy * xx - xy * xy
    return np.clip(np.stack([xx * by - xy * bx, yy * bx - xy * by]) / determinant, -2.0, 2.0)
