"""Compiled energies and gradients of particles that act on each other in pairs, in one to three dimensions.

The first parameter is the strength of the trap; those of the pair law follow. Each law is compiled apart for each
number of dimensions, so that the inner loops unroll: twice as fast as one that reads the number.
"""

from __future__ import annotations

from math import sqrt

from posteriori.physics.compiled import Floats, energy_jit, inlined


@inlined
def _trap(x: Floats, axes: int, strength: float, g: Floats) -> float:
    """½ strength Σ |x - centre of mass|²; ``g`` is set to its gradient."""
    if strength == 0.0:
        for i in range(x.size):
            g[i] = 0.0
        return 0.0
    energy = 0.0
    n = x.size // axes
    a = b = c = 0.0
    for i in range(n):
        a += x[axes * i]
        b += x[axes * i + 1] if axes > 1 else 0.0
        c += x[axes * i + 2] if axes > 2 else 0.0
    a, b, c = a / n, b / n, c / n
    for i in range(n):
        away = x[axes * i] - a
        energy += away * away
        g[axes * i] = strength * away
        if axes > 1:
            away = x[axes * i + 1] - b
            energy += away * away
            g[axes * i + 1] = strength * away
        if axes > 2:
            away = x[axes * i + 2] - c
            energy += away * away
            g[axes * i + 2] = strength * away
    return 0.5 * strength * energy


@inlined
def _squared(x: Floats, i: int, j: int, axes: int) -> float:
    # written out, for inner loops over one to three axes are not unrolled
    gap = x[i] - x[j]
    total = gap * gap
    if axes > 1:
        gap = x[i + 1] - x[j + 1]
        total += gap * gap
    if axes > 2:
        gap = x[i + 2] - x[j + 2]
        total += gap * gap
    return total


@inlined
def _push(x: Floats, i: int, j: int, axes: int, slope: float, g: Floats) -> None:
    """Add ``slope`` × (x_i - x_j), the gradient of a pair with du / d(d²) = slope / 2."""
    push = slope * (x[i] - x[j])
    g[i] += push
    g[j] -= push
    if axes > 1:
        push = slope * (x[i + 1] - x[j + 1])
        g[i + 1] += push
        g[j + 1] -= push
    if axes > 2:
        push = slope * (x[i + 2] - x[j + 2])
        g[i + 2] += push
        g[j + 2] -= push


@inlined
def _double_well_pairs(x: Floats, parameters: Floats, g: Floats, axes: int) -> float:
    energy = _trap(x, axes, parameters[0], g)
    n = x.size // axes
    for i in range(n):
        for j in range(i + 1, n):
            d = sqrt(_squared(x, axes * i, axes * j, axes))
            r = d - 4.0
            square = r * r
            energy += square * (0.9 * square - 4.0)
            _push(x, axes * i, axes * j, axes, r * (3.6 * square - 8.0) / d, g)
    return energy


@inlined
def _lennard_jones(x: Floats, parameters: Floats, g: Floats, axes: int) -> float:
    energy = _trap(x, axes, parameters[0], g)
    depth = parameters[1]
    n = x.size // axes
    for i in range(n):
        for j in range(i + 1, n):
            inverse = 1.0 / _squared(x, axes * i, axes * j, axes)
            six = inverse * inverse * inverse
            energy += depth * six * (six - 2.0)
            _push(x, axes * i, axes * j, axes, -12.0 * depth * six * (six - 1.0) * inverse, g)
    return energy


@energy_jit
def _double_well_pairs_1(x: Floats, parameters: Floats, g: Floats) -> float:
    return _double_well_pairs(x, parameters, g, 1)


@energy_jit
def _double_well_pairs_2(x: Floats, parameters: Floats, g: Floats) -> float:
    return _double_well_pairs(x, parameters, g, 2)


@energy_jit
def _double_well_pairs_3(x: Floats, parameters: Floats, g: Floats) -> float:
    return _double_well_pairs(x, parameters, g, 3)


@energy_jit
def _lennard_jones_1(x: Floats, parameters: Floats, g: Floats) -> float:
    return _lennard_jones(x, parameters, g, 1)


@energy_jit
def _lennard_jones_2(x: Floats, parameters: Floats, g: Floats) -> float:
    return _lennard_jones(x, parameters, g, 2)


@energy_jit
def _lennard_jones_3(x: Floats, parameters: Floats, g: Floats) -> float:
    return _lennard_jones(x, parameters, g, 3)


DOUBLE_WELL_PAIRS = {1: _double_well_pairs_1, 2: _double_well_pairs_2, 3: _double_well_pairs_3}
"""Σ 0.9 r⁴ - 4 r², r = d - 4, by the number of dimensions."""
LENNARD_JONES = {1: _lennard_jones_1, 2: _lennard_jones_2, 3: _lennard_jones_3}
"""Σ depth (d⁻¹² - 2 d⁻⁶) by the number of dimensions; the depth is the second parameter."""
