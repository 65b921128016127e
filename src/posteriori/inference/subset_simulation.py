"""Subset simulation: the probability of a rare event as a product of common ones, by independent islands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.algebra import Dense
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Conditioned, Target
from posteriori.inference.codes import heights, require_event
from posteriori.inference.event_probability import CALLS, ISLAND, island_evidence, shared_out
from posteriori.inference.problems import gaussian_prior
from posteriori.inference.splitting_motion import Motion, motion_of

LEAST_STEP = 1e-3


@dataclass(frozen=True)
class SubsetSimulation:
    """Walkers climb to a rare event through levels that a ``share`` of them exceeds; exact as walkers grow.

    Each island lays its own levels: the highest ``share`` of its walkers is kept and copied to full number, then all
    move by Metropolis steps that keep the prior above the level. P is the product of the shares, and its error comes
    from the scatter of the islands, which are independent: :func:`event_probability` takes the interval from it.
    It needs no derivative, and of the prior a Gaussian law, ``decode(z)``, or samples with an energy. Rows lie in the
    event, island after island, as many of each as a level keeps, with the log-weight log P of their island: their mean
    weight is P.
    ``stats``: island, height, accept (of the island's last moves), calls.

    Args:
        walkers: of each island.
        islands: independent runs.
        share: of the walkers that a level keeps.
        moves: Metropolis steps of every walker at a level.
        rest: steps within the event at the end, until copies of one walker have parted.
        accept: their acceptance to adapt to.
        most: levels at most.

    Reference: Au & Beck (2001), Estimation of small failure probabilities in high dimensions by subset simulation,
    Probabilistic Engineering Mechanics 16, 263; Cérou, Del Moral, Furon & Guyader (2012), Sequential Monte Carlo for
    rare event estimation, Statistics and Computing 22, 795.
    """

    walkers: int = 500
    islands: int = 16
    share: float = 0.2
    moves: int = 3
    rest: int = 20
    accept: float = 0.4
    most: int = 100

    references: ClassVar[tuple[str, ...]] = (
        "Au & Beck (2001), Estimation of small failure probabilities in high dimensions by subset simulation, "
        "Probabilistic Engineering Mechanics 16, 263.",
        "Cérou, Del Moral, Furon & Guyader (2012), Sequential Monte Carlo for rare event estimation, Statistics and "
        "Computing 22, 795.",
    )

    def __post_init__(self) -> None:
        if self.islands < 2 or min(self.moves, self.rest, self.most) < 1:
            raise OptionError(f"{self}: islands from 2, moves, rest and most from 1.")
        if not (0 < self.share < 1 and 0 < self.accept < 1):
            raise OptionError(f"{self}: share and accept in (0, 1).")
        if not 1 <= self.kept < self.walkers:
            raise OptionError(f"a share {self.share:g} of {self.walkers} walkers must keep at least one and not all.")

    @property
    def kept(self) -> int:
        """Walkers that a level keeps."""
        return round(self.share * self.walkers)

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows in the event, and log P.

        Raises:
            UnanswerableError: no rare event, a prior that allows no moves, or a level that is not reached.
        """
        event = require_event(target, "SubsetSimulation")
        return self._climbed(event, motion_of(event.prior), context).answer()

    def climbed(self, event: Conditioned, motion: Motion, context: Context) -> tuple[Tensor, int]:
        """States (island, walker, n) of a ``motion`` in the event, and the calls that it took, for a proposal to learn.

        Raises:
            UnanswerableError: the level is not reached.
        """
        climb = self._climbed(event, motion, context)
        return climb.state, climb.calls

    def _climbed(self, event: Conditioned, motion: Motion, context: Context) -> _Climb:
        climb = _Climb(self, event, motion, context.rng)
        for stage in context.progress(range(self.most), "SubsetSimulation", self.most):
            climb.rise(context.rng.child("stage", stage))
            if not len(climb.active):
                climb.settle(context.rng.child("rest"))
                return climb
        raise UnanswerableError(
            f"after {self.most} levels {len(climb.active)} of {self.islands} islands are still below {event.level:g}, "
            f"the highest at {float(climb.height.max()):g}: P < {float(climb.log_p.max().exp()):.1e}, or more moves "
            "are needed; raise most= or moves=."
        )

    @staticmethod
    def example() -> tuple[SubsetSimulation, Conditioned]:
        """A sum of correlated normal numbers beyond 4.3 of its standard deviations, p = 8.5e-6."""
        return SubsetSimulation(200, 8), tail(gaussian_prior().space.size, 4.3)


def tail(cells: int, beta: float) -> Conditioned:
    """Correlated normal numbers whose sum lies more than ``beta`` standard deviations above its mean."""
    prior = gaussian_prior(cells)
    ones = torch.ones(1, cells, dtype=torch.float64)
    spread = float((ones @ prior.covariance.dense() @ ones.mT).sqrt())
    total = Dense(prior.space, Space("sum", {"of": 1}), ones)
    return Conditioned(prior, total > float(prior.location.sum()) + beta * spread)


class _Climb:
    """The islands on their way up; ``active`` are the numbers of those below the event."""

    def __init__(self, settings: SubsetSimulation, event: Conditioned, motion: Motion, rng: Rng) -> None:
        self.settings, self.event, self.motion = settings, event, motion
        islands, walkers = settings.islands, settings.walkers
        memory.require(48 * islands * walkers * event.space.size, f"{islands} islands of {walkers} walkers")
        self.state = motion.start(islands, walkers, rng.child("start"))
        self.height = heights(event, motion.values(self.state))
        self.log_p = torch.zeros(islands, dtype=torch.float64)
        self.step = torch.full((islands,), 0.8, dtype=torch.float64)
        self.accepted = torch.ones(islands, dtype=torch.float64)
        self.active = torch.arange(islands)
        self.calls = islands * walkers

    def rise(self, rng: Rng) -> None:
        """One level up for every active island."""
        at, height = self.active, self.height[self.active]
        level = self._levels(height)
        above = height > level[:, None]
        count = above.sum(1)
        self.log_p[at] += (count.double() / self.settings.walkers).log()
        chosen = _copies(above, count, rng.child("copies"))
        self.state[at] = self.state[at].gather(1, chosen[..., None].expand_as(self.state[at]))
        self.height[at] = height.gather(1, chosen)
        for i in range(self.settings.moves):
            self._move(at, level, rng.child("move", i))
        self.active = at[level < self.event.level]

    def settle(self, rng: Rng) -> None:
        """More moves of every walker within the event."""
        every = torch.arange(len(self.log_p))
        level = torch.full((len(every),), self.event.level, dtype=torch.float64)
        for i in range(self.settings.rest):
            self._move(every, level, rng.child(i))

    def answer(self) -> Draws:
        """Rows of all islands: of each as many walkers as a level keeps, for copies of one would count twice."""
        kept = slice(self.settings.kept)
        self.state, self.height = self.state[:, kept], self.height[:, kept]
        log_weights = self.log_p[:, None].expand_as(self.height).flatten()
        stats = {
            ISLAND: torch.arange(len(self.log_p)).double()[:, None].expand_as(self.height).flatten(),
            "height": self.height.flatten(),
            "accept": self.accepted[:, None].expand_as(self.height).flatten(),
            CALLS: shared_out(self.calls, self.height.numel()),
        }
        rows = self.motion.values(self.state).flatten(0, 1)
        evidence, error = island_evidence(self.log_p)
        found = Draws(self.event.space, rows, log_weights, chains=len(self.log_p), log_evidence=evidence, stats=stats)
        found.log_evidence_error = error
        return found

    def _levels(self, height: Tensor) -> Tensor:
        """The next level of each island (island,): the share's quantile, lower where heights tie, at most the event's.

        Raises:
            UnanswerableError: all heights of an island are alike.
        """
        quantile = height.sort(1, descending=True).values[:, self.settings.kept]
        top = height.amax(1, keepdim=True)
        below_top = torch.where(height < top, height, -torch.inf).amax(1)
        level = torch.minimum(quantile, below_top).clamp_max(self.event.level)
        if bool((level == -torch.inf).any()):
            raise UnanswerableError(
                f"every walker of an island has the height {float(top[level == -torch.inf][0, 0]):g}, below "
                f"{self.event.level:g}: there is nothing to climb; give a height that grows towards the event."
            )
        return level

    def _move(self, at: Tensor, level: Tensor, rng: Rng) -> None:
        state, height = self.state[at], self.height[at]
        moved, log_chance = self.motion.propose(state, self.step[at], rng)
        reached = heights(self.event, self.motion.values(moved))
        self.calls += reached.numel()
        taken = (reached > level[:, None]) & (rng.uniform(height.shape).log() < log_chance)
        self.state[at] = torch.where(taken[..., None], moved, state)
        self.height[at] = torch.where(taken, reached, height)
        rate = taken.double().mean(1)
        self.accepted[at] = rate
        self.step[at] = (self.step[at] * (rate - self.settings.accept).exp()).clamp(LEAST_STEP, self.motion.longest)


def _copies(above: Tensor, count: Tensor, rng: Rng) -> Tensor:
    """Positions (island, walker) of the survivors, each copied as often as the next, give or take one."""
    order = torch.where(above, rng.uniform(above.shape), 2.0).argsort(1)
    return order.gather(1, torch.arange(above.shape[1]) % count[:, None])
