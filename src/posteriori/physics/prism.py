"""The potential of a homogeneous prism and its derivatives in closed form, compiled, in float64."""

from __future__ import annotations

from collections.abc import Callable
from math import atan, log, sqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from posteriori.core.optional import require

numba = require("numba", "geophysics")
F = TypeVar("F", bound=Callable[..., Any])
Floats = NDArray[np.float64]
DERIVATIVES = ("x", "y", "z", "xx", "xy", "xz", "yy", "yz", "zz")
"""What :func:`corner` weighs, in this order: derivatives of U = ∭ dV / r, x east, y north, z down."""


def jit(function: F) -> F:
    """The function compiled; it runs without the interpreter's lock."""
    compiled: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled


def weights(**factors: float) -> Floats:
    """Factors of the derivatives by name, (9,), zero for the others: ``weights(xx=1, zz=-1)``."""
    found = np.zeros(len(DERIVATIVES))
    for name, factor in factors.items():
        found[DERIVATIVES.index(name)] = factor
    return found


@jit
def _log(a: float, rest: float, r: float) -> float:
    """ln(a + r) with r² = a² + rest, also where a is negative and a + r would cancel.

    On the axis behind the corner (rest = 0) the part that differs between two corners is left.
    """
    if a > 0.0:
        return log(a + r)
    if rest > 0.0:
        return log(rest / (r - a))
    return -log(r - a) if r > a else 0.0


@jit
def _atan(above: float, below: float) -> float:
    """atan(above / below); 0, the mean of both sides, where the line is crossed."""
    return atan(above / below) if below != 0.0 else 0.0


@jit
def corner(x: float, y: float, z: float, w: Floats) -> float:
    """Σ w_k F_k(x, y, z): the triple difference over the corners of a prism is Σ w_k ∂_k U.

    (x, y, z) runs from the station to the corner. With r its length, F_z = x ln(y + r) + y ln(x + r) - z atan(xy / zr)
    belongs to ∂U/∂z **by the source**, minus that by the station; F_xx = -atan(yz / xr), F_xy = ln(z + r), and so on by
    rotation.

    Reference: Nagy, Papp & Benedek (2000), The gravitational potential and its derivatives for the prism,
    J. Geodesy 74, 552.
    """
    xx, yy, zz = x * x, y * y, z * z
    r = sqrt(xx + yy + zz)
    total = 0.0
    if w[1] != 0.0 or w[2] != 0.0 or w[7] != 0.0:
        along_x = _log(x, yy + zz, r)
        total += (w[1] * z + w[2] * y + w[7]) * along_x
    if w[0] != 0.0 or w[2] != 0.0 or w[5] != 0.0:
        along_y = _log(y, xx + zz, r)
        total += (w[0] * z + w[2] * x + w[5]) * along_y
    if w[0] != 0.0 or w[1] != 0.0 or w[4] != 0.0:
        along_z = _log(z, xx + yy, r)
        total += (w[0] * y + w[1] * x + w[4]) * along_z
    if w[0] != 0.0 or w[3] != 0.0:
        total -= (w[0] * x + w[3]) * _atan(y * z, x * r)
    if w[1] != 0.0 or w[6] != 0.0:
        total -= (w[1] * y + w[6]) * _atan(x * z, y * r)
    if w[2] != 0.0 or w[8] != 0.0:
        total -= (w[2] * z + w[8]) * _atan(x * y, z * r)
    return total


@jit
def sheet(x: Floats, y: Floats, z: float, w: Floats, out: Floats) -> None:
    """``corner`` at all corners (x, y) of one level, into ``out`` (y, x)."""
    for j in range(len(y)):
        for i in range(len(x)):
            out[j, i] = corner(x[i], y[j], z, w)


@jit
def prism_rows(x: Floats, y: Floats, z: Floats, stations: Floats, w: Floats, out: Floats) -> None:
    """Σ w_k ∂_k U of every prism between the borders ``x``, ``y``, ``z`` at stations (n, 3), into (n, nz, ny, nx).

    Prisms share their corners, so that one corner is computed for each prism.
    """
    nx, ny, nz = len(x) - 1, len(y) - 1, len(z) - 1
    above = np.empty((ny + 1, nx + 1))
    below = np.empty((ny + 1, nx + 1))
    for s in range(len(stations)):
        east, north, down = x - stations[s, 0], y - stations[s, 1], z - stations[s, 2]
        sheet(east, north, down[0], w, above)
        for k in range(nz):
            sheet(east, north, down[k + 1], w, below)
            for j in range(ny):
                for i in range(nx):
                    lower = below[j + 1, i + 1] - below[j + 1, i] - below[j, i + 1] + below[j, i]
                    upper = above[j + 1, i + 1] - above[j + 1, i] - above[j, i + 1] + above[j, i]
                    out[s, k, j, i] = lower - upper
            above, below = below, above
