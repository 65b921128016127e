"""Finite-size scaling: where a lattice orders and how fast, from Binder cumulants of coarse spins at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.random import Rng
from posteriori.inference.lattice_walk import Length, measured, settled, walk
from posteriori.physics.ising_kernels import wolff

Floats = NDArray[np.float64]
Variable = Callable[[Tensor], Tensor]
"""Coarse values (chain, rows, columns) of spins ±1 (chain, L, L), odd in them."""
SPINS = "spins"
"""The name of the magnetisation of the spins themselves, beside those of coarse ones."""
CHAINS, CLUSTERS, WARMUP = 16, 3, 200
SCAN = np.linspace(0.25, 0.65, 17)
"""Couplings of the pilot: from twice to half the temperature around the middle of what is tried."""
REACH, GRID = 0.01, 41
"""How far from the sampled coupling a crossing is looked for by reweighting, and at how many couplings."""


@dataclass(frozen=True)
class Series:
    """One size at one coupling: energies [J] and means of the spins and of coarse variables, each (step, chain)."""

    size: int
    coupling: float
    energy: Floats
    magnetisation: Mapping[str, Floats]


@dataclass(frozen=True)
class Estimate:
    """A figure and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Scaling:
    """Critical temperature [J / k] and exponent ν of one kind of spin, and the temperature where each pair crosses."""

    temperature: Estimate
    nu: Estimate
    crossings: Mapping[tuple[int, int], Estimate]


def observe(variables: Mapping[str, Variable], size: int, coupling: float, steps: int, rng: Rng) -> Series:
    """``steps`` of :data:`CHAINS` chains of clusters on ``size`` × ``size`` sites, and the mean of each variable."""
    spins = settled(CHAINS, (size, size), coupling, WARMUP, rng.child("start"))
    length = Length(steps, CLUSTERS)
    energy = np.empty((steps, CHAINS))
    magnetisation = {name: np.empty((steps, CHAINS)) for name in (SPINS, *variables)}
    for i, now in enumerate(walk(spins, coupling, wolff, length, rng.child("moves"))):
        energy[i] = measured(now, coupling)[0]
        magnetisation[SPINS][i] = now.mean((1, 2))
        shown = torch.from_numpy(now).float()
        for name, variable in variables.items():
            magnetisation[name][i] = variable(shown).detach().mean((1, 2)).numpy()
    return Series(size, coupling, energy, magnetisation)


@dataclass(frozen=True)
class Binder:
    """Cumulants U = 1 - ⟨m⁴⟩ / 3⟨m²⟩² and their slopes dU / dK on a grid of couplings, by reweighting.

    ``moments`` (6, coupling, chain) are each chain's sums of w, w m², w m⁴, w E, w m² E and w m⁴ E.

    Reference: Binder (1981), Z. Phys. B 43, 119; Ferrenberg & Swendsen (1988), Phys. Rev. Lett. 61, 2635.
    """

    size: int
    couplings: Floats
    moments: Floats

    @staticmethod
    def of(series: Series, name: str, couplings: Floats) -> Binder:
        """From what was sampled near ``couplings``."""
        m, energy = series.magnetisation[name], series.energy - series.energy.mean()
        parts = []
        for k in couplings:
            log_weight = -(k - series.coupling) * energy
            w = np.exp(log_weight - log_weight.max())
            parts.append([(w * x).sum(0) for x in (1, m**2, m**4, energy, m**2 * energy, m**4 * energy)])
        return Binder(series.size, couplings, np.array(parts).transpose(1, 0, 2))

    def values(self, chains: Sequence[int]) -> tuple[Floats, Floats]:
        """Cumulant and slope at each coupling, from some chains."""
        w, second, fourth, energy, energy2, energy4 = self.moments[:, :, list(chains)].sum(-1)
        second, fourth, energy = second / w, fourth / w, energy / w
        slope2, slope4 = energy * second - energy2 / w, energy * fourth - energy4 / w
        return 1 - fourth / (3 * second**2), -(slope4 / second**2 - 2 * fourth * slope2 / second**3) / 3


