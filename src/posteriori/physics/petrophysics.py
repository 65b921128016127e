"""What velocity tells of density: Gardner's and Nafe & Drake's curves, and how far rocks stray from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core import units
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.core.support import Positive

GARDNER = (310.0, 0.25)
"""ρ = 310 v^0.25 in kg/m³ and m/s: Gardner, Gardner & Gregory (1974), Geophysics 39, 770."""
NAFE_DRAKE = (1.6612, -0.4721, 0.0671, -0.0043, 0.000106)
"""ρ [g/cm³] = Σ c_i v^i, i = 1 … 5, v in km/s, 1.5 to 8.5: Brocher (2005), Bull. Seism. Soc. Am. 95, 2081, eq. 1."""


class DensityOfVelocity(TorchOperator, ABC):
    """Density [kg/m³] of each cell from its P velocity, in any unit of velocity.

    Args:
        domain: velocities, on any grid.
    """

    def __init__(self, domain: Space) -> None:
        super().__init__()
        self.per_unit = units.factor(domain.unit, "m/s")
        self.domain = domain
        self.codomain = Space("density", domain.coords, "kg/m^3", Positive(), domain.mask, domain.extra)

    @abstractmethod
    def density(self, v: Tensor) -> Tensor:
        """kg/m³ of m/s."""

    def forward(self, m: Tensor) -> Tensor:
        """The densities."""
        return self.density(m * self.per_unit)

    def slope(self, m: Tensor) -> Tensor:
        """dρ/dv in each cell, kg/m³ per unit of velocity."""
        return self.jvp(m, torch.ones_like(m))


class Gardner(DensityOfVelocity):
    """ρ = 310 v^0.25: brine-saturated sediments, but evaporites and coal.

    Raises:
        DataError: when it is called, a velocity below zero, of which the curve knows nothing.

    Reference: Gardner, Gardner & Gregory (1974), Formation velocity and density, Geophysics 39, 770.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Gardner, Gardner & Gregory (1974), Formation velocity and density, Geophysics 39, 770.",
    )

    def density(self, v: Tensor) -> Tensor:
        if bool((v < 0).any()):
            raise DataError(
                f"a velocity of {float(v.min()):.4g} m/s is negative ({int((v < 0).sum())} such cells): mend it, or "
                "bound the search from below."
            )
        return GARDNER[0] * v ** GARDNER[1]

    @staticmethod
    def example() -> Gardner:
        """Two by three cells, about 1 km/s."""
        return Gardner(Space("velocity", {"z": 2, "x": 3}, "km/s", Positive()))


class NafeDrake(DensityOfVelocity):
    """Brocher's polynomial through the Nafe-Drake curve: crustal rocks between 1.5 and 8.5 km/s.

    Reference: Brocher (2005), Empirical relations between elastic wavespeeds and density in the Earth's crust, Bull.
    Seism. Soc. Am. 95, 2081.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Brocher (2005), Empirical relations between elastic wavespeeds and density in the Earth's crust, Bull. Seism. "
        "Soc. Am. 95, 2081.",
    )

    def density(self, v: Tensor) -> Tensor:
        km = v / 1000.0
        total = torch.zeros_like(v)
        for c in reversed(NAFE_DRAKE):
            total = (total + c) * km
        return 1000.0 * total

    @staticmethod
    def example() -> NafeDrake:
        """Two by three cells, about 1 km/s."""
        return NafeDrake(Space("velocity", {"z": 2, "x": 3}, "km/s", Positive()))


class Departure(TorchOperator):
    """How far the density of each cell lies from what its velocity tells, ρ - ρ(v) [kg/m³].

    Data of zero with the rocks' scatter as their standard deviation make it a link in an inversion of any method:
    ``Inverse(Stack(seismic=…, gravity=…, link=Departure(space, Gardner)), …)``.

    Args:
        domain: a joined Space with the parts "velocity" and "density" [kg/m³] on one grid.
        law: the class of the curve.

    Raises:
        ShapeError: parts that are missing, or lie on two grids.
    """

    def __init__(self, domain: Space, law: type[DensityOfVelocity]) -> None:
        super().__init__()
        parts = {part.name: part for part in domain.parts}
        if not {"velocity", "density"} <= set(parts) or not parts["velocity"].same(parts["density"]):
            raise ShapeError(f"{domain} needs the parts 'velocity' and 'density' on one grid.")
        self.domain = domain
        self.law = law(parts["velocity"])
        self.per_unit = units.factor(parts["density"].unit, "kg/m^3")
        self.codomain = Space("departure", self.law.codomain.coords, "kg/m^3")

    def forward(self, m: Tensor) -> Tensor:
        """ρ - ρ(v)."""
        pieces = self.domain.split(m)
        predicted: Tensor = self.law(pieces["velocity"])
        return pieces["density"] * self.per_unit - predicted

    @staticmethod
    def example() -> Departure:
        """Four cells; Nafe & Drake's polynomial takes any number."""
        grid = {"z": 2, "x": 2}
        space = Space.of(velocity=Space("v", grid, "km/s"), density=Space("rho", grid, "kg/m^3"))
        return Departure(space, NafeDrake)
