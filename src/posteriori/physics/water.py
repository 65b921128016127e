"""A cluster of rigid water molecules in a trap: the TIP3P model."""

from __future__ import annotations

from math import cos, pi, sin
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.fixed_distances import FixedDistances
from posteriori.physics.pair_potential import positions

BOND = 0.09572
"""O-H [nm]."""
ANGLE = 104.52 * pi / 180
"""H-O-H."""
SIGMA, EPSILON = 0.315061, 0.6364
"""Lennard-Jones of oxygen [nm, kJ/mol]."""
CHARGE = 0.417
"""Of each hydrogen [e]; oxygen holds minus twice that."""
COULOMB = 138.935458
"""e² / (4 π ε₀) [kJ mol⁻¹ nm]."""


class WaterCluster(TorchOperator):
    """U [kJ/mol] of m TIP3P molecules, positions [nm] (*batch, 3 m, 3) in the order O, H, H of each → (*batch,).

    Lennard-Jones between oxygens, Coulomb between all atoms of different molecules, no cutoff, and a spring
    ½ trap |O|² that holds each oxygen near the origin. The molecules must be kept rigid, by :meth:`bonds` or by
    :class:`~posteriori.physics.rigid_body.RigidBodies` of :func:`molecule`.

    Args:
        molecules: at least one.
        trap: [kJ mol⁻¹ nm⁻²], above zero.

    Reference: Jorgensen, Chandrasekhar, Madura, Impey & Klein (1983), J. Chem. Phys. 79, 926.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Jorgensen, Chandrasekhar, Madura, Impey & Klein (1983), J. Chem. Phys. 79, 926.",
    )

    def __init__(self, molecules: int = 3, trap: float = 100.0) -> None:
        super().__init__()
        if molecules < 1 or not 0 < trap < float("inf"):
            raise OptionError(f"molecules={molecules}, trap={trap:g}: at least one, and a positive spring.")
        self.molecules, self.trap = molecules, trap
        self.domain, self.codomain = positions(3 * molecules, 3, "nm"), Space("energy", unit="kJ/mol")
        owner = torch.arange(3 * molecules) // 3
        i, j = torch.triu_indices(3 * molecules, 3 * molecules, 1)
        apart = owner[i] != owner[j]
        charges = torch.tensor([-2 * CHARGE, CHARGE, CHARGE], dtype=torch.float64).repeat(molecules)
        self.register_buffer("pairs", torch.stack([i[apart], j[apart]]))
        self.pairs: Tensor
        self.register_buffer("strengths", COULOMB * charges[self.pairs[0]] * charges[self.pairs[1]])
        self.register_buffer("oxygens", ((self.pairs % 3) == 0).all(0).nonzero()[:, 0])
        self.strengths: Tensor
        self.oxygens: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """U of each configuration."""
        squared = (m[..., self.pairs[0], :] - m[..., self.pairs[1], :]).square().sum(-1)
        coulomb = (self.strengths.to(m) * squared.rsqrt()).sum(-1)
        inverse = (SIGMA**2 / squared[..., self.oxygens]).pow(3)
        held = 0.5 * self.trap * m[..., ::3, :].square().sum((-2, -1))
        return coulomb + 4 * EPSILON * (inverse.square() - inverse).sum(-1) + held

    def bonds(self) -> FixedDistances:
        """The three distances of every molecule."""
        pairs = [(3 * k + i, 3 * k + j) for k in range(self.molecules) for i, j in ((0, 1), (0, 2), (1, 2))]
        lengths = [BOND, BOND, 2 * BOND * sin(ANGLE / 2)] * self.molecules
        return FixedDistances(self.domain, pairs, lengths)

    @staticmethod
    def example() -> WaterCluster:
        """Two molecules."""
        return WaterCluster(2)


def molecule() -> Tensor:
    """Positions [nm] of O, H, H of one molecule, (3, 3)."""
    x, y = BOND * cos(ANGLE / 2), BOND * sin(ANGLE / 2)
    return torch.tensor([[0.0, 0.0, 0.0], [x, y, 0.0], [x, -y, 0.0]], dtype=torch.float64)
