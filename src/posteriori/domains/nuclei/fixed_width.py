"""Fields of fixed-width tables: strict, and every complaint names the file and the line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from posteriori.core.errors import DataError

_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?([0-9]+[.#]?[0-9]*|[.#][0-9]+)")


@dataclass(frozen=True)
class Line:
    """One line of a table, with the name of the table and the line number (from 1)."""

    text: str
    number: int
    table: str

    def integer(self, columns: slice, name: str) -> int:
        """The whole number printed in ``columns``."""
        field = self.text[columns].strip()
        if not _INTEGER.fullmatch(field):
            raise self.error(f"{name} should be a whole number in {_place(columns)} but reads {field!r}")
        return int(field)

    def number_and_flag(self, columns: slice, name: str) -> tuple[float, bool]:
        """The number printed in ``columns``, and whether a ``#`` marks it as an estimate."""
        field = self.text[columns].strip()
        if not _NUMBER.fullmatch(field):
            raise self.error(f"{name} should be a number in {_place(columns)} but reads {field!r}")
        return float(field.replace("#", ".")), "#" in field

    def error(self, complaint: str) -> DataError:
        """A ``DataError`` that names this line."""
        return DataError(
            f"{self.table}, line {self.number}: {complaint}. The line is {self.text.strip()[:90]!r}; "
            "compare it with the original file and the year given."
        )


def lines_of(text: str, table: str) -> list[Line]:
    """The lines of a table, without line ends."""
    return [Line(line, number, table) for number, line in enumerate(text.splitlines(), start=1)]


def read_ascii(path: Path) -> str:
    """The text of a table; ``DataError`` where the file is missing, not readable or not plain ASCII."""
    try:
        return path.read_bytes().decode("ascii")
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}; give the path of the raw table.") from problem
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} holds a byte that is not ASCII at {problem.start}; fetch it again.") from None


def _place(columns: slice) -> str:
    return f"columns {columns.start + 1} to {columns.stop}"
