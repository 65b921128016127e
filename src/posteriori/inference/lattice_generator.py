"""A learnt generator of Ising configurations, trained on draws of cluster moves, with exact weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Target
from posteriori.core.weights import log_mean_exp
from posteriori.inference.cluster import SwendsenWang, require_counts
from posteriori.inference.lattice_walk import ising
from posteriori.learn.autoregressive_spins import AutoregressiveSpins
from posteriori.learn.fit import fit
from posteriori.learn.losses import Loss
from posteriori.learn.plan import Batch, Plan
from posteriori.physics.ising import Ising

CHAINS = 50


@dataclass(frozen=True)
class Symmetries:
    """Moves and mirrors configurations of a ring or torus at random, which changes no energy; an ``Augment``."""

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """The rows (n, *shape), all moved alike."""
        (spins,) = batch
        for axis in range(1, spins.ndim):
            spins = spins.roll(int(rng.integers(spins.shape[axis], ())), axis)
            if int(rng.integers(2, ())):
                spins = spins.flip(axis)
        if spins.ndim == 3 and spins.shape[1] == spins.shape[2] and int(rng.integers(2, ())):
            spins = spins.mT
        return (spins,)


@dataclass(frozen=True)
class Likelihood:
    """-log p of each configuration, for training."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(n,) [nat]."""
        assert isinstance(net, AutoregressiveSpins)
        return -net.log_prob(rows[0]).float()


@dataclass(frozen=True)
class LatticeGenerator:
    """Independent draws of an autoregressive net, each with its exact weight exp(-K U) / q.

    The net learns by likelihood from cluster draws, moved and mirrored at random; trained so, it misses no phase. The
    evidence is the mean weight: log Z, with its standard error. Where only averages are wanted, the cluster moves that
    feed the net are quicker by themselves.

    Args:
        draws: rows.
        rows: cluster draws that the net learns from.
        width: hidden units of each site.
        plan: how it is trained.

    Reference: Wu, Wang & Zhang (2019), Phys. Rev. Lett. 122, 080602; Nicoli et al. (2020), Asymptotically unbiased
    estimation of physical observables with neural samplers, Phys. Rev. E 101, 023304.
    """

    draws: int = 2000
    rows: int = 20_000
    width: int = 8
    plan: Plan = field(default_factory=lambda: Plan(epochs=30, batch=250, rate=5e-3, augment=Symmetries(), clip=5.0))

    references: ClassVar[tuple[str, ...]] = (
        "Wu, Wang & Zhang (2019), Solving statistical mechanics using variational autoregressive networks, Phys. Rev. "
        "Lett. 122, 080602.",
        "Nicoli et al. (2020), Asymptotically unbiased estimation of physical observables with neural samplers, Phys. "
        "Rev. E 101, 023304.",
    )

    def __post_init__(self) -> None:
        require_counts(self, self.draws, 0, self.rows, self.width)
        if self.rows % CHAINS:
            raise OptionError(f"rows={self.rows} is no multiple of the {CHAINS} chains that give them.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows with their log-weights, and log Z.

        Raises:
            UnanswerableError: the target is no ``Boltzmann(Ising(…), K)``.
        """
        net = self.trained(target, context)
        values = net.sample(self.draws, context.rng.child("rows"))
        with torch.no_grad():
            log_weights = -target.energy(values) - net.log_prob(values)
        evidence, error = log_mean_exp(log_weights)
        posterior = Draws(target.space, values, log_weights, log_evidence=evidence)
        posterior.log_evidence_error = error
        return posterior

    def trained(self, target: Target, context: Context) -> AutoregressiveSpins:
        """The net alone, in evaluation mode."""
        model, _ = ising(target, "LatticeGenerator")
        learnt = SwendsenWang(self.rows // CHAINS, 200, CHAINS, 2)(target, context.child("learnt"))
        with context.rng.child("net"):
            net = AutoregressiveSpins(model.domain, self.width)
        loss: Loss = Likelihood()
        fitted = fit(net, loss, (learnt.values,), self.plan, context.child("fit")).net
        assert isinstance(fitted, AutoregressiveSpins)
        return fitted

    @staticmethod
    def example() -> tuple[LatticeGenerator, Boltzmann]:
        """A lattice whose states can be enumerated."""
        small = LatticeGenerator(1000, 500, 2)
        return replace(small, plan=replace(small.plan, epochs=10, batch=50)), Boltzmann(Ising((3, 4)), 0.3)
