"""The lattice on which direct currents flow in a section, and the wavenumbers along its strike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import k0, k0e, k1e

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.grid import centres
from posteriori.core.space import Space
from posteriori.physics.conduction import Floats, Integers, Lattice

GROWTH = 1.2
"""Ratio of neighbouring cells in the padding."""
PADDING = 20.0
"""Distance from the outermost electrodes to the border of the lattice, in lengths of the layout."""
LARGER = 0.1
"""A cell may be larger than the finest by this share of its distance from the electrodes."""
NEARER = 0.1
"""A border of the model nearer to an electrode than this share of a cell is moved to it."""
QUADRATURE = 1e-5
"""Largest relative error of the potential of a homogeneous Earth by the wavenumbers' sum."""
MOST_WAVENUMBERS = 24


def cell_borders(space: Space) -> tuple[Floats, Floats]:
    """Borders of the cells of a section along z and x [m]; the uppermost is the surface, others lie halfway."""
    if space.dims != ("z", "x"):
        raise ShapeError(f"{space} needs the dims ('z', 'x'), centres of cells [m].")
    z, x = centres(space, "z"), centres(space, "x")
    if len(z) < 2 or len(x) < 2 or z[0] <= 0 or z[1] < z[0] or x[1] < x[0]:
        raise ShapeError(
            f"labels of {space.name} must be two rising centres of cells at least, those of z below the surface z = 0 "
            f"(first found: z {z[:2]}, x {x[:2]}): depth counts downwards."
        )
    down, across = _halfway(z), _halfway(x)
    down[0] = 0.0
    return down, across


def wavenumbers(shortest: float, longest: float) -> tuple[Floats, Floats]:
    """k (n,) [1/m] and weights w with Σ w K₀(k r) ≈ ∫₀^∞ K₀(k r) dk = π / 2r for all r between the two distances [m].

    k are evenly spaced in the logarithm; the weights are those of least relative error; n is the smallest that errs
    by less than ``QUADRATURE``.

    Reference: Xu, Duan & Zhang (2000), Selection of the wavenumbers k using an optimization method for the inverse
    Fourier transform in 2.5D electrical modelling, Geophysical Prospecting 48, 789.
    """
    r = np.geomspace(shortest, longest, 200)
    for n in range(6, MOST_WAVENUMBERS + 1):
        k = np.geomspace(0.2 / longest, 6.0 / shortest, n)
        table = 2 / np.pi * r[:, None] * k0(k * r[:, None])
        weights = np.linalg.lstsq(table, np.ones(len(r)), rcond=None)[0]
        if np.abs(table @ weights - 1).max() <= QUADRATURE:
            return k, weights
    raise DataError(
        f"distances from {shortest:g} to {longest:g} m span too many decades for one set of wavenumbers; "
        "split the layout in two."
    )


@dataclass(frozen=True)
class Mesh:
    """A lattice whose nodes include all electrodes and whose cells each lie in one cell of the model.

    Attributes:
        lattice: its cells.
        electrodes: node of each electrode, (e,).
        model: cell of the model that each cell of the lattice lies in.
        border: pieces of the left, right and lower border.
    """

    lattice: Lattice
    electrodes: Integers
    model: Integers
    border: Border

    @staticmethod
    def of(space: Space, electrodes: Floats, refinement: int) -> Mesh:
        """The mesh of a section's Space and electrodes (e, 2), rows (z, x) [m]; ``refinement`` cells per spacing."""
        down, across = cell_borders(space)
        length = float(np.ptp(electrodes, axis=0).max())
        finest = shortest_distance(electrodes) / refinement
        deepest, left, right = electrodes[:, 0].max(), electrodes[:, 1].min(), electrodes[:, 1].max()
        z = _divided(
            _merged(down, electrodes[:, 0], NEARER * finest), lambda z: finest + LARGER * max(z - deepest, 0.0)
        )
        x = _divided(
            _merged(across, electrodes[:, 1], NEARER * finest),
            lambda x: finest + LARGER * max(left - x, x - right, 0.0),
        )
        reach = PADDING * length
        z = np.concatenate([z, _padding(z[-1], z[-1] - z[-2], reach - z[-1] + deepest)])
        before = 2 * x[0] - _padding(x[0], x[1] - x[0], reach - left + x[0])[::-1]
        x = np.concatenate([before, x, _padding(x[-1], x[-1] - x[-2], reach - x[-1] + right)])
        inside_z = np.clip(np.searchsorted(down, 0.5 * (z[1:] + z[:-1])) - 1, 0, space.shape[0] - 1)
        inside_x = np.clip(np.searchsorted(across, 0.5 * (x[1:] + x[:-1])) - 1, 0, space.shape[1] - 1)
        model = inside_z * space.shape[1] + inside_x[:, None]
        nodes = np.abs(x - electrodes[:, 1:]).argmin(1) * len(z) + np.abs(z - electrodes[:, :1]).argmin(1)
        return Mesh(Lattice(x, z), nodes, model.ravel(), Border.of(x - 0.5 * (left + right), z, model))


