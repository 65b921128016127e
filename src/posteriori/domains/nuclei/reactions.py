"""Raw reaction and separation energies (``rct1``, ``rct2``) that accompany each Atomic Mass Evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from posteriori.core.errors import DataError
from posteriori.domains.nuclei.ame import layout_of
from posteriori.domains.nuclei.fixed_width import Line, lines_of, read_ascii

COLUMNS = ("Z", "N", "quantity", "energy", "sigma", "measured", "year")
FIRST_TABLE = ("S_2n", "S_2p", "Q_alpha", "Q_2beta", "Q_ep", "Q_beta_n")
SECOND_TABLE = ("S_n", "S_p", "Q_4beta", "Q_d_alpha", "Q_p_alpha", "Q_n_alpha")

_NUCLEONS, _PROTONS, _FIRST_FIELD = slice(1, 4), slice(8, 11), 12


class Reaction(NamedTuple):
    """One energy and its standard deviation [keV], and whether it rests on measured masses."""

    Z: int
    N: int
    quantity: str
    energy: float
    sigma: float
    measured: bool
    year: int


def read_reactions(path: Path, year: int) -> pd.DataFrame:
    """Energies of one raw ``rct1`` or ``rct2`` file: columns Z, N, quantity, energy [keV], sigma [keV], measured, year.

    The table's own column heads say which six quantities it holds; those it calls not calculable are left out.
    """
    return parse_reactions(read_ascii(path), year, path.name)


def parse_reactions(text: str, year: int, table: str = "table") -> pd.DataFrame:
    """Energies in the text of a reaction table, from its column header on."""
    layout_of(year)
    width, sigma_width = (12, 10) if year >= 2020 else (10, 8)
    quantities: tuple[str, ...] = ()
    seen: set[tuple[int, int]] = set()
    reactions: list[Reaction] = []
    nucleons = 0
    for line in lines_of(text, table):
        if " Z        S(" in line.text:
            quantities = _quantities(line)
        elif "USE of ARRAYS" in line.text:  # the log of the program that wrote the 2020 file follows its last page
            break
        elif quantities and line.text.strip() not in ("", "1"):
            nucleons = line.integer(_NUCLEONS, "A") if line.text[_NUCLEONS].strip() else nucleons
            Z = line.integer(_PROTONS, "Z")
            if not 0 <= Z <= nucleons or (Z, nucleons - Z) in seen:
                raise line.error(f"Z = {Z} with A = {nucleons} is impossible or listed twice")
            seen.add((Z, nucleons - Z))
            for index, quantity in enumerate(quantities):
                start = _FIRST_FIELD + index * (width + sigma_width)
                energy = slice(start, start + width)
                if line.text[energy].strip() != "*":
                    sigma = slice(energy.stop, energy.stop + sigma_width)
                    reactions.append(_reaction(line, Z, nucleons - Z, quantity, energy, sigma, year))
    if not reactions:
        raise DataError(f"{table} holds no energy below a line of column heads; is it an rct1 or rct2 table?")
    return pd.DataFrame(reactions, columns=list(COLUMNS))


def _quantities(line: Line) -> tuple[str, ...]:
    if "S(2n)" in line.text:
        return FIRST_TABLE
    if "Q(4B-)" in line.text:
        return SECOND_TABLE
    raise line.error("these column heads belong to neither rct1 nor rct2")


def _reaction(line: Line, Z: int, N: int, quantity: str, energy: slice, sigma: slice, year: int) -> Reaction:
    value, estimated = line.number_and_flag(energy, quantity)
    error, _ = line.number_and_flag(sigma, f"sigma of {quantity}")
    if error < 0:
        raise line.error(f"sigma of {quantity} is {error} keV, negative")
    return Reaction(Z, N, quantity, value, error, not estimated, year)
