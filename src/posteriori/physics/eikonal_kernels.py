"""Compiled marching of first arrivals and its exact derivatives, one source at a time on a (z, y, x) grid."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from posteriori.core.optional import require

numba = require("numba", "geophysics")
F = TypeVar("F", bound=Callable[..., Any])
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.int8]
PASSES = 12
"""Most changes of upwind neighbours while one node is solved; two or three are usual."""


def jit(function: F) -> F:
    """The function compiled; it runs without the interpreter's lock."""
    compiled: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled


@jit
def _curvature(n: int, step: int, cell: int, node: float, source: float, h: float, r: Floats) -> float:
    """Half the difference between the squared slope of the distance r and of its upwind difference, per difference.

    A circular wave is told from its neighbour by more than r - r_w: (h ∂r)² = (r - r_w)² + 2 k (r - r_w) with this k,
    which vanishes far from the source. Where r - r_w is nearly zero k is bounded by its value at the next rows.
    """
    away = (node - source) * step
    gain = r[n] - r[n - step * cell]
    if away <= 0.0 or gain <= 0.0:
        return 0.0
    rise = h * away / r[n]
    return min((rise * rise - gain * gain) / (2.0 * gain), 2.0 * (rise - gain))


@jit
def _solve(
    t: Floats, done: Codes, s: Floats, r: Floats, s0: float, n: int, at: Integers, g: Any, work: Floats
) -> tuple[float, int]:
    """First arrival at node ``n`` from its accepted neighbours, and the code of those it hangs on.

    Σ_i x_i (x_i + 2 s0 k_i) / (h_i σ_i)² = 1 over the axes, x_i = t - t_w > 0 towards the upwind neighbour w and σ_i
    the mean slowness on the way. From the root of the earliest neighbour alone, the choice of neighbours converges
    from above.
    """
    shape, spacing, cells, source = g
    time, bend, scale = work[0], work[1], work[2]
    first, best = inf, inf
    for axis in range(3):
        h = spacing[axis]
        for side in range(2):
            step = 1 - 2 * side
            other = at[axis] - step
            scale[axis, side] = 0.0
            if other < 0 or other >= shape[axis]:
                continue
            w = n - step * cells[axis]
            if done[w] == 0:
                continue
            k = s0 * _curvature(n, step, cells[axis], at[axis] * h, source[axis], h, r)
            length = 0.5 * h * (s[n] + s[w])
            time[axis, side], bend[axis, side], scale[axis, side] = t[w], k, 1.0 / (length * length)
            if t[w] < first:
                first, best = t[w], t[w] - k + sqrt(k * k + length * length)
    code = -1
    for _ in range(PASSES):
        found = 0
        a = b = c = 0.0
        for axis in range(3):
            pick, steepest = -1, 0.0
            for side in range(2):
                if scale[axis, side] > 0.0:
                    x = best - time[axis, side]
                    slope = x * (x + 2.0 * bend[axis, side]) * scale[axis, side]
                    if x > 0.0 and slope > steepest:
                        pick, steepest = side, slope
            found *= 3
            if pick >= 0:
                found += pick + 1
                x, k, q = best - time[axis, pick], bend[axis, pick], scale[axis, pick]
                a += q
                b += q * (x + k)
                c += q * x * (x + 2.0 * k)
        if found == code:
            break
        code = found
        # the larger root of a δ² + 2 b δ + c - 1 = 0 about the last guess
        best += (1.0 - c) / (b + sqrt(max(b * b - a * (c - 1.0), 0.0)))
    return best, code


@jit
def _sink(heap: Integers, place: Integers, t: Floats, i: int) -> None:
    node = heap[i]
    while i > 0:
        up = (i - 1) >> 1
        if t[heap[up]] <= t[node]:
            break
        heap[i] = heap[up]
        place[heap[i]] = i
        i = up
    heap[i] = node
    place[node] = i


@jit
def _pop(heap: Integers, place: Integers, t: Floats, size: int) -> int:
    first, node = heap[0], heap[size - 1]
    size -= 1
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and t[heap[child + 1]] < t[heap[child]]:
            child += 1
        if t[heap[child]] >= t[node]:
            break
        heap[i] = heap[child]
        place[heap[i]] = i
        i = child
    heap[i] = node
    place[node] = i
    return first


