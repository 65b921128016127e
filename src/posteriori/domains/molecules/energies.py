"""Energies by name, for samples that come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import Operator
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules.alanine import GAS_CONSTANT, shipped
from posteriori.domains.molecules.topologies import Molecule, read_molecule
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.funnel import Funnel
from posteriori.physics.gaussian_mixture import GaussianMixture
from posteriori.physics.many_well import ManyWell
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics
from posteriori.physics.mueller_brown import MuellerBrown
from posteriori.physics.openmm_system import OpenMMSystem
from posteriori.physics.pair_potential import DoubleWellPairs, LennardJones

VACUUM, IMPLICIT, OWN = "alanine-vacuum", "alanine-implicit", "system"


@dataclass(frozen=True)
class Named:
    """An energy that has a name.

    Attributes:
        make: the potential for rows of so many numbers.
        temperature: kT in the unit of the potential, where none is given.
        text: the formula in a few words.
    """

    make: Callable[[int], Operator]
    temperature: float
    text: str


@cache
def molecule_of(name: str, system: str | None = None) -> Molecule | None:
    """The molecule whose energy is called ``name``, the user's own from the files ``system``; None of the others.

    Raises:
        OptionError: ``system`` without ``name`` being "system", or the other way round.
        DataError: files that cannot be read.
    """
    if (name == OWN) != (system is not None):
        raise OptionError(f"energy={OWN} and system= go together: give two files, prmtop,inpcrd or top,gro or xml,pdb.")
    if system is not None:
        return read_molecule(system, implicit=False)
    return shipped(implicit=name == IMPLICIT) if name in (VACUUM, IMPLICIT) else None


def _molecular(molecule: Molecule, name: str) -> Operator:
    """Compiled in vacuum; by OpenMM where there is a solvent or terms of the user's own."""
    if name == VACUUM:
        return MolecularMechanics(ForceField.of_xml(molecule.system))
    return OpenMMSystem(molecule.system, "CPU" if name == IMPLICIT else "Reference")


ENERGIES: dict[str, Named] = {
    "double-well": Named(lambda n: DoubleWell(), 1.0, "x⁴/4 - 3x² + x + y²/2"),
    "mueller-brown": Named(lambda n: MuellerBrown(), 15.0, "the Müller-Brown surface"),
    "many-well": Named(ManyWell, 1.0, "independent double wells, two numbers each"),
    "funnel": Named(Funnel, 1.0, "Neal's funnel"),
    "gmm-40": Named(lambda n: GaussianMixture.forty(), 1.0, "forty Gaussians in the plane"),
    "dw4": Named(lambda n: DoubleWellPairs(), 1.0, "four particles in the plane, 0.9 r⁴ - 4 r², r = d - 4"),
    "lj13": Named(lambda n: LennardJones(), 1.0, "thirteen particles, 2 (d⁻¹² - 2 d⁻⁶) a pair, trap 1"),
}
ROOM = 300.0
"""Temperature of molecules [K], where none is given."""


def named_target(
    name: str, numbers: int, temperature: float | None = None, molecule: Molecule | None = None
) -> Boltzmann:
    """The target called ``name`` for rows of so many ``numbers``, at a ``temperature``: kT, or T [K] of a molecule.

    Raises:
        OptionError: a name that is not offered, or a temperature that is not positive.
        DataError: rows of another length than the energy takes.
        MissingExtraError: OpenMM is not installed, and a molecule is asked for.
    """
    if molecule is None and name not in ENERGIES:
        raise OptionError(f"energy={name!r} is not offered; it has {', '.join([*ENERGIES, VACUUM, IMPLICIT, OWN])}.")
    usual = ROOM if molecule is not None else ENERGIES[name].temperature
    heat = usual if temperature is None else temperature
    if not 0 < heat < float("inf"):
        raise OptionError(f"temperature={heat:g} must be positive.")
    potential = ENERGIES[name].make(numbers) if molecule is None else _molecular(molecule, name)
    if potential.domain.size != numbers:
        raise DataError(f"{name} takes rows of {potential.domain.size} numbers, and these have {numbers}.")
    return Boltzmann(potential, 1 / (heat * (1.0 if molecule is None else GAS_CONSTANT)))
