"""Hamiltonian Monte Carlo on the surface where constraints hold: RATTLE with a check that every step can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.operator import Operator
from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.support import Real
from posteriori.core.target import Inverse, Target
from posteriori.inference.adaptation import StepSize
from posteriori.inference.curvature import gradient
from posteriori.inference.manifold import Constrained, Landed, land, nearest, rows_of, tangential
from posteriori.inference.parts import rows_for, written_out
from posteriori.inference.problems import regression

UNDONE = 1e-8
"""How far from its beginning a reversed step may end, as a share of the step."""
START_TRIES = 20
EARLY = 0.6
"""Share of the warm-up in which the step is small enough for every chain."""
WORST = 0.01


@dataclass(frozen=True)
class ConstrainedHMC:
    """Draws of a :class:`~posteriori.inference.manifold.Constrained` target: rigid motion, exact as the draws grow.

    Each transition draws a momentum along the surface and makes 1 … ``steps`` RATTLE steps, each brought back to the
    surface by Newton's method; a transition with a step that does not land or cannot be undone is rejected. All
    chains share one step size, adapted to ``accept``. Every row keeps the constraints to 1e-12 of their unit.
    ``stats``: accept, energy, residual (largest |constraint|), undone (1 where the whole transition could be undone).
    A target without constraints is moved in all its numbers, which is plain HMC with one scale for all.

    Args:
        draws: kept rows of each chain.
        warmup: transitions before them.
        chains: independent walkers of each problem.
        steps: most RATTLE steps of a transition.
        accept: the acceptance rate to adapt to.
        thin: transitions for each kept row.
        start: where chains begin, brought to the nearest point of the surface; the prior of the target without,
            standard normal numbers where it has none.

    Reference: Andersen (1983), RATTLE, J. Comput. Phys. 52, 24; Brubaker, Salzmann & Urtasun (2012), A family of MCMC
    methods on implicitly defined manifolds, AISTATS; Lelièvre, Rousset & Stoltz (2019), Hybrid Monte Carlo methods for
    sampling probability measures on submanifolds, Numer. Math. 143, 379.
    """

    draws: int = 500
    warmup: int = 200
    chains: int = 16
    steps: int = 8
    accept: float = 0.8
    thin: int = 1
    start: Samples | None = None

    references: ClassVar[tuple[str, ...]] = (
        "Andersen (1983), RATTLE, J. Comput. Phys. 52, 24.",
        "Brubaker, Salzmann & Urtasun (2012), A family of MCMC methods on implicitly defined manifolds, AISTATS.",
        "Lelièvre, Rousset & Stoltz (2019), Hybrid Monte Carlo methods for sampling probability measures on "
        "submanifolds, Numer. Math. 143, 379.",
    )

    def __post_init__(self) -> None:
        if min(self.draws, self.chains, self.steps, self.thin) < 1 or self.warmup < 20 or not 0 < self.accept < 1:
            raise OptionError(
                f"{self}: draws, chains, steps and thin are at least 1, warmup at least 20, accept in (0, 1)."
            )

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains, chain after chain.

        Raises:
            UnanswerableError: the energy has no derivative, or no start on the surface has a finite energy.
        """
        if not isinstance(target.space.support, Real):
            raise UnanswerableError(f"rigid motion needs numbers without borders; {target.space} has them, use HMC().")
        fixed = written_out(target)
        rng = context.rng
        surface = _Surface(fixed)
        u = _starts(fixed, surface, self.start, self.chains, rng.child("start"))
        memory.require(2 * self.draws * u.numel() * u.element_size(), f"{self.draws} draws of {u.numel()} numbers")
        chain = _Chains(surface, u, self, rng.child("moves"))
        rows: list[Tensor] = []
        figures: list[tuple[Tensor, ...]] = []
        total = self.warmup + self.draws * self.thin
        for i in context.progress(range(total), "constrained HMC", total):
            accepted, undone = chain.move()
            if i < self.warmup:
                # at first one chain in trouble counts most, so that none is left behind far out
                early = i < int(EARLY * self.warmup)
                chain.step.update(1 / (1 / accepted.clamp_min(WORST)).mean(0) if early else accepted.mean(0))
                if i + 1 == int(EARLY * self.warmup):
                    chain.step.restart(chain.step.value)
                if i + 1 == self.warmup:
                    chain.step.settle()
            elif (i - self.warmup + 1) % self.thin == 0:
                rows.append(chain.at.x)
                figures.append((accepted, chain.energy, surface.residual(chain.at.x), undone))
        values = fixed.space.unflat(torch.stack(rows, 1).flatten(0, 1))
        names = ("accept", "energy", "residual", "undone")
        stats = {n: torch.stack(f, 1).flatten(0, 1).double() for n, f in zip(names, zip(*figures))}
        stats["step_size"] = chain.step.value.expand_as(stats["accept"]).clone()
        problems = target.problems if isinstance(target, Inverse) else None
        return Draws(target.space, values, chains=self.chains, problems=problems, stats=stats)

    @staticmethod
    def example() -> tuple[ConstrainedHMC, Inverse]:
        """A linear question without constraints, whose answer is known in closed form."""
        return ConstrainedHMC(draws=200, warmup=60, steps=10), regression()


