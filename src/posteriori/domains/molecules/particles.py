"""Clusters of a few particles, and how fast a sampler brings effective samples of what is slow in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann
from posteriori.core.weights import chain_ess, split_rhat
from posteriori.domains.molecules.particles_kernels import observe
from posteriori.inference.compiled_hmc import CompiledHMC
from posteriori.inference.compiled_target import moving
from posteriori.physics.centred import Centred
from posteriori.physics.pair_potential import DoubleWellPairs, LennardJones

Floats = NDArray[np.float64]
NAMES = ("energy", "radius", "pair_labelled", "pair_pooled", "virial")
"""What is followed: U, radius of gyration, distance of particles 0 and 1, mean distance of all pairs, Σ x · ∇U."""
SLOW = NAMES[:4]
"""Of these the slowest counts; the virial is an identity."""
BINS = 400
SHOWN = 4000
"""Rows that are kept for pictures and the posterior."""
TEMPERATURES = (0.1, 100.0)
"""At which clusters are sampled; below hardly a particle moves, above they fly apart."""
EARLY = 800
"""Transitions of the pilot that says how often to look."""


@dataclass(frozen=True)
class Cluster:
    """Particles in one potential, in units of kT at temperature 1.

    Attributes:
        name: as in the studies.
        potential: the energy of positions.
        reach: longest pair distance that histograms tell apart.
        known: mean energy at temperature 1 and its standard error, of other samplers; None where none is known.
    """

    name: str
    potential: DoubleWellPairs | LennardJones
    reach: float
    known: tuple[float, float] | None

    @property
    def degrees(self) -> int:
        """Internal degrees of freedom (n - 1) d: what beta Σ x · ∇U is on average."""
        n, d = self.potential.domain.shape
        return (n - 1) * d

    def target(self, temperature: float) -> Boltzmann:
        """exp(-U / temperature) of centred positions.

        Raises:
            OptionError: a temperature at which no sampler here moves.
        """
        low, high = TEMPERATURES
        if not low <= temperature <= high:
            raise OptionError(
                f"temperature={temperature:g}: from {low:g} to {high:g} [kT in the potential's unit]; 1 is usual."
            )
        return Boltzmann(self.potential @ Centred(self.potential.domain), 1 / temperature)


def double_well_cluster(particles: int = 4) -> Cluster:
    """DW4; other numbers of particles in the plane have no known answer."""
    known = (-22.532, 0.009) if particles == 4 else None
    return Cluster("dw4", DoubleWellPairs(particles), 12.0, known)


def lennard_jones_cluster(particles: int = 13, depth: float = 2.0) -> Cluster:
    """LJ13; other numbers of particles in space, or another depth, have no known answer."""
    known = (-42.91, 0.05) if (particles, depth) == (13, 2.0) else None
    return Cluster("lj13", LennardJones(particles, depth=depth), 6.0, known)


@dataclass(frozen=True)
class Measured:
    """What one sampler found.

    Attributes:
        series: figures (row, chain, 5), columns as :data:`NAMES`.
        histogram: counts of pair distances, of :attr:`width` each.
        early: figures (row, chain, 5) of the first rows after the warm-up, ``spacing`` says how far apart.
        rows: some values (row, *space.shape), evenly over the run, chain after chain.
        warm_seconds, cpu_seconds: CPU time of the warm-up, and of moves and figures, one thread.
        gradients: leapfrogs after the warm-up, about.
        facts: numbers about the sampler: step size, leapfrogs, acceptance, swaps.
    """

    series: Tensor
    histogram: Floats
    width: float
    early: Tensor
    spacing: str
    rows: Tensor
    warm_seconds: float
    cpu_seconds: float
    gradients: float
    facts: Mapping[str, float]

    @property
    def effective(self) -> Mapping[str, float]:
        """Effective samples of each figure."""
        return {name: float(chain_ess(self.series[..., i])) for i, name in enumerate(NAMES)}

    @property
    def rhat(self) -> float:
        """Largest R̂ of the figures."""
        every = max(1, len(self.series) // 4000)
        return float(split_rhat(self.series[::every]).max())

    @property
    def rate(self) -> float:
        """Effective samples of the slowest figure for each CPU second, the warm-up counted."""
        return min(self.effective[name] for name in SLOW) / (self.warm_seconds + self.cpu_seconds)

    def mean(self, name: str) -> tuple[float, float]:
        """Mean of a figure and its standard error."""
        x = self.series[..., NAMES.index(name)]
        return float(x.double().mean()), float(x.double().std()) / sqrt(float(chain_ess(x)))


class Watch:
    """Figures of the rows that pass by, their pair distances, and a few of the rows themselves."""

    def __init__(self, cluster: Cluster) -> None:
        self.energy = cluster.potential.compiled()
        self.axes = cluster.potential.domain.shape[1]
        self.width = cluster.reach / BINS
        self.histogram = np.zeros(BINS)
        self.blocks: list[Floats] = []

    def see(self, x: Floats) -> None:
        """Rows of every chain, (chain, row, n)."""
        chains, rows, size = x.shape
        figures = np.empty((chains * rows, len(NAMES)))
        flat = x.reshape(-1, size)
        observe(self.energy.function, self.energy.parameters, flat, self.axes, figures, self.histogram, self.width)
        self.blocks.append(figures.reshape(chains, rows, -1).astype(np.float32))

    def series(self) -> Tensor:
        """All figures so far, (row, chain, 5)."""
        return torch.from_numpy(np.concatenate(self.blocks, 1)).transpose(0, 1)


def run_hmc(cluster: Cluster, temperature: float, method: CompiledHMC, effective: float, context: Context) -> Measured:
    """Chains of compiled HMC until the slowest figure has ``effective`` samples; rows are looked at and let go.

    Rows are looked at every third of the time that the slowest figure needs to forget, found in a pilot.
    """
    started = time.process_time()
    one = moving(cluster.target(temperature), "HMC")[0]
    walkers = method.walkers(one, context.rng)
    warm = time.process_time() - started
    pilot = Watch(cluster)
    pilot.see(walkers.rows(EARLY, 1)[0])
    forgets = EARLY * method.chains / float(slow(pilot.series()).min())
    between = max(1, int(forgets / 3))
    block = max(16, min(1024, 2**21 // (method.chains * one.size)))
    expected = effective * forgets / between
    memory.require(int(40 * expected), f"figures of {expected:.3g} rows", "ask for fewer effective samples")
    watch, shown, accepted = Watch(cluster), [], []
    seen, planned = 0, int(expected / method.chains)
    stride = min(block, max(1, planned * method.chains // SHOWN))
    while True:
        for _ in context.progress(range(max(1, (planned - seen) // block + 1)), f"{cluster.name}: HMC"):
            x, _ = walkers.rows(block, between)
            watch.see(x)
            shown.append(x[:, ::stride].copy())
            accepted.append(walkers.accepted.mean())
            seen += block
        found = float(slow(watch.series()).min())
        if found >= effective:
            break
        planned = max(seen + block, int(1.05 * seen * effective / max(found, 1.0)))
    spent = time.process_time() - started - warm
    x = np.concatenate(shown, 1)
    x = x[:, :: max(1, method.chains * x.shape[1] // SHOWN)].reshape(-1, one.size)
    mean_leapfrogs = (walkers.most + (walkers.most + 1) // 2) / 2
    facts = {
        "leapfrogs": float(walkers.most),
        "step_size": walkers.step,
        "accept": float(np.mean(accepted)),
        "between": float(between),
    }
    return Measured(
        watch.series(),
        watch.histogram,
        watch.width,
        pilot.series(),
        "transitions of HMC",
        one.values(x),
        warm,
        spent,
        seen * method.chains * between * mean_leapfrogs,
        facts,
    )


def run_draws(cluster: Cluster, draws: Draws, seconds: float) -> Measured:
    """The same of draws of any sampler with equal weights, chain after chain, that took ``seconds`` of CPU time."""
    watch = Watch(cluster)
    x = Centred(cluster.potential.domain)(draws.values).reshape(draws.chains, -1, cluster.potential.domain.size)
    watch.see(np.ascontiguousarray(x.numpy()))
    facts = {name: float(figure.double().mean()) for name, figure in draws.stats.items() if name != "energy"}
    by_chain = draws.values.reshape(draws.chains, -1, *draws.space.shape)
    rows = by_chain[:, :: max(1, len(draws.values) // SHOWN)].flatten(0, 1)
    series = watch.series()
    early = series[:EARLY]
    return Measured(series, watch.histogram, watch.width, early, "draws", rows, 0.0, seconds, 0.0, facts)


def slow(series: Tensor) -> Tensor:
    """Effective samples of the figures that count, one after the other to save memory."""
    return torch.stack([chain_ess(series[..., i]) for i in range(len(SLOW))])


def looked_at(cluster: Cluster) -> Callable[[Tensor], Tensor]:
    """The figures that count, of values (row, *space.shape): what a pilot compares."""

    def look(values: Tensor) -> Tensor:
        watch = Watch(cluster)
        x = Centred(cluster.potential.domain)(values).reshape(1, len(values), -1)
        watch.see(np.ascontiguousarray(x.detach().numpy()))
        return watch.series()[:, 0, : len(SLOW)].double()

    return look
