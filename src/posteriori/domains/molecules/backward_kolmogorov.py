"""The committor of a plane potential by detailed-balance finite differences: the truth for learnt ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.target import Boltzmann
from posteriori.inference.regions import Region

Floats = NDArray[np.float64]
LEAST_NODES = 11


@dataclass(frozen=True)
class Solved:
    """Committor q on a grid (x, y), the Boltzmann law there, and what follows for D = 1.

    Attributes:
        x, y: the axes.
        q: probability to reach B before A, (x, y).
        pi: normalised density on the grid, (x, y).
        flux: reactive trajectories from A to B in a unit of time, ∫ π |∇q|².
        last_a: share of the time in which A was visited last, ∫ π (1 - q).
    """

    x: Floats
    y: Floats
    q: Floats
    pi: Floats
    flux: float
    last_a: float

    @property
    def rate(self) -> float:
        """Rate of A → B, the flux for each unit of time since A."""
        return self.flux / self.last_a

    def at(self, points: Tensor) -> Tensor:
        """q at ``points`` (*batch, 2), bilinear, float64 (*batch,); NaN beyond the grid."""
        found = RegularGridInterpolator((self.x, self.y), self.q, bounds_error=False)
        return torch.from_numpy(found(points.double().numpy()))


def backward_kolmogorov(
    target: Boltzmann, a: Region, b: Region, x: tuple[float, float], y: tuple[float, float], nodes: int = 401
) -> Solved:
    """q with ∇·(π ∇q) = 0, 0 in A, 1 in B, no flux through the borders of the box ``x`` × ``y``.

    Edges of the grid carry √(π_i π_j) / h², which keeps detailed balance exactly.

    Raises:
        OptionError: too few nodes, or a set without any node.

    Reference: Metzner, Schütte & Vanden-Eijnden (2009), Transition path theory for Markov jump processes, Multiscale
    Modeling & Simulation 7, 1192.
    """
    if nodes < LEAST_NODES:
        raise OptionError(f"nodes={nodes}: at least {LEAST_NODES} along each axis.")
    xs, ys = np.linspace(*x, nodes), np.linspace(*y, nodes)
    points = torch.from_numpy(np.stack(np.meshgrid(xs, ys, indexing="ij"), -1))
    with torch.no_grad():
        energy = target.energy(points).numpy()
        in_a, in_b = ((region.gap(points) <= 0).numpy().ravel() for region in (a, b))
    if not in_a.any() or not in_b.any():
        raise OptionError(f"a set holds no node of the {nodes} × {nodes} grid on {x} × {y}; widen the box or the set.")
    pi = np.exp(-(energy - energy.min()))
    hx, hy = xs[1] - xs[0], ys[1] - ys[0]
    pi /= pi.sum() * hx * hy
    i, j, w = _edges(pi, hx, hy)
    q = _solved(i, j, w, in_a, in_b)
    flux = float((w * (q[i] - q[j]) ** 2).sum() * hx * hy)
    last_a = float((pi.ravel() * (1 - q)).sum() * hx * hy)
    return Solved(xs, ys, q.reshape(pi.shape), pi, flux, last_a)


def _edges(pi: Floats, hx: float, hy: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Ends and weights of all edges of the grid."""
    number = np.arange(pi.size).reshape(pi.shape)
    root = np.sqrt(pi)
    along_x = (number[:-1].ravel(), number[1:].ravel(), (root[:-1] * root[1:]).ravel() / hx**2)
    along_y = (number[:, :-1].ravel(), number[:, 1:].ravel(), (root[:, :-1] * root[:, 1:]).ravel() / hy**2)
    i, j, w = (np.concatenate(pair) for pair in zip(along_x, along_y, strict=True))
    return i, j, np.maximum(w, 1e-300)


def _solved(
    i: NDArray[np.int64], j: NDArray[np.int64], w: Floats, in_a: NDArray[np.bool_], in_b: NDArray[np.bool_]
) -> Floats:
    """q at every node; rows are scaled to a diagonal of one, for π spans many decades."""
    n = len(in_a)
    matrix = coo_matrix((np.concatenate([w, w]), (np.concatenate([i, j]), np.concatenate([j, i]))), (n, n)).tocsr()
    degree = np.asarray(matrix.sum(1)).ravel()
    free = ~(in_a | in_b)
    root = 1 / np.sqrt(degree[free])
    inner = matrix[free][:, free].multiply(root[:, None]).multiply(root).tocsc()
    system = -inner
    system.setdiag(1.0)
    right = root * np.asarray(matrix[free][:, in_b].sum(1)).ravel()
    q = in_b.astype(np.float64)
    q[free] = np.clip(root * spsolve(system.tocsc(), right), 0.0, 1.0)
    return q
