"""Points of a Space to try things at, and comparisons that know the scale of what they compare."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular, Classes, Interval, Positive

FALSE_ALARM = 1e-3
"""Share of right components that one statistical check rejects."""


def points(space: Space, n: int, rng: Rng) -> Tensor:
    """``n`` points well inside the support of ``space``, float64 (n, *space.shape).

    Raises:
        UnanswerableError: classes, between which nothing can be differentiated.
    """
    shape, support = (n, *space.shape), space.support
    if isinstance(support, Classes):
        raise UnanswerableError(f"{space.name} takes classes; give the point to check at.")
    if isinstance(support, Positive):
        return (0.3 * rng.normal(shape)).exp()
    if isinstance(support, Interval):
        return support.low + (support.high - support.low) * (0.2 + 0.6 * rng.uniform(shape))
    if isinstance(support, Circular):
        return support.period * rng.uniform(shape)
    return rng.normal(shape)


def scale(x: Tensor) -> float:
    """Root mean square, 1 for what is zero or empty."""
    found = float(x.double().square().mean().sqrt()) if x.numel() else 0.0
    return found if found > 0 else 1.0


def dot(a: Tensor, b: Tensor) -> float:
    """Σ a b in float64."""
    return float((a.double() * b.double()).sum())


def norm(a: Tensor) -> float:
    """sqrt(Σ a²) in float64."""
    return float(a.double().square().sum().sqrt())


def gap(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, as a share of the largest wanted value (of 1 where that is zero)."""
    if found.shape != wanted.shape:
        raise AssertionError(f"shape {tuple(found.shape)} where {tuple(wanted.shape)} is due.")
    if not found.numel():
        return 0.0
    largest = float(wanted.double().abs().max())
    return float((found.double() - wanted.double()).abs().max()) / (largest if largest > 0 else 1.0)


def critical(tests: int) -> float:
    """The |z| that the largest of ``tests`` standard normal scores exceeds with probability :data:`FALSE_ALARM`."""
    tail = torch.tensor(1 - FALSE_ALARM / (2 * max(tests, 1)), dtype=torch.float64)
    return float(torch.special.ndtri(tail))


def largest_z(values: Tensor, wanted: Tensor) -> tuple[float, int]:
    """The largest |z| of the column means of independent rows (n, k) against ``wanted`` (k,), and its column."""
    error = values.std(0) / sqrt(len(values))
    z = (values.mean(0) - wanted).abs() / error.clamp_min(1e-300)
    return float(z.max()), int(z.argmax())
