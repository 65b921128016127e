"""Hamiltonian Monte Carlo: many chains of many problems move together, one gradient call a leapfrog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Conditioned, Inverse, Target
from posteriori.inference.adaptation import Dense, Diagonal, Metric, StepSize, windows
from posteriori.inference.curvature import gradient
from posteriori.inference.parts import rows_for, written_out
from posteriori.inference.problems import regression
from posteriori.inference.unconstrained import Unconstrained

DIVERGENCE = 1000.0
START_TRIES = 50
SPREAD_DRAWS = 16
WORST = 0.01
Slope = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class HMC:
    """Draws of exp(-energy) by simulated motion in it, in coordinates without borders; exact as the draws grow.

    Every transition takes 1 … ``steps`` leapfrog steps (the same number for all chains, drawn anew each time), with a
    step size for each problem, adapted by dual averaging, and a scale for each coordinate, learnt from all chains in
    windows that double. ``posterior.rhat()``, ``posterior.ess()`` and ``stats`` (accept, energy, diverging, step_size)
    say how far the draws can be trusted: R̂ below 1.01, no divergences.

    Args:
        draws: kept rows of each chain.
        warmup: transitions before them.
        chains: independent walkers of each problem.
        steps: most leapfrog steps of a transition; more for elongated or high-dimensional targets.
        accept: the acceptance rate to adapt to; the kept draws accept somewhat more.
        dense: learn correlations too; worth it up to about a hundred coordinates.
        start: where chains begin; the target's prior without, standard normal coordinates where that cannot be drawn.

    Reference: Neal (2011), MCMC using Hamiltonian dynamics, in: Handbook of Markov Chain Monte Carlo, CRC Press;
    Hoffman & Gelman (2014), The No-U-Turn sampler, JMLR 15, 1593.
    """

    draws: int = 1000
    warmup: int = 500
    chains: int = 4
    steps: int = 12
    accept: float = 0.7
    dense: bool = False
    start: Samples | None = None

    references: ClassVar[tuple[str, ...]] = (
        "Neal (2011), MCMC using Hamiltonian dynamics, in: Handbook of Markov Chain Monte Carlo, CRC Press.",
        "Hoffman & Gelman (2014), The No-U-Turn sampler, JMLR 15, 1593.",
    )

    def __post_init__(self) -> None:
        if min(self.draws, self.chains, self.steps) < 1 or self.warmup < 20 or not 0 < self.accept < 1:
            raise OptionError(f"{self}: draws, chains and steps are at least 1, warmup at least 20, accept in (0, 1).")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains, chain after chain.

        Raises:
            UnanswerableError: the energy has no derivative, classes are asked for, or no start of finite energy exists.
        """
        fixed = written_out(target)
        map_ = Unconstrained(fixed.space, "HMC")
        slope = slope_of(fixed, map_)
        rng = context.rng
        u, spread = starts(fixed, map_, slope, self.start, self.chains, rng.child("start"))
        memory.require(3 * self.draws * u.numel() * u.element_size(), f"{self.draws} draws of {u.numel()} numbers")
        chain = _Chains(slope, u, spread, self, rng.child("moves"))
        start, ends = windows(self.warmup)
        seen: list[Tensor] = []
        rows: list[Tensor] = []
        figures: list[tuple[Tensor, Tensor, Tensor]] = []
        for i in context.progress(range(self.warmup + self.draws), "HMC", self.warmup + self.draws):
            accepted, diverging = chain.move()
            if i >= self.warmup:
                rows.append(chain.u)
                figures.append((accepted, chain.energy, diverging))
                continue
            # until the last window one chain in trouble counts most, so that none is left behind far out
            chain.step.update(accepted.mean(0) if i >= ends[-1] else _harmonic_mean(accepted))
            if i >= start:
                seen.append(chain.u)
            if i + 1 in ends:
                chain.learn(torch.cat(seen))
                seen = []
            if i + 1 == self.warmup:
                chain.step.settle()
        values = map_.values(torch.stack(rows, 1).flatten(0, 1)).detach()
        names = ("accept", "energy", "diverging")
        stats = {n: torch.stack(f, 1).flatten(0, 1).double() for n, f in zip(names, zip(*figures))}
        stats["step_size"] = chain.step.value.expand_as(stats["accept"]).clone()
        problems = target.problems if isinstance(target, Inverse) else None
        return Draws(target.space, values, chains=self.chains, problems=problems, stats=stats)

    @staticmethod
    def example() -> tuple[HMC, Inverse]:
        """A linear question, whose answer is known in closed form."""
        return HMC(draws=200, warmup=150, steps=6, dense=True), regression()