@jit
def march(s: Floats, r: Floats, corners: Integers, s0: float, g: Any) -> tuple[Floats, Integers, Codes]:
    """Times (n,), nodes by arrival (n,) and the code of the neighbours that each hangs on (n,), -1 at the start.

    Args:
        s: slowness of each node, flat, z slowest.
        r: distance of each node from the source.
        corners: the nodes about the source, which start with their straight-line times.
        s0: slowness at the source.
        g: (shape, spacing, flat step of each axis, source position) of the grid.
    """
    shape, _, cells, _ = g
    n = s.size
    t = np.full(n, inf)
    code, done = np.full(n, -1, np.int8), np.zeros(n, np.int8)
    heap, place, order = np.empty(n, np.int64), np.full(n, -1, np.int64), np.empty(n, np.int64)
    at, work = np.empty(3, np.int64), np.empty((3, 3, 2))
    size = 0
    fixed = np.zeros(n, np.int8)
    for corner in corners:
        t[corner] = 0.5 * r[corner] * (s0 + s[corner])
        fixed[corner] = 1
        heap[size] = corner
        size += 1
        _sink(heap, place, t, size - 1)
    for k in range(n):
        node = _pop(heap, place, t, size)
        size -= 1
        order[k] = node
        done[node] = 1
        left = node
        for axis in range(3):
            at[axis] = left // cells[axis]
            left -= at[axis] * cells[axis]
        for axis in range(3):
            for step in (-1, 1):
                moved = at[axis] + step
                if moved < 0 or moved >= shape[axis]:
                    continue
                w = node + step * cells[axis]
                if done[w] != 0 or fixed[w] != 0:
                    continue
                at[axis] += step
                time, found = _solve(t, done, s, r, s0, w, at, g, work)
                at[axis] -= step
                if time < t[w]:
                    t[w] = time
                    code[w] = found
                    if place[w] < 0:
                        heap[size] = w
                        size += 1
                        _sink(heap, place, t, size - 1)
                    else:
                        _sink(heap, place, t, place[w])
    return t, order, code


@jit
def _slopes(t: Floats, code: int, s: Floats, r: Floats, s0: float, n: int, at: Integers, g: Any, out: Floats) -> float:
    """Partial derivatives of the time at ``n``: ``out[axis]`` = (neighbour, ∂t/∂t_w, ∂t/∂s_w); others returned.

    ``out[3]`` holds (∂t/∂s0, ∂t/∂s_n).
    """
    _, spacing, cells, source = g
    whole, by_s0, by_own = 0.0, 0.0, 0.0
    for axis in range(2, -1, -1):
        side = code % 3 - 1
        code //= 3
        out[axis, 0] = -1.0
        if side < 0:
            continue
        step = 1 - 2 * side
        w = n - step * cells[axis]
        h = spacing[axis]
        k = _curvature(n, step, cells[axis], at[axis] * h, source[axis], h, r)
        mean = 0.5 * (s[n] + s[w])
        scale = 1.0 / (h * h * mean * mean)
        x = t[n] - t[w]
        rise = (x + s0 * k) * scale
        stretch = x * (x + 2.0 * s0 * k) * scale / (2.0 * mean)
        out[axis, 0], out[axis, 1], out[axis, 2] = w, rise, stretch
        whole += rise
        by_s0 -= x * k * scale
        by_own += stretch
    for axis in range(3):
        out[axis, 1] /= whole
        out[axis, 2] /= whole
    out[3, 0], out[3, 1] = by_s0 / whole, by_own / whole
    return whole


@jit
def spread(t: Floats, order: Integers, code: Codes, s: Floats, r: Floats, s0: float, g: Any, change: Floats) -> Floats:
    """Change of all times (n,) by a ``change`` (n + 1,) of the slowness, that at the source last, by arrival."""
    cells = g[2]
    moved = np.empty(s.size)
    at, out = np.empty(3, np.int64), np.empty((4, 3))
    for n in order:
        if code[n] < 0:
            moved[n] = 0.5 * r[n] * (change[n] + change[s.size])
            continue
        left = n
        for axis in range(3):
            at[axis] = left // cells[axis]
            left -= at[axis] * cells[axis]
        _slopes(t, code[n], s, r, s0, n, at, g, out)
        total = out[3, 0] * change[s.size] + out[3, 1] * change[n]
        for axis in range(3):
            if out[axis, 0] >= 0.0:
                w = int(out[axis, 0])
                total += out[axis, 1] * moved[w] + out[axis, 2] * change[w]
        moved[n] = total
    return moved


@jit
def gather(t: Floats, order: Integers, code: Codes, s: Floats, r: Floats, s0: float, g: Any, pull: Floats) -> Floats:
    """Transpose of :func:`spread`: ``pull`` (n,) on the times, which is used up, becomes (n + 1,) on the slowness."""
    cells = g[2]
    back = np.zeros(s.size + 1)
    at, out = np.empty(3, np.int64), np.empty((4, 3))
    for i in range(s.size - 1, -1, -1):
        n = order[i]
        p = pull[n]
        if p == 0.0:
            continue
        if code[n] < 0:
            back[n] += 0.5 * r[n] * p
            back[s.size] += 0.5 * r[n] * p
            continue
        left = n
        for axis in range(3):
            at[axis] = left // cells[axis]
            left -= at[axis] * cells[axis]
        _slopes(t, code[n], s, r, s0, n, at, g, out)
        back[s.size] += out[3, 0] * p
        back[n] += out[3, 1] * p
        for axis in range(3):
            if out[axis, 0] >= 0.0:
                w = int(out[axis, 0])
                pull[w] += out[axis, 1] * p
                back[w] += out[axis, 2] * p
    return back
