"""Compiled motion of a molecule under a ladder of energies: exchanged replicas, and the bias that flattens them."""

from __future__ import annotations

from math import atan2, cos, exp, isfinite, log, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from posteriori.physics.compiled import ENERGY, MATRIX, VECTOR, Floats, Function, inlined, kernel, numba

COUNT = numba.types.int64
REAL = numba.types.float64
RANDOM = numba.typeof(np.random.default_rng(0))
CUBE = numba.types.float64[:, :, ::1]
BLOCK = numba.types.float64[:, :, :, ::1]
Atoms = NDArray[np.int64]
ATOMS = numba.types.int64[::1]


@inlined
def _move(
    f: Function,
    table: Floats,
    x: Floats,
    masses: Floats,
    beta: float,
    step: float,
    length: int,
    work: Floats,
    random: np.random.Generator,
) -> float:
    """One Hamiltonian transition of ``x``, in place; its acceptance probability. ``work`` is (4, n)."""
    y, g, p = work[0], work[1], work[2]
    n = x.size
    energy = f(x, table, g)
    before = beta * energy
    for i in range(n):
        p[i] = random.standard_normal() * sqrt(masses[i] / beta)
        before += 0.5 * beta * p[i] * p[i] / masses[i]
        y[i] = x[i]
        p[i] -= 0.5 * step * g[i]
    for k in range(length):
        for i in range(n):
            y[i] += step * p[i] / masses[i]
        energy = f(y, table, g)
        if not isfinite(energy):
            return 0.0
        share = 0.5 if k == length - 1 else 1.0
        for i in range(n):
            p[i] -= share * step * g[i]
    after = beta * energy
    for i in range(n):
        after += 0.5 * beta * p[i] * p[i] / masses[i]
    gained = before - after
    if not isfinite(gained):
        return 0.0
    if log(1.0 - random.random()) < gained:
        for i in range(n):
            x[i] = y[i]
    return min(1.0, exp(gained))


@inlined
def torsion(x: Floats, atoms: Atoms) -> float:
    """The torsion [rad] of four atoms in flat positions."""
    i, j, k, last = 3 * atoms[0], 3 * atoms[1], 3 * atoms[2], 3 * atoms[3]
    a, b, c = x[j] - x[i], x[j + 1] - x[i + 1], x[j + 2] - x[i + 2]
    d, e, f = x[k] - x[j], x[k + 1] - x[j + 1], x[k + 2] - x[j + 2]
    p, q, r = x[last] - x[k], x[last + 1] - x[k + 1], x[last + 2] - x[k + 2]
    n0, n1, n2 = e * r - f * q, f * p - d * r, d * q - e * p
    m0, m1, m2 = b * f - c * e, c * d - a * f, a * e - b * d
    sine = sqrt(d * d + e * e + f * f) * (a * n0 + b * n1 + c * n2)
    return atan2(sine, m0 * n0 + m1 * n1 + m2 * n2)


@kernel(ENERGY, MATRIX, CUBE, VECTOR, REAL, REAL, COUNT, COUNT, BLOCK, MATRIX, RANDOM)
def exchange(
    f: Function,
    tables: Floats,
    x: Floats,
    masses: Floats,
    beta: float,
    step: float,
    shortest: int,
    longest: int,
    kept: Floats,
    rates: Floats,
    random: np.random.Generator,
) -> None:
    """Fill ``kept`` (row, walker, level, n): each row one transition of each replica and one round of exchanges.

    Args:
        f, tables: the energy [kJ/mol] of level l is ``f(x, tables[l], g)``.
        x: replicas (walker, level, n); they move on.
        masses: of each number [u]; times are in ps.
        beta: 1 / RT [mol/kJ].
        step: of the leapfrog [ps].
        shortest, longest: leapfrogs of a transition, drawn evenly.
        kept: written over.
        rates: (2, level): mean acceptance of moves and of exchanges with the next level, written over.
        random: advanced.
    """
    rows, walkers, levels, n = kept.shape
    work = np.empty((4, n))
    rates[:] = 0.0
    for row in range(rows):
        for w in range(walkers):
            for k in range(levels):
                length = shortest + int(random.random() * (longest - shortest + 1))
                rates[0, k] += _move(f, tables[k], x[w, k], masses, beta, step, length, work, random)
            for k in range(row % 2, levels - 1, 2):
                gained = f(x[w, k], tables[k], work[1]) + f(x[w, k + 1], tables[k + 1], work[1])
                gained -= f(x[w, k + 1], tables[k], work[1]) + f(x[w, k], tables[k + 1], work[1])
                rates[1, k] += 2.0 * min(1.0, exp(min(0.0, beta * gained)))
                if log(1.0 - random.random()) < beta * gained:
                    for i in range(n):
                        x[w, k, i], x[w, k + 1, i] = x[w, k + 1, i], x[w, k, i]
            for k in range(levels):
                for i in range(n):
                    kept[row, w, k, i] = x[w, k, i]
    rates /= max(rows * walkers, 1)


@kernel(ENERGY, VECTOR, COUNT, COUNT, ATOMS, ATOMS, MATRIX, VECTOR, REAL, REAL, COUNT, COUNT, REAL, REAL, REAL, RANDOM)
def flatten(
    f: Function,
    table: Floats,
    at: int,
    order: int,
    first: Atoms,
    second: Atoms,
    x: Floats,
    masses: Floats,
    beta: float,
    step: float,
    length: int,
    rounds: int,
    height: float,
    width: float,
    tempering: float,
    random: np.random.Generator,
) -> None:
    """Well-tempered metadynamics: hills over two torsions, as a Fourier series, where the walkers (walker, n) come by.

    The coefficients of the surface stand in ``table`` from ``at`` on (factor 1) and are added to. A hill is a Gaussian
    of ``width`` [rad] whose ``height`` [kJ/mol] falls as exp(-V / ``tempering``).
    """
    walkers, n = x.shape
    work = np.empty((4, n))
    for _ in range(rounds):
        for w in range(walkers):
            _move(f, table, x[w], masses, beta, step, length, work, random)
            phi, psi = torsion(x[w], first), torsion(x[w], second)
            value, place = 0.0, at
            for m in range(-order, order + 1):
                for k in range(order + 1):
                    value += table[place] * cos(m * phi + k * psi) - table[place + 1] * sin(m * phi + k * psi)
                    place += 2
            hill = height * exp(-max(value, 0.0) / tempering) * width * width / 6.283185307179586
            place = at
            for m in range(-order, order + 1):
                for k in range(order + 1):
                    share = hill * exp(-0.5 * width * width * (m * m + k * k)) * (1.0 if k == 0 else 2.0)
                    table[place] += share * cos(m * phi + k * psi)
                    table[place + 1] -= share * sin(m * phi + k * psi)
                    place += 2
