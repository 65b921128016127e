"""The energy of a molecule in vacuum by a force field of bonds, angles, torsions and pairs, in compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import Operator
from posteriori.core.optional import require
from posteriori.core.space import Space
from posteriori.physics.compiled import CompiledEnergy, Floats
from posteriori.physics.molecular_mechanics_kernels import ORDERS, mechanics

COULOMB = 138.93545764438198
"""e² / (4 π ε₀) [kJ/mol nm], the value of OpenMM's nonbonded forces."""
AXES = ("x", "y", "z")
Terms = Sequence[tuple[float, ...]]


@dataclass(frozen=True)
class Surface:
    """A smooth energy [kJ/mol] over two torsions: factor Σ Re c_mn exp(i (m φ + n ψ)), m = -M … M, n = 0 … M.

    Attributes:
        first, second: the four atoms of each torsion.
        coefficients: c, complex (2M + 1, M + 1), M at least 1.
        factor: what all of it is multiplied by.
    """

    first: tuple[int, int, int, int]
    second: tuple[int, int, int, int]
    coefficients: np.ndarray
    factor: float = 1.0

    @property
    def order(self) -> int:
        """M."""
        return self.coefficients.shape[1] - 1

    def at(self, first: Tensor, second: Tensor) -> Tensor:
        """The energy at two torsions [rad], each (*batch,)."""
        c = torch.from_numpy(self.coefficients)
        m = torch.arange(-self.order, self.order + 1, dtype=torch.float64)
        n = torch.arange(self.order + 1, dtype=torch.float64)
        left = torch.polar(torch.ones(()).double(), first.double()[..., None] * m)
        right = torch.polar(torch.ones(()).double(), second.double()[..., None] * n)
        return self.factor * ((left @ c) * right).sum(-1).real

    def numbers(self) -> list[float]:
        """As the compiled form reads it."""
        pairs = np.stack([self.coefficients.real, self.coefficients.imag], -1).ravel()
        return [*self.first, *self.second, self.factor, *pairs]


@dataclass(frozen=True)
class ForceField:
    """The terms of a molecule's energy, in nm, kJ/mol and radian; atoms are counted from zero.

    Attributes:
        atoms: how many.
        bonds: i, j, k, r₀.
        angles: i, j, k, stiffness, θ₀.
        torsions: i, j, k, l, then the periodicity n, the phase δ and the stiffness of k (1 + cos(n φ - δ)).
        pairs: i, j, A, B, C of A r⁻¹² - B r⁻⁶ + C / r.
    """

    atoms: int
    bonds: Terms = ()
    angles: Terms = ()
    torsions: Terms = ()
    pairs: Terms = field(default=(), repr=False)

    @staticmethod
    def of(system: Any) -> ForceField:
        """The terms of an OpenMM ``System`` in vacuum.

        Raises:
            DataError: a force, cut-off, constraint or virtual site that these terms cannot say.
        """
        mm = require("openmm", "molecules")
        if system.getNumConstraints() or any(system.isVirtualSite(i) for i in range(system.getNumParticles())):
            raise DataError("the system holds bonds rigid or has virtual sites; build it with constraints=None.")
        found: dict[str, list[tuple[float, ...]]] = {"bonds": [], "angles": [], "torsions": [], "pairs": []}
        for force in system.getForces():
            if isinstance(force, mm.HarmonicBondForce):
                found["bonds"] += _terms(force.getNumBonds(), force.getBondParameters, "kr")
            elif isinstance(force, mm.HarmonicAngleForce):
                found["angles"] += _terms(force.getNumAngles(), force.getAngleParameters, "kr")
            elif isinstance(force, mm.PeriodicTorsionForce):
                found["torsions"] += _terms(force.getNumTorsions(), force.getTorsionParameters, "n")
            elif isinstance(force, mm.NonbondedForce):
                found["pairs"] += _pairs(force)
            elif not isinstance(force, mm.CMMotionRemover):
                raise DataError(
                    f"{force.getName()} is no bond, angle, periodic torsion or pair without cut-off; take OpenMMSystem."
                )
        return ForceField(system.getNumParticles(), **found)

    @staticmethod
    def of_xml(text: str) -> ForceField:
        """The terms of a serialised OpenMM ``System``."""
        return ForceField.of(require("openmm", "molecules").XmlSerializer.deserialize(text))

    def table(self, surface: Surface | None = None) -> Floats:
        """As the compiled form reads it, with ``surface`` added."""
        series = _series(self.torsions)
        numbers: list[float] = [len(self.bonds), len(self.angles), len(series), len(self.pairs)]
        numbers.append(0 if surface is None else surface.order)
        for terms in (self.bonds, self.angles, series, self.pairs):
            numbers += [value for term in terms for value in term]
        return np.array(numbers + ([] if surface is None else surface.numbers()), dtype=np.float64)


