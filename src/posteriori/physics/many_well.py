"""Many independent double wells: 2^(d/2) modes and an exact log Z."""

from __future__ import annotations

from math import log, pi

import numpy as np
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space


class ManyWell(TorchOperator):
    """U(x) = Σ over pairs (x₂ᵢ⁴ - 6 x₂ᵢ² - x₂ᵢ/2 + x₂ᵢ₊₁²/2) in units of kT, (*batch, d) → (*batch,).

    Args:
        dimensions: even; 32 has 65 536 modes.

    Raises:
        OptionError: an odd or too small number of dimensions.

    Reference: Noé, Olsson, Köhler & Wu (2019), Boltzmann generators, Science 365, eaaw1147; Midgley et al. (2023),
    Flow annealed importance sampling bootstrap, ICLR.
    """

    def __init__(self, dimensions: int = 32) -> None:
        if dimensions < 2 or dimensions % 2:
            raise OptionError(f"{dimensions} dimensions are no pairs; give an even number, such as 32.")
        super().__init__()
        self.domain = Space("position", {"axis": dimensions})
        self.codomain = Space("energy")

    def forward(self, m: Tensor) -> Tensor:
        """U of each position."""
        x, y = m[..., ::2], m[..., 1::2]
        return (x**4 - 6 * x.square() - x / 2 + y.square() / 2).sum(-1)

    @property
    def log_z(self) -> float:
        """The exact log ∫ exp(-U), by quadrature of one well."""
        x = np.linspace(-6, 6, 20001)
        well = np.exp(-(x**4 - 6 * x**2 - x / 2)).sum() * (x[1] - x[0])
        return self.domain.size / 2 * float(np.log(well) + log(2 * pi) / 2)

    @staticmethod
    def example() -> ManyWell:
        """Four dimensions, four modes."""
        return ManyWell(4)
