"""Atomic and nuclear masses and binding energies, never mixed up: the electrons are always explicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriori.core.errors import DataError, ShapeError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LARGEST_Z = 140
LARGEST_N = 320


@dataclass(frozen=True)
class Constant:
    """A measured number with its unit and where it was published."""

    value: float
    unit: str
    source: str


AME2020 = "Huang et al. (2021) and Wang et al. (2021), AME2020, Chin. Phys. C 45, 030002 and 030003"
CODATA2018 = "Tiesinga et al. (2021), CODATA 2018, Rev. Mod. Phys. 93, 025010"
ELECTRONS = "Lunney, Pearson & Thibault (2003), Rev. Mod. Phys. 75, 1021, eq. A4"

CONSTANTS: Mapping[str, Constant] = MappingProxyType(
    {
        "hydrogen_mass_excess": Constant(7288.971064, "keV", AME2020),
        "neutron_mass_excess": Constant(8071.31806, "keV", AME2020),
        "helium4_mass_excess": Constant(2424.91587, "keV", AME2020),
        "atomic_mass_unit": Constant(931494.10242, "keV", CODATA2018),
        "electron_mass": Constant(510.99895, "keV", CODATA2018),
        "hydrogen_ionisation": Constant(0.013598434, "keV", CODATA2018),
        "electron_binding_low": Constant(14.4381e-3, "keV", ELECTRONS),
        "electron_binding_high": Constant(1.55468e-9, "keV", ELECTRONS),
    }
)

_HYDROGEN = CONSTANTS["hydrogen_mass_excess"].value
_NEUTRON = CONSTANTS["neutron_mass_excess"].value
_UNIT = CONSTANTS["atomic_mass_unit"].value
_ELECTRON = CONSTANTS["electron_mass"].value
_RYDBERG = CONSTANTS["hydrogen_ionisation"].value


def nuclei(Z: ArrayLike, N: ArrayLike) -> tuple[Integers, Integers]:
    """Proton and neutron numbers as integer arrays of one shape.

    Raises ``DataError`` naming the first element that is no integer or outside 0 <= Z <= 140, 0 <= N <= 320,
    Z + N >= 1, and ``ShapeError`` where the two shapes do not broadcast.
    """
    protons, neutrons = _integers("Z", Z, LARGEST_Z), _integers("N", N, LARGEST_N)
    try:
        protons, neutrons = np.broadcast_arrays(protons, neutrons)
    except ValueError:
        raise ShapeError(
            f"Z has shape {protons.shape} and N {neutrons.shape}; give one pair for each nucleus."
        ) from None
    empty = np.flatnonzero(protons + neutrons == 0)
    if empty.size:
        raise DataError(f"element {empty[0]} has Z = N = 0; a nucleus needs at least one nucleon: remove the row.")
    return protons, neutrons


def electron_binding(Z: ArrayLike) -> Floats:
    """Total binding energy [keV] of the Z electrons of a neutral atom, 14.4381 Z^2.39 + 1.55468e-6 Z^5.35 eV.

    Reference: Lunney, Pearson & Thibault (2003), recent trends in the determination of nuclear masses, eq. A4.
    """
    z = _integers("Z", Z, LARGEST_Z).astype(np.float64)
    low, high = CONSTANTS["electron_binding_low"].value, CONSTANTS["electron_binding_high"].value
    return np.asarray(low * z**2.39 + high * z**5.35, dtype=np.float64)


def ame_binding_energy(Z: ArrayLike, N: ArrayLike, atomic_mass_excess: ArrayLike) -> Floats:
    """Binding energy [keV] against Z hydrogen atoms and N neutrons, as the AME tables print it.

    It holds the binding of the electrons too: B = Z M(1H) + N M(n) - M(atom).
    """
    z, n = nuclei(Z, N)
    return np.asarray(z * _HYDROGEN + n * _NEUTRON - _energies(atomic_mass_excess), dtype=np.float64)


def atomic_mass_excess_from_ame_binding(Z: ArrayLike, N: ArrayLike, ame_binding: ArrayLike) -> Floats:
    """Atomic mass excess [keV] from a binding energy [keV] against hydrogen atoms and neutrons."""
    z, n = nuclei(Z, N)
    return np.asarray(z * _HYDROGEN + n * _NEUTRON - _energies(ame_binding), dtype=np.float64)


def nuclear_binding_energy(Z: ArrayLike, N: ArrayLike, atomic_mass_excess: ArrayLike) -> Floats:
    """Binding energy [keV] of the bare nucleus against Z bare protons and N neutrons."""
    z, n = nuclei(Z, N)
    return ame_binding_energy(z, n, atomic_mass_excess) - electron_binding(z) + z * _RYDBERG


def atomic_mass_excess_from_nuclear_binding(Z: ArrayLike, N: ArrayLike, nuclear_binding: ArrayLike) -> Floats:
    """Atomic mass excess [keV] from the binding energy [keV] of the bare nucleus (what DFT codes print)."""
    z, n = nuclei(Z, N)
    return atomic_mass_excess_from_ame_binding(z, n, _energies(nuclear_binding) + electron_binding(z) - z * _RYDBERG)


def nuclear_mass_excess(Z: ArrayLike, atomic_mass_excess: ArrayLike) -> Floats:
    """Mass excess [keV] of the bare nucleus: the atom less Z electrons, plus their binding energy."""
    z = _integers("Z", Z, LARGEST_Z)
    return np.asarray(_energies(atomic_mass_excess) - z * _ELECTRON + electron_binding(z), dtype=np.float64)


def atomic_mass_excess_from_nuclear(Z: ArrayLike, nuclear_mass_excess: ArrayLike) -> Floats:
    """Mass excess [keV] of the neutral atom, from that of the bare nucleus [keV]."""
    z = _integers("Z", Z, LARGEST_Z)
    return np.asarray(_energies(nuclear_mass_excess) + z * _ELECTRON - electron_binding(z), dtype=np.float64)


def atomic_mass(Z: ArrayLike, N: ArrayLike, atomic_mass_excess: ArrayLike) -> Floats:
    """Mass [keV] of the neutral atom: (Z + N) atomic mass units plus the mass excess [keV]."""
    z, n = nuclei(Z, N)
    return np.asarray((z + n) * _UNIT + _energies(atomic_mass_excess), dtype=np.float64)


def _integers(name: str, numbers: ArrayLike, largest: int) -> Integers:
    """Whole numbers from 0 to ``largest``, else a ``DataError`` naming the first offender."""
    array = np.asarray(numbers)
    if array.dtype.kind not in "iu":
        raise DataError(f"{name} has type {array.dtype}; nucleon numbers are integers: pass an integer array.")
    wrong = np.flatnonzero((array < 0) | (array > largest))
    if wrong.size:
        raise DataError(
            f"{name} = {array.flat[wrong[0]]} at element {wrong[0]} is outside 0 to {largest}; "
            "check that the columns are not swapped."
        )
    return array.astype(np.int64)


def _energies(values: ArrayLike) -> Floats:
    """Finite energies [keV], else a ``DataError`` naming the first offender."""
    array = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        raise DataError(f"the energy at element {wrong[0]} is {array.flat[wrong[0]]}; remove or mask it first.")
    return array
