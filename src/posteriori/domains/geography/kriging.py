"""Kriging of one gappy field: the exponential variogram of its observed cells, and the Gaussian process it means."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import curve_fit
from scipy.spatial.distance import pdist
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

SAMPLE = 500
"""Most observed cells that the variogram is taken from."""
BINS = 15
REACH = 1 / 3
"""The variogram is fitted up to this share of the grid's diagonal."""


def exponential_process(space: Space, field: Tensor, seen: Tensor, rng: Rng) -> GaussianProcess:
    """A Gaussian process of mean zero with the variogram sill (1 - exp(-d/length)) of the observed cells, no nugget.

    Sill and length [cells] are the least-squares fit to the mean squared half-differences of at most 500 observed
    cells, in 15 even bins of distance up to a third of the diagonal.

    Args:
        space: the grid (y, x).
        field: an anomaly, (*space.shape).
        seen: which cells are observed, the same shape.
        rng: picks the cells.

    Raises:
        DataError: fewer than three observed cells.

    Reference: Chilès & Delfiner (2012), Geostatistics: modeling spatial uncertainty, Wiley, section 2.6.
    """
    cells = space.flat(seen).nonzero()[:, 0]
    if len(cells) < 3:
        raise DataError(f"only {len(cells)} cells are observed; a variogram needs at least three.")
    points = positions(space)
    picked = cells if len(cells) <= SAMPLE else cells[rng.permutation(len(cells))[:SAMPLE]]
    sill, length = fitted(points[picked], space.flat(field)[picked].double())
    return GaussianProcess(space, points, Matern([length, length], amplitude=sill**0.5, nu=0.5))


def positions(space: Space) -> Tensor:
    """Row and column of each cell, (size, 2)."""
    axes = [torch.arange(n, dtype=torch.float64) for n in space.shape]
    return torch.cartesian_prod(*axes).reshape(space.size, -1)


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
    (sill, length), _ = curve_fit(
        lambda d, sill, length: sill * (1 - np.exp(-d / length)),
        lags,
        found,
        p0=(variance, reach / 3),
        bounds=((1e-3 * variance, 1e-2), (1e3 * variance, 1e3 * reach)),
    )
    return float(sill), float(length)
