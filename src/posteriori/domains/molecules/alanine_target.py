"""A molecule in heat told by its internal coordinates: place and orientation integrated out, the Jacobian counted."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import Operator
from posteriori.core.target import Target
from posteriori.domains.molecules.alanine import GAS_CONSTANT
from posteriori.physics.internal_coordinates import InternalCoordinates


class InternalBoltzmann(Target):
    """exp(-U / RT) |d positions / d internal coordinates| over bonds, angles and torsions.

    Args:
        potential: U [kJ/mol] of positions [nm], unmoved by place and orientation.
        internal: how the coordinates make positions.
        temperature: [K].

    Raises:
        OptionError: a temperature that is not positive.
        ShapeError: another number of atoms.
    """

    def __init__(self, potential: Operator, internal: InternalCoordinates, temperature: float) -> None:
        super().__init__()
        if not temperature > 0:
            raise OptionError(f"temperature={temperature:g} K must be above zero.")
        if not potential.domain.same(internal.codomain):
            raise ShapeError(f"{potential} is no energy of the positions {internal.codomain}.")
        self.potential, self.internal, self.temperature = potential, internal, temperature
        self.space = internal.domain

    @property
    def beta(self) -> float:
        """1 / RT [mol/kJ]."""
        return 1 / (GAS_CONSTANT * self.temperature)

    def energy(self, x: Tensor) -> Tensor:
        """U / RT - log |Jacobian|, float64 (*batch,); infinite where bonds or angles leave their range."""
        bond, angle, _ = self.internal.split(x)
        inside = (bond > 0).all(-1) & ((angle > 0) & (angle < torch.pi)).all(-1)
        u = self.beta * self.potential(self.internal(x.double())) - self.internal.log_jacobian(x)
        return torch.where(inside & ~u.isnan(), u, torch.inf)
