"""Measured masses of a user's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from posteriori.domains.nuclei.csv_table import CsvTable, parse_csv, read_csv, require

COLUMNS = ("Z", "N", "mass_excess", "sigma")


def read_measurements(path: Path, unit: str | None = None) -> pd.DataFrame:
    """Measured masses from a CSV file: columns Z, N, mass_excess [keV] of the neutral atom, sigma [keV].

    The header is ``Z,N,mass_excess [keV],sigma [keV]``; any unit of ``csv_table.IN_KEV`` will do, in brackets or as
    ``unit``. Other columns are ignored. ``DataError`` names the row that holds a duplicate nucleus, a missing, zero or
    negative sigma, a number out of range, or is cut short.
    """
    return _measurements(read_csv(path), unit)


def parse_measurements(text: str, unit: str | None = None, name: str = "table") -> pd.DataFrame:
    """Measured masses in the text of a CSV file, as ``read_measurements``."""
    return _measurements(parse_csv(text, name), unit)


def _measurements(table: CsvTable, unit: str | None) -> pd.DataFrame:
    require(table, COLUMNS)
    excess_unit, sigma_unit = table.unit("mass_excess", unit), table.unit("sigma", unit)
    masses: dict[tuple[int, int], tuple[float, float]] = {}
    for row in table.rows:
        Z, N = row.nucleus()
        if Z + N == 0:
            raise row.error("Z = N = 0 is no nucleus")
        if (Z, N) in masses:
            raise row.error(f"the nucleus Z = {Z}, N = {N} is listed twice")
        sigma = row.energy("sigma", sigma_unit)
        if sigma <= 0:
            raise row.error(f"sigma = {row.fields['sigma']} {sigma_unit} must be positive")
        masses[Z, N] = row.energy("mass_excess", excess_unit), sigma
    return pd.DataFrame([(*nucleus, *mass) for nucleus, mass in masses.items()], columns=list(COLUMNS))
