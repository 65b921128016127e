"""Moments and evidence of small targets by brute force on a grid: an oracle that shares nothing with the methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from posteriori.core.target import Target


@dataclass(frozen=True)
class Moments:
    """Of exp(-energy): log of its integral, mean (n,) and covariance (n, n)."""

    log_evidence: Tensor
    mean: Tensor
    covariance: Tensor


def _quadrature(target: Target, low: float, high: float, points: int) -> Moments:
    """The trapezoid rule on a cube, exponentially accurate for a smooth density that vanishes at its faces."""
    n = target.space.size
    axis = torch.linspace(low, high, points, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(*[axis] * n, indexing="ij"), -1).reshape(-1, n)
    with torch.no_grad():
        log_p = -target.energy(target.space.unflat(x))
    log_evidence = torch.logsumexp(log_p, 0) + n * torch.log(axis[1] - axis[0])
    w = torch.softmax(log_p, 0)
    mean = w @ x
    centred = x - mean
    return Moments(log_evidence, mean, (w[:, None] * centred).mT @ centred)


@pytest.fixture(scope="session")
def quadrature() -> Callable[[Target, float, float, int], Moments]:
    """``quadrature(target, low, high, points)``."""
    return _quadrature
