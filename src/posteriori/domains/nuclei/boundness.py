"""Which nuclei are known to hold together and which to fall apart: what drip lines are scored on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
import pandas as pd

from posteriori.core.errors import DataError
from posteriori.domains.nuclei import nubase
from posteriori.domains.nuclei.data import KEY, evaluation, known_year, only_in, ordered, shipped
from posteriori.physics.mass_conversions import CONSTANTS

EDITIONS: Mapping[int, int] = MappingProxyType({1995: 1997, 2003: 2003, 2012: 2012, 2016: 2016, 2020: 2020})
CITATIONS: Mapping[int, str] = MappingProxyType(
    {
        1997: "Audi, Bersillon, Blachot & Wapstra (1997), the NUBASE evaluation, Nucl. Phys. A 624, 1",
        2003: "Audi, Bersillon, Blachot & Wapstra (2003), the NUBASE evaluation, Nucl. Phys. A 729, 3",
        2012: "Audi et al. (2012), the NUBASE2012 evaluation, Chin. Phys. C 36, 1157",
        2016: "Audi et al. (2017), the NUBASE2016 evaluation, Chin. Phys. C 41, 030001",
        2020: "Kondev et al. (2021), the NUBASE2020 evaluation, Chin. Phys. C 45, 030001",
    }
)

SURE = 3.0  # a measured separation energy settles the question when it is this many standard deviations from zero

_LETTERS = {nubase.BOUND: "b", nubase.UNBOUND: "u", nubase.OPEN: "o"}
_SIGNS = {
    nubase.STABLE: "s",
    nubase.UNSTABLE: "p",
    nubase.UNKNOWN: "?",
    nubase.MEASURED: "=",
    nubase.LOWER: ">",
    nubase.UPPER: "<",
    nubase.ESTIMATED: "~",
}
_BINDINGS = {letter: binding for binding, letter in _LETTERS.items()}
_KINDS = {sign: kind for kind, sign in _SIGNS.items()}
_CELL = re.compile(r"([buo])([sp?]|[=<>~](?=.))(.*)")


def ground_states(year: int) -> pd.DataFrame:
    """Ground states in the NUBASE edition that goes with an evaluation (1997 with AME1995), sorted by Z and N.

    Columns Z, N, binding ("bound", "unbound" or "open"), half_life [s] to six digits (infinite if stable, missing if
    not known), half_life_kind.
    """
    column = str(EDITIONS[known_year(year)])
    table = _facts()
    listed = table[table[column] != ""]
    cells = [decode(cell) for cell in listed[column]]
    frame = pd.DataFrame(cells, columns=["binding", "half_life", "half_life_kind"], index=listed.index)
    joined = pd.concat([listed[KEY], frame], axis=1).reset_index(drop=True)
    return joined.astype({"half_life": "Float64"})


def settled(year: int) -> pd.DataFrame:
    """Nuclei known to be bound or unbound: columns Z, N, bound (bool), evidence ("emission", "lifetime" or "mass").

    Bound means that S_n, S_2n, S_p and S_2p are all positive. Seen nucleon emission settles it first, then measured
    masses that put a separation energy 3 sigma from zero (all on the endangered side for bound, any one for unbound),
    then a long life of a neutron-rich nucleus.
    """
    deviations = _separations(year)
    negative = (deviations < -SURE).any(axis=1)
    positive = deviations > SURE
    protons, neutrons = (deviations.index.get_level_values(name).to_numpy() for name in KEY)
    proton_rich = protons > _stable_protons(protons + neutrons)
    safe = np.where(proton_rich, positive["S_p"] & positive["S_2p"], positive["S_n"] & positive["S_2n"])
    masses = pd.DataFrame({"unbound": negative, "bound": safe & ~negative}, index=deviations.index)

    states = ground_states(year).set_index(KEY)
    index = masses.index.union(states.index)
    masses = masses.reindex(index, fill_value=False)
    binding = states["binding"].reindex(index, fill_value=nubase.OPEN)
    emits, lives = (binding == nubase.UNBOUND).to_numpy(), (binding == nubase.BOUND).to_numpy()
    weighed = (masses["unbound"] | masses["bound"]).to_numpy()
    bound = ~emits & (masses["bound"] | (lives & ~masses["unbound"])).to_numpy()
    evidence = np.where(emits, "emission", np.where(weighed, "mass", "lifetime"))
    table = pd.DataFrame({"bound": bound, "evidence": evidence}, index=index)
    known: pd.DataFrame = table[emits | weighed | lives].sort_index().reset_index()
    return known


def settled_since(train: int, test: int) -> pd.DataFrame:
    """What ``test`` has settled and ``train`` had not, columns as ``settled``: where to score P(bound)."""
    ordered(train, test)
    later = settled(test)
    new: pd.DataFrame = only_in(later, settled(train)).merge(later, on=KEY)
    return new


def encode(binding: str, half_life: float | None, kind: str) -> str:
    """One ground state as a short cell: ``b=39.7`` is bound with a measured half-life of 39.7 s."""
    timed = kind in (nubase.MEASURED, nubase.LOWER, nubase.UPPER, nubase.ESTIMATED)
    return _LETTERS[binding] + _SIGNS[kind] + (f"{half_life:.6g}" if timed else "")


def decode(cell: str) -> tuple[str, float | None, str]:
    """Binding, half-life [s] and its kind from a cell that ``encode`` wrote."""
    match = _CELL.fullmatch(cell)
    if match is None:
        raise DataError(f"the table of ground states holds the cell {cell!r}; rebuild it from the raw NUBASE files.")
    kind = _KINDS[match[2]]
    half_life = float(match[3]) if match[3] else (np.inf if kind == nubase.STABLE else None)
    return _BINDINGS[match[1]], half_life, kind


def _separations(year: int) -> pd.DataFrame:
    """S_n, S_2n, S_p and S_2p between measured masses, in their own standard deviations; index (Z, N)."""
    table = evaluation(year)
    table = table[table["measured"]].set_index(KEY)
    hydrogen, neutron = CONSTANTS["hydrogen_mass_excess"].value, CONSTANTS["neutron_mass_excess"].value
    columns: dict[str, pd.Series[float]] = {}
    for name, protons, neutrons in (("S_n", 0, 1), ("S_2n", 0, 2), ("S_p", 1, 0), ("S_2p", 2, 0)):
        partner = pd.MultiIndex.from_arrays(
            [table.index.get_level_values("Z") - protons, table.index.get_level_values("N") - neutrons], names=KEY
        )
        rest = table.reindex(partner).set_index(table.index)
        energy = rest["mass_excess"] - table["mass_excess"] + protons * hydrogen + neutrons * neutron
        columns[name] = energy / (rest["sigma"] ** 2 + table["sigma"] ** 2) ** 0.5
    return pd.DataFrame(columns)


def _stable_protons(nucleons: np.ndarray) -> np.ndarray:
    """Proton number of the most stable isobar, A / (1.98 + 0.0155 A^(2/3)), from the semi-empirical mass formula."""
    return np.asarray(nucleons / (1.98 + 0.0155 * nucleons ** (2 / 3)))


@cache
def _facts() -> pd.DataFrame:
    return shipped("ground_states.csv").astype({"Z": "int64", "N": "int64"})