class MolecularMechanics(Operator):
    """U [kJ/mol] of positions [nm], (*batch, particle, axis) → (*batch,), compiled; no cut-off, no solvent.

    It does not change with place or orientation. Sampling it needs internal coordinates, ``Centred`` positions, or
    chains whose drift is of no concern.

    Args:
        terms: the force field.
        surface: an energy over two torsions on top, for biased sampling.

    Raises:
        OptionError: an atom that is not there.

    Reference: Cornell et al. (1995), A second generation force field for the simulation of proteins, nucleic acids,
    and organic molecules, J. Am. Chem. Soc. 117, 5179.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Cornell et al. (1995), A second generation force field for the simulation of proteins, nucleic acids, and "
        "organic molecules, J. Am. Chem. Soc. 117, 5179.",
    )

    def __init__(self, terms: ForceField, surface: Surface | None = None) -> None:
        super().__init__()
        wide = ((terms.bonds, 2), (terms.angles, 3), (terms.torsions, 4), (terms.pairs, 2))
        named = {int(atom) for some, n in wide for term in some for atom in term[:n]}
        if not named <= set(range(terms.atoms)):
            raise OptionError(f"the terms name the atoms {sorted(named)}; there are {terms.atoms}, counted from zero.")
        self.terms, self.surface = terms, surface
        self.domain = Space("position", {"particle": terms.atoms, "axis": list(AXES)}, "nm")
        self.codomain = Space("energy", unit="kJ/mol")
        self.register_buffer("table", torch.from_numpy(terms.table(surface)))
        self.table: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """U of each configuration."""
        return self._both(m)[0]

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """∇U · v."""
        return (self._both(m)[1] * v).sum((-2, -1))

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """r ∇U: minus the forces [kJ/mol/nm], times r."""
        return r[..., None, None] * self._both(m)[1]

    def compiled(self) -> CompiledEnergy:
        """The same energy in compiled code, of atom after atom."""
        return CompiledEnergy(mechanics, self.table.numpy().astype(np.float64))

    def _both(self, m: Tensor) -> tuple[Tensor, Tensor]:
        flat = self.domain.flat(m).detach().double().reshape(-1, self.domain.size)
        u, g = self.compiled()(flat.cpu().numpy())
        return torch.from_numpy(u).to(m).reshape(m.shape[:-2]), torch.from_numpy(g).to(m).reshape(m.shape)

    @staticmethod
    def example() -> MolecularMechanics:
        """Hydrogen peroxide: two bonds to hydrogen, two angles, one torsion, one pair."""
        bonds = [(0, 1, 3e5, 0.097), (1, 2, 2e5, 0.145), (2, 3, 3e5, 0.097)]
        angles = [(0, 1, 2, 400.0, 1.75), (1, 2, 3, 400.0, 1.75)]
        torsions = [(0, 1, 2, 3, 2, 0.0, 8.0), (0, 1, 2, 3, 1, 3.0, 4.0)]
        return MolecularMechanics(ForceField(4, bonds, angles, torsions, [(0, 3, 1e-6, 1e-3, 20.0)]))


def _terms(count: int, parameters: Any, order: str) -> list[tuple[float, ...]]:
    """Rows as OpenMM gives them, without units; "kr" puts the stiffness in front of the place of rest."""
    rows = [[_plain(value) for value in parameters(i)] for i in range(count)]
    return [tuple([*row[:-2], row[-1], row[-2]] if order == "kr" else row) for row in rows]


def _plain(value: Any) -> float:
    unit = require("openmm.unit", "molecules")
    return float(value.value_in_unit_system(unit.md_unit_system)) if unit.is_quantity(value) else float(value)


def _pairs(force: Any) -> list[tuple[float, ...]]:
    mm = require("openmm", "molecules")
    if force.getNonbondedMethod() != mm.NonbondedForce.NoCutoff:
        raise DataError("pairs are cut off or periodic; build the system with nonbondedMethod=NoCutoff.")
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise DataError("charges depend on a global parameter; take OpenMMSystem.")
    own = [[_plain(value) for value in force.getParticleParameters(i)] for i in range(force.getNumParticles())]
    laws = {
        (i, j): (own[i][0] * own[j][0], (own[i][1] + own[j][1]) / 2, (own[i][2] * own[j][2]) ** 0.5)
        for i in range(len(own))
        for j in range(i + 1, len(own))
    }
    for k in range(force.getNumExceptions()):
        i, j, *law = [_plain(value) for value in force.getExceptionParameters(k)]
        laws[int(min(i, j)), int(max(i, j))] = (law[0], law[1], law[2])
    return [
        (i, j, 4 * depth * size**12, 4 * depth * size**6, COULOMB * charge)
        for (i, j), (charge, size, depth) in laws.items()
        if charge or depth
    ]


def _series(torsions: Terms) -> list[tuple[float, ...]]:
    """One Fourier series for each four atoms: i, j, k, l, a₀ … a₆, b₁ … b₆."""
    found: dict[tuple[int, ...], Floats] = {}
    for i, j, k, last, order, phase, stiffness in torsions:
        n = int(order)
        if not 1 <= n <= ORDERS or n != order:
            raise DataError(f"a torsion has the periodicity {order:g}; 1 to {ORDERS} are understood.")
        series = found.setdefault((int(i), int(j), int(k), int(last)), np.zeros(2 * ORDERS + 1))
        series[0] += stiffness
        series[n] += stiffness * np.cos(phase)
        series[ORDERS + n] += stiffness * np.sin(phase)
    return [(*atoms, *series) for atoms, series in found.items() if np.any(series)]
