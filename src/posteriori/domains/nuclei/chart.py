"""The chart of nuclides as a Space: one labelled cell for each nucleus."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.space import Space
from posteriori.physics.mass_conversions import nuclei
from posteriori.physics.mass_formulae import duflo_zuker

SYMBOLS = [
    "n",
    "H",
    "He",
    "Li",
    "Be",
    "B",
    "C",
    "N",
    "O",
    "F",
    "Ne",
    "Na",
    "Mg",
    "Al",
    "Si",
    "P",
    "S",
    "Cl",
    "Ar",
    "K",
    "Ca",
    "Sc",
    "Ti",
    "V",
    "Cr",
    "Mn",
    "Fe",
    "Co",
    "Ni",
    "Cu",
    "Zn",
    "Ga",
    "Ge",
    "As",
    "Se",
    "Br",
    "Kr",
    "Rb",
    "Sr",
    "Y",
    "Zr",
    "Nb",
    "Mo",
    "Tc",
    "Ru",
    "Rh",
    "Pd",
    "Ag",
    "Cd",
    "In",
    "Sn",
    "Sb",
    "Te",
    "I",
    "Xe",
    "Cs",
    "Ba",
    "La",
    "Ce",
    "Pr",
    "Nd",
    "Pm",
    "Sm",
    "Eu",
    "Gd",
    "Tb",
    "Dy",
    "Ho",
    "Er",
    "Tm",
    "Yb",
    "Lu",
    "Hf",
    "Ta",
    "W",
    "Re",
    "Os",
    "Ir",
    "Pt",
    "Au",
    "Hg",
    "Tl",
    "Pb",
    "Bi",
    "Po",
    "At",
    "Rn",
    "Fr",
    "Ra",
    "Ac",
    "Th",
    "Pa",
    "U",
    "Np",
    "Pu",
    "Am",
    "Cm",
    "Bk",
    "Cf",
    "Es",
    "Fm",
    "Md",
    "No",
    "Lr",
    "Rf",
    "Db",
    "Sg",
    "Bh",
    "Hs",
    "Mt",
    "Ds",
    "Rg",
    "Cn",
    "Nh",
    "Fl",
    "Mc",
    "Lv",
    "Ts",
    "Og",
    "119",
    "120",
]
MAGIC_PROTONS = (8, 20, 28, 50, 82, 114)
MAGIC_NEUTRONS = (8, 20, 28, 50, 82, 126, 184)
BOUND_MARGIN = 1000.0  # [keV] how far below zero a formula may put a separation energy inside the whole chart


def nuclide_name(Z: int, N: int) -> str:
    """``132Sn`` for (50, 82); beyond the named elements ``119-300``."""
    if not 0 <= Z < len(SYMBOLS):
        raise OptionError(f"there is no element Z={Z}; the chart goes from 0 to {len(SYMBOLS) - 1}.")
    symbol = SYMBOLS[Z]
    return f"{symbol}-{Z + N}" if symbol.isdigit() else f"{Z + N}{symbol}"


def parse_nuclide(text: str) -> tuple[int, int]:
    """(Z, N) of ``132Sn``, ``Sn132``, ``sn-132`` or ``119-300``.

    Raises:
        OptionError: the text names no nucleus.
    """
    found = re.fullmatch(r"(\d+)-?([A-Za-z]{1,2})|([A-Za-z]{1,2}|119|120)-?(\d+)", text.strip())
    if found:
        mass, symbol = (found[1], found[2]) if found[1] else (found[4], found[3])
        if symbol.capitalize() in SYMBOLS:
            Z = SYMBOLS.index(symbol.capitalize())
            if int(mass) > Z:
                return Z, int(mass) - Z
        elif symbol == "n":
            return 0, int(mass)
    raise OptionError(f"{text!r} is no nuclide; write it like 132Sn.")


def chart(Z: ArrayLike, N: ArrayLike, name: str = "mass_excess", unit: str = "keV") -> Space:
    """The Space of the given nuclei, one dim ``nuclide`` with the coordinates Z and N.

    Raises:
        ShapeError: a nucleus stands twice.
    """
    z, n = nuclei(Z, N)
    labels = np.array([nuclide_name(int(a), int(b)) for a, b in zip(z, n, strict=True)])
    return Space(name, {"nuclide": labels}, unit, extra={"Z": ("nuclide", z), "N": ("nuclide", n)})


def protons_neutrons(space: Space) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Z and N of the cells of a chart."""
    return space.extra["Z"][1], space.extra["N"][1]


def points(space: Space) -> Tensor:
    """The cells as points (N, Z), float64 (n, 2)."""
    z, n = protons_neutrons(space)
    return torch.from_numpy(np.stack([n, z], -1).astype(np.float64))


def whole_chart(zmax: int = 120, also: Iterable[tuple[int, int]] = ()) -> Space:
    """Every nucleus from Z = 8 to ``zmax`` that the Duflo-Zuker formula leaves within 1 MeV of bound, and ``also``.

    8399 cells for Z up to 120: a step or two beyond either drip line, so that P(bound) falls to zero inside.
    """
    z, n = (grid.ravel() for grid in np.meshgrid(np.arange(8, zmax + 1), np.arange(8, 2 * zmax + 20), indexing="ij"))
    inside = (n > 0.6 * z - 4) & (n < 2.4 * z + 16)
    z, n = z[inside], n[inside]
    bound = (separation(z, n, 0, 1) > -BOUND_MARGIN) & (separation(z, n, 1, 0) > -BOUND_MARGIN)
    cells = {(int(a), int(b)) for a, b in zip(z[bound], n[bound], strict=True)} | set(also)
    return chart(*np.array(sorted(cells)).T)


def separation(Z: ArrayLike, N: ArrayLike, protons: int, neutrons: int) -> NDArray[np.float64]:
    """Energy [keV] that the formula needs to take ``protons`` and ``neutrons`` away; for drawing a chart only."""
    z, n = np.asarray(Z), np.asarray(N)
    return duflo_zuker(z, n) - duflo_zuker(z - protons, n - neutrons)


def distance_to(space: Space, known: Space) -> NDArray[np.int64]:
    """Steps |ΔZ| + |ΔN| from each cell to the nearest cell of ``known``."""
    z, n = protons_neutrons(space)
    kz, kn = protons_neutrons(known)
    return np.asarray([(np.abs(kz - a) + np.abs(kn - b)).min() for a, b in zip(z, n, strict=True)])
