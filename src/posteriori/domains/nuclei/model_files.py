"""Readers of the files in which mass models are published: whitespace text, HDF5 of O2scl, and CSV."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from posteriori.core.errors import DataError
from posteriori.core.formats.csv import CsvTable, parse_csv, read_csv, require
from posteriori.domains.nuclei.csv_table import energy, energy_unit, nucleus
from posteriori.domains.nuclei.fixed_width import lines_of, read_ascii
from posteriori.physics.mass_conversions import (
    LARGEST_N,
    LARGEST_Z,
    Floats,
    ame_binding_energy,
    atomic_mass_excess_from_ame_binding,
    atomic_mass_excess_from_nuclear_binding,
)
from posteriori.physics.mass_formulae import duflo_zuker

COLUMNS = ("Z", "N", "mass_excess")
Convert = Callable[[ArrayLike, ArrayLike, ArrayLike], Floats]

_ROW = re.compile(r"\s*([0-9]{1,3})\s+([0-9]{1,3})\s+(-?[0-9]{1,6}\.?[0-9]{0,9})\s*")
_MEV = 1e3
_LARGEST_TABLE = 1_000_000
_COMMON_ZERO = 3000.0  # [keV]; published tables agree with DZ10 near stability to 1000, SLy4 is 6000 off
_FAR_OFF = 300_000.0  # [keV]; the largest disagreement of a published table with DZ10, at the edges, is 185 000


def atomic_excess(Z: ArrayLike, N: ArrayLike, mass_excess: ArrayLike) -> Floats:
    """The conversion for tables that print the atomic mass excess itself."""
    del Z, N
    return np.asarray(mass_excess, dtype=np.float64)


OWN_COLUMNS: dict[str, Convert] = {
    "mass_excess": atomic_excess,
    "ame_binding_energy": atomic_mass_excess_from_ame_binding,
    "binding_energy": atomic_mass_excess_from_nuclear_binding,
}


def read_text(path: Path) -> pd.DataFrame:
    """Mass excess [MeV] under a head ``Z N M``, separated by blanks, with any line ends; returns it in keV."""
    return parse_text(read_ascii(path), path.name)


def parse_text(text: str, name: str = "table") -> pd.DataFrame:
    """Rows Z, N, mass excess [MeV] in the text of a table, as ``read_text``."""
    lines = [line for line in lines_of(text, name) if line.text.strip()]
    if not lines or lines[0].text.split() != ["Z", "N", "M"]:
        raise DataError(f"{name} does not start with the head 'Z N M'; is it a table of mass excesses?")
    if not text.endswith(("\n", "\r")):
        raise DataError(f"{name} does not end with a line end, so its last row may be cut; fetch it again.")
    rows = []
    for line in lines[1:]:
        match = _ROW.fullmatch(line.text)
        if match is None:
            raise line.error("Z, N and a mass excess are needed")
        rows.append((int(match[1]), int(match[2]), float(match[3]) * _MEV))
    if not rows:
        raise DataError(f"{name} holds no row below its head; fetch it again.")
    return checked(pd.DataFrame(rows, columns=list(COLUMNS)), name)


def read_ktuy(path: Path) -> pd.DataFrame:
    """The KTUY05 table as ``read_text``, without the rows whose N is misprinted, ten too small.

    Within one Z the rows run upwards in N. A run of rows that follows a step backwards, or that comes before a step of
    eleven, lacks the carry of its tens digit (all at Z >= 101): it is left out, not repaired.
    """
    table = read_text(path)
    step = table["N"].diff().where(table["Z"].eq(table["Z"].shift()))
    run = step.ne(1).cumsum()
    first = step.groupby(run).first()
    misprinted = (first < 0) | (first.shift(-1) == 11)
    return table[~run.map(misprinted).astype(bool)].reset_index(drop=True)


def o2_reader(column: str) -> Callable[[Path], pd.DataFrame]:
    """A reader of one column of mass excesses [MeV] in an O2scl HDF5 table (``acol/data`` with Z and A)."""

    def read(path: Path) -> pd.DataFrame:
        try:
            with h5py.File(path, "r") as file:
                Z, A, excess = (_dataset(file, name, path) for name in ("Z", "A", column))
        except (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError) as problem:
            if isinstance(problem, DataError):
                raise
            raise DataError(f"cannot read acol/data/{column} in {path}: {problem}; fetch the file again.") from problem
        if not len(Z) == len(A) == len(excess):
            raise DataError(f"{path.name} holds {len(Z)} Z, {len(A)} A and {len(excess)} masses; fetch it again.")
        numbers = np.concatenate([Z, A])
        if not np.array_equal(numbers, np.round(numbers)) or np.max(np.abs(numbers)) > LARGEST_Z + LARGEST_N:
            raise DataError(f"{path.name} holds a Z or A that is no nucleon number; fetch it again.")
        columns = {"Z": Z.astype(np.int64), "N": (A - Z).astype(np.int64), "mass_excess": excess * _MEV}
        return checked(pd.DataFrame(columns), path.name)

    return read


def csv_reader(column: str, convert: Convert) -> Callable[[Path], pd.DataFrame]:
    """A reader of one column [MeV] of a published CSV table with columns Z and N; no other column is looked at."""

    def read(path: Path) -> pd.DataFrame:
        return _converted(read_csv(path), column, "MeV", convert)

    return read


def read_own_table(path: Path, unit: str | None = None) -> pd.DataFrame:
    """A mass model from a user's CSV file: returns Z, N and mass_excess [keV] of the neutral atom.

    The header names Z, N and one of ``mass_excess`` (neutral atom), ``binding_energy`` (bare nucleus, as DFT codes
    print it) or ``ame_binding_energy`` (against hydrogen atoms, as AME prints it), with its unit, as ``mass_excess
    [MeV]``.
    """
    return _own(read_csv(path), unit)


def parse_own_table(text: str, unit: str | None = None, name: str = "table") -> pd.DataFrame:
    """A mass model in the text of a CSV file, as ``read_own_table``."""
    return _own(parse_csv(text, name), unit)


def checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table, if its nuclei are in range and unique and its masses finite and on the common zero of energy.

    The zero is judged against the Duflo-Zuker formula within four protons of stability, where it is good to 1 MeV.
    """
    Z, N = table["Z"].to_numpy(), table["N"].to_numpy()
    excess = table["mass_excess"].to_numpy(dtype=np.float64)
    _refuse((Z < 1) | (Z > LARGEST_Z) | (N < 0) | (N > LARGEST_N), "Z or N out of range", table, name)
    _refuse(~np.isfinite(excess), "a mass that is not finite", table, name)
    _refuse(table.duplicated(["Z", "N"]).to_numpy(), "a nucleus for the second time", table, name)
    off = duflo_zuker(Z, N) - ame_binding_energy(Z, N, excess)
    _refuse(np.abs(off) > _FAR_OFF, "a mass more than 300 MeV from any formula", table, name)
    A = Z + N
    near = (np.abs(Z - A / (1.98 + 0.0155 * A ** (2 / 3))) <= 4) & (A >= 40)
    shift = float(np.median(off[near])) if near.any() else 0.0
    if abs(shift) > _COMMON_ZERO:
        raise DataError(
            f"{name} lies {shift / _MEV:.1f} MeV from the known masses near stability; check its unit, "
            "whether it prints a mass excess or a binding energy, and the zero of its energies."
        )
    return table


