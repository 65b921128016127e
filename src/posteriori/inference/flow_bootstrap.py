"""Flow annealed importance sampling bootstrap: a flow learns where annealing finds that it has too little mass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.run import Context
from posteriori.core.support import Real
from posteriori.core.target import Boltzmann, Inverse, Target
from posteriori.inference.annealed import Annealed, annealed, density_slope
from posteriori.inference.annealed_motion import Motion, Walkers, laid_out
from posteriori.inference.defensive import Defensive
from posteriori.inference.hmc import slope_of
from posteriori.inference.importance import Proposal
from posteriori.inference.parts import rows_for
from posteriori.inference.stratified import wide_gaussian
from posteriori.inference.unconstrained import Unconstrained
from posteriori.learn.flow.spline import SplineFlow
from posteriori.physics.gaussian_mixture import GaussianMixture

END = 2.0
"""b at which the path q^(1-b) p^b is p²/q, the law that the weights' variance calls for."""
STALE = 10.0
"""Most by which a row's weight in the buffer is corrected for what the flow has learnt since."""
CLIP = 10.0


@dataclass(frozen=True)
class FlowBootstrap:
    """A spline flow q trained to lower ∫ p²/q, the variance of its own weights, then corrected by annealing.

    Every round leads fresh draws of q along q^(1-b) p^b past p (b = 1) to p²/q (b = 2), by Hamiltonian moves on a path
    that a pilot lays out, and keeps them with their weights in a buffer. Steps of Adam draw rows from the buffer by
    weight, raise q there, and correct the weights for what q has learnt since. Modes that q misses have small q and so
    large weight: they are learnt, not dropped. The answer anneals draws of the flow, with its safety net, to the
    target; its weights are exact whatever was learnt.

    Args:
        finish: anneals from the learnt flow; its own proposal is the wide law from which the first rows come.
        rounds, steps: rounds of annealing, steps of Adam in each.
        batch: rows of one round, and of one step.
        buffer: rows kept at most.
        rate: of Adam.
        transforms, hidden, bins: of the flow.
        defensive: share of the safety net.
        motion: moves while training.

    Reference: Midgley, Stimper, Simm, Schölkopf & Hernández-Lobato (2023), Flow annealed importance sampling
    bootstrap, ICLR.
    """

    finish: Annealed
    rounds: int = 60
    steps: int = 8
    batch: int = 512
    buffer: int = 16_384
    rate: float = 2e-3
    transforms: int = 6
    hidden: tuple[int, ...] = (64, 64)
    bins: int = 8
    defensive: float = 0.02
    motion: Motion = Motion()  # noqa: RUF009

    references: ClassVar[tuple[str, ...]] = (
        "Midgley, Stimper, Simm, Schölkopf & Hernández-Lobato (2023), Flow annealed importance sampling bootstrap, "
        "ICLR.",
    )

    def __post_init__(self) -> None:
        if min(self.rounds, self.steps, self.batch - 15, self.buffer - self.batch + 1, self.rate) <= 0:
            raise OptionError(f"{self}: rounds, steps and rate are positive, batch is 16 or more, buffer not smaller.")
        if not 0 < self.defensive < 1:
            raise OptionError(f"defensive={self.defensive} lies in (0, 1).")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weighted rows and log Z.

        Raises:
            UnanswerableError: several problems, a Space with borders, no wide law, an energy without derivative.
        """
        if isinstance(target, Inverse) and target.batch:
            raise UnanswerableError("FlowBootstrap learns one problem at a time; give them one by one, or HMC.")
        if not isinstance(target.space.support, Real) or target.space.parts:
            raise UnanswerableError(f"FlowBootstrap draws real numbers without borders, not {target.space}: use HMC.")
        wide = self.finish.wide(target, context)
        flow, rows = _Course(self, target, wide, context).run()
        proposal = Defensive(flow, rows, self.defensive)
        return replace(self.finish, proposal=proposal)(target, context.child("finish"))

    @staticmethod
    def example() -> tuple[FlowBootstrap, Boltzmann]:
        """Two modes in the plane, from a flow that has hardly learnt: annealing sets it right."""
        means = torch.tensor([[0.0, 0.0], [1.5, 1.0]])
        target = Boltzmann(GaussianMixture(means, 1.0, torch.tensor([1.0, 2.0])), 1.0)
        finish = Annealed(wide_gaussian(target.space, 2.0), 400, 2, share=0.8, pilot=64, motion=Motion(1, 2))
        return FlowBootstrap(finish, 2, 2, 64, 128, 2e-3, 1, (8,), 4, 0.2, Motion(1, 2)), target


class _Course:
    """One training as it goes; the buffer holds rows, their log-weights and log q when last looked at."""

    def __init__(self, method: FlowBootstrap, target: Target, wide: Proposal, context: Context) -> None:
        self.method, self.target, self.context, self.rng = method, target, context, context.rng.child("training")
        self.map = Unconstrained(target.space, "FlowBootstrap")
        self.slope = slope_of(target, self.map)
        first = self._arrived(wide, 2 * method.batch, 1.0)
        weights = torch.softmax(first.log_weights.flatten(), 0)
        at = torch.multinomial(weights, len(weights), replacement=True, generator=self.rng.generator)
        self.rows = self.map.values(first.u.flatten(0, 1)[at])
        self.flow = SplineFlow(
            target.space, method.transforms, method.hidden, method.bins, rows=self.rows, rng=self.rng.child("weights")
        )
        self.adam = torch.optim.Adam(self.flow.parameters(), method.rate)
        self.x, self.log_w = self.rows[:0], torch.zeros(0, dtype=torch.float64)
        self.log_q = torch.zeros(0, dtype=torch.float64)

    def run(self) -> tuple[SplineFlow, Tensor]:
        """The flow, and rows near the target."""
        method = self.method
        for i in self.context.progress(range(method.rounds), "flow bootstrap", method.rounds):
            self._gather(i)
            for _ in range(method.steps):
                self._step()
        return self.flow.eval().requires_grad_(False), self.rows

    def _gather(self, i: int) -> None:
        """Draws of the flow and its safety net led to p²/q and laid into the buffer, the oldest rows leaving it."""
        net = Defensive(self.flow, self.rows, self.method.defensive)
        walkers = self._arrived(net, self.method.batch, END, i)
        x = self.map.values(walkers.u.flatten(0, 1)).detach()
        log_w = walkers.log_weights.flatten()
        with torch.no_grad():
            log_q = self.flow.log_prob(x)
        sound = torch.isfinite(log_w) & torch.isfinite(log_q)
        keep = self.method.buffer
        self.x = torch.cat([self.x, x[sound]])[-keep:]
        self.log_w = torch.cat([self.log_w, log_w[sound]])[-keep:]
        self.log_q = torch.cat([self.log_q, log_q[sound]])[-keep:]

    def _step(self) -> None:
        chance = torch.softmax(self.log_w, 0)
        at = torch.multinomial(chance, self.method.batch, replacement=True, generator=self.rng.generator)
        log_q = self.flow.log_prob(self.x[at])
        gone = (self.log_q[at] - log_q.detach()).clamp(-STALE, STALE)
        loss = -(gone.clamp_max(1.0).exp() * log_q).mean()
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.flow.parameters(), CLIP)
        self.adam.step()
        self.log_w = self.log_w.index_put((at,), self.log_w[at] + gone)
        self.log_q = self.log_q.index_put((at,), log_q.detach())

    def _arrived(self, law: Proposal, n: int, end: float, i: int = -1) -> Walkers:
        """Draws of ``law`` led to the place ``end`` along a path laid out by a quarter as many."""
        below, rng = density_slope(law, self.map), self.rng.child("anneal", i)
        few = max(16, n // 4)
        pilot = self.map.coordinates(rows_for(law, few, (), rng.child("pilot")))[:, None]
        path = laid_out(Walkers(below, self.slope, pilot, rng.child("tune")), end, 0.5, self.method.motion)
        u = self.map.coordinates(rows_for(law, n, (), rng.child("rows")))
        return annealed(below, self.slope, u, path, self.method.motion, rng.child("moves"))
