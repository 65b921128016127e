"""Nuclear mass formulae as linear columns: binding energy [keV] = columns @ coefficients [keV]."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriori.physics.mass_conversions import Floats, Integers, nuclei

SEMF5_TERMS = ("volume", "surface", "coulomb", "asymmetry", "pairing")
SEMF9_TERMS = (*SEMF5_TERMS, "surface_asymmetry", "curvature", "wigner", "coulomb_exchange")
DZ10_TERMS = (
    "coulomb",
    "master",
    "master_surface",
    "asymmetry",
    "asymmetry_surface",
    "spherical_cubic",
    "spherical_cubic_surface",
    "spherical_quartic",
    "deformation",
    "pairing",
)

DZ10_1996: Floats = np.array(
    [704.3, 17741.8, 16256.2, 37556.2, 53901.7, 471.1, 2130.7, 21.0, 40535.6, 6063.2]
)  # [keV], as distributed in 1996, fitted to 1810 masses
DZ10_1996.setflags(write=False)

_DEFORMED_ABOVE_Z = 50
_DEFORMED_NUCLEONS = 4
_SUBSHELLS = np.array([k + 1 if k % 2 else k * (k - 2) // 4 for k in range(1, 21)])


def semf5(Z: ArrayLike, N: ArrayLike) -> Floats:
    """Five columns of the semi-empirical mass formula, shape (*nuclei, 5).

    A, -A^(2/3), -Z(Z-1)/A^(1/3), -(N-Z)^2/A, delta/A^(1/2); delta is 1 for even-even, -1 for odd-odd, else 0.
    The coefficients are positive energies [keV] and the sum is the binding energy as the AME tables count it.

    Reference: von Weizsäcker (1935), Zur Theorie der Kernmassen.
    """
    z, n = nuclei(Z, N)
    A = (z + n).astype(np.float64)
    pairing = 1.0 - z % 2 - n % 2
    return np.stack([A, -(A ** (2 / 3)), -z * (z - 1) / A ** (1 / 3), -((n - z) ** 2) / A, pairing / A**0.5], axis=-1)


def semf9(Z: ArrayLike, N: ArrayLike) -> Floats:
    """Nine columns of the semi-empirical mass formula, shape (*nuclei, 9).

    The five of ``semf5``, then (N-Z)^2/A^(4/3), A^(1/3), -abs(N-Z)/A and Z^(4/3)/A^(1/3).

    Reference: Kirson (2008), mutual influence of terms in a semi-empirical mass formula.
    """
    z, n = nuclei(Z, N)
    A = (z + n).astype(np.float64)
    extra = [(n - z) ** 2 / A ** (4 / 3), A ** (1 / 3), -np.abs(n - z) / A, z ** (4 / 3) / A ** (1 / 3)]
    return np.concatenate([semf5(z, n), np.stack(extra, axis=-1)], axis=-1)


def duflo_zuker(Z: ArrayLike, N: ArrayLike, coefficients: Floats = DZ10_1996) -> Floats:
    """Binding energy [keV] of the ten-term Duflo-Zuker formula, shape of Z and N.

    Reference: Duflo & Zuker (1995), microscopic mass formulas; the ten-term version is Duflo & Zuker (1996).
    """
    columns = duflo_zuker_columns(Z, N, duflo_zuker_deformed(Z, N, coefficients))
    return np.asarray(columns @ coefficients, dtype=np.float64)


def duflo_zuker_deformed(Z: ArrayLike, N: ArrayLike, coefficients: Floats = DZ10_1996) -> NDArray[np.bool_]:
    """Which nuclei the formula calls deformed: Z > 50 and more bound with four nucleons promoted than without."""
    z, n = nuclei(Z, N)
    spherical = duflo_zuker_columns(z, n, np.zeros(z.shape, dtype=bool)) @ coefficients
    deformed = duflo_zuker_columns(z, n, np.ones(z.shape, dtype=bool)) @ coefficients
    return np.asarray((z > _DEFORMED_ABOVE_Z) & (deformed > spherical))


def duflo_zuker_columns(Z: ArrayLike, N: ArrayLike, deformed: NDArray[np.bool_]) -> Floats:
    """Ten columns of the Duflo-Zuker formula, shape (*nuclei, 10); ``deformed`` has the shape of Z and N.

    Linear once the shape is chosen, so the coefficients can be refitted or given a prior.

    Reference: Duflo & Zuker (1995), microscopic mass formulas; the ten-term version is Duflo & Zuker (1996).
    """
    z, n = nuclei(Z, N)
    bent = np.broadcast_to(np.asarray(deformed, dtype=bool), z.shape)
    A = (z + n).astype(np.float64)
    t = np.abs(n - z).astype(np.float64)
    r = A ** (1 / 3)
    rc = r * (1 - t**2 / (4 * A**2))
    R = rc**2 / r
    x = (z * (z - 1)).astype(np.float64)

    master_n, shell_n, cubic_n, quartic_n, orbit_n = _fluid(n, bent)
    master_z, shell_z, cubic_z, quartic_z, orbit_z = _fluid(z, bent)
    master = master_n + master_z
    cubic = np.where(bent, 0.0, cubic_n + cubic_z)
    quartic = quartic_n * quartic_z
    asymmetry = t * (t + 2) / (r**2 * R)
    return np.stack(
        [
            (-x + 0.76 * x ** (2 / 3)) / rc,
            (master + shell_n + shell_z) / R,
            -master / R**2,
            -asymmetry,
            (asymmetry + t * (1 - t) / (A * R**3)) / R,
            cubic / R,
            -cubic / R**2,
            np.where(bent, 0.0, quartic * 2 ** (np.sqrt(orbit_n) + np.sqrt(orbit_z)) / R),
            np.where(bent, quartic / R, 0.0),
            _pairing(z, n) / R,
        ],
        axis=-1,
    )


def _pairing(z: Integers, n: Integers) -> Floats:
    """Pairing weight of Duflo and Zuker: between 0 (odd-odd, N = Z) and 2 (even-even, N = Z)."""
    ratio = np.abs(n - z) / (z + n)
    odd = np.where((n > z) == (n % 2 == 1), 1.0, 1.0 - ratio)
    return np.where(z % 2 != n % 2, odd, np.where(n % 2 == 0, 2.0 - ratio, ratio))


def _fluid(count: Integers, bent: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Master term M, shell term S, cubic s and quartic q scalars and orbit number p of ``count`` like nucleons.

    Sub-shells k = 1, 2, ... hold k + 1 (k odd: the largest j of its oscillator shell) or k (k - 2)/4 nucleons (k even:
    the rest); they fill in order, and a deformed nucleus promotes four nucleons to the next sub-shell.
    """
    before = np.concatenate([[0], np.cumsum(_SUBSHELLS)])
    last = np.searchsorted(before[1:], count, side="left")  # 0-based index of the last sub-shell that is occupied
    promoted = np.where(bent, _DEFORMED_NUCLEONS, 0)
    valence = count - before[last]
    k = np.arange(len(_SUBSHELLS))
    full = k < last[..., None]
    occupied = full * _SUBSHELLS + (k == last[..., None]) * (valence - promoted)[..., None]
    occupied = occupied + (k == last[..., None] + 1) * promoted[..., None]

    pairs = occupied.reshape(*count.shape, -1, 2)  # (..., oscillator shell, [largest j, rest])
    P = np.arange(pairs.shape[-2], dtype=np.float64)
    size = (P + 1) * (P + 2)
    a = pairs.sum(axis=-1) / np.sqrt(size)
    g = pairs[..., 0] * P / 2 - pairs[..., 1]
    master = a.sum(axis=-1) ** 2
    shell = (g * ((1 + a) * P**2 + (1 - a) * (4 * P - 5)) / size**1.5).sum(axis=-1)

    p = last // 2
    large = last % 2 == 0
    o = np.where(large, valence + p * (p - 1), valence - promoted)
    D = np.where(large, p * (p + 1) + 2, (p + 1) * (p + 2) + 2).astype(np.float64)
    q = o * (D - o - promoted) / D
    return master, shell, q * (2 * o - D), np.where(bent, q / np.sqrt(D), q), p.astype(np.float64)
