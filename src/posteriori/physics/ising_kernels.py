"""Compiled moves of Ising spins on a torus: clusters of Swendsen and Wang, clusters of Wolff, and the heat bath.

Spins are int8 ±1, (chain, rows, columns); a ring has one row, whose upward bonds are left out. Random numbers come from
a NumPy generator that the kernels advance, chain after chain.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from posteriori.core.optional import require

numba = require("numba", "molecules")
F = TypeVar("F", bound=Callable[..., Any])
Spins = NDArray[np.int8]
Labels = NDArray[np.int32]


def jit(function: F) -> F:
    """The function compiled; it runs without the interpreter's lock."""
    compiled: F = numba.njit(cache=True, nogil=True)(function)
    return compiled


@jit
def _root(parent: Labels, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@jit
def _join(parent: Labels, i: int, j: int) -> None:
    a, b = _root(parent, i), _root(parent, j)
    if a < b:
        parent[b] = a
    elif b < a:
        parent[a] = b


@jit
def swendsen_wang(spins: Spins, coupling: float, sweeps: int, random: np.random.Generator) -> None:
    """``sweeps`` times: bonds between equal neighbours with probability 1 - exp(-2K), a new sign for each cluster."""
    chains, rows, columns = spins.shape
    joined = 1.0 - exp(-2.0 * coupling)
    parent = np.empty(rows * columns, np.int32)
    sign = np.empty(rows * columns, np.int8)
    for chain in range(chains):
        s = spins[chain]
        for _ in range(sweeps):
            for i in range(rows * columns):
                parent[i] = i
            for r in range(rows):
                below = r + 1 if r + 1 < rows else 0
                for c in range(columns):
                    right = c + 1 if c + 1 < columns else 0
                    i = r * columns + c
                    if s[r, c] == s[r, right] and random.random() < joined:
                        _join(parent, i, r * columns + right)
                    if rows > 1 and s[r, c] == s[below, c] and random.random() < joined:
                        _join(parent, i, below * columns + c)
            for r in range(rows):
                for c in range(columns):
                    i = r * columns + c
                    root = _root(parent, i)
                    if root == i:
                        sign[i] = 1 if random.random() < 0.5 else -1
                    s[r, c] = sign[root]


@jit
def wolff(spins: Spins, coupling: float, clusters: int, random: np.random.Generator) -> None:
    """``clusters`` times: one cluster, grown from a random site by the bonds of Swendsen and Wang, is turned over."""
    chains, rows, columns = spins.shape
    joined = 1.0 - exp(-2.0 * coupling)
    stack = np.empty((rows * columns, 2), np.int32)
    for chain in range(chains):
        s = spins[chain]
        for _ in range(clusters):
            r, c = random.integers(0, rows), random.integers(0, columns)
            old = s[r, c]
            s[r, c] = -old
            stack[0, 0], stack[0, 1] = r, c
            top = 1
            while top > 0:
                top -= 1
                r, c = stack[top, 0], stack[top, 1]
                for side in range(4 if rows > 1 else 2):
                    a, b = r, c
                    if side == 0:
                        b = c + 1 if c + 1 < columns else 0
                    elif side == 1:
                        b = c - 1 if c > 0 else columns - 1
                    elif side == 2:
                        a = r + 1 if r + 1 < rows else 0
                    else:
                        a = r - 1 if r > 0 else rows - 1
                    if s[a, b] == old and random.random() < joined:
                        s[a, b] = -old
                        stack[top, 0], stack[top, 1] = a, b
                        top += 1


@jit
def heat_bath(spins: Spins, coupling: float, sweeps: int, random: np.random.Generator) -> None:
    """``sweeps`` times every site, one half of the checkerboard first, anew from its law given its neighbours."""
    chains, rows, columns = spins.shape
    up = np.empty(9)
    for h in range(-4, 5):
        up[h + 4] = 1.0 / (1.0 + exp(-2.0 * coupling * h))
    for chain in range(chains):
        s = spins[chain]
        for _ in range(sweeps):
            for parity in range(2):
                for r in range(rows):
                    above, below = r - 1 if r > 0 else rows - 1, r + 1 if r + 1 < rows else 0
                    for c in range((r + parity) % 2, columns, 2):
                        left, right = c - 1 if c > 0 else columns - 1, c + 1 if c + 1 < columns else 0
                        h = s[r, left] + s[r, right]
                        if rows > 1:
                            h += s[above, c] + s[below, c]
                        s[r, c] = 1 if random.random() < up[h + 4] else -1


@jit
def energies(spins: Spins, coupling: float, energy: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    """U = -Σ s s' of each chain, and -½ Σ h tanh(K h) with h the sum of a site's neighbours.

    The latter has the same mean, since ⟨s h⟩ = ⟨h tanh(K h)⟩, and less variance.

    Reference: Callen (1963), A note on Green functions and the Ising model, Phys. Lett. 4, 161.
    """
    chains, rows, columns = spins.shape
    turned = np.empty(9)
    for h in range(-4, 5):
        turned[h + 4] = h * np.tanh(coupling * h)
    for chain in range(chains):
        s = spins[chain]
        total, smooth = 0.0, 0.0
        for r in range(rows):
            above, below = r - 1 if r > 0 else rows - 1, r + 1 if r + 1 < rows else 0
            for c in range(columns):
                left, right = c - 1 if c > 0 else columns - 1, c + 1 if c + 1 < columns else 0
                h = s[r, left] + s[r, right]
                if rows > 1:
                    h += s[above, c] + s[below, c]
                total += s[r, c] * h
                smooth += turned[h + 4]
        energy[chain] = -0.5 * total
        expected[chain] = -0.5 * smooth


@jit
def mean_energies(
    spins: Spins, coupling: float, steps: int, local: int, random: np.random.Generator, mean: NDArray[np.float64]
) -> None:
    """Each chain's mean of -½ Σ h tanh(K h) over ``steps``: a cluster turned over, then ``local`` heat-bath sweeps."""
    energy = np.empty(1)
    smooth = np.empty(1)
    for chain in range(len(spins)):
        one = spins[chain : chain + 1]
        total = 0.0
        for _ in range(steps):
            wolff(one, coupling, 1, random)
            for _ in range(local):
                heat_bath(one, coupling, 1, random)
                energies(one, coupling, energy, smooth)
                total += smooth[0]
        mean[chain] = total / (steps * local)