class _Chains:
    """Walkers at ``u`` (chain, *problem, n) with their energy and its slope there."""

    def __init__(self, slope: Slope, u: Tensor, spread: Tensor, settings: HMC, rng: Rng) -> None:
        self.slope, self.u, self.settings, self.rng = slope, u, settings, rng
        self.energy, self.g = slope(u)
        self.metric: Metric = Dense(torch.diag_embed(spread)) if settings.dense else Diagonal(spread)
        self.step = StepSize(self._reasonable(torch.full(u.shape[1:-1], 0.5, dtype=u.dtype)), settings.accept)

    def learn(self, draws: Tensor) -> None:
        """A new shape from a window's draws, and a step size to go with it."""
        self.metric = self.metric.learnt(draws)
        self.step.restart(self._reasonable(torch.full_like(self.step.value, 0.5)))

    def move(self) -> tuple[Tensor, Tensor]:
        """One transition; acceptance probabilities and whether each chain diverged, (chain, *problem)."""
        length = 1 + int(self.rng.integers(self.settings.steps, ()))
        p = self.rng.normal(self.u.shape, self.u)
        u, energy, g, gained = self._leapfrog(p, self.metric.stretched(self.step.value), length)
        accepted = gained.clamp_max(0.0).exp()
        taken = self.rng.uniform(accepted.shape, accepted) < accepted
        self.u = torch.where(taken[..., None], u, self.u)
        self.g = torch.where(taken[..., None], g, self.g)
        self.energy = torch.where(taken, energy, self.energy)
        return accepted, gained < -DIVERGENCE

    def _leapfrog(self, p: Tensor, metric: Metric, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """End point, its energy and slope, and the log acceptance ratio (-inf where the motion broke down)."""
        before = self.energy + 0.5 * p.double().square().sum(-1)
        u, energy, g = self.u, self.energy, self.g
        p = p - 0.5 * metric.pull(g)
        for i in range(length):
            u = u + metric.push(p)
            energy, g = self.slope(u)
            p = p - (0.5 if i == length - 1 else 1.0) * metric.pull(g)
        gained = before - energy - 0.5 * p.double().square().sum(-1)
        return u, energy, g, torch.where(torch.isfinite(gained), gained, -torch.inf)

    def _reasonable(self, steps: Tensor) -> Tensor:
        """Doubled or halved until the acceptance of one leapfrog, averaged over chains, crosses the goal."""
        direction = torch.zeros_like(steps)
        for _ in range(30):
            p = self.rng.normal(self.u.shape, self.u)
            gained = self._leapfrog(p, self.metric.stretched(steps), 1)[-1]
            above = gained.clamp_max(0.0).exp().mean(0) > self.settings.accept
            now = torch.where(above, 1.0, -1.0).to(steps)
            going = (direction == 0) | (direction == now)
            if not bool(going.any()):
                break
            direction = torch.where(direction == 0, now, torch.where(going, direction, 2.0))
            steps = torch.where(going, steps * 2.0**now, steps)
        return steps


def slope_of(target: Target, map_: Unconstrained) -> Slope:
    """Energy in unconstrained coordinates, float64 (chain, *problem), and its gradient; where broken, inf and zero."""

    def slope(u: Tensor) -> tuple[Tensor, Tensor]:
        point = u.detach().requires_grad_()
        with torch.enable_grad():
            energy = target.energy(map_.values(point)) - map_.log_jacobian(point)
            g = gradient(energy, point)
        energy = energy.detach()
        broken = ~(torch.isfinite(energy) & torch.isfinite(g).all(-1))
        if bool(broken.any()):
            energy = torch.where(broken, torch.inf, energy)
            g = torch.where(broken[..., None], 0.0, g)
        return energy, g

    return slope


def _harmonic_mean(accepted: Tensor) -> Tensor:
    """Over chains; Hoffman, Radul & Sountsov (2021), An adaptive-MCMC scheme for setting trajectory lengths."""
    return 1 / (1 / accepted.clamp_min(WORST)).mean(0)


def starts(
    target: Target, map_: Unconstrained, slope: Slope, start: Samples | None, chains: int, rng: Rng
) -> tuple[Tensor, Tensor]:
    """Chains (chain, *problem, n) at draws of finite energy, and the spread of such draws (*problem, n)."""
    prior = target.prior if isinstance(target, (Inverse, Conditioned)) else None
    source = start if start is not None else prior
    batch = target.batch if isinstance(target, Inverse) else ()
    like = _like(target)
    shape = (chains, *batch)
    u = torch.zeros(*shape, target.space.size, dtype=like.dtype, device=like.device)
    spread = torch.ones_like(u[0])
    _require_derivative(target, map_, u)
    waiting = torch.ones(shape, dtype=torch.bool, device=like.device)
    for i in range(START_TRIES):
        if isinstance(source, Samples):
            n = max(chains, SPREAD_DRAWS) if i == 0 else chains
            drawn = map_.coordinates(rows_for(source, n, batch, rng).to(like))
            if i == 0:
                spread = drawn.var(0).sqrt().clamp_min(1e-12)
            tried = drawn[:chains]
        else:
            tried = rng.normal(u.shape, u)
        u = torch.where(waiting[..., None], tried, u)
        waiting = ~torch.isfinite(slope(u)[0])
        if not bool(waiting.any()):
            return u, spread
    raise UnanswerableError(
        f"{int(waiting.sum())} of {waiting.numel()} chains found no start of finite energy in {START_TRIES} draws; "
        "give start=…, a prior or posterior that reaches the target."
    )


def _require_derivative(target: Target, map_: Unconstrained, u: Tensor) -> None:
    """Refuse an energy without derivative, which the Jacobian of borders would hide."""
    with torch.enable_grad():
        point = u.detach().requires_grad_()
        gradient(target.energy(map_.values(point)), point)


def _like(target: Target) -> Tensor:
    """A tensor with the dtype and device to move in: the data's, else that of the target's first number."""
    if isinstance(target, Inverse) and target.data.is_floating_point():
        return target.data
    for tensor in (*target.parameters(), *target.buffers()):
        if tensor.is_floating_point():
            return tensor
    return torch.zeros((), dtype=torch.float64)
