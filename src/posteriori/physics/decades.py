"""Quantities that vary by decades: the way to and from their common logarithm."""

from __future__ import annotations

from dataclasses import replace
from math import log

import torch
from torch import Tensor

from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.core.support import Positive, Real


class PowerOfTen(TorchOperator):
    """10^m, cell by cell: from log₁₀ of a positive quantity to the quantity itself.

    ``operator @ PowerOfTen(operator.domain)`` has log₁₀ of the unknown as its unknown, which any real number may be.

    Args:
        codomain: the positive quantity, e.g. resistivity [ohm m]; the domain is its logarithm, in its unit.
    """

    def __init__(self, codomain: Space) -> None:
        super().__init__()
        self.codomain, self.domain = codomain, logarithmic(codomain)

    def forward(self, m: Tensor) -> Tensor:
        """10^m."""
        return torch.exp(m * log(10))

    @staticmethod
    def example() -> PowerOfTen:
        """Three cells."""
        return PowerOfTen(Space("resistivity", {"z": 3}, "ohm m", Positive()))


class Log10(TorchOperator):
    """log₁₀ of a positive quantity; parts of a joined Space that may be negative are passed on as they are.

    ``Log10(operator.codomain) @ operator`` predicts logarithms, whose errors are alike where relative errors are.
    """

    def __init__(self, domain: Space) -> None:
        super().__init__()
        self.domain = domain
        parts = domain.parts or (domain,)
        taken = [isinstance(part.support, Positive) for part in parts]
        mapped = [logarithmic(part) if take else part for part, take in zip(parts, taken, strict=True)]
        self.codomain = Space.of(**{part.name: part for part in mapped}) if domain.parts else mapped[0]
        sizes = torch.tensor([part.size for part in parts])
        self.register_buffer("taken", torch.tensor(taken).repeat_interleave(sizes).reshape(domain.shape))
        self.taken: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """log₁₀ m where m is positive by nature, m elsewhere."""
        return torch.where(self.taken, torch.where(self.taken, m, 1.0).log10(), m)

    @staticmethod
    def example() -> Log10:
        """Three cells."""
        return Log10(Space("apparent_resistivity", {"datum": 3}, "ohm m", Positive()))


def logarithmic(space: Space) -> Space:
    """The Space of log₁₀ of what ``space`` holds, a pure number in its unit."""
    return replace(space, name=f"log10_{space.name}", unit="1", support=Real())
