"""The four-branch series system: a height that is exceeded in four places, two pairs of them alike."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space


class FourBranch(TorchOperator):
    """Height of a series system of two standard normal numbers, (*batch, 2) → (*batch,); it fails above zero.

    Two branches are curved, 3 + (x - y)² / 10 ∓ (x + y) / √2, two are straight, ±(x - y) + gap / √2; the height is
    minus the least of them. With the usual gap of 7, P(height > 0) = 2.22e-3 under standard normal numbers.

    Args:
        gap: distance of the straight branches from the origin, times two.

    Reference: Schueremans & Van Gemert (2005), Benefit of splines and neural networks in simulation based structural
    reliability analysis, Structural Safety 27, 246.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Schueremans & Van Gemert (2005), Benefit of splines and neural networks in simulation based structural "
        "reliability analysis, Structural Safety 27, 246.",
    )

    def __init__(self, gap: float = 7.0) -> None:
        super().__init__()
        self.gap = gap
        self.domain = Space("load", {"axis": ["x", "y"]})
        self.codomain = Space("height")

    def forward(self, m: Tensor) -> Tensor:
        """Minus the least branch."""
        return -self.branches(m).amin(-1)

    def branches(self, m: Tensor) -> Tensor:
        """The four branches, (*batch, 4); one below zero is a failure."""
        x, y = m.unbind(-1)
        curved = 3 + 0.1 * (x - y).square()
        along, across, gap = (x + y) / sqrt(2), x - y, self.gap / sqrt(2)
        return torch.stack([curved - along, curved + along, across + gap, gap - across], -1)

    @staticmethod
    def example() -> FourBranch:
        """The usual one."""
        return FourBranch()
