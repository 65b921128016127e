"""Neal's funnel: a scale that is itself unknown, from a wide mouth to a narrow neck."""

from __future__ import annotations

from math import log, pi
from typing import ClassVar

from torch import Tensor

from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space


class Funnel(TorchOperator):
    """x₀ ~ N(0, 9), the others N(0, exp(x₀)); U = -log density, normalised: log Z = 0; (*batch, d) → (*batch,).

    Args:
        dimensions: at least two; ten is usual.

    Reference: Neal (2003), Slice sampling, Ann. Statist. 31, 705.
    """

    references: ClassVar[tuple[str, ...]] = ("Neal (2003), Slice sampling, Ann. Statist. 31, 705.",)

    def __init__(self, dimensions: int = 10) -> None:
        super().__init__()
        self.domain = Space("position", {"axis": dimensions})
        self.codomain = Space("energy")

    def forward(self, m: Tensor) -> Tensor:
        """-log density of each position."""
        v, x = m[..., 0], m[..., 1:]
        n = x.shape[-1]
        neck = v.square() / 18 + log(3) + (n + 1) * log(2 * pi) / 2
        return neck + n * v / 2 + x.square().sum(-1) * (-v).exp() / 2

    @staticmethod
    def example() -> Funnel:
        """Four dimensions."""
        return Funnel(4)
