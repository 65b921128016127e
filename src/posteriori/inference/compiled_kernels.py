"""Compiled motion of many chains in one energy: descent to where they may start, and Hamiltonian transitions."""

from __future__ import annotations

from math import isfinite, log

import numpy as np

from posteriori.physics.compiled import ENERGY, MATRIX, VECTOR, Floats, Function, inlined, kernel, numba

COUNT = numba.types.int64
RANDOM = numba.typeof(np.random.default_rng(0))
ROWS = numba.types.float64[:, :, ::1]
STUCK = 1e-12
"""Length of a descent's steps at which it ends."""


@inlined
def _centre(p: Floats, axes: int) -> None:
    """Take the mean over particles off ``p``, axis by axis; nothing where ``axes`` is zero."""
    for a in range(axes):
        mean = 0.0
        for i in range(a, p.size, axes):
            mean += p[i]
        mean *= axes / p.size
        for i in range(a, p.size, axes):
            p[i] -= mean


@inlined
def _relabel(x: Floats, g: Floats, block: int, random: np.random.Generator) -> None:
    """Put the particles, ``block`` numbers each, into a random order."""
    for i in range(x.size // block - 1, 0, -1):
        j = int(random.random() * (i + 1))
        for a in range(block):
            x[i * block + a], x[j * block + a] = x[j * block + a], x[i * block + a]
            g[i * block + a], g[j * block + a] = g[j * block + a], g[i * block + a]


@kernel(ENERGY, VECTOR, MATRIX, VECTOR, MATRIX, numba.types.float64, COUNT)
def descend(f: Function, parameters: Floats, x: Floats, u: Floats, g: Floats, step: float, iterations: int) -> None:
    """Each row of ``x`` down its steepest slope: steps grow where they help and shrink where they do not.

    ``step`` is the first and largest move of any one number.
    """
    n = x.shape[1]
    y, slope = np.empty(n), np.empty(n)
    for c in range(len(x)):
        u[c] = f(x[c], parameters, g[c])
        h = step
        for _ in range(iterations):
            steepest = 0.0
            for i in range(n):
                steepest = max(steepest, abs(g[c, i]))
            if not (steepest > 0.0 and isfinite(steepest)) or h < STUCK:
                break
            for i in range(n):
                y[i] = x[c, i] - h * g[c, i] / steepest
            energy = f(y, parameters, slope)
            if energy < u[c] or not isfinite(u[c]):
                x[c], g[c], u[c] = y, slope, energy
                h = min(1.2 * h, step)
            else:
                h *= 0.5


@kernel(
    ENERGY, VECTOR, VECTOR, VECTOR, COUNT, COUNT, COUNT, COUNT, MATRIX, MATRIX, VECTOR, ROWS, MATRIX, VECTOR, RANDOM
)
def walk(
    f: Function,
    parameters: Floats,
    beta: Floats,
    step: Floats,
    most: int,
    between: int,
    axes: int,
    block: int,
    x: Floats,
    g: Floats,
    u: Floats,
    kept: Floats,
    energies: Floats,
    accepted: Floats,
    random: np.random.Generator,
) -> None:
    """Fill ``kept`` (chain, row, n) and ``energies`` (chain, row), one row every ``between`` transitions.

    Args:
        f, parameters: the compiled energy U.
        beta: 1 / kT of each chain.
        step: leapfrog step of each chain.
        most: leapfrogs of a transition at most; each takes a random number from half of it.
        between: transitions from one row to the next.
        axes: numbers of one particle, where the centre of mass rests; else 0.
        block: numbers of one of the identical particles, which are put into a random order before each row; else 0.
        x, g, u: where the chains stand, ∇U and U there; they move on.
        accepted: mean acceptance probability of each chain, written over.
        random: advanced, chain after chain.
    """
    chains, n = x.shape
    rows = kept.shape[1]
    y, slope, p = np.empty(n), np.empty(n), np.empty(n)
    low = (most + 1) // 2
    for c in range(chains):
        h, b = step[c], beta[c]
        total = 0.0
        for r in range(rows):
            if block > 0:
                _relabel(x[c], g[c], block, random)
            for _ in range(between):
                for i in range(n):
                    p[i] = random.standard_normal()
                _centre(p, axes)
                before = b * u[c]
                for i in range(n):
                    before += 0.5 * p[i] * p[i]
                    p[i] -= 0.5 * h * b * g[c, i]
                    y[i] = x[c, i] + h * p[i]
                energy = f(y, parameters, slope)
                for _ in range(low + int(random.random() * (most - low + 1)) - 1):
                    if not isfinite(energy):
                        break
                    for i in range(n):
                        p[i] -= h * b * slope[i]
                        y[i] += h * p[i]
                    energy = f(y, parameters, slope)
                after = b * energy
                for i in range(n):
                    p[i] -= 0.5 * h * b * slope[i]
                    after += 0.5 * p[i] * p[i]
                gained = before - after
                if not isfinite(gained):
                    continue
                total += 1.0 if gained > 0.0 else np.exp(gained)
                if log(1.0 - random.random()) < gained:
                    u[c] = energy
                    for i in range(n):
                        x[c, i], g[c, i] = y[i], slope[i]
            energies[c, r] = u[c]
            for i in range(n):
                kept[c, r, i] = x[c, i]
        accepted[c] = total / max(rows * between, 1)
