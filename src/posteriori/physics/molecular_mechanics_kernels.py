"""Compiled molecular mechanics: bonds, angles, torsions and pairs without cut-off, from one flat table of numbers.

The table begins with :data:`HEADER` counts: bonds, angles, torsions, pairs, the order of the surface (0: none). Then

* bonds: i, j, k, r₀ (½ k (r - r₀)²);
* angles: i, j, k, stiffness, θ₀ (½ k (θ - θ₀)²);
* torsions: i, j, k, l, a₀, a₁ … a₆, b₁ … b₆ (a₀ + Σ aₙ cos nφ + bₙ sin nφ);
* pairs: i, j, A, B, C (A r⁻¹² - B r⁻⁶ + C / r);
* the surface over two torsions: 8 atoms, a factor, then Re and Im of c_mn for m = -M … M, n = 0 … M
  (factor Σ Re c_mn exp(i (m φ + n ψ))).

Positions are in nm, energies in kJ/mol. Atoms are counted from zero.
"""

from __future__ import annotations

from math import acos, sqrt

import numpy as np

from posteriori.physics.compiled import Floats, energy_jit, inlined

HEADER = 5
BOND, ANGLE, TORSION, PAIR = 4, 5, 17, 5
ORDERS = 6
SURFACE = 9


@inlined
def _bonds(x: Floats, table: Floats, start: int, count: int, g: Floats) -> float:
    energy = 0.0
    for term in range(count):
        at = start + BOND * term
        i, j = 3 * int(table[at]), 3 * int(table[at + 1])
        a, b, c = x[i] - x[j], x[i + 1] - x[j + 1], x[i + 2] - x[j + 2]
        r = sqrt(a * a + b * b + c * c)
        away = r - table[at + 3]
        pull = table[at + 2] * away
        energy += 0.5 * pull * away
        pull /= r
        g[i] += pull * a
        g[i + 1] += pull * b
        g[i + 2] += pull * c
        g[j] -= pull * a
        g[j + 1] -= pull * b
        g[j + 2] -= pull * c
    return energy


@inlined
def _angles(x: Floats, table: Floats, start: int, count: int, g: Floats) -> float:
    energy = 0.0
    for term in range(count):
        at = start + ANGLE * term
        i, j, k = 3 * int(table[at]), 3 * int(table[at + 1]), 3 * int(table[at + 2])
        a, b, c = x[i] - x[j], x[i + 1] - x[j + 1], x[i + 2] - x[j + 2]
        d, e, f = x[k] - x[j], x[k + 1] - x[j + 1], x[k + 2] - x[j + 2]
        first, last = a * a + b * b + c * c, d * d + e * e + f * f
        root = 1.0 / sqrt(first * last)
        cosine = min(max((a * d + b * e + c * f) * root, -1.0), 1.0)
        away = acos(cosine) - table[at + 4]
        pull = table[at + 3] * away
        energy += 0.5 * pull * away
        pull *= -1.0 / sqrt(max(1.0 - cosine * cosine, 1e-18))
        both, one, two = pull * root, pull * cosine / first, pull * cosine / last
        u, v, w = both * d - one * a, both * e - one * b, both * f - one * c
        p, q, r = both * a - two * d, both * b - two * e, both * c - two * f
        g[i] += u
        g[i + 1] += v
        g[i + 2] += w
        g[k] += p
        g[k + 1] += q
        g[k + 2] += r
        g[j] -= u + p
        g[j + 1] -= v + q
        g[j + 2] -= w + r
    return energy


@inlined
def _twist(x: Floats, table: Floats, at: int, work: Floats) -> None:
    """cos φ, sin φ of the torsion whose atoms stand at ``at``, then dφ/dx of its four atoms, into ``work`` (14,)."""
    i, j, k, l = 3 * int(table[at]), 3 * int(table[at + 1]), 3 * int(table[at + 2]), 3 * int(table[at + 3])  # noqa: E741
    a, b, c = x[j] - x[i], x[j + 1] - x[i + 1], x[j + 2] - x[i + 2]
    d, e, f = x[k] - x[j], x[k + 1] - x[j + 1], x[k + 2] - x[j + 2]
    p, q, r = x[l] - x[k], x[l + 1] - x[k + 1], x[l + 2] - x[k + 2]
    m0, m1, m2 = b * f - c * e, c * d - a * f, a * e - b * d
    n0, n1, n2 = e * r - f * q, f * p - d * r, d * q - e * p
    mm, nn = m0 * m0 + m1 * m1 + m2 * m2, n0 * n0 + n1 * n1 + n2 * n2
    square = d * d + e * e + f * f
    length = sqrt(square)
    root = 1.0 / sqrt(mm * nn)
    work[0] = (m0 * n0 + m1 * n1 + m2 * n2) * root
    work[1] = length * (a * n0 + b * n1 + c * n2) * root
    first, last = -length / mm, length / nn
    before, after = -1.0 - (a * d + b * e + c * f) / square, (d * p + e * q + f * r) / square
    work[2], work[3], work[4] = first * m0, first * m1, first * m2
    work[11], work[12], work[13] = last * n0, last * n1, last * n2
    for s in range(3):
        work[5 + s] = before * work[2 + s] + after * work[11 + s]
        work[8 + s] = -work[2 + s] - work[5 + s] - work[11 + s]


