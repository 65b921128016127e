"""What a Hamiltonian sampler learns while it warms up: step sizes by dual averaging, and the shape of the posterior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GAMMA, DELAY, DECAY = 0.05, 10.0, 0.75
SHRINK = 5.0
"""Draws that the earlier scale counts for against those of a window."""


class StepSize:
    """Dual averaging of log step sizes, (*problem,), towards an acceptance rate.

    Reference: Hoffman & Gelman (2014), The No-U-Turn sampler, JMLR 15, section 3.2.
    """

    def __init__(self, first: Tensor, accept: float) -> None:
        self.accept = accept
        self.restart(first)

    def restart(self, first: Tensor) -> None:
        """Forget all, and begin at ``first``."""
        self.value = first
        self._shrunk_to = first.log()
        self._error = torch.zeros_like(first)
        self._average = torch.zeros_like(first)
        self._count = 0

    def update(self, accepted: Tensor) -> None:
        """Learn from the mean acceptance probability of one transition."""
        self._count += 1
        t = self._count
        self._error += ((self.accept - accepted) - self._error) / (t + DELAY)
        log_step = self._shrunk_to - t**0.5 / GAMMA * self._error
        share = t**-DECAY
        self._average = share * log_step + (1 - share) * self._average
        self.value = log_step.exp()

    def settle(self) -> None:
        """Take the averaged step size."""
        if self._count:
            self.value = self._average.exp()


@dataclass(frozen=True)
class Diagonal:
    """Independent coordinates, each with its ``scale`` (*problem, n)."""

    scale: Tensor

    def stretched(self, steps: Tensor) -> Diagonal:
        """The same times ``steps`` (*problem,)."""
        return Diagonal(self.scale * steps[..., None])

    def push(self, p: Tensor) -> Tensor:
        """L p for (chain, *problem, n)."""
        return p * self.scale

    def pull(self, g: Tensor) -> Tensor:
        """Lᵀ g."""
        return g * self.scale

    def learnt(self, draws: Tensor) -> Diagonal:
        """The scales of ``draws`` (draw, *problem, n), leaning a little on those so far."""
        n = draws.shape[0]
        variance = (n * draws.var(0) + SHRINK * 1e-3 * self.scale.square()) / (n + SHRINK)
        return Diagonal(variance.sqrt())


@dataclass(frozen=True)
class Dense:
    """Correlated coordinates: ``root`` L (*problem, n, n) of their covariance."""

    root: Tensor

    def stretched(self, steps: Tensor) -> Dense:
        """The same times ``steps`` (*problem,)."""
        return Dense(self.root * steps[..., None, None])

    def push(self, p: Tensor) -> Tensor:
        """L p for (chain, *problem, n)."""
        return torch.einsum("...ij,c...j->c...i", self.root, p)

    def pull(self, g: Tensor) -> Tensor:
        """Lᵀ g."""
        return torch.einsum("...ji,c...j->c...i", self.root, g)

    def learnt(self, draws: Tensor) -> Dense:
        """The covariance of ``draws`` (draw, *problem, n), leaning a little on its diagonal."""
        n = draws.shape[0]
        centred = draws - draws.mean(0)
        covariance = torch.einsum("d...i,d...j->...ij", centred, centred) / (n - 1)
        diagonal = torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1) + 1e-3 * self.root.square().sum(-1))
        mixed = (n * covariance + SHRINK * diagonal) / (n + SHRINK)
        root, info = torch.linalg.cholesky_ex(mixed)
        return Dense(torch.where((info == 0)[..., None, None], root, self.root))


Metric = Diagonal | Dense


def windows(warmup: int) -> tuple[int, list[int]]:
    """First step whose draws count, and the steps after which the shape is learnt anew: each window doubles.

    The first 15 % and the last 20 % of the warm-up only adapt the step size.
    """
    start, end = int(0.15 * warmup), warmup - max(1, int(0.2 * warmup))
    ends, size, at = [], max(10, warmup // 20), start
    while at < end:
        at = end if at + 3 * size > end else at + size
        ends.append(at)
        size *= 2
    return start, ends
