"""Losses with one number a row, as the training loop wants them."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Protocol

import torch
from torch import Tensor, nn

from posteriori.learn.network import Architecture, WithExcess

SMALLEST_LOG_VARIANCE = -14.0
"""Log-variances of a net are kept above this (a standard deviation of 1e-3 of the scale), where losses stay finite."""


class Loss(Protocol):
    """What training makes small; picklable where there are several processes."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """One number for each row of the batch, (b,)."""


@dataclass(frozen=True)
class SquaredError:
    """Mean over the outputs of (net(x) - y)², rows (x, y)."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,)."""
        x, y = rows
        return (net(x) - y).square().reshape(len(y), -1).mean(-1)


@dataclass(frozen=True)
class KnownVariance:
    """-log N(y; f(x), v) of members k that see the same rows with their own weights.

    Rows: x (b, f), y (b, k), v (b, k), weight (b, k); the net gives (k, b, 1). Where errors are very unequal the
    precise rows decide alone: :class:`CommonVariance` bounds their weight.
    """

    outputs = 1

    def net(self, architecture: Architecture, inputs: int) -> nn.Module:
        """One of the members, untrained."""
        return architecture(inputs, 1)

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """Sum over the members, (b,)."""
        x, y, v, weight = rows
        return (weight * gaussian_nll(y, net(x)[..., 0].mT, v)).sum(-1)


@dataclass(frozen=True)
class CommonVariance:
    """-log N(y; f(x), v + s) with one number s that each member learns for all rows: its own error.

    However precise a row is, it never counts more than 1/s. Rows as for :class:`KnownVariance`; the net gives
    (k, b, 2), the second being log s.
    """

    outputs = 2

    def net(self, architecture: Architecture, inputs: int) -> nn.Module:
        """One of the members, untrained."""
        return WithExcess(architecture(inputs, 1))

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """Sum over the members, (b,)."""
        return LearntVariance(0.0)(net, *rows)


@dataclass(frozen=True)
class LearntVariance:
    """-log N(y; f(x), v + s(x)) with both f and log s from the net, which gives (k, b, 2).

    Each row counts (v + s)^β times its likelihood, with no gradient through that weight: β = 0 is the likelihood,
    whose means can stay poor where s grew first; β = 1/2 mends that; β = 1 fits means as squared error does.

    Reference: Seitzer, Tavakoli, Antic & Martius (2022), On the pitfalls of heteroscedastic uncertainty estimation
    with probabilistic neural networks, arXiv:2203.09168.
    """

    beta: float = 0.5
    outputs = 2

    def net(self, architecture: Architecture, inputs: int) -> nn.Module:
        """One of the members, untrained."""
        return architecture(inputs, 2)

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """Sum over the members, (b,)."""
        x, y, v, weight = rows
        prediction = net(x).float()
        total = v + prediction[..., 1].clamp_min(SMALLEST_LOG_VARIANCE).exp().mT
        nll = gaussian_nll(y, prediction[..., 0].mT, total)
        return (weight * total.detach() ** self.beta * nll).sum(-1)


def gaussian_nll(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """-log N(y; mean, variance), element by element."""
    return 0.5 * ((y - mean).square() / variance + torch.log(variance) + log(2 * pi))
