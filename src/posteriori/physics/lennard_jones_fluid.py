"""A Lennard-Jones fluid in a periodic box, with the corrections for what the cut leaves out."""

from __future__ import annotations

from math import pi
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.compiled import CompiledEnergy, Floats, energy_jit
from posteriori.physics.pair_potential import positions


class LennardJonesFluid(TorchOperator):
    """U = Σ over pairs 4 ((1/d)¹² - (1/d)⁶) - u(cut) for d < cut, (*batch, particle, axis) → (*batch,).

    Reduced units: lengths in σ, energies in ε, temperatures in ε / k. d is the distance to the nearest image in a cube;
    coordinates may lie in any image. The pair law is cut and, unless ``shifted`` is false, shifted to zero there; what
    lies beyond the cut of a uniform fluid is added by :meth:`tail_energy` and :meth:`tail_pressure`.

    Args:
        particles: in the box.
        density: particles / σ³; the box has side (particles / density)^⅓.
        cut: where the pair law ends [σ]; at most half the box.
        shifted: whether the law is zero at the cut.

    Raises:
        OptionError: a density that is not positive, or a cut beyond half the box.

    Reference: Allen & Tildesley (2017), Computer Simulation of Liquids, Oxford, sections 1.6 and 2.8.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Allen & Tildesley (2017), Computer Simulation of Liquids, 2nd edition, Oxford University Press.",
    )

    def __init__(self, particles: int, density: float, cut: float = 2.5, shifted: bool = True) -> None:
        super().__init__()
        self.domain = positions(particles, 3)
        if not 0 < density < np.inf:
            raise OptionError(f"density={density:g} is none; give particles / σ³, such as 0.8.")
        self.box = (particles / density) ** (1 / 3)
        if not 0 < cut <= self.box / 2 * (1 + 1e-12):
            raise OptionError(
                f"cut={cut:g} σ in a box of {self.box:.4g} σ: nearest images need a cut of at most half the box; take "
                "more particles or a shorter cut."
            )
        self.codomain = Space("energy")
        self.particles, self.density, self.cut, self.shifted = particles, density, cut, shifted
        self.register_buffer("pairs", torch.triu_indices(particles, particles, 1))
        self.pairs: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """U of each configuration."""
        squared = self.squared_distances(m)
        six = squared.pow(-3)
        law = 4 * six * (six - 1) - (self._at_cut() if self.shifted else 0.0)
        return torch.where(squared < self.cut**2, law, 0.0).sum(-1)

    def virial(self, m: Tensor) -> Tensor:
        """W = -Σ d u'(d) of each configuration, (*batch,): P = ρ T + ⟨W⟩ / 3V."""
        squared = self.squared_distances(m)
        six = squared.pow(-3)
        return torch.where(squared < self.cut**2, 24 * six * (2 * six - 1), 0.0).sum(-1)

    def squared_distances(self, m: Tensor) -> Tensor:
        """Of every pair, to the nearest image, (*batch, pair)."""
        gap = m[..., self.pairs[0], :] - m[..., self.pairs[1], :]
        return (gap - self.box * torch.round(gap / self.box)).square().sum(-1)

    def tail_energy(self) -> float:
        """Energy of each particle from beyond the cut, where g(r) = 1; what the shift took off is given back too."""
        third = self.cut**-3
        tail = 8 / 3 * pi * self.density * (third**3 / 3 - third)
        within = 2 / 3 * pi * self.density * self.cut**3
        return tail + (within * self._at_cut() if self.shifted else 0.0)

    def tail_pressure(self) -> float:
        """Pressure from beyond the cut, where g(r) = 1."""
        third = self.cut**-3
        return 16 / 3 * pi * self.density**2 * (2 / 3 * third**3 - third)

    def lattice(self) -> Tensor:
        """Particles on a cubic lattice (particle, axis): a start without overlaps."""
        side = int(np.ceil(self.particles ** (1 / 3) - 1e-9))
        steps = torch.arange(side, dtype=torch.float64) * self.box / side
        return torch.cartesian_prod(steps, steps, steps)[: self.particles]

    def compiled(self) -> CompiledEnergy:
        """The same energy in compiled code."""
        shift = self._at_cut() if self.shifted else 0.0
        return CompiledEnergy(_fluid, np.array([self.box, self.cut**2, shift]), 3)

    def _at_cut(self) -> float:
        six = self.cut**-6
        return 4 * six * (six - 1)

    @staticmethod
    def example() -> LennardJonesFluid:
        """Three particles in a box of six σ."""
        return LennardJonesFluid(3, 3 / 216)


@energy_jit
def _fluid(x: Floats, parameters: Floats, g: Floats) -> float:
    """The parameters are the side of the box, the squared cut, and the shift."""
    box, cut, shift = parameters[0], parameters[1], parameters[2]
    inverse_box, n = 1.0 / box, x.size // 3
    energy = 0.0
    for i in range(x.size):
        g[i] = 0.0
    for i in range(n):
        for j in range(i + 1, n):
            a, b, c = x[3 * i] - x[3 * j], x[3 * i + 1] - x[3 * j + 1], x[3 * i + 2] - x[3 * j + 2]
            a -= box * np.rint(a * inverse_box)
            b -= box * np.rint(b * inverse_box)
            c -= box * np.rint(c * inverse_box)
            squared = a * a + b * b + c * c
            if squared < cut:
                inverse = 1.0 / squared
                six = inverse * inverse * inverse
                energy += 4.0 * six * (six - 1.0) - shift
                slope = -24.0 * six * (2.0 * six - 1.0) * inverse
                g[3 * i] += slope * a
                g[3 * i + 1] += slope * b
                g[3 * i + 2] += slope * c
                g[3 * j] -= slope * a
                g[3 * j + 1] -= slope * b
                g[3 * j + 2] -= slope * c
    return energy
