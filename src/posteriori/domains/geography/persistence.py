"""Forecasts that cost nothing: the climate, and today's field kept or damped, each dressed with its errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance

FLOOR = 1e-6
"""Least variance, as a share of the mean variance of what came."""


@dataclass(frozen=True, eq=False)
class Persistence:
    """N(bias + factor · field, variance), cell by cell.

    Args:
        factor, bias: (cell,).
        covariance: variances of the errors about the bias.
    """

    factor: Tensor
    bias: Tensor
    covariance: DiagonalCovariance

    def mean(self, fields: Tensor) -> Tensor:
        """What is expected one lead after ``fields`` (n, cell)."""
        return self.bias + self.factor * fields


def kept(now: Tensor, then: Tensor) -> Persistence:
    """Today's field again; bias and variance are those of the pairs (n, cell) that it is dressed with."""
    return _dressed(torch.ones_like(now[0]), now, then)


def damped(now: Tensor, then: Tensor) -> Persistence:
    """Each cell's value by its own autocorrelation: the least-squares factor of ``then`` on ``now``."""
    return _dressed((now * then).sum(0) / now.square().sum(0).clamp_min(1e-300), now, then)


def climate(now: Tensor, then: Tensor) -> Persistence:
    """The mean of what came, whatever today's field."""
    return _dressed(torch.zeros_like(now[0]), now, then)


def _dressed(factor: Tensor, now: Tensor, then: Tensor) -> Persistence:
    error = then - factor * now
    floor = FLOOR * then.var() + 1e-300
    return Persistence(factor, error.mean(0), DiagonalCovariance(error.var(0, correction=0) + floor))
