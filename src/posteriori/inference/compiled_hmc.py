"""Hamiltonian Monte Carlo in compiled code: a transition of a few particles takes less than a microsecond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.compiled_target import Moving, moving
from posteriori.inference.compiled_walkers import Walkers, relaxed
from posteriori.inference.problems import regression
from posteriori.physics.compiled import Floats


@dataclass(frozen=True)
class CompiledHMC:
    """Draws of exp(-energy) by simulated motion in a compiled energy; exact as the draws grow.

    It answers ``Boltzmann`` targets whose potential offers :class:`~posteriori.physics.compiled.Compiled`, alone or of
    centred positions, and linear-Gaussian questions. Chains first go down the slope: from random places particles
    overlap, and a chain that starts so stays stuck. The step size is adapted by dual averaging; the trajectory that
    gives most effective samples of the energy and of the distance from the mean for each gradient is then chosen among
    ``steps``. A transition takes a random number of leapfrogs from half of it to all. Momenta are centred where
    positions are.

    ``stats``: energy (beta U), accept and step_size of each chain, and steps, the leapfrogs chosen.

    Args:
        draws: kept rows of each chain.
        warmup: transitions before them.
        chains: independent walkers.
        steps: most leapfrogs of a transition; of several the best is taken.
        accept: the acceptance rate to adapt to.
        between: transitions from one kept row to the next.
        relabel: put identical particles into a random order before each row; exact, and labels mix at once.
        start: where chains begin; standard normal without.

    Reference: Neal (2011), MCMC using Hamiltonian dynamics, in: Handbook of Markov Chain Monte Carlo, CRC Press.
    """

    draws: int = 1000
    warmup: int = 500
    chains: int = 16
    steps: tuple[int, ...] = (4, 8, 16, 32)
    accept: float = 0.8
    between: int = 1
    relabel: bool = True
    start: Samples | None = None

    references: ClassVar[tuple[str, ...]] = (
        "Neal (2011), MCMC using Hamiltonian dynamics, in: Handbook of Markov Chain Monte Carlo, CRC Press.",
    )

    def __post_init__(self) -> None:
        if min(self.draws, self.chains, self.between, len(self.steps), *self.steps) < 1:
            raise OptionError(f"{self}: draws, chains, between and steps are at least 1.")
        if self.warmup < 20 or not 0 < self.accept < 1:
            raise OptionError(f"{self}: warmup is at least 20 and accept in (0, 1).")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains, chain after chain.

        Raises:
            UnanswerableError: the target has no compiled form, or a chain finds no start of finite energy.
        """
        problems = moving(target, "CompiledHMC")
        numbers = self.draws * self.chains * len(problems)
        memory.require(16 * numbers * problems[0].size, f"{numbers} rows of {problems[0].size} numbers")
        found = []
        for i, one in enumerate(context.progress(problems, "CompiledHMC", len(problems))):
            walkers = self.walkers(one, context.rng if len(problems) == 1 else context.rng.child(i))
            x, energy = walkers.rows(self.draws, self.between)
            stats = _stats(walkers, energy)
            found.append((one.values(x.reshape(-1, one.size)), stats))
        if not isinstance(target, Inverse) or not target.batch:
            return Draws(target.space, found[0][0], chains=self.chains, stats=found[0][1])
        shape = (self.draws * self.chains, *target.batch)
        values = torch.stack([v for v, _ in found], 1).reshape(*shape, *target.space.shape)
        stats = {name: torch.stack([s[name] for _, s in found], 1).reshape(shape) for name in found[0][1]}
        return Draws(target.space, values, chains=self.chains, problems=target.problems, stats=stats)

    def walkers(self, one: Moving, rng: Rng) -> Walkers:
        """Chains of one problem that have warmed up: for those who look at rows without keeping them.

        Raises:
            UnanswerableError: a chain finds no start of finite energy.
        """
        x = relaxed(one, self.start, self.chains, rng.child("start"))
        walkers = Walkers(one, x, max(self.steps), self.relabel, rng.child("moves"))
        many = len(self.steps) > 1
        third = self.warmup // 3
        walkers.adapt(third, self.accept, strict=True)
        if many:
            gradients = third * max(self.steps) // len(self.steps)
            gains = [walkers.tried(steps, gradients) for steps in self.steps]
            walkers.most = self.steps[int(np.argmax(gains))]
        walkers.adapt(self.warmup - third * (2 if many else 1), self.accept, strict=False)
        return walkers

    @staticmethod
    def example() -> tuple[CompiledHMC, Inverse]:
        """A linear question, whose answer is known in closed form."""
        return CompiledHMC(draws=200, warmup=150, chains=4, steps=(8,)), regression()


def _stats(walkers: Walkers, energies: Floats) -> dict[str, Tensor]:
    """Figures of each row, chain after chain, for energies U (chain, row)."""
    energy = walkers.one.beta * torch.from_numpy(energies)
    chain = torch.from_numpy(walkers.accepted.copy())[:, None].expand_as(energy)
    fixed = {"step_size": walkers.step, "steps": float(walkers.most)}
    same = {name: torch.full_like(energy, value).flatten() for name, value in fixed.items()}
    return {"energy": energy.flatten(), "accept": chain.flatten().clone(), **same}
