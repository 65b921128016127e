"""The tilted double well: one slow coordinate, one fast; every integral is a sum of one-dimensional ones."""

from __future__ import annotations

from torch import Tensor

from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space


class DoubleWell(TorchOperator):
    """U(x, y) = x⁴/4 - barrier·x²/2 + tilt·x + y²/2 in units of kT, (*batch, 2) → (*batch,).

    With the defaults, U = x⁴/4 - 3x² + x + y²/2, the left well (x < 0) is lower by 4.777 kT of free energy.

    Args:
        barrier: curvature of the hump at x = 0; its height is about barrier²/4.
        tilt: slope that makes the wells unequal.
    """

    def __init__(self, barrier: float = 6.0, tilt: float = 1.0) -> None:
        super().__init__()
        self.barrier, self.tilt = barrier, tilt
        self.domain = Space("position", {"axis": ["x", "y"]})
        self.codomain = Space("energy")

    def forward(self, m: Tensor) -> Tensor:
        """U of each position."""
        x, y = m.unbind(-1)
        return x**4 / 4 - self.barrier * x.square() / 2 + self.tilt * x + y.square() / 2

    @staticmethod
    def example() -> DoubleWell:
        """The one with a barrier of nine kT."""
        return DoubleWell()
