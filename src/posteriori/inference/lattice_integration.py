"""log Z of an Ising model by integrating its mean energy from infinite temperature on."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Target
from posteriori.inference.cluster import SwendsenWang, require_counts
from posteriori.inference.lattice_walk import hot, ising
from posteriori.physics.ising import Ising
from posteriori.physics.ising_kernels import mean_energies

LOCAL = 2
"""Heat-bath sweeps after each cluster; together they forget more per second than either alone."""
PILOT = 10
"""One part in so many of the steps tells how to share out the rest."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ThermodynamicIntegration:
    """Draws at the target's coupling K, and log Z = n log 2 - ∫₀ᴷ ⟨U⟩ dk with its standard error.

    The integral is Gauss's over ``nodes`` couplings. At each of them ⟨U⟩ comes by Callen's identity from clusters and
    heat-bath sweeps in turn; a pilot run gives more steps to the couplings that add more to the error. Chains walk from
    hot to cold and are independent of each other: the standard error is that of the ``chains`` integrals.

    Args:
        nodes: couplings between 0 and K; 24 leave an error below 5e-8 per site up to 64 × 64 sites at the critical
            point, and of 4e-6 at K = 0.6 on 16 × 16, where 48 are due.
        steps: steps of each chain, of all nodes together.
        warmup: steps at each node before they count.
        chains: independent integrals, at least 4.
        draws: kept rows of each chain at K.

    Reference: Gelman & Meng (1998), Simulating normalizing constants, Statistical Science 13, 163; Callen (1963), A
    note on Green functions and the Ising model, Phys. Lett. 4, 161.
    """

    nodes: int = 24
    steps: int = 40_000
    warmup: int = 50
    chains: int = 16
    draws: int = 500

    references: ClassVar[tuple[str, ...]] = (
        "Gelman & Meng (1998), Simulating normalizing constants, Statistical Science 13, 163.",
        "Callen (1963), A note on Green functions and the Ising model, Phys. Lett. 4, 161.",
    )

    def __post_init__(self) -> None:
        require_counts(self, self.draws, self.warmup, self.chains, 1)
        if self.chains < 4 or self.nodes < 2 or self.steps < PILOT * self.nodes:
            raise OptionError(f"{self}: at least 4 chains, 2 nodes, and {PILOT} steps for each node.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows at K, chain after chain, with ``log_evidence`` log Z.

        Raises:
            UnanswerableError: the target is no ``Boltzmann(Ising(…), K)``.
        """
        model, coupling = ising(target, "ThermodynamicIntegration")
        at, share = np.polynomial.legendre.leggauss(self.nodes)
        k, share = coupling * (1 + at) / 2, coupling * share / 2
        equal = np.full(self.nodes, self.steps // (PILOT * self.nodes))
        pilot = self._means(model.domain.shape, k, equal, context.child("pilot"))
        parts = share * pilot.std(1) + 1e-12
        counts = np.maximum(1, self.steps * (1 - 1 / PILOT) * parts / parts.sum()).astype(int)
        means = self._means(model.domain.shape, k, counts, context.child("nodes"))
        integrals = model.domain.size * log(2) - share @ means
        posterior = SwendsenWang(self.draws, 4 * self.warmup, self.chains)(target, context.child("rows"))
        posterior.log_evidence = torch.tensor(integrals.mean(), dtype=torch.float64)
        error = integrals.std(ddof=1) / self.chains**0.5
        posterior.log_evidence_error = torch.tensor(error, dtype=torch.float64)
        return posterior

    def _means(self, shape: tuple[int, ...], k: Floats, steps: NDArray[np.int_], context: Context) -> Floats:
        """⟨U⟩ of each node and chain."""
        spins = hot(self.chains, shape, context.rng.child("start"))
        random = context.rng.child("moves").numpy
        means = np.empty((len(k), self.chains))
        for i in context.progress(range(len(k)), "couplings", len(k)):
            mean_energies(spins, k[i], self.warmup + 1, LOCAL, random, means[i])
            mean_energies(spins, k[i], int(steps[i]), LOCAL, random, means[i])
        return means

    @staticmethod
    def example() -> tuple[ThermodynamicIntegration, Boltzmann]:
        """A lattice whose states can be enumerated."""
        return ThermodynamicIntegration(8, 2000, 20, 20, 100), Boltzmann(Ising((3, 4)), 0.3)
