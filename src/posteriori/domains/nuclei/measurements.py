"""Measured masses of a user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from posteriori.core.errors import DataError
from posteriori.core.formats.csv import CsvTable, parse_csv, read_csv, require
from posteriori.domains.nuclei.chart import chart
from posteriori.domains.nuclei.csv_table import energy, energy_unit, nucleus
from posteriori.domains.nuclei.data import SMALLEST
from posteriori.physics.mass_conversions import ame_binding_energy
from posteriori.physics.mass_formulae import duflo_zuker

COLUMNS = ("Z", "N", "mass_excess", "sigma")
FAR_OFF = 10_000.0  # [keV] from the Duflo-Zuker formula; no value of an evaluation lies further off than 7400


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
    excess_unit, sigma_unit = energy_unit(table, "mass_excess", unit), energy_unit(table, "sigma", unit)
    masses: dict[tuple[int, int], tuple[float, float]] = {}
    for row in table.rows:
        Z, N = nucleus(row)
        if Z + N == 0:
            raise row.error("Z = N = 0 is no nucleus")
        if (Z, N) in masses:
            raise row.error(f"the nucleus Z = {Z}, N = {N} is listed twice")
        sigma = energy(row, "sigma", sigma_unit)
        if sigma <= 0:
            raise row.error(f"sigma = {row.fields['sigma']} {sigma_unit} must be positive")
        masses[Z, N] = energy(row, "mass_excess", excess_unit), sigma
    return pd.DataFrame([(*key, *mass) for key, mass in masses.items()], columns=list(COLUMNS))


def usable(masses: pd.DataFrame, name: str = "table") -> pd.DataFrame:
    """Measured masses themselves, if the law of masses can take them in.

    Raises:
        DataError: a nucleus outside the chart, or a mass so far from a formula that its unit or sign must be wrong.
    """
    Z, N = (masses[column].to_numpy(np.int64) for column in ("Z", "N"))
    excess = masses["mass_excess"].to_numpy(np.float64)
    names = chart(Z, N).labels("nuclide")
    light = np.minimum(Z, N) < SMALLEST
    if light.any():
        raise DataError(
            f"{name}: {names[light][0]} has fewer than {SMALLEST} protons or neutrons, too few for the law; remove it."
        )
    off = np.abs(duflo_zuker(Z, N) - ame_binding_energy(Z, N, excess))
    worst = int(off.argmax())
    if off[worst] > FAR_OFF:
        raise DataError(
            f"{name}: {excess[worst]:g} keV for {names[worst]} lies {off[worst] / 1e3:.4g} MeV from a formula that is "
            "good to a few; check its unit and sign, and that it is the mass excess of the neutral atom."
        )
    return masses
