"""Sources of sound rows: exact draws, chains that keep their law, and proposals with a density, of small targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from math import log, pi, sqrt

import numpy as np
import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Target
from posteriori.inference.hmc import HMC
from posteriori.physics.centred import Centred
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.funnel import Funnel
from posteriori.physics.gaussian_mixture import GaussianMixture
from posteriori.physics.many_well import ManyWell
from posteriori.physics.mueller_brown import MuellerBrown
from posteriori.physics.pair_potential import DoubleWellPairs, LennardJones, PairPotential

Sampler = Callable[[int, Rng], Tensor]
KERNELS = 200
MOMENTS = 4
"""Coordinates whose first two moments are looked at."""
WIDE = 2.0


class Source(ABC):
    """Rows of a target that are what they are said to be."""

    name: str
    target: Target
    log_z: float | None

    @abstractmethod
    def chains(self, chains: int, length: int, rng: Rng) -> Tensor:
        """Correlated rows (chains · length, *space.shape), chain after chain, in equilibrium from the first."""

    @abstractmethod
    def independent(self, n: int, rng: Rng) -> Tensor:
        """Rows (n, *space.shape) that do not depend on each other."""

    @abstractmethod
    def moments(self) -> Tensor:
        """Mean energy and first and second moments of the first coordinates, as :func:`moments_of` orders them."""


def moments_of(target: Target, rows: Tensor) -> Tensor:
    """Energy, first and second powers of the first coordinates of each row, (row, j)."""
    x = target.space.flat(rows)[:, :MOMENTS]
    with torch.no_grad():
        energy = target.energy(rows)
    return torch.cat([energy[:, None], x, x.square()], 1)


@dataclass(frozen=True)
class Drawn(Source):
    """A target with an exact sampler; its chains move by Langevin steps and now and then start afresh.

    Args:
        name: of the target.
        target: the law.
        draw: exact rows (n, *space.shape).
        step: of the Langevin moves.
        exact: expectations of :func:`moments_of`.
        log_z: log ∫ exp(-energy).
        refresh: probability that a chain starts afresh.
    """

    name: str
    target: Target
    draw: Sampler
    step: float
    exact: Tensor
    log_z: float
    refresh: float = 0.1

    def moments(self) -> Tensor:
        return self.exact

    def independent(self, n: int, rng: Rng) -> Tensor:
        return self.draw(n, rng)

    def chains(self, chains: int, length: int, rng: Rng) -> Tensor:
        return self.moved(self.draw(chains, rng.child("start")), length, rng, self.refresh)

    def moved(self, start: Tensor, length: int, rng: Rng, refresh: float) -> Tensor:
        """Chains from ``start`` (chain, *space.shape), with moves accepted or rejected so that they keep the law."""
        x = start
        energy, slope = self._slope(x)
        rows = []
        for _ in range(length):
            noise = rng.normal(x.shape)
            y = x - self.step**2 / 2 * slope + self.step * noise
            new_energy, new_slope = self._slope(y)
            back = (x - y + self.step**2 / 2 * new_slope) / self.step
            gain = energy - new_energy + (noise.square().sum(1) - back.square().sum(1)) / 2
            taken = rng.uniform((len(x),)).log() < gain
            if refresh > 0:
                fresh = rng.uniform((len(x),)) < refresh
                y = torch.where(fresh[:, None], self.draw(len(x), rng), y)
                taken = taken | fresh
            x = torch.where(taken[:, None], y, x)
            energy, slope = self._slope(x)
            rows.append(x)
        return torch.stack(rows, 1).flatten(0, 1)

    def _slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        point = x.detach().requires_grad_()
        energy = self.target.energy(point)
        (slope,) = torch.autograd.grad(energy.sum(), point)
        return energy.detach(), slope


@dataclass(frozen=True)
class Pooled(Source):
    """A target of particles that Hamiltonian Monte Carlo samples well; every call takes chains from one long run.

    Args:
        name: of the target.
        potential: of centred positions; rows are positions (particle, axis).
        start: positions from which the run begins, disturbed by ``disturbed``.
        seed: of the long run.
        walkers: chains of the long run.
        warmup, kept: its transitions.
        steps: most leapfrog steps of a transition.
    """

    name: str
    potential: PairPotential
    start: Tensor
    seed: int
    walkers: int
    warmup: int
    kept: int
    steps: int
    disturbed: float = 0.1
    log_z: float | None = None

    @cached_property
    def target(self) -> Target:  # type: ignore[override]
        return Boltzmann(self.potential, 1.0)

    @cached_property
    def run(self) -> Tensor:
        """The long run (chain, draw, particle, axis), every row turned and its particles renamed at random: the energy
        does not know, and what is slow in rotation and exchange is slow no more."""
        frame = Centred(self.potential.domain)
        rng = Rng(self.seed).child("pool", self.name)
        inner = Boltzmann(self.potential @ frame, 1.0)
        first = frame.coordinates(self.start + self.disturbed * rng.normal((self.walkers, *self.start.shape)))
        method = HMC(self.kept, self.warmup, self.walkers, self.steps, 0.8, start=Draws(inner.space, first))
        found = method(inner, Context(rng.child("run")))
        return _turned(frame(found.values), rng.child("turns")).reshape(self.walkers, self.kept, *self.start.shape)

    @cached_property
    def _moments(self) -> Tensor:
        return moments_of(self.target, self.run.flatten(0, 1)).mean(0)

    def moments(self) -> Tensor:
        return self._moments

    def chains(self, chains: int, length: int, rng: Rng) -> Tensor:
        which = rng.permutation(self.walkers)[:chains]
        first = int(rng.integers(self.kept - length + 1, ()))
        return self.run[which, first : first + length].flatten(0, 1)

    def independent(self, n: int, rng: Rng) -> Tensor:
        flat = self.run[:, :: max(1, self.kept // 8)].flatten(0, 1)
        return flat[rng.permutation(len(flat))[:n]]


@dataclass(frozen=True)
class Proposal:
    """Gaussian kernels at some rows, with a share of one wide Gaussian.

    Args:
        centres: (kernel, n).
        scale: standard deviation of a kernel in each coordinate, (n,).
        wide: share of a Gaussian of twice the kernels' overall spread; 0 for none.
    """

    centres: Tensor
    scale: Tensor
    wide: float = 0.1

    @staticmethod
    def around(rows: Tensor, width: float, wide: float = 0.1) -> Proposal:
        """Kernels at the first 200 ``rows``, ``width`` times their spread wide."""
        return Proposal(rows[:KERNELS], width * rows.std(0), wide)

    @staticmethod
    def fitted(rows: Tensor, wide: float = 0.1) -> Proposal:
        """One Gaussian with the mean of the ``rows``, a little wider than they are."""
        return Proposal(rows.mean(0, keepdim=True), 1.1 * rows.std(0), wide)

    def draw(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """Rows (n, d) and their log density (n,)."""
        of = rng.integers(len(self.centres), (n,))
        noise = rng.normal((n, self.centres.shape[1]))
        x = self.centres[of] + self.scale * noise
        if self.wide > 0:
            middle, spread = self._overall()
            far = rng.uniform((n,)) < self.wide
            x = torch.where(far[:, None], middle + spread * noise, x)
        return x, self.log_prob(x)

    def log_prob(self, x: Tensor) -> Tensor:
        """log density (row,) of rows (row, d)."""
        z = (x[:, None] - self.centres) / self.scale
        norm = self.scale.log().sum() + x.shape[1] * log(2 * pi) / 2
        near = torch.logsumexp(-z.square().sum(2) / 2, 1) - log(len(self.centres)) - norm
        if self.wide <= 0:
            return near
        middle, spread = self._overall()
        far = -((x - middle) / spread).square().sum(1) / 2 - spread.log().sum() - x.shape[1] * log(2 * pi) / 2
        return torch.logaddexp(near + log(1 - self.wide), far + log(self.wide))

    def _overall(self) -> tuple[Tensor, Tensor]:
        variance = self.centres.var(0, unbiased=False) + self.scale.square()
        return self.centres.mean(0), WIDE * variance.sqrt()


@cache
def gaussian(dimensions: int) -> Drawn:
    """A standard normal law."""
    target = Boltzmann(GaussianMixture(torch.zeros(1, dimensions)), 1.0)
    seen = min(dimensions, MOMENTS)
    exact = [dimensions * (1 + log(2 * pi)) / 2, *[0.0] * seen, *[1.0] * seen]
    step = 1.2 * dimensions**-0.17
    return Drawn(
        f"gaussian_{dimensions}", target, lambda n, rng: rng.normal((n, dimensions)), step, _tensor(exact), 0.0
    )


@cache
def mixture() -> Drawn:
    """Three Gaussians in the plane that touch."""
    potential = GaussianMixture(
        torch.tensor([[-2.0, 0.0], [1.5, 1.0], [0.5, -2.5]]), 0.8, torch.tensor([1.0, 2.0, 1.0])
    )
    share = potential.log_weights.exp().cumsum(0)

    def draw(n: int, rng: Rng) -> Tensor:
        of = torch.searchsorted(share, rng.uniform((n,))).clamp_max(len(share) - 1)
        return potential.means[of] + potential.scale * rng.normal((n, 2))

    grid, density = _on_grid(potential, 1.0, np.linspace(-8, 8, 801), np.linspace(-8, 8, 801))
    target = Boltzmann(potential, 1.0)
    return Drawn("mixture", target, draw, 0.8, density @ moments_of(target, grid), 0.0)


@cache
def double_well(tilt: float = 1.0, beta: float = 1.0) -> Drawn:
    """The tilted double well at 1/kT = ``beta``; x by inversion of its distribution function."""
    grid = np.linspace(-6, 6, 24001)
    energy = beta * (grid**4 / 4 - 3 * grid**2 + tilt * grid)
    inverse = _inverse(grid, energy)
    log_z = _log_integral(grid, energy) + log(2 * pi / beta) / 2

    def draw(n: int, rng: Rng) -> Tensor:
        return torch.stack([inverse(rng.uniform((n,))), rng.normal((n,)) / sqrt(beta)], 1)

    mean = _averaged(grid, energy, energy, grid, grid**2)
    exact = _tensor([mean[0] + 0.5, mean[1], 0.0, mean[2], 1 / beta])
    name = "double_well" if tilt == 1 else "even_double_well"
    return Drawn(name, Boltzmann(DoubleWell(tilt=tilt), beta), draw, 0.35, exact, log_z)


@cache
def many_well(dimensions: int) -> Drawn:
    """Independent double wells."""
    grid = np.linspace(-4, 4, 16001)
    energy = grid**4 - 6 * grid**2 - grid / 2
    inverse = _inverse(grid, energy)
    mean = _averaged(grid, energy, energy, grid, grid**2)
    exact = [dimensions / 2 * (mean[0] + 0.5), mean[1], 0.0, mean[1], 0.0, mean[2], 1.0, mean[2], 1.0]

    def draw(n: int, rng: Rng) -> Tensor:
        x = inverse(rng.uniform((n, dimensions // 2)))
        return torch.stack([x, rng.normal(x.shape)], 2).flatten(1)

    potential = ManyWell(dimensions)
    return Drawn(f"many_well_{dimensions}", Boltzmann(potential, 1.0), draw, 0.25, _tensor(exact), potential.log_z)


@cache
def funnel(dimensions: int = 4) -> Drawn:
    """Neal's funnel."""

    def draw(n: int, rng: Rng) -> Tensor:
        v = 3 * rng.normal((n, 1))
        return torch.cat([v, (v / 2).exp() * rng.normal((n, dimensions - 1))], 1)

    others = dimensions - 1
    entropy = 0.5 + log(3) + dimensions * log(2 * pi) / 2 + others / 2
    # the others' variance exp(9/2) rests on rows that a run hardly sees, and no interval of it can hold
    exact = _tensor([entropy, 0.0, *[0.0] * others, 9.0, *[torch.nan] * others])
    return Drawn("funnel", Boltzmann(Funnel(dimensions), 1.0), draw, 0.2, exact, 0.0, 0.3)


