"""Free energies of several states with the covariance of their errors, and what correlation costs a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.weights import chain_ess

SHORTEST = 8
"""Rows of a chain from which its correlation is read; fewer count as independent."""


@dataclass(frozen=True)
class FreeEnergies:
    """f = -log ∫ exp(-u) of several states [kT], known up to one constant that they share.

    Attributes:
        values: (state,), float64.
        covariance: (state, state) of their errors; differences alone have meaning.
    """

    values: Tensor
    covariance: Tensor

    def difference(self, start: int, end: int) -> tuple[float, float]:
        """f[end] - f[start] and its standard error [kT]."""
        c = self.covariance
        variance = c[start, start] + c[end, end] - 2 * c[start, end]
        return float(self.values[end] - self.values[start]), float(variance.clamp_min(0.0).sqrt())

    def errors(self, reference: int = 0) -> Tensor:
        """Standard errors of f - f[reference], (state,)."""
        c = self.covariance
        return (c.diagonal() + c[reference, reference] - 2 * c[reference]).clamp_min(0.0).sqrt()


@dataclass(frozen=True)
class Series:
    """How rows are laid out: state after state, each chain after chain.

    Attributes:
        counts: rows of each state.
        chains: equal chains of each state.
        correlated: whether the rows of a chain depend on each other.
    """

    counts: tuple[int, ...]
    chains: tuple[int, ...]
    correlated: bool = True

    @staticmethod
    def of(counts: Sequence[int], chains: int | Sequence[int] = 1, correlated: bool = True) -> Series:
        """The same number of ``chains`` for every state, or one for each.

        Raises:
            DataError: counts below zero, or rows that make no equal chains.
        """
        own = (chains,) * len(counts) if isinstance(chains, int) else tuple(chains)
        if len(own) != len(counts) or any(n < 0 for n in counts):
            raise DataError(f"counts {list(counts)} and chains {list(own)}: one of each for every state, none below 0.")
        for n, c in zip(counts, own, strict=True):
            if c < 1 or n % c:
                raise DataError(f"{n} rows of a state cannot come from {c} equal chains.")
        return Series(tuple(int(n) for n in counts), own, correlated)

    def parts(self, values: Tensor) -> list[Tensor]:
        """Values (row, …) of each state that has rows, as (draw, chain, …)."""
        cut = torch.split(values, list(self.counts))
        return [
            part.reshape(c, -1, *values.shape[1:]).transpose(0, 1)
            for part, c in zip(cut, self.chains, strict=True)
            if len(part)
        ]

    def covariance_of_sum(self, influence: Tensor) -> Tensor:
        """Covariance (j, j) of Σ over rows of ``influence`` (row, j), whose mean in each state is taken off first."""
        total = torch.zeros(influence.shape[1], influence.shape[1], dtype=torch.float64)
        for part in self.parts(influence):
            rows = part.flatten(0, 1)
            centred = rows - rows.mean(0)
            n = len(rows)
            spread = centred.mT @ centred * n / max(n - 1, 1)
            root = inefficiency(part).sqrt() if self.correlated else torch.ones(part.shape[2], dtype=torch.float64)
            total += root[:, None] * spread * root
        return total

    def variance_of_sum(self, influence: Tensor) -> Tensor:
        """The diagonal of :meth:`covariance_of_sum`, (j,), without the rest."""
        total = torch.zeros(influence.shape[1], dtype=torch.float64)
        for part in self.parts(influence):
            n = part.shape[0] * part.shape[1]
            spread = (part - part.mean((0, 1))).square().sum((0, 1)) * n / max(n - 1, 1)
            total += spread * (inefficiency(part) if self.correlated else 1.0)
        return total


def inefficiency(series: Tensor) -> Tensor:
    """How many rows make one independent one: rows / effective rows, at least 1, of chains (draw, chain, *rest)."""
    n, chains = series.shape[:2]
    if n < SHORTEST:
        return torch.ones(series.shape[2:], dtype=torch.float64)
    varies = series.amax((0, 1)) > series.amin((0, 1))
    found = n * chains / chain_ess(series)
    return torch.where(varies & torch.isfinite(found), found.clamp_min(1.0), 1.0)
