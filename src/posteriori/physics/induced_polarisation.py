"""Induced polarisation: apparent chargeability of a section of chargeable rock."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.core.support import Real
from posteriori.physics.resistivity import Resistivity


class InducedPolarisation(TorchOperator):
    """Apparent chargeability η_a = Σ_c (∂ ln ρ_a / ∂ ln ρ_c) η_c of chargeabilities η [V/V], (z, x).

    A chargeable cell acts as one of resistivity ρ / (1 - η); this is the first order in η of what that changes, by the
    sensitivities of the direct currents. A homogeneous η is its own apparent value.

    Args:
        direct: the layout and its mesh.
        resistivity: of the section, (z, x), in the unit of ``direct.domain``.

    Reference: Seigel (1959), Mathematical formulation and type curves for induced polarization, Geophysics 24, 547;
    Oldenburg & Li (1994), Inversion of induced polarization data, Geophysics 59, 1327.
    """

    linear = True
    references: ClassVar[tuple[str, ...]] = (
        "Seigel (1959), Mathematical formulation and type curves for induced polarization, Geophysics 24, 547.",
    )

    def __init__(self, direct: Resistivity, resistivity: Tensor) -> None:
        super().__init__()
        model = direct.domain.check(resistivity, "resistivity").double()
        self.domain = Space("chargeability", direct.domain.coords)
        self.codomain = replace(direct.codomain, name="apparent_chargeability", unit="1", support=Real())
        share = direct.sensitivity(model) * model / direct(model)[:, None, None]
        self.register_buffer("share", share.flatten(1))
        self.share: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """Apparent chargeabilities, (*batch, datum)."""
        return self.domain.flat(m) @ self.share.to(m.dtype).mT

    @staticmethod
    def example() -> InducedPolarisation:
        """Over a section that is more resistive at depth."""
        direct = Resistivity.example()
        depth = torch.from_numpy(direct.domain.labels("z"))
        return InducedPolarisation(direct, (10 + depth)[:, None].expand(direct.domain.shape))
