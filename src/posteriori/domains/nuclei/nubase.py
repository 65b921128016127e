"""Raw NUBASE tables of 1997, 2003, 2012, 2016 and 2020: ground states, half-lives, and which nuclei hold together."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from posteriori.core.errors import DataError, OptionError
from posteriori.domains.nuclei.fixed_width import Line, lines_of, read_ascii

COLUMNS = ("Z", "N", "mass_excess", "sigma", "measured", "half_life", "half_life_kind", "modes", "binding", "year")

BOUND, UNBOUND, OPEN = "bound", "unbound", "open"
STABLE, UNSTABLE, MEASURED, LOWER, UPPER, ESTIMATED, UNKNOWN = (
    "stable",
    "particle-unstable",
    "measured",
    "lower limit",
    "upper limit",
    "estimated",
    "unknown",
)

LONG_ENOUGH = 1e-8  # [s]; no loose neutron stays this long
_YEAR = 365.2422 * 86400.0
_SECONDS: Mapping[str, float] = MappingProxyType(
    {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "y": _YEAR}
    | {prefix + "s": 10.0**power for prefix, power in zip("munpfazy", range(-3, -27, -3), strict=True)}
    | {prefix + "y": 10.0**power * _YEAR for prefix, power in zip("kMGTPEZY", range(3, 27, 3), strict=True)}
)
_NUCLIDE, _STATE = slice(0, 3), slice(4, 8)
_HALF_LIFE = re.compile(r"\s*([<>~]?)\s*([0-9]+\.?[0-9]*|\.[0-9]+)(#?)\s*([A-Za-z]{1,2})(?![A-Za-z])")
_EMISSION = re.compile(r"[234]?[np]")


@dataclass(frozen=True)
class NubaseLayout:
    """Where one edition prints its numbers, and how many ground states it lists."""

    mass_excess: slice
    sigma: slice
    half_life: slice
    limit: slice
    modes: slice
    ground_states: int


class GroundState(NamedTuple):
    """One ground state; a missing mass or half-life is ``None``."""

    Z: int
    N: int
    mass_excess: float | None
    sigma: float | None
    measured: bool
    half_life: float | None
    half_life_kind: str
    modes: str
    binding: str
    year: int


_OLD = (slice(18, 29), slice(29, 38), slice(60, 69), slice(72, 79))
_NEW = (slice(18, 31), slice(31, 42), slice(69, 78), slice(81, 88))

LAYOUTS: Mapping[int, NubaseLayout] = MappingProxyType(
    {
        1997: NubaseLayout(*_OLD, slice(105, 400), 3010),
        2003: NubaseLayout(*_OLD, slice(105, 400), 3179),
        2012: NubaseLayout(*_OLD, slice(110, 400), 3379),
        2016: NubaseLayout(*_OLD, slice(110, 400), 3436),
        2020: NubaseLayout(*_NEW, slice(119, 400), 3558),
    }
)


def read_ground_states(path: Path, year: int) -> pd.DataFrame:
    """Ground states of one raw NUBASE file, as ``parse_ground_states``; refuses a truncated file."""
    table = parse_ground_states(read_ascii(path), year, path.name)
    expected = LAYOUTS[year].ground_states
    if len(table) != expected:
        raise DataError(
            f"{path.name} holds {len(table)} ground states, NUBASE{year} lists {expected}: "
            "the file is truncated or of another year; fetch it again."
        )
    return table


def parse_ground_states(text: str, year: int, table: str = "table") -> pd.DataFrame:
    """Ground states: Z, N, mass_excess and sigma [keV], measured, half_life [s] and its kind, modes, binding, year.

    Masses and half-lives that the table leaves blank are missing values (``pandas.NA``), stable nuclei have an infinite
    half-life. ``binding`` is "unbound" where the ground state is known to emit nucleons, "bound" where it is known to
    live long without, else "open".
    """
    if year not in LAYOUTS:
        raise OptionError(f"there is no reader for NUBASE{year}; choose one of {', '.join(map(str, LAYOUTS))}.")
    states: dict[tuple[int, int], GroundState] = {}
    for line in lines_of(text, table):
        if line.text.startswith("#") or not line.text.strip():
            continue
        nucleons, state = line.integer(_NUCLIDE, "A"), line.text[_STATE]
        if not re.fullmatch(r"[0-9]{4}", state):
            raise line.error(f"columns 5 to 8 should be ZZZi but read {state!r}")
        if state[3] == "0":
            ground = _ground_state(line, LAYOUTS[year], nucleons, int(state[:3]), year)
            if (ground.Z, ground.N) in states:
                raise line.error(f"the ground state Z = {ground.Z}, N = {ground.N} is listed twice")
            states[ground.Z, ground.N] = ground
    if not states:
        raise DataError(f"{table} holds no ground state; is it a NUBASE table?")
    frame = pd.DataFrame(states.values(), columns=list(COLUMNS))
    return frame.astype({"mass_excess": "Float64", "sigma": "Float64", "half_life": "Float64"})


def emits_nucleons(modes: str) -> bool:
    """Whether the ground state was seen to emit n, p, 2n, 2p ...; ``p ?``, ``p=0`` and upper limits do not count."""
    return any(_nucleons(mode) and _seen(mode) for mode in modes.split(";"))


def may_emit_nucleons(modes: str) -> bool:
    """Whether n, p, 2n, 2p ... emission is listed at all, seen or not."""
    return any(_nucleons(mode) for mode in modes.split(";"))


def _nucleons(mode: str) -> bool:
    return _EMISSION.fullmatch(_name(mode)) is not None


def _name(mode: str) -> str:
    return re.split(r"[=~<> ]", mode.strip())[0]


def _seen(mode: str) -> bool:
    """A printed share that is no upper limit, no estimate and not zero."""
    return re.search(r"[=~>]\s*(?!0+(\.0*)?(\s|$))", mode) is not None and "<" not in mode and "#" not in mode


def _ground_state(line: Line, layout: NubaseLayout, nucleons: int, Z: int, year: int) -> GroundState:
    if not 0 <= Z <= nucleons:
        raise line.error(f"Z = {Z} is impossible with A = {nucleons}")
    mass: float | None = None
    sigma: float | None = None
    estimated = True
    if line.text[layout.mass_excess].strip():
        mass, estimated = line.number_and_flag(layout.mass_excess, "the mass excess")
        sigma, estimated_sigma = line.number_and_flag(layout.sigma, "sigma of the mass excess")
        if sigma < 0 or estimated != estimated_sigma:
            raise line.error("sigma of the mass excess is negative, or only one of the two is marked #")
    half_life, kind = _half_life(line, layout)
    modes = line.text[layout.modes].strip()
    return GroundState(
        Z, nucleons - Z, mass, sigma, not estimated, half_life, kind, modes, _binding(half_life, kind, modes), year
    )


def _half_life(line: Line, layout: NubaseLayout) -> tuple[float | None, str]:
    """Half-life [s] and its kind; limits such as ``>200ns`` may stand in the column of the uncertainty."""
    field = line.text[layout.half_life].strip()
    if field == "stbl":
        return math.inf, STABLE
    if field in ("p-unst", "p-unst#"):
        return None, UNKNOWN if field.endswith("#") else UNSTABLE
    aside = line.text[layout.limit].strip()
    printed = aside if aside[:1] in ("<", ">", "~") else line.text[layout.half_life.start : layout.limit.stop].rstrip()
    if not printed:
        return None, UNKNOWN
    match = _HALF_LIFE.match(printed)
    if match is None or match[4] not in _SECONDS:
        raise line.error(f"the half-life {printed.strip()!r} is no number with a unit")
    kind = ESTIMATED if match[3] else {"<": UPPER, ">": LOWER}.get(match[1], MEASURED)
    return float(match[2]) * _SECONDS[match[4]], kind


def _binding(half_life: float | None, kind: str, modes: str) -> str:
    """What the edition knows: seen to emit nucleons, seen to hold together, or neither.

    A long life proves that no neutron is loose, so it settles the stable nuclei and those that beta-minus decay. It
    proves nothing about a proton, which the Coulomb barrier holds back for seconds: there the masses must decide.
    """
    if kind == UNSTABLE or emits_nucleons(modes):
        return UNBOUND
    if kind == STABLE:
        return BOUND
    lives = kind in (MEASURED, LOWER) and half_life is not None and half_life >= LONG_ENOUGH
    neutron_rich = any(_name(mode) in ("B-", "2B-") for mode in modes.split(";"))
    return BOUND if lives and neutron_rich and not may_emit_nucleons(modes) else OPEN
