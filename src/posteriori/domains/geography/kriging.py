"""Kriging of one gappy field: the exponential variogram of its observed cells, and the Gaussian process it means."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.spatial.distance import pdist
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern
from posteriori.learn.place_kernel import positions

SAMPLE = 500
"""Most observed cells that the variogram is taken from."""
BINS = 15
SMALLEST = 1e-4
"""Least share of the sill that a field changes from layer to layer, and that it keeps."""
REACH = 1 / 3
"""The variogram is fitted up to this share of the grid's diagonal."""


def exponential_process(space: Space, field: Tensor, seen: Tensor, rng: Rng) -> GaussianProcess:
    """A Gaussian process of mean zero with the variogram sill (1 - exp(-r)) of the observed cells, no nugget.

    r² = (d/length)² + (τ/duration)² at d cells and τ layers. Sill and length [cells] are the least-squares fit to the
    mean squared half-differences of at most 500 observed cells of the middle layer, in 15 even bins of distance up to a
    third of the diagonal; the duration gives those of cells observed in successive layers.

    Args:
        space: the grid (y, x).
        field: anomalies of an odd number of layers, (layer, *space.shape).
        seen: which cells are observed, the same shape.
        rng: picks the cells.

    Raises:
        DataError: fewer than three observed cells in the middle layer.

    Reference: Chilès & Delfiner (2012), Geostatistics: modeling spatial uncertainty, Wiley, section 2.6.
    """
    middle = len(field) // 2
    cells = space.flat(seen[middle]).nonzero()[:, 0]
    if len(cells) < 3:
        raise DataError(f"only {len(cells)} cells are observed; a variogram needs at least three.")
    points = positions(space)
    picked = cells if len(cells) <= SAMPLE else cells[rng.permutation(len(cells))[:SAMPLE]]
    sill, length = fitted(points[picked], space.flat(field[middle])[picked].double())
    if len(field) == 1:
        return GaussianProcess(space, points, Matern([length, length], amplitude=sill**0.5, nu=0.5))
    both = seen[1:] & seen[:-1]
    half = 0.5 * (field[1:] - field[:-1])[both].double().square().mean() if bool(both.any()) else torch.tensor(sill)
    duration = -1 / math.log(1 - min(max(float(half) / sill, SMALLEST), 1 - SMALLEST))
    layers = torch.arange(len(field), dtype=torch.float64).repeat_interleave(space.size)
    stack = Space(space.name, {"layer": len(field), **space.coords}, space.unit)
    at = torch.cat([points.repeat(len(field), 1), layers[:, None]], 1)
    return GaussianProcess(stack, at, Matern([length, length, duration], amplitude=sill**0.5, nu=0.5))


def fitted(points: Tensor, values: Tensor) -> tuple[float, float]:
    """Sill and length of the exponential variogram of ``values`` (n,) at ``points`` (n, 2)."""
    distance = pdist(points.numpy())
    half = 0.5 * pdist(values[:, None].numpy(), "sqeuclidean")
    spans = np.ptp(points.numpy(), axis=0)
    reach = max(REACH * float(np.hypot(*spans)), 2.0)
    edges = np.linspace(0, reach, BINS + 1)
    which = np.digitize(distance, edges) - 1
    inside = which < BINS
    counts = np.bincount(which[inside], minlength=BINS)
    full = counts > 0
    lags = np.bincount(which[inside], distance[inside], BINS)[full] / counts[full]
    found = np.bincount(which[inside], half[inside], BINS)[full] / counts[full]
    variance = max(float(values.var()), 1e-12)
    if len(lags) < 2:
        return variance, reach / 3
    sill, length = least_squares(
        lambda law: law[0] * (1 - np.exp(-lags / law[1])) - found,
        (variance, reach / 3),
        bounds=((1e-3 * variance, 1e-2), (1e3 * variance, 1e3 * reach)),
    ).x
    return float(sill), float(length)