def _dataset(file: h5py.File, name: str, path: Path) -> NDArray[np.float64]:
    data = file["acol/data"][name]
    if data.ndim != 1 or not 0 < data.shape[0] <= _LARGEST_TABLE or data.dtype.kind not in "fiu":
        raise DataError(f"{name} in {path.name} is no column of numbers; fetch the file again.")
    values = np.asarray(data[:], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{name} in {path.name} holds a value that is not finite; fetch the file again.")
    return values


def _own(table: CsvTable, unit: str | None) -> pd.DataFrame:
    given = [column for column in OWN_COLUMNS if column in table.units]
    if len(given) != 1:
        raise DataError(
            f"{table.name} has the columns {', '.join(table.units)}; exactly one of {', '.join(OWN_COLUMNS)} is needed."
        )
    return _converted(table, given[0], energy_unit(table, given[0], unit), OWN_COLUMNS[given[0]])


def _converted(table: CsvTable, column: str, unit: str, convert: Convert) -> pd.DataFrame:
    require(table, ("Z", "N", column))
    nuclei = [nucleus(row) for row in table.rows]
    values = np.array([energy(row, column, unit) for row in table.rows])
    Z, N = np.array(nuclei, dtype=np.int64).T
    if np.any(Z + N == 0):
        raise table.rows[int(np.argmin(Z + N))].error("Z = N = 0 is no nucleus")
    frame = pd.DataFrame({"Z": Z, "N": N, "mass_excess": convert(Z, N, values)})
    return checked(frame, table.name)


def _refuse(wrong: NDArray[np.bool_], what: str, table: pd.DataFrame, name: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        Z, N, excess = table.iloc[row][list(COLUMNS)]
        raise DataError(
            f"{name}, nucleus {row + 1} (Z = {Z:.0f}, N = {N:.0f}, {excess} keV) is {what}; correct or remove it."
        )
