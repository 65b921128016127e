"""Separation and decay energies as linear operators on masses: exact identities hold because they are differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from posteriori.core.algebra import Sparse
from posteriori.core.errors import OptionError
from posteriori.core.space import Space
from posteriori.domains.nuclei.chart import chart, nuclide_name, protons_neutrons
from posteriori.physics.mass_conversions import CONSTANTS

HYDROGEN_EXCESS = CONSTANTS["hydrogen_mass_excess"].value
NEUTRON_EXCESS = CONSTANTS["neutron_mass_excess"].value
ALPHA_EXCESS = CONSTANTS["helium4_mass_excess"].value


@dataclass(frozen=True)
class Quantity:
    """Σ weight · M(Z + dz, N + dn) + constant [keV] for a nucleus (Z, N)."""

    terms: tuple[tuple[float, int, int], ...]  # weight, dz, dn
    constant: float
    meaning: str


QUANTITIES: Mapping[str, Quantity] = {
    "S_n": Quantity(((1, 0, -1), (-1, 0, 0)), NEUTRON_EXCESS, "one-neutron separation energy"),
    "S_p": Quantity(((1, -1, 0), (-1, 0, 0)), HYDROGEN_EXCESS, "one-proton separation energy"),
    "S_2n": Quantity(((1, 0, -2), (-1, 0, 0)), 2 * NEUTRON_EXCESS, "two-neutron separation energy"),
    "S_2p": Quantity(((1, -2, 0), (-1, 0, 0)), 2 * HYDROGEN_EXCESS, "two-proton separation energy"),
    "Q_alpha": Quantity(((1, 0, 0), (-1, -2, -2)), -ALPHA_EXCESS, "energy released by α decay"),
    "Q_beta": Quantity(((1, 0, 0), (-1, 1, -1)), 0.0, "energy released by β⁻ decay (atomic masses)"),
    "D_n": Quantity(((0.5, 0, -1), (-1, 0, 0), (0.5, 0, 1)), 0.0, "three-point neutron pairing gap times (-1)^N"),
    "D_p": Quantity(((0.5, -1, 0), (-1, 0, 0), (0.5, 1, 0)), 0.0, "three-point proton pairing gap times (-1)^Z"),
    "G_n": Quantity(((1, 0, -2), (-2, 0, 0), (1, 0, 2)), 0.0, "two-neutron shell gap S_2n(N) - S_2n(N+2)"),
    "G_p": Quantity(((1, -2, 0), (-2, 0, 0), (1, 2, 0)), 0.0, "two-proton shell gap S_2p(Z) - S_2p(Z+2)"),
}


def separation_energy(masses: Space, name: str) -> Sparse:
    """The operator from atomic mass excesses to one quantity, at every nucleus all of whose partners are cells.

    Raises:
        OptionError: an unknown quantity, or a chart on which no nucleus has its partners.
    """
    if name not in QUANTITIES:
        raise OptionError(f"{name!r} is none of {', '.join(QUANTITIES)}.")
    quantity = QUANTITIES[name]
    z, n = protons_neutrons(masses)
    where = {(int(a), int(b)): i for i, (a, b) in enumerate(zip(z, n, strict=True))}
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    homes: list[tuple[int, int]] = []
    for a, b in where:
        found = [where[a + dz, b + dn] for _, dz, dn in quantity.terms if (a + dz, b + dn) in where]
        if len(found) == len(quantity.terms):
            rows += [len(homes)] * len(found)
            columns += found
            values += [weight for weight, _, _ in quantity.terms]
            homes.append((a, b))
    if not homes:
        raise OptionError(f"no nucleus of this chart has all partners of {name}; take a larger chart.")
    home_z, home_n = np.array(homes).T
    codomain = chart(home_z, home_n, name=name)
    offset = torch.full(codomain.shape, quantity.constant, dtype=torch.float64)
    entries = torch.tensor(rows), torch.tensor(columns), torch.tensor(values, dtype=torch.float64)
    return Sparse(masses, codomain, *entries, offset)


def partners(Z: int, N: int, name: str) -> list[str]:
    """Names of the nuclei whose masses a quantity of (Z, N) is made of."""
    return [nuclide_name(Z + dz, N + dn) for _, dz, dn in QUANTITIES[name].terms]
