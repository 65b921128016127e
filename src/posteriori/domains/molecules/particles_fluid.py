"""What a fluid is measured by: pressure from the virial, heat capacity from fluctuations, pairs at each distance."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann
from posteriori.core.weights import chain_ess
from posteriori.inference.compiled_hmc import CompiledHMC
from posteriori.physics.lennard_jones_fluid import LennardJonesFluid

Floats = NDArray[np.float64]
AT_ONCE = 200


@dataclass(frozen=True)
class Lattice:
    """Starts on a cubic lattice, each particle a little off its place."""

    fluid: LennardJonesFluid
    shake: float = 0.02

    @property
    def space(self) -> Space:
        """Positions of all particles."""
        return self.fluid.domain

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` starts, (n, particle, axis)."""
        return self.fluid.lattice() + self.shake * rng.normal((n, *self.space.shape))


@dataclass(frozen=True)
class Fluid:
    """Figures of a fluid in reduced units, each with its standard error; corrections for the cut are in them.

    Attributes:
        energy: of a particle [ε]. pressure: [ε / σ³]. heat_capacity: C_V of a particle [k], the kinetic 3/2 included.
        distance, pairs, errors: g(r), as large as in an ideal gas is 1, at r [σ].
    """

    energy: tuple[float, float]
    pressure: tuple[float, float]
    heat_capacity: tuple[float, float]
    distance: Floats
    pairs: Floats
    errors: Floats


def simulate(fluid: LennardJonesFluid, temperature: float, method: CompiledHMC, context: Context) -> Draws:
    """Rows of the fluid at ``temperature`` [ε / k], from chains that begin on a lattice.

    Raises:
        OptionError: a temperature that is not positive.
    """
    if not (temperature > 0 and np.isfinite(temperature)):
        raise OptionError(f"temperature={temperature:g} is none; give a positive number [ε / k].")
    return method(Boltzmann(fluid, 1 / temperature), context)


def measured(fluid: LennardJonesFluid, temperature: float, draws: Draws, bins: int = 100) -> Fluid:
    """Figures of ``draws``, chain after chain; errors from the effective samples of each figure.

    Raises:
        UnanswerableError: fewer than eight rows of each chain.
    """
    chains, n, volume = draws.chains, fluid.particles, fluid.box**3
    if len(draws.values) < 8 * chains:
        raise UnanswerableError(f"{len(draws.values)} rows of {chains} chains say too little; draw more.")
    energy, virial, counts = [], [], []
    edges = torch.linspace(0, fluid.box / 2, bins + 1, dtype=torch.float64)
    with torch.no_grad():
        for x in draws.values.split(AT_ONCE):
            energy.append(fluid(x))
            virial.append(fluid.virial(x))
            counts.append(_histograms(fluid.squared_distances(x).sqrt(), edges))
    u = torch.cat(energy) / n
    pressure = fluid.density * temperature + torch.cat(virial) / (3 * volume) + fluid.tail_pressure()
    shell = 4 / 3 * pi * (edges[1:] ** 3 - edges[:-1] ** 3)
    g = torch.cat(counts) / (shell * n * (n - 1) / 2 / volume)
    heat = n * (u - u.mean()).square() / temperature**2
    each = [_mean(f.reshape(chains, -1).T) for f in (u + fluid.tail_energy(), pressure, heat + 1.5)]
    by_chain = g.reshape(chains, -1, bins).mean(1)
    errors = (by_chain.std(0) / sqrt(chains)).numpy() if chains > 1 else np.full(bins, np.nan)
    middle = ((edges[1:] + edges[:-1]) / 2).numpy()
    return Fluid(each[0], each[1], each[2], middle, g.mean(0).numpy(), errors)


def second_virial(temperature: float, fluid: LennardJonesFluid | None = None) -> float:
    """B₂ [σ³] at ``temperature`` [ε / k]: -2π ∫ (exp(-u/T) - 1) r² dr, of the whole law or of the cut one of ``fluid``.

    P = ρ T (1 + B₂ ρ + …).
    """
    r = np.linspace(1e-3, 60.0 if fluid is None else fluid.cut, 600_001)
    six = r**-6
    law = 4 * six * (six - 1)
    if fluid is not None and fluid.shifted:
        law = law - law[-1]
    return float(-2 * pi * np.trapezoid(np.expm1(-law / temperature) * r**2, r))


def _mean(x: Tensor) -> tuple[float, float]:
    """Mean of a figure (row, chain) and its standard error."""
    return float(x.mean()), float(x.std()) / sqrt(max(float(chain_ess(x)), 1.0))


def _histograms(distances: Tensor, edges: Tensor) -> Tensor:
    """Counts (row, bin) of distances (row, pair)."""
    bins = len(edges) - 1
    at = torch.floor(distances / edges[-1] * bins).long()
    rows = torch.arange(len(at))[:, None] * (bins + 1)
    counts = (rows + at.clamp_max(bins)).flatten().bincount(minlength=len(at) * (bins + 1))
    return counts.reshape(len(at), bins + 1)[:, :bins].double()
