"""Energies of particles that act on each other in pairs: DW4, LJ13 and their like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.compiled import CompiledEnergy, Function
from posteriori.physics.pair_kernels import DOUBLE_WELL_PAIRS, LENNARD_JONES

AXES = ("x", "y", "z")


def positions(particles: int, dimensions: int, unit: str = "1") -> Space:
    """The Space of the places of ``particles`` in the plane or in space: dims ``particle`` and ``axis``."""
    if particles < 2 or not 1 <= dimensions <= 3:
        raise OptionError(f"{particles} particles in {dimensions} dimensions: at least two, in one to three.")
    return Space("position", {"particle": particles, "axis": list(AXES[:dimensions])}, unit)


class PairPotential(TorchOperator, ABC):
    """U = Σ over unordered pairs u(d) + ½ trap Σ |x - centre of mass|², (*batch, particle, axis) → (*batch,).

    It does not change with the centre of mass, so exp(-U) is a density only of centred positions: sample
    ``potential @ Centred(potential.domain)``.

    Args:
        particles, dimensions: how many, and in how many dimensions.
        trap: strength of the spring to the centre of mass, 0 for none.
    """

    def __init__(self, particles: int, dimensions: int, trap: float = 0.0) -> None:
        super().__init__()
        self.domain = positions(particles, dimensions)
        self.codomain = Space("energy")
        self.trap = trap
        self.register_buffer("pairs", torch.triu_indices(particles, particles, 1))
        self.pairs: Tensor

    @abstractmethod
    def pair(self, squared: Tensor) -> Tensor:
        """u of squared distances, same shape."""

    def forward(self, m: Tensor) -> Tensor:
        """U of each configuration."""
        energy = self.pair((m[..., self.pairs[0], :] - m[..., self.pairs[1], :]).square().sum(-1)).sum(-1)
        if self.trap:
            energy = energy + self.trap * (m - m.mean(-2, keepdim=True)).square().sum((-2, -1)) / 2
        return energy

    def in_code(self, functions: Mapping[int, Function], *law: float) -> CompiledEnergy:
        """The compiled form whose function is given for each number of dimensions; it reads the trap, then ``law``."""
        axes = self.domain.shape[1]
        return CompiledEnergy(functions[axes], np.array([self.trap, *law], dtype=np.float64), axes)


class DoubleWellPairs(PairPotential):
    """DW4: four particles in the plane, u = 0.9 r⁴ - 4 r², r = d - 4, in units of kT.

    Reference: Köhler, Klein & Noé (2020), Equivariant flows, ICML.
    """

    references: ClassVar[tuple[str, ...]] = ("Köhler, Klein & Noé (2020), Equivariant flows, ICML.",)

    def __init__(self, particles: int = 4, dimensions: int = 2) -> None:
        super().__init__(particles, dimensions)

    def pair(self, squared: Tensor) -> Tensor:
        r = squared.sqrt() - 4
        return 0.9 * r**4 - 4 * r.square()

    def compiled(self) -> CompiledEnergy:
        """The same energy in compiled code."""
        return self.in_code(DOUBLE_WELL_PAIRS)

    @staticmethod
    def example() -> DoubleWellPairs:
        """DW4."""
        return DoubleWellPairs()


class LennardJones(PairPotential):
    """LJ13: u = 2 (d⁻¹² - 2 d⁻⁶) for each unordered pair, trap 1, in units of kT.

    The coefficient 2 is that of the public LJ13 sets: their virial is right with it alone.

    Reference: Köhler, Klein & Noé (2020), Equivariant flows, ICML.
    """

    references: ClassVar[tuple[str, ...]] = ("Köhler, Klein & Noé (2020), Equivariant flows, ICML.",)

    def __init__(self, particles: int = 13, dimensions: int = 3, depth: float = 2.0, trap: float = 1.0) -> None:
        super().__init__(particles, dimensions, trap)
        self.depth = depth

    def pair(self, squared: Tensor) -> Tensor:
        inverse = squared.pow(-3)
        return self.depth * (inverse.square() - 2 * inverse)

    def compiled(self) -> CompiledEnergy:
        """The same energy in compiled code."""
        return self.in_code(LENNARD_JONES, self.depth)

    @staticmethod
    def example() -> LennardJones:
        """Four particles in space."""
        return LennardJones(4)