class _Surface:
    """The energy of flat rows (chain, *problem, n) with its slope, and the constraints, where there are any."""

    def __init__(self, target: Target) -> None:
        self.target, self.space = target, target.space
        self.constraint: Operator | None = target.constraint if isinstance(target, Constrained) else None

    def slope(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energy (chain, *problem) and gradient; where broken, inf and zero."""
        point = u.detach().requires_grad_()
        with torch.enable_grad():
            energy = self.target.energy(self.space.unflat(point))
            g = gradient(energy, point)
        energy = energy.detach()
        broken = ~(torch.isfinite(energy) & torch.isfinite(g).all(-1))
        return torch.where(broken, torch.inf, energy), torch.where(broken[..., None], 0.0, g)

    @torch.no_grad()
    def here(self, u: Tensor) -> Landed:
        """``u``, which lies on the surface, with its rows."""
        ok = torch.ones(u.shape[:-1], dtype=torch.bool, device=u.device)
        empty = u.new_zeros(*u.shape[:-1], 0, u.shape[-1])
        return Landed(u, empty if self.constraint is None else rows_of(self.constraint, self.space.unflat(u)), ok)

    @torch.no_grad()
    def land(self, u: Tensor, along: Tensor) -> Landed:
        """The point of the surface that ``u`` is brought back to."""
        return self.here(u) if self.constraint is None else land(self.constraint, u, along)

    def along(self, rows: Tensor, v: Tensor) -> Tensor:
        """The part of ``v`` along the surface."""
        return v if self.constraint is None else tangential(rows, v)

    @torch.no_grad()
    def residual(self, u: Tensor) -> Tensor:
        """Largest |constraint|, (chain, *problem)."""
        if self.constraint is None:
            return torch.zeros(u.shape[:-1], dtype=u.dtype)
        return self.constraint.codomain.flat(self.constraint(self.space.unflat(u))).abs().amax(-1)


class _Motion(NamedTuple):
    """A point of a trajectory."""

    at: Landed
    p: Tensor
    energy: Tensor
    g: Tensor
    good: Tensor


class _Chains:
    """Walkers on the surface with their energy and its slope."""

    def __init__(self, surface: _Surface, u: Tensor, settings: ConstrainedHMC, rng: Rng) -> None:
        self.surface, self.settings, self.rng = surface, settings, rng
        self.at = surface.here(u)
        self.energy, self.g = surface.slope(u)
        self.step = StepSize(self._reasonable(torch.full(u.shape[1:-1], 0.1, dtype=u.dtype)), settings.accept)

    def move(self) -> tuple[Tensor, Tensor]:
        """One transition; acceptance probabilities and whether each could be undone, (chain, *problem)."""
        length = 1 + int(self.rng.integers(self.settings.steps, ()))
        end, gained = self._motion(self.step.value, length)
        accepted = gained.clamp_max(0.0).exp()
        taken = self.rng.uniform(accepted.shape, accepted) < accepted
        one = taken[..., None]
        rows = torch.where(one[..., None], end.at.rows, self.at.rows)
        self.at = Landed(torch.where(one, end.at.x, self.at.x), rows, torch.ones_like(taken))
        self.g = torch.where(one, end.g, self.g)
        self.energy = torch.where(taken, end.energy, self.energy)
        return accepted, end.good.double()

    def _motion(self, step: Tensor, length: int) -> tuple[_Motion, Tensor]:
        """The end of a trajectory and the log acceptance ratio, -inf where it broke down or cannot be undone."""
        p = self.surface.along(self.at.rows, self.rng.normal(self.at.x.shape, self.at.x))
        before = self.energy + 0.5 * p.double().square().sum(-1)
        now = _Motion(self.at, p, self.energy, self.g, torch.ones_like(self.energy, dtype=torch.bool))
        for _ in range(length):
            now = self._rattle(now, step[..., None])
        gained = before - now.energy - 0.5 * now.p.double().square().sum(-1)
        return now, torch.where(torch.isfinite(gained) & now.good, gained, -torch.inf)

    def _rattle(self, now: _Motion, h: Tensor) -> _Motion:
        """One step: half a kick, a drift brought back to the surface, half a kick; then the way back is tried."""
        surface, start = self.surface, now.at
        p = now.p - 0.5 * h * now.g
        there = surface.land(start.x + h * p, start.rows)
        good = now.good & there.ok
        x = torch.where(good[..., None], there.x, start.x)
        rows = torch.where(good[..., None, None], there.rows, start.rows)
        energy, g = surface.slope(x)
        p = surface.along(rows, (x - start.x) / h - 0.5 * h * g)
        if surface.constraint is not None:
            back = surface.land(x - h * (p + 0.5 * h * g), rows)
            away = (back.x - start.x).norm(dim=-1)
            good = good & back.ok & (away <= UNDONE * (1e-4 + (x - start.x).norm(dim=-1)))
        return _Motion(Landed(x, rows, good), p, energy, g, good)

    def _reasonable(self, steps: Tensor) -> Tensor:
        """Doubled or halved until the acceptance of one step, averaged over chains, crosses the goal."""
        direction = torch.zeros_like(steps)
        for _ in range(30):
            gained = self._motion(steps, 1)[1]
            above = gained.clamp_max(0.0).exp().mean(0) > self.settings.accept
            now = torch.where(above, 1.0, -1.0).to(steps)
            going = (direction == 0) | (direction == now)
            if not bool(going.any()):
                break
            direction = torch.where(direction == 0, now, torch.where(going, direction, 2.0))
            steps = torch.where(going, steps * 2.0**now, steps)
        return steps


def _starts(target: Target, surface: _Surface, start: Samples | None, chains: int, rng: Rng) -> Tensor:
    """Chains (chain, *problem, n) on the surface with a finite energy."""
    prior = target.prior if isinstance(target, Inverse) else None
    source = start if start is not None else prior
    if source is not None and not isinstance(source, Samples):
        raise UnanswerableError(f"{type(source).__name__} cannot be drawn from, so chains have no start; give start=….")
    batch = target.batch if isinstance(target, Inverse) else ()
    u = torch.zeros(chains, *batch, target.space.size, dtype=torch.float64)
    waiting = torch.ones(chains, *batch, dtype=torch.bool)
    for _ in range(START_TRIES):
        if source is None:
            tried = rng.normal(u.shape)
        else:
            tried = target.space.flat(rows_for(source, chains, batch, rng)).double()
        ok = torch.ones_like(waiting)
        if surface.constraint is not None:
            with torch.no_grad():
                tried, _, ok = nearest(surface.constraint, tried)
        ok = ok & torch.isfinite(surface.slope(tried)[0])
        u = torch.where((waiting & ok)[..., None], tried, u)
        waiting = waiting & ~ok
        if not bool(waiting.any()):
            return u
    raise UnanswerableError(
        f"{int(waiting.sum())} of {waiting.numel()} chains found no start of finite energy on the surface in "
        f"{START_TRIES} draws; give start=…, draws that lie near it."
    )
