"""Predictions dressed with the errors that they made elsewhere, by how far the next value is in time and space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import DataError

LEVELS = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
"""Of the quantiles that stand for an error's distribution."""
ENOUGH = 400
"""Errors that a stratum needs for a distribution of its own."""
PARTS = 3


@dataclass(frozen=True)
class Dressing:
    """Quantiles of error / scale in strata of two distances.

    Attributes:
        edges: borders of the strata in each distance, (2, parts - 1).
        table: quantiles at ``LEVELS``, (stratum, level).
    """

    edges: Tensor
    table: Tensor

    @staticmethod
    def learnt(errors: Tensor, scale: Tensor, distances: Tensor) -> Dressing:
        """From errors (truth less prediction) of shape (case,), their scale, and distances (2, case).

        A stratum with few cases takes the distribution of all.

        Raises:
            DataError: fewer than 50 cases.
        """
        if len(errors) < 50:
            raise DataError(f"{len(errors)} cells were left to learn the errors from; 50 are needed at least.")
        ranks = torch.arange(1, PARTS, dtype=torch.float64) / PARTS
        edges = torch.stack([_quantiles(d.double(), ranks) for d in distances])
        relative = errors / scale
        common = _quantiles(relative, LEVELS)
        stratum = _strata(edges, distances)
        rows = [relative[stratum == i] for i in range(PARTS**2)]
        table = torch.stack([_quantiles(row, LEVELS) if len(row) >= ENOUGH else common for row in rows])
        return Dressing(edges, table)

    def strata(self, distances: Tensor) -> Tensor:
        """The stratum of each case, int64 (case,), of distances (2, case)."""
        return _strata(self.edges, distances)

    def quantiles(self, mean: Tensor, scale: Tensor, distances: Tensor) -> Tensor:
        """The predicted law as equally likely values, (level, case)."""
        return mean + scale * self.table[self.strata(distances)].mT

    def interval(self, mean: Tensor, scale: Tensor, distances: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """The central interval at ``level``."""
        tails = torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64)
        low, high = self.turned(torch.special.ndtri(tails)[:, None].expand(-1, mean.numel()), distances)
        return mean + scale * low, mean + scale * high

    def turned(self, normal: Tensor, distances: Tensor) -> Tensor:
        """Standard normal numbers (draw, case) as errors over scale: the same rank in the learnt distribution."""
        rank = (torch.special.ndtr(normal) * len(LEVELS) - 0.5).clamp(0.0, len(LEVELS) - 1.0)
        below = rank.floor().long().clamp_max(len(LEVELS) - 2)
        part = rank - below
        stratum = self.strata(distances).expand_as(below)
        return self.table[stratum, below] * (1 - part) + self.table[stratum, below + 1] * part


def _strata(edges: Tensor, distances: Tensor) -> Tensor:
    time, space = (
        torch.searchsorted(e, d.double().contiguous(), right=True) for e, d in zip(edges, distances, strict=True)
    )
    return PARTS * time + space


def _quantiles(values: Tensor, levels: Tensor) -> Tensor:
    ranked = values.double().sort().values
    at = (levels * len(ranked) - 0.5).clamp(0.0, len(ranked) - 1.0)
    below = at.floor().long()
    return torch.lerp(ranked[below], ranked[(below + 1).clamp_max(len(ranked) - 1)], at - below)
