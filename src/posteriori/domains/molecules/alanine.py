"""Alanine dipeptide (ACE-ALA-NME, 22 atoms): the molecule on which every method for free energies is tried."""

from __future__ import annotations

from math import pi
from typing import Any

import torch
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.optional import require
from posteriori.domains.molecules.topologies import Molecule, of_topology
from posteriori.physics.internal_coordinates import InternalCoordinates, ZMatrix

GAS_CONSTANT = 8.31446261815324e-3
"""R [kJ/mol/K], CODATA 2018."""
FORCE_FIELD = "amber14/protein.ff14SB.xml"
SOLVENT = "implicit/obc1.xml"
RESIDUES = {
    "ACE": ("HH31 H", "CH3 C", "HH32 H", "HH33 H", "C C", "O O"),
    "ALA": ("N N", "H H", "CA C", "HA H", "CB C", "HB1 H", "HB2 H", "HB3 H", "C C", "O O"),
    "NME": ("N N", "H H", "CH3 C", "HH31 H", "HH32 H", "HH33 H"),
}
BONDS = (
    *((0, 1), (1, 2), (1, 3), (1, 4), (4, 5), (4, 6), (6, 7), (6, 8), (8, 9), (8, 10), (10, 11)),
    *((10, 12), (10, 13), (8, 14), (14, 15), (14, 16), (16, 17), (16, 18), (18, 19), (18, 20), (18, 21)),
)
CHAIN = (6, 8, 14)
"""N, CA and C of the alanine: where the Z-matrix begins."""
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)
METHYLS = {11: (11, 12, 13), 0: (0, 2, 3), 19: (19, 20, 21)}
"""The hydrogens of each methyl group, by the one that a proper torsion places."""
ZMATRIX = ZMatrix.of_bonds(BONDS, CHAIN)
REST = {4: -1.4, 16: 1.2, 7: pi, 15: pi, 10: -2.1, 9: 2.05, 1: pi, 5: pi, 18: pi, 17: pi, 11: pi / 3, 0: 0.0, 19: 0.0}
"""Torsions [rad] of a first frame by the atom placed, C7eq of L-alanine; the rest of a methyl stands at ±2.094."""
LENGTHS = {"CC": 0.152, "CN": 0.14, "CO": 0.123, "CH": 0.109, "HN": 0.101}


def first_frame() -> Tensor:
    """Positions (22, 3) [nm] of L-alanine dipeptide near C7eq, from standard bond lengths and angles."""
    internal = InternalCoordinates(ZMATRIX)
    elements = [atom.split()[1] for atoms in RESIDUES.values() for atom in atoms]
    planar = {4, 6, 14, 16}
    bonds, angles, torsions = [], [], []
    for k, (atom, bonded, _, _) in enumerate(ZMATRIX.rows):
        if k > 0:
            bonds.append(LENGTHS["".join(sorted((elements[atom], elements[bonded])))])
        if k > 1:
            angles.append(2.094 if bonded in planar else 1.911)
        if k > 2:
            torsions.append(REST.get(atom, 2.094 if atom in {12, 2, 20} else -2.094))
    return internal(torch.tensor([*bonds, *angles, *torsions], dtype=torch.float64))


def shipped(implicit: bool = False) -> Molecule:
    """L-alanine dipeptide under Amber ff14SB, in vacuum or OBC1 implicit solvent; no bond is held rigid."""
    app, mm = require("openmm.app", "molecules"), require("openmm", "molecules")
    topology = _topology()
    files = (FORCE_FIELD, SOLVENT) if implicit else (FORCE_FIELD,)
    field = app.ForceField(*files)
    system = field.createSystem(topology, nonbondedMethod=app.NoCutoff, constraints=None, removeCMMotion=False)
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    context.setPositions(first_frame().numpy())
    mm.LocalEnergyMinimizer.minimize(context, 1.0, 500)
    frame = context.getState(getPositions=True).getPositions(asNumpy=True)._value
    return of_topology(topology, frame, system, f"Amber ff14SB{', OBC1' if implicit else ' in vacuum'}")


def require_alanine(molecule: Molecule) -> None:
    """Make sure that a molecule is alanine dipeptide with its atoms in the usual order, and of the L form.

    Raises:
        DataError: other elements or bonds, or the mirror image.
    """
    elements = tuple(atom.split()[1] for atoms in RESIDUES.values() for atom in atoms)
    bonds = {tuple(sorted(bond)) for bond in molecule.bonds}
    if molecule.elements != elements or bonds != set(BONDS):
        raise DataError(
            f"the system is no alanine dipeptide with the atoms in Amber's order ({molecule.atoms} atoms, "
            f"{len(bonds)} bonds); this study wants ACE-ALA-NME, 22 atoms. For other molecules use the library: "
            "OpenMMSystem, MolecularMechanics and InternalCoordinates take any."
        )
    require_left(molecule.frame)


def require_left(frame: Tensor) -> None:
    """Refuse D-alanine: positions (22, 3) whose CB stands on the other side.

    Raises:
        DataError: it does.
    """
    if not bool(handedness(frame) > 0):
        raise DataError(
            "the frame holds D-alanine; this study samples the L form, and its mirror image is another law."
        )


def handedness(x: Tensor) -> Tensor:
    """Signed volume [nm³] of CA's neighbours N, C, CB in positions (*batch, 22, 3): positive in L-alanine."""
    n, c, cb = (x[..., k, :] - x[..., 8, :] for k in (6, 14, 10))
    return (torch.linalg.cross(n, c) * cb).sum(-1)


def _topology() -> Any:
    app = require("openmm.app", "molecules")
    topology = app.Topology()
    chain = topology.addChain()
    atoms = []
    for name, members in RESIDUES.items():
        residue = topology.addResidue(name, chain)
        for member in members:
            label, element = member.split()
            atoms.append(topology.addAtom(label, app.Element.getBySymbol(element), residue))
    for a, b in BONDS:
        topology.addBond(atoms[a], atoms[b])
    return topology
