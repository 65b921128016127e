"""Energies by name, for samples that come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import Operator
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules.alanine import GAS_CONSTANT, shipped
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.funnel import Funnel
from posteriori.physics.gaussian_mixture import GaussianMixture
from posteriori.physics.many_well import ManyWell
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics
from posteriori.physics.mueller_brown import MuellerBrown
from posteriori.physics.openmm_system import OpenMMSystem
from posteriori.physics.pair_potential import DoubleWellPairs, LennardJones


@dataclass(frozen=True)
class Named:
    """An energy that has a name.

    Attributes:
        make: the potential for rows of so many numbers.
        temperature: kT in the unit of the potential, or T [K] of a molecule, where none is given.
        heat: kT of one unit of temperature.
        text: the formula in a few words.
    """

    make: Callable[[int], Operator]
    temperature: float
    text: str
    heat: float = 1.0


def _vacuum(numbers: int) -> Operator:
    return MolecularMechanics(ForceField.of_xml(shipped().system))


def _implicit(numbers: int) -> Operator:
    return OpenMMSystem(shipped(implicit=True).system, "CPU")


ENERGIES: dict[str, Named] = {
    "double-well": Named(lambda n: DoubleWell(), 1.0, "x⁴/4 - 3x² + x + y²/2"),
    "mueller-brown": Named(lambda n: MuellerBrown(), 15.0, "the Müller-Brown surface"),
    "many-well": Named(ManyWell, 1.0, "independent double wells, two numbers each"),
    "funnel": Named(Funnel, 1.0, "Neal's funnel"),
    "gmm-40": Named(lambda n: GaussianMixture.forty(), 1.0, "forty Gaussians in the plane"),
    "dw4": Named(lambda n: DoubleWellPairs(), 1.0, "four particles in the plane, 0.9 r⁴ - 4 r², r = d - 4"),
    "lj13": Named(lambda n: LennardJones(), 1.0, "thirteen particles, 2 (d⁻¹² - 2 d⁻⁶) a pair, trap 1"),
    "alanine-vacuum": Named(_vacuum, 300.0, "alanine dipeptide, Amber ff14SB, no bond rigid", GAS_CONSTANT),
    "alanine-implicit": Named(_implicit, 300.0, "the same in OBC1 implicit solvent", GAS_CONSTANT),
}


def named_target(name: str, numbers: int, temperature: float | None = None) -> Boltzmann:
    """The target called ``name`` for rows of so many ``numbers``, at a ``temperature`` (kT, or T [K] of a molecule).

    Raises:
        OptionError: a name that is not offered, or a temperature that is not positive.
        DataError: rows of another length than the energy takes.
        MissingExtraError: OpenMM is not installed, and a molecule is asked for.
    """
    if name not in ENERGIES:
        raise OptionError(f"energy={name!r} is not offered; it has {', '.join(ENERGIES)}.")
    energy = ENERGIES[name]
    heat = energy.temperature if temperature is None else temperature
    if not 0 < heat < float("inf"):
        raise OptionError(f"temperature={heat:g} must be positive.")
    potential = energy.make(numbers)
    if potential.domain.size != numbers:
        raise DataError(f"{name} takes rows of {potential.domain.size} numbers, and these have {numbers}.")
    return Boltzmann(potential, 1 / (heat * energy.heat))
