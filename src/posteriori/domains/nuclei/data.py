"""Evaluated nuclear masses that ship with the package, and the fixed lists of nuclei first measured later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import pandas as pd

from posteriori.core.errors import OptionError

YEARS = (1995, 2003, 2012, 2016, 2020)
SMALLEST = 8  # scores use nuclei with at least eight protons and eight neutrons
KEY = ["Z", "N"]

CITATIONS: Mapping[int, str] = MappingProxyType(
    {
        1995: "Audi & Wapstra (1995), the 1995 update to the atomic mass evaluation, Nucl. Phys. A 595, 409",
        2003: "Wapstra, Audi & Thibault (2003), the AME2003 atomic mass evaluation, Nucl. Phys. A 729, 129 and 337",
        2012: "Audi et al. and Wang et al. (2012), the AME2012 atomic mass evaluation, Chin. Phys. C 36, 1287 and 1603",
        2016: "Huang et al. and Wang et al. (2017), the AME2016 atomic mass evaluation, Chin. Phys. C 41, 030002-3",
        2020: "Huang et al. and Wang et al. (2021), the AME2020 atomic mass evaluation, Chin. Phys. C 45, 030002-3",
    }
)


def evaluation(year: int) -> pd.DataFrame:
    """Masses of one Atomic Mass Evaluation, sorted by Z and N.

    Columns Z, N, mass_excess [keV] of the neutral atom, sigma [keV], measured (False: extrapolated, ``#``), year.
    ``OptionError`` lists the years that exist.
    """
    table = _masses()
    return table[table["year"] == known_year(year)].reset_index(drop=True)


def fingerprint(year: int) -> str:
    """SHA-256 of one evaluation's values, 16 hexadecimal digits: what a run records of the data it read."""
    table = evaluation(year)[["Z", "N", "mass_excess", "sigma", "measured"]]
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:16]


def citation(year: int) -> str:
    """What to cite for one evaluation."""
    return CITATIONS[known_year(year)]


def new_since(train: int, test: int) -> pd.DataFrame:
    """Nuclei (Z, N) measured in the ``test`` evaluation, not in the ``train`` one, with Z, N >= 8.

    The pairs in ``fixed_lists`` are read from the committed list, so that scores stay comparable; any other pair of
    years is computed from the two evaluations.
    """
    ordered(train, test)
    lists = _lists()
    fixed = lists[(lists["train"] == train) & (lists["test"] == test)]
    return fixed[KEY].reset_index(drop=True) if len(fixed) else first_measured(train, test)


def fixed_lists() -> list[tuple[int, int]]:
    """The (train, test) pairs whose list of new nuclei is committed."""
    pairs = _lists()[["train", "test"]].drop_duplicates()
    return [(int(train), int(test)) for train, test in pairs.itertuples(index=False)]


def first_measured(train: int, test: int) -> pd.DataFrame:
    """Nuclei (Z, N) of ``new_since``, computed from the two evaluations."""
    ordered(train, test)
    return only_in(measured(test), measured(train))


def measured(year: int) -> pd.DataFrame:
    """Measured masses with Z, N >= 8 of one evaluation, columns as ``evaluation``."""
    table = evaluation(year)
    chosen = table["measured"] & (table["Z"] >= SMALLEST) & (table["N"] >= SMALLEST)
    return table[chosen].reset_index(drop=True)


def only_in(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The (Z, N) of ``table`` that ``other`` does not hold."""
    index = pd.MultiIndex.from_frame(table[KEY])
    return table.loc[~index.isin(pd.MultiIndex.from_frame(other[KEY])), KEY].reset_index(drop=True)


def known_year(year: int) -> int:
    """The year itself, or an ``OptionError`` that lists the evaluations."""
    if year not in YEARS:
        raise OptionError(f"there is no evaluation of {year}; choose one of {', '.join(map(str, YEARS))}.")
    return year


def ordered(train: int, test: int) -> None:
    """Refuse unknown years and a test evaluation that is not later than the training one."""
    if known_year(train) >= known_year(test):
        raise OptionError(f"train={train} is not before test={test}; give an earlier training or a later test year.")


def shipped(name: str) -> pd.DataFrame:
    """One of the tables in this package, all cells as text; lines that start with ``#`` say where it comes from."""
    with (files("posteriori.domains.nuclei") / "tables" / name).open(encoding="ascii") as stream:
        return pd.read_csv(stream, comment="#", dtype=str, keep_default_na=False)


@cache
def _masses() -> pd.DataFrame:
    table = shipped("masses.csv")
    table["measured"] = table["measured"] == "1"
    numbers = table.astype({"Z": "int64", "N": "int64", "mass_excess": "float64", "sigma": "float64", "year": "int64"})
    return numbers[["Z", "N", "mass_excess", "sigma", "measured", "year"]]


@cache
def _lists() -> pd.DataFrame:
    return shipped("new_since.csv").astype("int64")
