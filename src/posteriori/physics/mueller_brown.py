"""The Müller-Brown surface: three basins joined by crooked valleys, on which every method for rare events is tried."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space

DEPTH = (-200.0, -100.0, -170.0, 15.0)
XX = (-1.0, -1.0, -6.5, 0.7)
XY = (0.0, 0.0, 11.0, 0.6)
YY = (-10.0, -10.0, -6.5, 0.7)
X = (1.0, 0.0, -0.5, -1.0)
Y = (0.0, 0.5, 1.5, 1.0)


class MuellerBrown(TorchOperator):
    """U(x, y) = Σ A exp(a (x - X)² + b (x - X)(y - Y) + c (y - Y)²), four terms, (*batch, 2) → (*batch,).

    Its customary temperatures are kT = 10 and 15 in the same unit.

    Reference: Müller & Brown (1979), Location of saddle points and minimum energy paths, Theor. Chim. Acta 53, 75.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Müller & Brown (1979), Location of saddle points and minimum energy paths, Theor. Chim. Acta 53, 75.",
    )

    def __init__(self) -> None:
        super().__init__()
        self.domain = Space("position", {"axis": ["x", "y"]})
        self.codomain = Space("energy")
        self.register_buffer("terms", torch.tensor([DEPTH, XX, XY, YY, X, Y], dtype=torch.float64))
        self.terms: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """U of each position."""
        depth, xx, xy, yy, x, y = self.terms.to(m)
        dx, dy = m[..., :1] - x, m[..., 1:] - y
        return (depth * (xx * dx.square() + xy * dx * dy + yy * dy.square()).exp()).sum(-1)

    @staticmethod
    def example() -> MuellerBrown:
        """The one there is."""
        return MuellerBrown()
