"""Samples of anyone's sampler from files: NumPy arrays, tables of numbers, trajectories."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.errors import DataError
from posteriori.core.formats.csv import read_csv
from posteriori.domains.molecules.topologies import Molecule
from posteriori.domains.molecules.trajectories import SUFFIXES, read_trajectory

FIGURES = ("log_weight", "log_q", "energy")
CHAIN = "chain"
SHORTEST = 4
ROWS = "x"
ARRAYS = ".npy, .npz or .csv"


@dataclass(frozen=True)
class SampleFile:
    """What a file of samples holds.

    Attributes:
        rows: (row, number).
        figures: log_weight, log_q and energy of the rows, those that the file has.
        chains: equal chains one after the other, where the file tells; None where it does not.
        name: of the file.
    """

    rows: Tensor
    figures: Mapping[str, Tensor]
    chains: int | None
    name: str


def read_samples(path: Path, molecule: Molecule | None = None) -> SampleFile:
    """Rows and what came with them; a trajectory (XTC, DCD, PDB) needs the ``molecule`` whose frames it holds.

    ``.npy`` holds the rows (row, …); ``.npz`` holds them as ``x``, and ``log_weight``, ``log_q``, ``energy`` and
    ``chain`` beside; in a CSV those are columns, and every other column is a coordinate, in order.

    Raises:
        DataError: a file that is not there, unreadable, or of other contents; the message names what.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file; give {ARRAYS}.")
    readers = {".npy": _npy, ".npz": _npz, ".csv": _csv}
    if path.suffix.lower() in SUFFIXES:
        if molecule is None:
            raise DataError(f"{path.name} is a trajectory, and the energy asked for is no molecule's; give {ARRAYS}.")
        return SampleFile(_placed(read_trajectory(path, molecule)), {}, None, path.name)
    if path.suffix.lower() not in readers:
        raise DataError(f"{path.name} ends in {path.suffix!r}; give {ARRAYS}, or a trajectory {', '.join(SUFFIXES)}.")
    return _checked(readers[path.suffix.lower()](path), path.name)


def _placed(frames: Tensor) -> Tensor:
    """Frames (frame, atom, 3) without their centre of mass, which says nothing, as (row, number)."""
    return (frames - frames.mean(1, keepdim=True)).flatten(1)


def _npy(path: Path) -> dict[str, np.ndarray]:
    return {ROWS: _loaded(path)}


def _npz(path: Path) -> dict[str, np.ndarray]:
    with _loaded(path) as archive:
        known = {ROWS, CHAIN, *FIGURES}
        strange = sorted(set(archive.files) - known)
        if strange or ROWS not in archive.files:
            raise DataError(
                f"{path.name} holds {', '.join(archive.files) or 'nothing'}; {ROWS} are the rows (row, …), and "
                f"{', '.join((*FIGURES, CHAIN))} may stand beside: write them with numpy.savez({ROWS}=…)."
            )
        try:
            return {name: archive[name] for name in archive.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            raise DataError(
                f"{path.name} cannot be read as arrays of numbers; write it anew with numpy.savez."
            ) from None


def _loaded(path: Path) -> Any:
    memory.require(2 * path.stat().st_size, f"the samples of {path.name}")
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise DataError(
            f"{path.name} cannot be read as arrays of numbers; it may be cut short, or hold objects: write it anew "
            "with numpy.save or numpy.savez."
        ) from None


def _csv(path: Path) -> dict[str, np.ndarray]:
    table = read_csv(path)
    if not table.rows:
        raise DataError(f"{path.name} has a header and no rows.")
    names = list(table.rows[0].fields)
    found = {name: np.array([row.value(name) for row in table.rows]) for name in names}
    coordinates = [name for name in names if name not in (CHAIN, *FIGURES)]
    if not coordinates:
        raise DataError(f"{path.name} has no column of coordinates beside {', '.join(names)}.")
    return {
        ROWS: np.stack([found[n] for n in coordinates], 1),
        **{n: found[n] for n in (CHAIN, *FIGURES) if n in found},
    }


def _checked(arrays: Mapping[str, np.ndarray], name: str) -> SampleFile:
    rows = arrays[ROWS]
    if rows.dtype.kind not in "fiu" or rows.ndim < 2 or rows.size == 0:
        raise DataError(f"the rows of {name} are {rows.dtype} of shape {rows.shape}; give real numbers (row, …).")
    flat = torch.from_numpy(np.ascontiguousarray(rows.reshape(len(rows), -1), dtype=np.float64))
    figures = {}
    for key in FIGURES:
        if key in arrays:
            values = arrays[key]
            if values.dtype.kind not in "fiu" or values.shape != (len(rows),):
                raise DataError(
                    f"{key} of {name} is {values.dtype} of shape {values.shape}; give ({len(rows)},) numbers."
                )
            figures[key] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
    chains = _chains(arrays[CHAIN], len(rows), name) if CHAIN in arrays else None
    return SampleFile(flat, figures, chains, name)


def _chains(labels: np.ndarray, n: int, name: str) -> int:
    if labels.shape != (n,):
        raise DataError(f"chain of {name} has the shape {labels.shape}; give one label for each of the {n} rows.")
    starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    lengths = np.diff(np.append(starts, n))
    if len(np.unique(labels)) != len(starts) or len(np.unique(lengths)) > 1:
        raise DataError(
            f"the chains of {name} are torn or of unequal length ({len(starts)} stretches of {len(np.unique(labels))} "
            f"labels, {lengths.min()} to {lengths.max()} rows); write chain after chain, all equally long."
        )
    if lengths[0] < SHORTEST:
        raise DataError(
            f"{name} has {len(starts)} chains of {lengths[0]} rows; a chain needs {SHORTEST} to be judged: leave "
            f"{CHAIN!r} out where rows are independent."
        )
    return len(starts)
