"""Hamiltonian Monte Carlo in compiled code: a transition of a few particles takes less than a microsecond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.core.weights import chain_ess
from posteriori.inference.adaptation import StepSize
from posteriori.inference.compiled_kernels import descend, walk
from posteriori.inference.compiled_target import Moving, moving
from posteriori.inference.problems import regression
from posteriori.physics.compiled import Floats

DESCENT = 500
"""Steps down the slope before chains start to move."""
FIRST_MOVE = 0.3
"""Largest move of a number in one step of that descent, as a share of the spread of the start."""
WORST = 0.01


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
            stats = walkers.stats(energy)
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
        walkers = Walkers.relaxed(one, self, rng)
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


class Walkers:
    """Chains of one compiled density that stand somewhere and can move on.

    Attributes:
        step: leapfrog step; most: leapfrogs of a transition at most; accepted: mean acceptance of each chain, of late.
    """

    def __init__(self, one: Moving, x: Floats, steps: int, relabel: bool, rng: Rng) -> None:
        self.one, self.x, self.most, self.rng = one, x, steps, rng
        self.block = one.energy.identical if relabel else 0
        self.u, self.g = one.energy(x)
        self.step = 0.1
        self.accepted = np.zeros(len(x))
        self._beta = np.full(len(x), one.beta)

    @staticmethod
    def relaxed(one: Moving, settings: CompiledHMC, rng: Rng) -> Walkers:
        """Chains that have gone down the slope from the start."""
        n, source = settings.chains, settings.start
        drawn = rng.child("start")
        values = drawn.normal((n, *one.space.shape)) if source is None else source.sample(n, drawn)
        one.space.check(values, "start")
        x = one.numbers(values)
        u, g = one.energy(x)
        reach = FIRST_MOVE * max(float(x.std(0).mean()), 1e-3)
        descend(one.energy.function, one.energy.parameters, x, u, g, reach, DESCENT)
        broken = int((~np.isfinite(u)).sum())
        if broken:
            raise UnanswerableError(
                f"{broken} of {n} chains find no start of finite energy; give start=…, a prior that reaches the target."
            )
        return Walkers(one, x, max(settings.steps), settings.relabel, rng.child("moves"))

    def rows(self, n: int, between: int) -> tuple[Floats, Floats]:
        """The next ``n`` rows of each chain, (chain, row, n), and their energies U (chain, row)."""
        chains, size = self.x.shape
        kept, energies = np.empty((chains, n, size)), np.empty((chains, n))
        energy = self.one.energy
        walk(
            energy.function,
            energy.parameters,
            self._beta,
            np.full(chains, self.step),
            self.most,
            between,
            self.one.axes,
            self.block,
            self.x,
            self.g,
            self.u,
            kept,
            energies,
            self.accepted,
            self.rng.numpy,
        )
        return kept, energies

    def adapt(self, transitions: int, accept: float, strict: bool) -> None:
        """Move, and learn the step from each transition; ``strict``: the chain in most trouble counts most."""
        learns = StepSize(torch.tensor(self.step, dtype=torch.float64), accept)
        for _ in range(transitions):
            self.step = float(learns.value)
            self.rows(1, 1)
            found = 1 / (1 / np.maximum(self.accepted, WORST)).mean() if strict else self.accepted.mean()
            learns.update(torch.tensor(found, dtype=torch.float64))
        learns.settle()
        self.step = float(learns.value)

    def tried(self, steps: int, gradients: int) -> float:
        """Effective samples of U and of the squared distance from the mean, the fewer of both, in ``gradients``."""
        self.most = steps
        kept, energies = self.rows(max(8, gradients // (3 * steps // 4)), 1)
        away = np.square(kept - kept.mean((0, 1))).sum(-1)
        seen = torch.from_numpy(np.stack([energies, away], -1)).transpose(0, 1)
        return float(chain_ess(seen).min()) / max(1.0, 8 * steps / gradients)

    def stats(self, energies: Floats) -> dict[str, Tensor]:
        """Figures of each row, chain after chain, for ``energies`` (chain, row)."""
        energy = self.one.beta * torch.from_numpy(energies)
        chain = torch.from_numpy(self.accepted.copy())[:, None].expand_as(energy)
        fixed = {"step_size": self.step, "steps": float(self.most)}
        same = {name: torch.full_like(energy, value).flatten() for name, value in fixed.items()}
        return {"energy": energy.flatten(), "accept": chain.flatten().clone(), **same}
