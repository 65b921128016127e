"""Replica exchange: copies at higher temperatures cross barriers, and swaps bring what they find to the cold one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
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
from posteriori.core.target import Boltzmann, Inverse, Target
from posteriori.inference.adaptation import StepSize
from posteriori.inference.compiled_target import offers_compiled
from posteriori.inference.problems import regression
from posteriori.inference.replica_motion import CompiledMotion, Motion, TorchMotion
from posteriori.physics.compiled import Floats

ROUNDS = 3
"""Ladders tried in the warm-up, each twice as long as the one before."""
APART = 1.6
"""Ratio of neighbouring temperatures in the first ladder, at most."""


@dataclass(frozen=True)
class ReplicaExchange:
    """Draws of exp(-energy) beside copies of it at higher temperatures, which swap places; exact as the draws grow.

    Copy k holds exp(-β_k energy) with β_0 = 1, in coordinates without borders. Neighbours swap in turn, even pairs and
    odd pairs, so that a configuration travels straight up and down. Temperatures are laid so that every pair rejects
    alike: from rejections of a first ladder the barrier Λ(β) = Σ r follows, and as many copies as reach the acceptance
    ``swap`` share it out. It answers every target that :class:`~posteriori.inference.hmc.HMC` does, and moves in
    compiled code where the target offers it.

    ``stats``: energy, accept (of the cold copy's moves), and for each chain alone, repeated in its rows: swap (mean
    acceptance), replicas, and round_trips, how often a configuration went from the cold end to the hot one and back.

    Args:
        draws: kept rows of each chain, one a round of moves and swaps.
        warmup: rounds before them.
        chains: independent ladders of each problem.
        hottest: highest temperature, in units of the target's.
        swap: acceptance of swaps to aim at.
        most: copies at most.
        steps: most leapfrogs of a transition.
        moves: transitions between swaps.
        accept: acceptance of transitions to adapt to.
        start: where chains begin, as for HMC.

    Reference: Syed, Bouchard-Côté, Deligiannidis & Doucet (2022), Non-reversible parallel tempering, JRSS B 84, 321.
    """

    draws: int = 1000
    warmup: int = 400
    chains: int = 4
    hottest: float = 8.0
    swap: float = 0.6
    most: int = 24
    steps: int = 8
    moves: int = 2
    accept: float = 0.8
    start: Samples | None = None

    references: ClassVar[tuple[str, ...]] = (
        "Syed, Bouchard-Côté, Deligiannidis & Doucet (2022), Non-reversible parallel tempering: a scalable highly "
        "parallel MCMC scheme, JRSS B 84, 321.",
    )

    def __post_init__(self) -> None:
        if min(self.draws, self.chains, self.steps, self.moves) < 1 or self.warmup < 20 or self.most < 2:
            raise OptionError(f"{self}: draws, chains, steps and moves from 1, warmup from 20, most from 2.")
        if not (1 < self.hottest < np.inf and 0 < self.swap < 1 and 0 < self.accept < 1):
            raise OptionError(f"{self}: hottest is above 1, swap and accept in (0, 1).")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains at the target's own temperature, chain after chain.

        Raises:
            UnanswerableError: the energy has no derivative, classes are asked for, or no start of finite energy exists.
        """
        motion, ladders = self._motion(target, context.rng), self.chains
        ladder = _Ladder(motion, torch.tensor(self._first(), dtype=torch.float64), context.rng.child("swaps"))
        size = self.draws * ladders * target.space.size * max(1, motion.energy[:, 0].numel() // ladders)
        memory.require(16 * size, f"{self.draws} draws of {ladders} chains")
        for length in self._lengths():
            ladder.adapt(length, self.accept)
            ladder.lay(ladder.spread(self.swap, self.most))
        ladder.adapt(max(20, self.warmup // 4), self.accept)
        ladder.forget()
        rows, energies, accepts = [], [], []
        for _ in context.progress(range(self.draws), "ReplicaExchange", self.draws):
            accept = ladder.round()
            rows.append(motion.cold())
            energies.append(motion.energy[:, 0].clone())
            accepts.append(accept[:, 0])
        values = torch.stack(rows, 1).flatten(0, 1)
        stats = {"energy": torch.stack(energies, 1).flatten(0, 1), "accept": torch.stack(accepts, 1).flatten(0, 1)}
        for name, figure in ladder.figures().items():
            stats[name] = figure.repeat_interleave(self.draws, 0)
        problems = target.problems if isinstance(target, Inverse) else None
        return Draws(target.space, values, chains=ladders, problems=problems, stats=stats)

    def _motion(self, target: Target, rng: Rng) -> Motion:
        shape = (self.chains, len(self._first()))
        if isinstance(target, Boltzmann) and offers_compiled(target):
            return CompiledMotion(target, self.start, shape, self.steps, self.moves, rng)
        return TorchMotion(target, self.start, shape, self.steps, self.moves, rng)

    def _first(self) -> Floats:
        """β of the first ladder: geometric, a factor of at most :data:`APART` from one to the next."""
        copies = min(self.most, 2 + int(np.log(self.hottest) / np.log(APART)))
        return np.geomspace(1.0, 1 / self.hottest, copies)

    def _lengths(self) -> list[int]:
        """Rounds for each ladder that is tried: all but a quarter of the warm-up, each twice the one before."""
        first = max(5, self.warmup * 3 // 4 // (2**ROUNDS - 1))
        return [first * 2**i for i in range(ROUNDS)]

    @staticmethod
    def example() -> tuple[ReplicaExchange, Inverse]:
        """A linear question, whose answer is known in closed form."""
        return ReplicaExchange(120, 40, chains=2, hottest=3.0, swap=0.3, steps=6, moves=1), regression()


class _Ladder:
    """Copies at ``betas`` (copy,), and what was seen of their swaps."""

    def __init__(self, motion: Motion, betas: Tensor, rng: Rng) -> None:
        self.motion, self.betas, self.rng = motion, betas, rng
        self.steps = torch.full_like(motion.energy[0], 0.2)
        self.parity = 0
        self.forget()

    def forget(self) -> None:
        """Count rejections and round trips anew."""
        shape = self.motion.energy.shape
        self._rejected = torch.zeros(shape[0], shape[1] - 1, *shape[2:], dtype=torch.float64)
        self._tried = torch.zeros(shape[1] - 1, dtype=torch.float64)
        self._from_hot = torch.zeros(shape, dtype=torch.bool)
        self._trips = torch.zeros(shape[0], *shape[2:], dtype=torch.float64)

    def round(self) -> Tensor:
        """Moves of every copy, then swaps of half the pairs; the acceptance of the moves."""
        accepted = self.motion.move(self.betas, self.steps)
        energy, copies = self.motion.energy, len(self.betas)
        low = torch.arange(self.parity, copies - 1, 2)
        self.parity = 1 - self.parity
        gap = (self.betas[low] - self.betas[low + 1]).reshape(-1, *(1,) * (energy.ndim - 2))
        gained = gap * (energy[:, low] - energy[:, low + 1])
        chance = torch.where(torch.isfinite(gained), gained, -torch.inf).clamp_max(0.0).exp()
        swapped = (self.rng.uniform(chance.shape) < chance).long()
        index = torch.arange(copies).reshape(-1, *(1,) * (energy.ndim - 2)).expand(energy.shape).clone()
        index[:, low] += swapped
        index[:, low + 1] -= swapped
        self.motion.take(index)
        self._rejected[:, low] += 1 - chance
        self._tried[low] += 1
        self._travel(index)
        return accepted

    def adapt(self, rounds: int, accept: float) -> None:
        """Rounds that teach the step sizes; the shapes are learnt after half of them."""
        learns = StepSize(self.steps, accept)
        for i in range(rounds):
            self.steps = learns.value
            learns.update(self.round().mean(0))
            if i + 1 == (rounds + 1) // 2:
                self.motion.learn()
        learns.settle()
        self.steps = learns.value

    def spread(self, swap: float, most: int) -> Tensor:
        """β at equal parts of the barrier Λ = Σ rejections, as many as accept ``swap`` each."""
        tried = self._tried.clamp_min(1.0).reshape(-1, *(1,) * (self._rejected.ndim - 2))
        rejected = (self._rejected / tried).mean(0).reshape(len(tried), -1).mean(1).numpy() + 1e-3
        barrier = np.concatenate([[0.0], np.cumsum(rejected)])
        copies = min(most, 1 + max(1, ceil(barrier[-1] / (1 - swap))))
        at = np.linspace(0, barrier[-1], copies)
        betas = np.exp(np.interp(at, barrier, self.betas.log().numpy()))
        betas[0] = 1.0
        return torch.from_numpy(betas)

    def lay(self, betas: Tensor) -> None:
        """Go on with other temperatures; each copy begins as the nearest one."""
        index = (betas.log()[:, None] - self.betas.log()).abs().argmin(1)
        self.motion.lay(index)
        self.betas, self.steps = betas, self.steps[index]
        self.forget()

    def figures(self) -> dict[str, Tensor]:
        """Mean acceptance of swaps, copies and round trips of each ladder, (ladder, *problem)."""
        tried = self._tried.clamp_min(1.0).reshape(-1, *(1,) * (self._rejected.ndim - 2))
        swap = 1 - (self._rejected / tried).mean(1)
        return {"swap": swap, "replicas": torch.full_like(swap, len(self.betas)), "round_trips": self._trips}

    def _travel(self, index: Tensor) -> None:
        self._from_hot = self._from_hot.gather(1, index)
        self._trips += self._from_hot[:, 0]
        self._from_hot[:, 0] = False
        self._from_hot[:, -1] = True
