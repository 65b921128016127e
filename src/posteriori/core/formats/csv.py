"""CSV files of a user's own: strict, with units in the header, and every complaint names the row."""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from posteriori.core.errors import DataError

LARGEST_FILE = 50_000_000
"""Bytes, unpacked; no table that is read as text is larger."""
ENDINGS = {"m": "m", "km": "km", "ft": "ft", "mgal": "mGal", "ugal": "uGal", "nt": "nT", "deg": "deg"}
"""Units that a column's name may end in, after an underscore, where it has none in brackets."""
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True)
class Row:
    """One record of a CSV file: its fields by column name, and where it stands."""

    fields: Mapping[str, str]
    number: int
    table: str

    def value(self, column: str) -> float:
        """The number in ``column``."""
        text = self.fields[column]
        if not NUMBER.fullmatch(text):
            raise self.error(f"{column} should be a number but reads {text!r}")
        return float(text)

    def error(self, complaint: str) -> DataError:
        """A ``DataError`` that names this row."""
        return DataError(f"{self.table}, line {self.number}: {complaint}; correct the row or remove it.")


@dataclass(frozen=True)
class CsvTable:
    """Rows of a CSV file and the unit that its header gives for each column ("" if none)."""

    rows: tuple[Row, ...]
    units: Mapping[str, str]
    name: str


def read_csv(path: Path) -> CsvTable:
    """The rows of a CSV file, packed by xz or gzip or not, as ``parse_csv``."""
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise DataError(f"{path} holds {size / 1e6:.0f} MB, more than any table; give the right file.")
        text = _unpacked(path).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} holds a byte that is not UTF-8 at {problem.start}; save it as UTF-8.") from None
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as problem:
        raise DataError(f"cannot unpack {path}: {problem}; the file is cut or no {path.suffix[1:]} file.") from problem
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}; give the path of a CSV file.") from problem
    return parse_csv(text, path.name)


def parse_csv(text: str, name: str = "table") -> CsvTable:
    """Rows under a header such as ``Z,N,mass_excess [keV]``; lines that start with ``#`` are comments.

    Each row must have as many fields as the header and the text must end with a line end, so that a truncated file is
    noticed.
    """
    if not text.strip():
        raise DataError(f"{name} is empty; give a header with units, such as height [m], and rows below it.")
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
        raise DataError(f"{name} holds no row below its header; give at least one.")
    return CsvTable(tuple(rows), MappingProxyType(units), name)


def require(table: CsvTable, columns: tuple[str, ...]) -> None:
    """Refuse a table that lacks one of ``columns``."""
    missing = [column for column in columns if column not in table.units]
    if missing:
        raise DataError(
            f"{table.name} has the columns {', '.join(table.units)}; {' and '.join(missing)} must be there too."
        )


def columns_by_name(table: CsvTable, names: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
    """For each quantity at hand its column head and unit ("" if none), by the ``names`` it is known under.

    Case does not count, spaces and hyphens stand for underscores, and a unit may be an ending: ``Height_km``.

    Raises:
        DataError: two columns of one quantity.
    """
    quantity_of = {name: quantity for quantity, known in names.items() for name in known}
    found: dict[str, tuple[str, str]] = {}
    for head, bracket in table.units.items():
        bare, unit = re.sub(r"[\s-]+", "_", head.strip().lower()), bracket
        stem, _, ending = bare.rpartition("_")
        if not bracket and stem and ending in ENDINGS:
            bare, unit = stem, ENDINGS[ending]
        quantity = quantity_of.get(bare)
        if quantity is None:
            continue
        if quantity in found:
            raise DataError(f"{table.name} has {found[quantity][0]!r} and {head!r}; keep one {quantity}.")
        found[quantity] = (head, unit)
    return found


def _unpacked(path: Path) -> bytes:
    """The bytes of the file, no more than :data:`LARGEST_FILE`."""
    with path.open("rb") as file:
        if path.suffix == ".xz":
            with lzma.LZMAFile(file) as unpacked:
                found = unpacked.read(LARGEST_FILE + 1)
        elif path.suffix == ".gz":
            with gzip.GzipFile(fileobj=file) as unzipped:
                found = unzipped.read(LARGEST_FILE + 1)
        else:
            found = file.read(LARGEST_FILE + 1)
    if len(found) > LARGEST_FILE:
        raise DataError(f"{path} unpacks to more than {LARGEST_FILE / 1e6:.0f} MB; give the right file.")
    return found


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
