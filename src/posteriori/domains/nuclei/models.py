"""Baselines: known mass formulae and published mass tables, each with the evaluation that its own fit had seen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from numpy.typing import ArrayLike

from posteriori.core.errors import DataError, LeakError, OptionError
from posteriori.domains.nuclei.model_files import atomic_excess, csv_reader, o2_reader, read_ktuy, read_text
from posteriori.physics.mass_conversions import (
    Floats,
    atomic_mass_excess_from_ame_binding,
    atomic_mass_excess_from_nuclear_binding,
)
from posteriori.physics.mass_formulae import duflo_zuker_columns, duflo_zuker_deformed, semf5, semf9

DATA_VARIABLE = "POSTERIORI_DATA"

Columns = Callable[[ArrayLike, ArrayLike], Floats]


@dataclass(frozen=True)
class Table:
    """A published file and how to read it; ``packaged``: the ``masstable`` package holds it too."""

    file: str
    read: Callable[[Path], pd.DataFrame]
    packaged: bool = False


@dataclass(frozen=True)
class Formula:
    """Linear columns of the binding energy [keV] as AME counts it; the coefficients are fitted to the training year."""

    columns: Columns


@dataclass(frozen=True)
class Baseline:
    """A mass model; ``saw`` is the latest evaluation that its published parameters were fitted to (0: none)."""

    name: str
    saw: int
    source: Table | Formula
    citation: str
    licence: str


def dz10_columns(Z: ArrayLike, N: ArrayLike) -> Floats:
    """Duflo-Zuker columns, shape (*nuclei, 10), with the shapes that the 1996 parameters choose."""
    return duflo_zuker_columns(Z, N, duflo_zuker_deformed(Z, N))


_FORMULA = "a published formula, written here"
_MASSTABLE = "MIT (package masstable); cite the paper"
_O2SCL = "GPL-3 (O2scl's copy of the authors' table); cite the paper"
_BMEX = "no licence stated (BMEX); not to be redistributed"

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        baseline.name: baseline
        for baseline in (
            Baseline("semf5", 0, Formula(semf5), "von Weizsäcker (1935), Z. Phys. 96, 431", _FORMULA),
            Baseline("semf9", 0, Formula(semf9), "Kirson (2008), Nucl. Phys. A 798, 29", _FORMULA),
            Baseline("dz10", 1993, Formula(dz10_columns), "Duflo & Zuker (1995), Phys. Rev. C 52, R23", _FORMULA),
            Baseline(
                "dz28",
                1995,
                Table("DUZU.txt", read_text, packaged=True),
                "Duflo & Zuker (1995), Phys. Rev. C 52, R23",
                _MASSTABLE,
            ),
            Baseline(
                "frdm95",
                1995,
                Table("FRDM95.txt", read_text, packaged=True),
                "Möller, Nix, Myers & Swiatecki (1995), At. Data Nucl. Data Tables 59, 185",
                _MASSTABLE,
            ),
            Baseline(
                "ktuy05",
                2003,
                Table("KTUY05.txt", read_ktuy, packaged=True),
                "Koura, Tachibana, Uno & Yamada (2005), Prog. Theor. Phys. 113, 305",
                _MASSTABLE,
            ),
            Baseline(
                "ws3",
                2003,
                Table("lwdw11.o2", o2_reader("Mth")),
                "Liu, Wang, Deng & Wu (2011), Phys. Rev. C 84, 014333",
                _O2SCL,
            ),
            Baseline(
                "ws3rbf",
                2003,
                Table("WS32011.txt", read_text, packaged=True),
                "Wang & Liu (2011), Phys. Rev. C 84, 051303",
                _MASSTABLE,
            ),
            Baseline(
                "frdm2012",
                2003,
                Table("frdm2012_masses_unixtime_nucmass.csv", csv_reader("M_th", atomic_excess)),
                "Möller, Sierk, Ichikawa & Sagawa (2016), At. Data Nucl. Data Tables 109-110, 1",
                "MIT (repository unixtime/nucmass); cite the paper",
            ),
            Baseline(
                "unedf0",
                2003,
                Table("UNEDF0.csv", csv_reader("BE", atomic_mass_excess_from_nuclear_binding)),
                "Kortelainen et al. (2010), Phys. Rev. C 82, 024313",
                _BMEX,
            ),
            Baseline(
                "unedf1",
                2003,
                Table("UNEDF1.csv", csv_reader("BE", atomic_mass_excess_from_nuclear_binding)),
                "Kortelainen et al. (2012), Phys. Rev. C 85, 024304",
                _BMEX,
            ),
            Baseline(
                "unedf2",
                2003,
                Table("UNEDF2.csv", csv_reader("BE", atomic_mass_excess_from_nuclear_binding)),
                "Kortelainen et al. (2014), Phys. Rev. C 89, 054314",
                _BMEX,
            ),
            Baseline(
                "hfb24",
                2012,
                Table("HFB24.csv", csv_reader("BE", atomic_mass_excess_from_ame_binding)),
                "Goriely, Chamel & Pearson (2013), Phys. Rev. C 88, 024308",
                _BMEX,
            ),
            Baseline(
                "hfb26",
                2012,
                Table("HFB26.txt", read_text, packaged=True),
                "Goriely, Chamel & Pearson (2013), Phys. Rev. C 88, 024308",
                _MASSTABLE,
            ),
            Baseline(
                "ws4",
                2012,
                Table("wlwm14.o2", o2_reader("WS4")),
                "Wang, Liu, Wu & Meng (2014), Phys. Lett. B 734, 215",
                _O2SCL,
            ),
            Baseline(
                "ws4rbf",
                2012,
                Table("wlwm14.o2", o2_reader("WS4_RBF")),
                "Wang, Liu, Wu & Meng (2014), Phys. Lett. B 734, 215",
                _O2SCL,
            ),
        )
    }
)


def baseline(name: str) -> Baseline:
    """The record of one baseline, or an ``OptionError`` that lists them."""
    if name not in BASELINES:
        raise OptionError(f"there is no baseline {name!r}; choose one of {', '.join(BASELINES)}.")
    return BASELINES[name]


def leak_free(year: int) -> tuple[str, ...]:
    """Names of the baselines whose parameters saw no evaluation later than ``year``."""
    return tuple(name for name, record in BASELINES.items() if record.saw <= year)


def refuse_leak(name: str, train: int) -> None:
    """Raise ``LeakError`` if the baseline was fitted to masses later than the training evaluation."""
    saw = baseline(name).saw
    if saw > train:
        raise LeakError(
            f"the baseline {name!r} was fitted to AME{saw}, later than the training year {train}, so its score would "
            f"be flattered; train on {saw} or later, or choose one of {', '.join(leak_free(train))}."
        )


def available(folder: Path | None = None) -> tuple[str, ...]:
    """Names of the baselines that can be used now: the formulae and every table whose file is found."""
    return tuple(name for name, record in BASELINES.items() if _is_here(record.source, folder))


def load(name: str, folder: Path | None = None) -> pd.DataFrame:
    """One table of atomic mass excesses: columns Z, N, mass_excess [keV].

    The file keeps its published name and may lie anywhere below ``folder``; without a folder, below the subfolder
    ``nuclei`` of the one that the environment variable POSTERIORI_DATA names; else the ``masstable`` package is tried.
    """
    source = baseline(name).source
    if isinstance(source, Formula):
        raise OptionError(f"{name!r} is a formula, not a table; use the columns of baseline({name!r}).source.")
    found = find(source.file, folder)
    if found is not None:
        return source.read(found)
    if not (source.packaged and _has_masstable()):
        help_package = "; or install the masstable package" if source.packaged else ""
        raise DataError(
            f"the table of {name!r} is not here: put {source.file} below the folder given as tables, "
            f"or below ${DATA_VARIABLE}/nuclei{help_package}."
        )
    with as_file(files("masstable") / "data" / source.file) as path:
        return source.read(path)


def find(file: str, folder: Path | None = None) -> Path | None:
    """Where ``file`` lies below the user's data folder; ``DataError`` if it is there twice or the folder is missing."""
    root = _root(folder)
    if root is None:
        return None
    require_folder(root)
    found = sorted(root.rglob(file))
    if len(found) > 1:
        raise DataError(f"{file} lies below {root} more than once: {found[0]} and {found[1]}; keep one.")
    return found[0] if found else None


def require_folder(folder: Path) -> None:
    """Raise ``DataError`` where there is no such folder of tables."""
    if folder.is_dir():
        return
    if folder.exists():
        raise DataError(f"the data folder {folder} is a file; give the folder that it lies in.")
    raise DataError(f"the data folder {folder} does not exist; create it, or correct the folder or ${DATA_VARIABLE}.")


def fingerprint(name: str, folder: Path | None = None) -> str:
    """SHA-256 of the values of one baseline's table, 16 hexadecimal digits."""
    return hashlib.sha256(load(name, folder).to_csv(index=False).encode()).hexdigest()[:16]


def _root(folder: Path | None) -> Path | None:
    if folder is not None:
        return folder
    variable = os.environ.get(DATA_VARIABLE, "")
    return Path(variable) / "nuclei" if variable else None


def _is_here(source: Table | Formula, folder: Path | None) -> bool:
    if isinstance(source, Formula):
        return True
    return find(source.file, folder) is not None or (source.packaged and _has_masstable())


def _has_masstable() -> bool:
    return find_spec("masstable") is not None