def scaling(series: Sequence[Series], name: str) -> Scaling:
    """T where the two largest sizes cross; 1/ν, the slope of log dU/dK there against log L over all sizes.

    Errors are a jackknife over the chains, which are independent.

    Raises:
        UnanswerableError: two sizes do not cross near the coupling that was sampled.
    """
    ordered = sorted(series, key=lambda one: one.size)
    grid = ordered[-1].coupling + np.linspace(-REACH, REACH, GRID)
    curves = [Binder.of(one, name, grid) for one in ordered]
    chains = range(CHAINS)
    whole = _scaled(curves, chains)
    without = np.array([_scaled(curves, [c for c in chains if c != out]) for out in chains])
    errors = np.sqrt((CHAINS - 1) * without.var(0))
    estimates = [Estimate(float(v), float(e)) for v, e in zip(whole, errors, strict=True)]
    pairs = pairwise(one.size for one in ordered)
    crossings = dict(zip(pairs, estimates[1:], strict=True))
    return Scaling(estimates[-1], estimates[0], crossings)


def pilot(rng: Rng, steps: int) -> float:
    """The coupling near which 16 and 32 sites a side order alike, from a scan of 8 and 16 and one closer look.

    Raises:
        UnanswerableError: no crossing in the scan.
    """
    gaps = np.array([_gap_at(k, steps // 8, rng.child("scan", i)) for i, k in enumerate(SCAN)])
    low = int(gaps.argmin())
    rising = (gaps[low:-1] <= 0) & (gaps[low + 1 :] > 0)
    if not rising.any():
        raise UnanswerableError("the Binder cumulants of 8 and 16 sites do not cross in the scan; take more steps.")
    i = low + int(rising.argmax())
    first = float(SCAN[i] - gaps[i] * (SCAN[i + 1] - SCAN[i]) / (gaps[i + 1] - gaps[i]))
    grid = first + np.linspace(-2 * REACH, 2 * REACH, GRID)
    near = [Binder.of(observe({}, n, first, steps, rng.child("near", n)), SPINS, grid) for n in (16, 32)]
    return _crossing(near[0], near[1], range(CHAINS))


def _gap_at(coupling: float, steps: int, rng: Rng) -> float:
    """How much larger the cumulant of 16 sites a side is than that of 8."""
    at = np.array([coupling])
    small, large = (Binder.of(observe({}, n, coupling, steps, rng.child(n)), SPINS, at) for n in (8, 16))
    return float(large.values(range(CHAINS))[0][0] - small.values(range(CHAINS))[0][0])


def _scaled(curves: Sequence[Binder], chains: Sequence[int]) -> list[float]:
    """ν, then the crossing temperature of each pair of neighbouring sizes."""
    couplings = [_crossing(a, b, chains) for a, b in pairwise(curves)]
    slopes = [float(np.interp(couplings[-1], one.couplings, one.values(chains)[1])) for one in curves]
    exponent = np.polyfit(np.log([one.size for one in curves]), np.log(np.maximum(slopes, 1e-12)), 1)[0]
    return [1 / float(exponent), *(1 / k for k in couplings)]


def _crossing(small: Binder, large: Binder, chains: Sequence[int]) -> float:
    """The coupling, between those of the grid, where the larger lattice becomes the more ordered one."""
    gap = large.values(chains)[0] - small.values(chains)[0]
    rising = (gap[:-1] <= 0) & (gap[1:] > 0)
    if not rising.any():
        raise UnanswerableError(
            f"the Binder cumulants of {small.size} and {large.size} sites a side do not cross between the couplings "
            f"{small.couplings[0]:.4g} and {small.couplings[-1]:.4g}; take more steps."
        )
    at = np.flatnonzero(rising)
    i = int(at[np.abs(at - len(gap) / 2).argmin()])
    k = small.couplings
    return float(k[i] - gap[i] * (k[i + 1] - k[i]) / (gap[i + 1] - gap[i]))
