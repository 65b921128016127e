"""Trajectories in and out: XTC, DCD and PDB files of a known molecule."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.optional import require
from posteriori.domains.molecules.topologies import Bond, Molecule

SUFFIXES = (".xtc", ".dcd", ".pdb")
BOND_RANGE = (0.07, 0.3)
"""Lengths [nm] between which the middle bond of any molecule lies: outside, the unit or the order of atoms is wrong."""


def read_trajectory(path: Path, molecule: Molecule) -> Tensor:
    """Frames of ``molecule`` from an XTC, DCD or PDB file, (frame, atom, 3) [nm], float64.

    Raises:
        OptionError: another kind of file.
        DataError: the file is missing or unreadable, holds no frame, has another number of atoms, a place that is not
            finite, or bonds of an impossible length.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path} is no {', '.join(SUFFIXES)} file; convert it, e.g. with mdconvert.")
    if not path.is_file():
        raise DataError(f"{path} is no file; give the path of a trajectory.")
    load = require("mdtraj", "molecules").load
    settings = {} if path.suffix.lower() == ".pdb" else {"top": _topology(molecule)}
    try:
        with _quiet():
            found = load(str(path), **settings).xyz
    except Exception as error:  # mdtraj raises whatever its readers do
        raise DataError(
            f"{path} cannot be read as a trajectory of {molecule.atoms} atoms ({type(error).__name__}: {error}); "
            "the file may be cut short, or of another molecule."
        ) from error
    frames = torch.from_numpy(np.array(found, dtype=np.float64))
    return require_frames(frames, molecule.atoms, molecule.bonds, str(path))


def write_trajectory(path: Path, molecule: Molecule, frames: Tensor) -> None:
    """Write frames (frame, atom, 3) [nm] as XTC, DCD or PDB, whatever the suffix says.

    XTC rounds to 0.001 nm, PDB to 0.0001 nm; DCD keeps float32.

    Raises:
        OptionError: another suffix.
        DataError: frames that do not fit the molecule.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path} would be no {', '.join(SUFFIXES)} file; choose one of these.")
    frames = require_frames(frames, molecule.atoms, molecule.bonds, "frames")
    mdtraj = require("mdtraj", "molecules")
    found = mdtraj.Trajectory(frames.numpy().astype(np.float32), _topology(molecule))
    found.save(str(path))


def require_frames(frames: Tensor, atoms: int, bonds: tuple[Bond, ...], what: str) -> Tensor:
    """``frames`` themselves where they can be positions [nm] of a molecule.

    Raises:
        DataError: no frame, another number of atoms, a place that is not finite, or bonds of an impossible length.
    """
    if frames.ndim != 3 or frames.shape[1:] != (atoms, 3) or not len(frames):
        raise DataError(f"{what}: shape {tuple(frames.shape)}; needed are frames of {atoms} atoms in three dimensions.")
    bad = ~torch.isfinite(frames).all(-1)
    if bool(bad.any()):
        frame, atom = (int(i) for i in bad.nonzero()[0])
        raise DataError(
            f"{what}: atom {atom} of frame {frame} (from zero) is not finite, {int(bad.sum())} places in all."
        )
    if bonds:
        pairs = torch.tensor(bonds)
        middle = float((frames[:, pairs[:, 0]] - frames[:, pairs[:, 1]]).norm(dim=-1).median())
        if not BOND_RANGE[0] < middle < BOND_RANGE[1]:
            raise DataError(
                f"{what}: the middle bond is {middle:.3g} nm long, which no molecule has; the unit may not be what the "
                "format says (nm in XTC, Å in DCD and PDB), or the atoms stand in another order."
            )
    return frames


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what compiled readers print to the error stream: the output is kept for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _topology(molecule: Molecule) -> Any:
    mdtraj = require("mdtraj", "molecules")
    topology = mdtraj.Topology()
    chain, residues, atoms = topology.add_chain(), {}, []
    rows = zip(molecule.names, molecule.residues, molecule.numbers, molecule.elements, strict=True)
    for name, residue, number, symbol in rows:
        if number not in residues:
            residues[number] = topology.add_residue(residue, chain, number + 1)
        element = mdtraj.element.virtual if symbol == "X" else mdtraj.element.get_by_symbol(symbol)
        atoms.append(topology.add_atom(name, element, residues[number]))
    for a, b in molecule.bonds:
        topology.add_bond(atoms[a], atoms[b])
    return topology