@inlined
def _turn(table: Floats, at: int, work: Floats, slope: float, g: Floats) -> None:
    """Add ``slope`` dφ/dx to the gradient."""
    for s in range(4):
        i = 3 * int(table[at + s])
        g[i] += slope * work[2 + 3 * s]
        g[i + 1] += slope * work[3 + 3 * s]
        g[i + 2] += slope * work[4 + 3 * s]


@inlined
def _torsions(x: Floats, table: Floats, start: int, count: int, work: Floats, g: Floats) -> float:
    energy = 0.0
    for term in range(count):
        at = start + TORSION * term
        _twist(x, table, at, work)
        c, s = work[0], work[1]
        cn, sn = 1.0, 0.0
        energy += table[at + 4]
        slope = 0.0
        for n in range(1, ORDERS + 1):
            cn, sn = cn * c - sn * s, sn * c + cn * s
            a, b = table[at + 4 + n], table[at + 4 + ORDERS + n]
            energy += a * cn + b * sn
            slope += n * (b * cn - a * sn)
        _turn(table, at, work, slope, g)
    return energy


@inlined
def _pairs(x: Floats, table: Floats, start: int, count: int, g: Floats) -> float:
    energy = 0.0
    for term in range(count):
        at = start + PAIR * term
        i, j = 3 * int(table[at]), 3 * int(table[at + 1])
        a, b, c = x[i] - x[j], x[i + 1] - x[j + 1], x[i + 2] - x[j + 2]
        inverse = 1.0 / (a * a + b * b + c * c)
        six = inverse * inverse * inverse
        twelve = table[at + 2] * six * six
        six *= table[at + 3]
        charge = table[at + 4] * sqrt(inverse)
        energy += twelve - six + charge
        pull = (6.0 * six - 12.0 * twelve - charge) * inverse
        g[i] += pull * a
        g[i + 1] += pull * b
        g[i + 2] += pull * c
        g[j] -= pull * a
        g[j + 1] -= pull * b
        g[j + 2] -= pull * c
    return energy


@inlined
def _surface(x: Floats, table: Floats, start: int, order: int, work: Floats, other: Floats, g: Floats) -> float:
    _twist(x, table, start, work)
    _twist(x, table, start + 4, other)
    c, s, d, t = work[0], work[1], other[0], other[1]
    energy = along = across = 0.0
    cm, sm = 1.0, 0.0
    for _ in range(order):
        cm, sm = cm * c + sm * s, sm * c - cm * s
    at = start + SURFACE
    for m in range(-order, order + 1):
        cn, sn = cm, sm
        for n in range(order + 1):
            a, b = table[at], table[at + 1]
            value, slope = a * cn - b * sn, -a * sn - b * cn
            energy += value
            along += m * slope
            across += n * slope
            at += 2
            cn, sn = cn * d - sn * t, sn * d + cn * t
        cm, sm = cm * c - sm * s, sm * c + cm * s
    factor = table[start + 8]
    _turn(table, start, work, factor * along, g)
    _turn(table, start + 4, other, factor * across, g)
    return factor * energy


@energy_jit
def mechanics(x: Floats, table: Floats, g: Floats) -> float:
    """U [kJ/mol] of positions (3n,) [nm] and its gradient, by the terms of ``table``."""
    g[:] = 0.0
    work = np.empty(14)
    bonds, angles, torsions = int(table[0]), int(table[1]), int(table[2])
    pairs, order = int(table[3]), int(table[4])
    start = HEADER
    energy = _bonds(x, table, start, bonds, g)
    start += BOND * bonds
    energy += _angles(x, table, start, angles, g)
    start += ANGLE * angles
    energy += _torsions(x, table, start, torsions, work, g)
    start += TORSION * torsions
    energy += _pairs(x, table, start, pairs, g)
    start += PAIR * pairs
    if order > 0:
        energy += _surface(x, table, start, order, work, np.empty(14), g)
    return energy
