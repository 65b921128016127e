"""CSV files of a user's own: strict, with units in the header, and every complaint names the row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from posteriori.core.errors import DataError, UnitError
from posteriori.physics.mass_conversions import CONSTANTS, LARGEST_N, LARGEST_Z

IN_KEV: Mapping[str, float] = MappingProxyType(
    {
        "eV": 1e-3,
        "keV": 1.0,
        "MeV": 1e3,
        "GeV": 1e6,
        "u": CONSTANTS["atomic_mass_unit"].value,
        "micro-u": CONSTANTS["atomic_mass_unit"].value * 1e-6,
    }
)

LARGEST_FILE = 50_000_000  # bytes; the whole chart of a model takes 1 % of that
_INTEGER = re.compile(r"[0-9]{1,4}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True)
class Row:
    """One record of a CSV file: its fields by column name, and where it stands."""

    fields: Mapping[str, str]
    number: int
    table: str

    def nucleus(self) -> tuple[int, int]:
        """Z and N of the row, in range."""
        return self._nucleons("Z", LARGEST_Z), self._nucleons("N", LARGEST_N)

    def energy(self, column: str, unit: str) -> float:
        """The energy in ``column`` [keV], printed in ``unit``."""
        text = self.fields[column]
        if not _NUMBER.fullmatch(text):
            raise self.error(f"{column} should be a number but reads {text!r}")
        return float(text) * IN_KEV[unit]

    def error(self, complaint: str) -> DataError:
        """A ``DataError`` that names this row."""
        return DataError(f"{self.table}, line {self.number}: {complaint}; correct the row or remove it.")

    def _nucleons(self, column: str, largest: int) -> int:
        text = self.fields[column]
        if not _INTEGER.fullmatch(text):
            raise self.error(f"{column} should be a whole number but reads {text!r}")
        if int(text) > largest:
            raise self.error(f"{column} = {text} is outside 0 to {largest}")
        return int(text)


@dataclass(frozen=True)
class CsvTable:
    """Rows of a CSV file and the unit that its header gives for each column ("" if none)."""

    rows: tuple[Row, ...]
    units: Mapping[str, str]
    name: str

    def unit(self, column: str, given: str | None) -> str:
        """The unit of ``column``: from the header, or ``given`` where the header has none."""
        printed = self.units[column]
        if printed and given and printed != given:
            raise UnitError(f"{self.name} says {column} is in {printed}, the call says {given}; drop one of the two.")
        unit = printed or given or ""
        if unit not in IN_KEV:
            raise UnitError(
                f"{self.name} gives {column} in {unit or 'no unit'}; write one of {', '.join(IN_KEV)} "
                f"in the header, as {column} [keV], or pass it as unit."
            )
        return unit


def read_csv(path: Path) -> CsvTable:
    """The rows of a CSV file, as ``parse_csv``."""
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise DataError(f"{path} holds {size / 1e6:.0f} MB, more than any table of nuclei; give the right file.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}; give the path of a CSV file.") from problem
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} holds a byte that is not UTF-8 at {problem.start}; save it as UTF-8.") from None
    return parse_csv(text, path.name)


def parse_csv(text: str, name: str = "table") -> CsvTable:
    """Rows under a header such as ``Z,N,mass_excess [keV]``; lines that start with ``#`` are comments.

    Each row must have as many fields as the header and the text must end with a line end, so that a truncated file is
    noticed.
    """
    if not text.strip():
        raise DataError(f"{name} is empty; give a header such as Z,N,mass_excess [keV],sigma [keV] and rows below it.")
    if not text.endswith(("\n", "\r")):
        raise DataError(f"{name} does not end with a line end, so its last row may be cut; add one if it is complete.")
    if "\0" in text or '"' in text:
        raise DataError(f"{name} holds a quote or a zero byte; write plain numbers separated by commas.")
    header: list[str] = []
    units: dict[str, str] = {}
    rows: list[Row] = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [field.strip() for field in line.split(",")]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if not header:
            header, units = _header(cells, name)
        elif len(cells) != len(header):
            raise DataError(
                f"{name}, line {number}: {len(cells)} fields under {len(header)} column names; "
                "the file is truncated or a comma is missing."
            )
        else:
            rows.append(Row(MappingProxyType(dict(zip(header, cells, strict=True))), number, name))
    if not rows:
        raise DataError(f"{name} holds no row below its header; give at least one nucleus.")
    return CsvTable(tuple(rows), MappingProxyType(units), name)


def require(table: CsvTable, columns: tuple[str, ...]) -> None:
    """Refuse a table that lacks one of ``columns``."""
    missing = [column for column in columns if column not in table.units]
    if missing:
        raise DataError(
            f"{table.name} has the columns {', '.join(table.units)}; {' and '.join(missing)} must be there too."
        )


def _header(cells: list[str], name: str) -> tuple[list[str], dict[str, str]]:
    """Column names, and their units from the square brackets."""
    if len(cells) == 1 and (";" in cells[0] or "\t" in cells[0]):
        raise DataError(f"{name} parts its columns by semicolons or tabs; save it with commas.")
    header: list[str] = []
    units: dict[str, str] = {}
    for cell in cells:
        column, bracket, rest = cell.partition("[")
        if bracket and not rest.endswith("]"):
            raise DataError(f"{name}: the column head {cell!r} opens a bracket and does not close it.")
        if column.strip() in units:
            raise DataError(f"{name} has the column {column.strip()!r} twice; keep one.")
        header.append(column.strip())
        units[column.strip()] = rest.removesuffix("]").strip()
    return header, units
