"""The compiled force field against OpenMM, and what both refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.domains.molecules.alanine import PHI, PSI, shipped
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics, Surface
from posteriori.physics.openmm_system import OpenMMSystem

openmm = pytest.importorskip("openmm")
MOLECULE = shipped()
FRAMES = MOLECULE.frame + 0.005 * Rng(1).normal((6, 22, 3))


def test_energies_and_forces_are_those_of_openmm() -> None:
    ours, theirs = MolecularMechanics(ForceField.of_xml(MOLECULE.system)), OpenMMSystem(MOLECULE.system)
    np.testing.assert_allclose(ours(FRAMES), theirs(FRAMES), rtol=1e-9, atol=1e-6)
    one = torch.ones(6, dtype=torch.float64)
    np.testing.assert_allclose(ours.vjp(FRAMES, one), theirs.vjp(FRAMES, one), rtol=1e-7, atol=1e-5)


def test_a_surface_adds_its_energy_and_its_gradient() -> None:
    c = Rng(2).normal((7, 4)).numpy() + 1j * Rng(3).normal((7, 4)).numpy()
    surface = Surface(PHI, PSI, c, 0.7)
    terms = ForceField.of_xml(MOLECULE.system)
    plain, biased = MolecularMechanics(terms), MolecularMechanics(terms, surface)
    angles = [_torsion(FRAMES, atoms) for atoms in (PHI, PSI)]
    np.testing.assert_allclose(biased(FRAMES) - plain(FRAMES), surface.at(*angles), atol=1e-5)  # mdtraj is float32
    v = Rng(4).normal(FRAMES.shape)
    difference = (biased(FRAMES + 1e-6 * v) - biased(FRAMES - 1e-6 * v)) / 2e-6
    np.testing.assert_allclose(biased.jvp(FRAMES, v), difference, rtol=1e-6)


def _torsion(x: torch.Tensor, atoms: tuple[int, ...]) -> torch.Tensor:
    mdtraj = pytest.importorskip("mdtraj")
    frames = mdtraj.Trajectory(x.numpy(), None)
    return torch.from_numpy(mdtraj.compute_dihedrals(frames, [atoms], opt=False)[:, 0].astype(np.float64))


def test_wrong_forces_are_refused() -> None:
    system, force = openmm.System(), openmm.CustomExternalForce("x + step(x)*100*sin(1e7*x)")
    system.addParticle(1.0)
    force.addParticle(0)
    system.addForce(force)
    with pytest.raises(DataError, match="disagree"):
        OpenMMSystem(system).check(torch.full((1, 3), 0.5, dtype=torch.float64), Rng(0))


def test_right_forces_pass_in_solvent_too() -> None:
    solvated = shipped(implicit=True)
    system = OpenMMSystem(solvated.system, "CPU")
    system.check(solvated.frame, Rng(0))
    reference = OpenMMSystem(solvated.system)
    np.testing.assert_allclose(system(FRAMES[:2]), reference(FRAMES[:2]), rtol=1e-4)
    with pytest.raises(DataError, match="take OpenMMSystem"):
        ForceField.of_xml(solvated.system)


def test_what_is_no_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no OpenMM System"):
        OpenMMSystem("<what/>")
    with pytest.raises(DataError, match="cannot be read"):
        OpenMMSystem.read(tmp_path / "absent.xml")
    with pytest.raises(OptionError, match="platform"):
        OpenMMSystem(MOLECULE.system, "Abacus")
    with pytest.raises(OptionError, match="name the atoms"):
        MolecularMechanics(ForceField(2, bonds=[(0, 5, 1.0, 1.0)]))


def test_cut_offs_and_rigid_bonds_are_refused() -> None:
    system, pairs = openmm.System(), openmm.NonbondedForce()
    for _ in range(2):
        system.addParticle(1.0)
        pairs.addParticle(0.0, 0.3, 1.0)
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    system.addForce(pairs)
    with pytest.raises(DataError, match="cut off"):
        ForceField.of(system)
    system.addConstraint(0, 1, 0.1)
    with pytest.raises(DataError, match="rigid"):
        ForceField.of(system)


def test_overlapping_atoms_are_no_number_that_travels_on() -> None:
    frame = MOLECULE.frame.clone()
    frame[3] = frame[15]
    energy = MolecularMechanics(ForceField.of_xml(MOLECULE.system))(frame)
    assert not bool(torch.isfinite(energy)) or float(energy) > 1e6