@dataclass(frozen=True)
class Border:
    """Pieces of the far border, half a cell each: node, model cell, length [m], distance [m] from the middle, cos θ.

    There ∂u/∂n = -k K₁(kr)/K₀(kr) cos θ u, as for a source in the middle of the layout.
    """

    node: Integers
    model: Integers
    length: Floats
    distance: Floats
    cosine: Floats

    @staticmethod
    def of(x: Floats, z: Floats, model: Integers) -> Border:
        """Of a lattice with the middle of the layout at x = 0, and the model cell (nx-1, nz-1) of each of its cells."""
        node = np.arange(len(x) * len(z)).reshape(len(x), len(z))
        dz, dx = 0.5 * np.diff(z), 0.5 * np.diff(x)
        pieces = []
        for cut in (slice(None, -1), slice(1, None)):
            for i in (0, -1):
                r = np.hypot(x[i], z[cut])
                pieces.append((node[i, cut], model[i], dz, r, abs(x[i]) / r))
            r = np.hypot(x[cut], z[-1])
            pieces.append((node[cut, -1], model[:, -1], dx, r, z[-1] / r))
        return Border(*(np.concatenate(column) for column in zip(*pieces, strict=True)))

    def conductance(self, k: float) -> Floats:
        """Of each piece, per unit conductivity."""
        found: Floats = self.length * k * k1e(k * self.distance) / k0e(k * self.distance) * self.cosine
        return found


def shortest_distance(electrodes: Floats) -> float:
    """The least distance between two electrodes (e, 2) [m]."""
    away = np.hypot(*(electrodes[:, None] - electrodes).transpose(2, 0, 1))
    return float(away[~np.eye(len(away), dtype=bool)].min())


def _halfway(c: Floats) -> Floats:
    middle = 0.5 * (c[1:] + c[:-1])
    return np.concatenate([[1.5 * c[0] - 0.5 * c[1]], middle, [1.5 * c[-1] - 0.5 * c[-2]]])


def _merged(borders: Floats, electrodes: Floats, slack: float) -> Floats:
    """Borders and the electrodes between them in order, without borders that all but touch an electrode."""
    points = np.unique(electrodes.clip(borders[0], borders[-1]))
    apart = np.abs(borders[:, None] - points).min(1) > slack
    apart[[0, -1]] |= np.abs(borders[[0, -1], None] - points).min(1) > 0
    return np.unique(np.concatenate([borders[apart], points]))


def _divided(points: Floats, largest: Callable[[float], float]) -> Floats:
    """Equal parts between each two points, none larger than ``largest`` says there."""
    parts = [
        np.linspace(a, b, max(int(np.ceil((b - a) / largest(0.5 * (a + b)) - 1e-9)), 1) + 1)[:-1]
        for a, b in pairwise(points)
    ]
    return np.concatenate([*parts, points[-1:]])


def _padding(start: float, step: float, length: float) -> Floats:
    """Nodes beyond ``start``, each cell ``GROWTH`` times the last, until ``length`` is passed (one cell at least)."""
    many = max(int(np.ceil(np.log1p(max(length, 0.0) / step * (GROWTH - 1)) / np.log(GROWTH))), 1)
    return start + np.cumsum(step * GROWTH ** np.arange(1, many + 1))