@cache
def mueller_brown(temperature: float = 15.0) -> Drawn:
    """The Müller-Brown surface at kT = ``temperature``, drawn from a fine grid."""
    x, y = np.linspace(-2.2, 1.5, 1481), np.linspace(-0.8, 2.6, 1361)
    potential = MuellerBrown()
    target = Boltzmann(potential, 1 / temperature)
    grid, density = _on_grid(potential, 1 / temperature, x, y)
    edges = density.cumsum(0)
    log_z = float(torch.logsumexp(-target.energy(grid), 0)) + log((x[1] - x[0]) * (y[1] - y[0]))

    def draw(n: int, rng: Rng) -> Tensor:
        at = torch.searchsorted(edges, rng.uniform((n,))).clamp_max(len(edges) - 1)
        jitter = (rng.uniform((n, 2)) - 0.5) * torch.tensor([x[1] - x[0], y[1] - y[0]])
        return grid[at] + jitter

    return Drawn("mueller_brown", target, draw, 0.09, density @ moments_of(target, grid), log_z)


def dw4(seed: int) -> Pooled:
    """Four particles in the plane."""
    start = 2.0 * torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    return Pooled("dw4", DoubleWellPairs(), start, seed, 192, 250, 400, 12, 0.5)


def lj13(seed: int) -> Pooled:
    """Thirteen particles in space, from a disturbed icosahedron."""
    g = (1 + sqrt(5)) / 2
    ring = [(0.0, a, b * g) for a in (-1, 1) for b in (-1, 1)]
    corners = torch.tensor([p[i:] + p[:i] for p in ring for i in range(3)], dtype=torch.float64)
    start = torch.cat([torch.zeros(1, 3, dtype=torch.float64), corners / corners[0].norm()])
    return Pooled("lj13", LennardJones(), start, seed, 96, 250, 150, 16, 0.02)


