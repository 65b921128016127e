"""What tables of nuclei add to a CSV file: proton and neutron numbers, and energies in keV."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from posteriori.core.errors import UnitError
from posteriori.core.formats.csv import CsvTable, Row
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

_INTEGER = re.compile(r"[0-9]{1,4}")


def nucleus(row: Row) -> tuple[int, int]:
    """Z and N of the row, in range."""
    return _nucleons(row, "Z", LARGEST_Z), _nucleons(row, "N", LARGEST_N)


def energy(row: Row, column: str, unit: str) -> float:
    """The energy in ``column`` [keV], printed in ``unit``."""
    return row.value(column) * IN_KEV[unit]


def energy_unit(table: CsvTable, column: str, given: str | None) -> str:
    """The unit of ``column``: from the header, or ``given`` where the header has none."""
    printed = table.units[column]
    if printed and given and printed != given:
        raise UnitError(f"{table.name} says {column} is in {printed}, the call says {given}; drop one of the two.")
    unit = printed or given or ""
    if unit not in IN_KEV:
        raise UnitError(
            f"{table.name} gives {column} in {unit or 'no unit'}; write one of {', '.join(IN_KEV)} "
            f"in the header, as {column} [keV], or pass it as unit."
        )
    return unit


def _nucleons(row: Row, column: str, largest: int) -> int:
    text = row.fields[column]
    if not _INTEGER.fullmatch(text):
        raise row.error(f"{column} should be a whole number but reads {text!r}")
    if int(text) > largest:
        raise row.error(f"{column} = {text} is outside 0 to {largest}")
    return int(text)
