"""Molecules as files name them: atoms, bonds, a first frame, and the OpenMM system of their force field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.optional import require

Bond = tuple[int, int]


@dataclass(frozen=True)
class Molecule:
    """Atoms, bonds, a frame and the forces between them.

    Attributes:
        names: of the atoms, e.g. "CA".
        residues: of each atom, e.g. "ALA"; a new residue begins where ``numbers`` changes.
        numbers: of the residue of each atom.
        elements: of each atom, e.g. "C".
        bonds: pairs of atoms, counted from zero.
        frame: positions (atom, 3) [nm], float64.
        system: the serialised OpenMM system (XML).
        force_field: its name, for reports.
    """

    names: tuple[str, ...]
    residues: tuple[str, ...]
    numbers: tuple[int, ...]
    elements: tuple[str, ...]
    bonds: tuple[Bond, ...]
    frame: Tensor
    system: str = field(repr=False)
    force_field: str

    @property
    def atoms(self) -> int:
        """How many."""
        return len(self.names)

    def atom(self, name: str, residue: str) -> int:
        """The place of a named atom.

        Raises:
            DataError: there is no such atom.
        """
        for k, found in enumerate(zip(self.names, self.residues, strict=True)):
            if found == (name, residue):
                return k
        raise DataError(f"the molecule has no atom {name} in a residue {residue}; it has {self.names}.")


def of_topology(topology: Any, positions: Any, system: Any, force_field: str) -> Molecule:
    """What OpenMM has read: its topology, positions [nm] and system.

    Raises:
        DataError: positions that are not finite or not one for each atom, or no bonds.
    """
    mm = require("openmm", "molecules")
    atoms = list(topology.atoms())
    frame = torch.tensor(np.asarray(positions, dtype=np.float64))
    if frame.shape != (len(atoms), 3) or not bool(torch.isfinite(frame).all()):
        raise DataError(f"positions {tuple(frame.shape)} for {len(atoms)} atoms: give one finite place [nm] for each.")
    if len(atoms) != system.getNumParticles():
        raise DataError(
            f"the topology has {len(atoms)} atoms, the system {system.getNumParticles()} particles; "
            "give files of one molecule."
        )
    return Molecule(
        tuple(a.name for a in atoms),
        tuple(a.residue.name for a in atoms),
        tuple(a.residue.index for a in atoms),
        tuple(a.element.symbol if a.element is not None else "X" for a in atoms),
        tuple((b[0].index, b[1].index) for b in topology.bonds()),
        frame,
        mm.XmlSerializer.serialize(system),
        force_field,
    )


def read_molecule(files: str, implicit: bool) -> Molecule:
    """A molecule of the user's own files, comma-separated: ``prmtop,inpcrd``, ``top,gro`` or ``xml,pdb``.

    Args:
        files: the two names; the suffix of the first says what they are.
        implicit: ask for OBC1 implicit solvent (Amber and GROMACS files; an XML holds its own).

    Raises:
        DataError, OptionError: a file that is missing, of another kind or cannot be read.
    """
    given = [Path(name.strip()) for name in files.split(",")]
    kind = given[0].suffix.lstrip(".").lower()
    if len(given) != 2 or kind not in READERS:
        raise OptionError(f"system={files!r}: give two files, prmtop,inpcrd or top,gro or xml,pdb.")
    for path in given:
        if not path.is_file():
            raise DataError(f"{path} is no file; give the two files of the system, separated by a comma.")
    try:
        topology, positions, system = READERS[kind](given[0], given[1], implicit)
    except (DataError, OptionError):
        raise
    except Exception as error:  # OpenMM's readers raise whatever their parsers do
        raise DataError(f"{files} cannot be read ({type(error).__name__}: {error}).") from error
    return of_topology(topology, positions, system, f"{given[0].name}{', OBC1' if implicit else ''}")


def _amber(topology: Path, frame: Path, implicit: bool) -> tuple[Any, Any, Any]:
    app = require("openmm.app", "molecules")
    read = app.AmberPrmtopFile(str(topology))
    solvent = app.OBC1 if implicit else None
    system = read.createSystem(nonbondedMethod=app.NoCutoff, constraints=None, implicitSolvent=solvent)
    return read.topology, _nanometres(app.AmberInpcrdFile(str(frame)).positions), system


def _gromacs(topology: Path, frame: Path, implicit: bool) -> tuple[Any, Any, Any]:
    app = require("openmm.app", "molecules")
    if implicit:
        raise OptionError("GROMACS topologies carry no implicit solvent; give solvent=vacuum, or an Amber prmtop.")
    read = app.GromacsTopFile(str(topology))
    system = read.createSystem(nonbondedMethod=app.NoCutoff, constraints=None)
    return read.topology, _nanometres(app.GromacsGroFile(str(frame)).positions), system


def _serialised(system: Path, frame: Path, implicit: bool) -> tuple[Any, Any, Any]:
    mm, app = require("openmm", "molecules"), require("openmm.app", "molecules")
    found = mm.XmlSerializer.deserialize(system.read_text())
    pdb = app.PDBFile(str(frame))
    return pdb.topology, _nanometres(pdb.positions), found


READERS: dict[str, Callable[[Path, Path, bool], tuple[Any, Any, Any]]] = {
    "prmtop": _amber,
    "parm7": _amber,
    "top": _gromacs,
    "xml": _serialised,
}


def _nanometres(positions: Any) -> Any:
    return positions.value_in_unit(require("openmm.unit", "molecules").nanometer)