def _turned(rows: Tensor, rng: Rng) -> Tensor:
    n, particles, axes = rows.shape
    order = rng.uniform((n, particles)).argsort(1)
    q, r = torch.linalg.qr(rng.normal((n, axes, axes)))
    q = q * torch.sign(torch.diagonal(r, dim1=1, dim2=2))[:, None]
    return torch.gather(rows, 1, order[..., None].expand_as(rows)) @ q


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _on_grid(potential: Operator, beta: float, x: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
    """Points (point, 2) of a fine grid and their probabilities (point,)."""
    mesh = torch.meshgrid(torch.from_numpy(x), torch.from_numpy(y), indexing="ij")
    points = torch.stack(mesh, -1).flatten(0, 1)
    return points, torch.softmax(-beta * potential(points), 0)


def _averaged(grid: np.ndarray, energy: np.ndarray, *figures: np.ndarray) -> list[float]:
    density = np.exp(energy.min() - energy)
    return [float(np.trapezoid(f * density, grid) / np.trapezoid(density, grid)) for f in figures]


def _log_integral(grid: np.ndarray, energy: np.ndarray) -> float:
    return float(np.log(np.trapezoid(np.exp(energy.min() - energy), grid)) - energy.min())


def _inverse(grid: np.ndarray, energy: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Quantiles of exp(-energy) over a grid, linear between its points."""
    density = np.exp(energy.min() - energy)
    edges = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    edges /= edges[-1]
    return lambda p: torch.from_numpy(np.interp(p.numpy(), edges, grid))
