"""Fréchet distance between two sets of features, and its limit for many fields.

Features (n, feature) come from ``texture`` and ``located``. The distance is biased upwards by about c / n; its limit is
extrapolated, and read beside its floor, the distance between two sets of real fields.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.estimate import finite
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng

SIZES = 6
REPEATS = 8
FEWEST = 30
"""Fields of the smallest subsample; twice as many are needed to extrapolate."""


@dataclass(frozen=True)
class Limit:
    """The distance of ``n`` fields against ``n``, ``at_n``, and for infinitely many, ``value`` (line in 1 / n).

    ``standard_error`` is that of the line through the subsamples; it leaves out what all of them share.
    """

    at_n: float
    n: int
    value: float
    standard_error: float


def frechet(features: Tensor, reference: Tensor) -> float:
    """|Δmean|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½), features standardised by the reference; no unit.

    Reference: Heusel et al. (2017), GANs trained by a two time-scale update rule; Dowson & Landau (1982).

    Raises:
        DataError: fewer than two fields, or a feature that does not vary over the reference.
    """
    a, b = standardised(features, reference)
    return _distance(a, b)


def frechet_limit(features: Tensor, reference: Tensor, rng: Rng) -> Limit:
    """The distance at the smaller of the two sizes, and extrapolated to infinitely many fields.

    Reference: Chong & Forsyth (2020), effectively unbiased FID and Inception score and where to find them.

    Raises:
        DataError: fewer than 60 fields.
    """
    a, b = standardised(features, reference)
    n = min(len(a), len(b))
    if n < 2 * FEWEST:
        raise DataError(f"{n} fields are too few to extrapolate a distance; give at least {2 * FEWEST}.")
    inverse = torch.linspace(1 / n, 1 / max(FEWEST, n // 4), SIZES, dtype=torch.float64)
    points = []
    for size in (1 / inverse).round().long().tolist():
        for repeat in range(1 if size == n == len(a) == len(b) else REPEATS):
            drawn = rng.child(size, repeat)
            one, other = (part[drawn.permutation(len(part))[:size]] for part in (a, b))
            points.append((1 / size, _distance(one, other)))
    x, y = torch.tensor(points, dtype=torch.float64).T
    design = torch.stack([torch.ones_like(x), x], 1)
    weight = 1 / x  # the scatter of a distance falls with the number of fields
    normal = torch.linalg.inv(design.mT @ (design * weight[:, None]))
    line = normal @ design.mT @ (y * weight)
    left = (((y - design @ line).square() * weight).sum() / (len(x) - 2)).item()
    at_n = y[x == x.min()].mean().item()
    return Limit(at_n, n, line[0].item(), (left * normal[0, 0].item()) ** 0.5)


def standardised(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in units of the reference's mean and standard deviation, float64."""
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise ShapeError(f"features {tuple(features.shape)} and {tuple(reference.shape)} are not (n, feature) alike.")
    a, b = finite(features, "features"), finite(reference, "reference features")
    if min(len(a), len(b)) < 2:
        raise DataError("a Fréchet distance needs at least two fields on each side.")
    std, mean = torch.std_mean(b, 0)
    if (std <= 0).any():
        raise DataError(f"feature {int((std <= 0).nonzero()[0])} does not vary over the reference; leave it out.")
    return (a - mean) / std, (b - mean) / std


def _distance(a: Tensor, b: Tensor) -> float:
    ca, cb = a.T.cov(), b.T.cov()
    size, vectors = torch.linalg.eigh(ca)
    root = (vectors * size.clamp(min=0).sqrt()) @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ cb @ root).clamp(min=0).sqrt().sum()
    moved = (a.mean(0) - b.mean(0)).square().sum()
    return (moved + ca.trace() + cb.trace() - 2 * cross).clamp(min=0).item()
