"""Raw tables of the Atomic Mass Evaluations of 1983, 1993, 1995, 2003, 2012, 2016 and 2020."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from posteriori.core.errors import DataError, OptionError
from posteriori.domains.nuclei.fixed_width import Line, lines_of, read_ascii

COLUMNS = ("Z", "N", "mass_excess", "sigma", "measured", "year")

_HEADER = "N-Z    N    Z"
_NEUTRONS, _PROTONS, _NUCLEONS, _LABEL = slice(4, 9), slice(9, 14), slice(14, 19), slice(19, 23)
_AGREE_MEASURED = 0.1  # [keV], largest disagreement found between the two printed forms of one measured mass: 0.06
_AGREE_ESTIMATED = 2.0  # [keV], the same for estimates, whose atomic masses are rounded: 1.92
_AGREE_SIGMA = 0.02  # relative, beyond the rounding above


@dataclass(frozen=True)
class MassLayout:
    """Where an evaluation prints its numbers, how many nuclides it lists, its atomic mass unit [keV per micro-u]."""

    mass_excess: slice
    sigma: slice
    mass_number: slice
    micro_mass: slice
    micro_sigma: slice
    nuclides: int
    micro_unit: float


class Mass(NamedTuple):
    """One ground-state mass: mass excess and standard deviation [keV], and whether it was measured."""

    Z: int
    N: int
    mass_excess: float
    sigma: float
    measured: bool
    year: int


_EARLY = (slice(28, 39), slice(39, 48), slice(96, 99), slice(100, 110), slice(110, 119))
_MIDDLE = (slice(28, 41), slice(41, 52), slice(96, 99), slice(100, 112), slice(112, 123))
_LATE = (slice(28, 42), slice(42, 54), slice(106, 109), slice(110, 123), slice(123, 135))

LAYOUTS: Mapping[int, MassLayout] = MappingProxyType(
    {
        1983: MassLayout(*_EARLY, 2209, 0.9315016),
        1993: MassLayout(*_EARLY, 2650, 0.93149432),
        1995: MassLayout(*_EARLY, 2931, 0.93149432),
        2003: MassLayout(*_MIDDLE, 3179, 0.931494013),
        2012: MassLayout(*_MIDDLE, 3353, 0.931494061),
        2016: MassLayout(*_MIDDLE, 3436, 0.9314940954),
        2020: MassLayout(*_LATE, 3558, 0.93149410242),
    }
)


def read_masses(path: Path, year: int) -> pd.DataFrame:
    """Masses of one raw AME file: columns Z, N, mass_excess [keV], sigma [keV], measured, year.

    Give the file with the experimental masses (``mass_exp`` in 1993 and 1995). ``DataError`` names the line that cannot
    be right, or says that the file is truncated; ``OptionError`` lists the years that exist.
    """
    table = parse_masses(read_ascii(path), year, path.name)
    expected = LAYOUTS[year].nuclides
    if len(table) != expected:
        raise DataError(
            f"{path.name} holds {len(table)} nuclides, AME{year} lists {expected}: "
            "the file is truncated or of another year; fetch it again."
        )
    return table


def parse_masses(text: str, year: int, table: str = "table") -> pd.DataFrame:
    """Masses in the text of an AME file, from its column header on; as ``read_masses`` without the count of nuclides.

    Each row prints its mass twice, as mass excess [keV] and as atomic mass [micro-u]: both must agree.
    """
    layout = layout_of(year)
    masses: dict[tuple[int, int], Mass] = {}
    body = False
    nucleons = 0
    for line in lines_of(text, table):
        if _HEADER in line.text:
            body = True
        elif body and line.text.strip() and "(keV)" not in line.text and not _is_excited(line, layout):
            mass = _mass(line, layout, year)
            nucleons = line.integer(_NUCLEONS, "A") if line.text[_NUCLEONS].strip() else nucleons
            if nucleons != mass.Z + mass.N:
                raise line.error(f"Z = {mass.Z} and N = {mass.N} do not add up to A = {nucleons}")
            if (mass.Z, mass.N) in masses:
                raise line.error(f"the nucleus Z = {mass.Z}, N = {mass.N} is listed twice")
            masses[mass.Z, mass.N] = mass
    if not masses:
        raise DataError(f"{table} holds no mass below a line with {_HEADER!r}; is it an AME mass table?")
    return pd.DataFrame(masses.values(), columns=list(COLUMNS))


def layout_of(year: int) -> MassLayout:
    """The layout of one evaluation, or an ``OptionError`` that lists the years."""
    if year not in LAYOUTS:
        raise OptionError(f"there is no reader for AME{year}; choose one of {', '.join(map(str, LAYOUTS))}.")
    return LAYOUTS[year]


def _is_excited(line: Line, layout: MassLayout) -> bool:
    """Isomers, mixtures and pions of 1983: a three-letter label and no atomic mass of their own."""
    return len(line.text[_LABEL].strip()) > 2 and not line.text[layout.mass_number].strip()


def _mass(line: Line, layout: MassLayout, year: int) -> Mass:
    """The mass on one line, if its two printed forms agree."""
    Z, N = line.integer(_PROTONS, "Z"), line.integer(_NEUTRONS, "N")
    excess, estimated = line.number_and_flag(layout.mass_excess, "the mass excess")
    sigma, estimated_sigma = line.number_and_flag(layout.sigma, "sigma of the mass excess")
    nucleons = line.integer(layout.mass_number, "the integer part of the atomic mass")
    micro, estimated_micro = line.number_and_flag(layout.micro_mass, "the atomic mass")
    micro_sigma, _ = line.number_and_flag(layout.micro_sigma, "sigma of the atomic mass")
    if Z < 0 or N < 0:
        raise line.error(f"Z = {Z} and N = {N} must not be negative")
    if sigma < 0:
        raise line.error(f"sigma = {sigma} keV is negative")
    if not estimated == estimated_sigma == estimated_micro:
        raise line.error("some numbers are marked # and some are not")
    tolerance = _AGREE_ESTIMATED if estimated else _AGREE_MEASURED
    twin = ((nucleons - Z - N) * 1e6 + micro) * layout.micro_unit
    if abs(twin - excess) > tolerance:
        raise line.error(f"the mass excess is {excess} keV but the atomic mass gives {twin:.3f} keV")
    if abs(micro_sigma * layout.micro_unit - sigma) > tolerance + _AGREE_SIGMA * sigma:
        raise line.error(f"sigma is {sigma} keV but the atomic mass has {micro_sigma} micro-u")
    return Mass(Z, N, excess, sigma, not estimated, year)
