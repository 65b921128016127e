"""Minima of many energies at once by L-BFGS, within bounds where asked, from a state that can be kept and resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError, UnanswerableError

EnergyAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(*batch, n) → energies (*batch,) and gradients (*batch, n)."""
Metric = Callable[[Tensor], Tensor]
Bounds = tuple[Tensor | float, Tensor | float]
ARMIJO, CURVATURE = 1e-4, 0.9
CURVED = 1e-10
"""Least cosine between a step and its change of gradient that says something of the curvature."""


@dataclass(frozen=True)
class Descent:
    """Where a search stands; ``minimise`` goes on from it as if it had never stopped.

    Attributes:
        x, energy, gradient: (*batch, n), float64 (*batch,) and (*batch, n).
        moves, turns: the last changes of x and of the gradient, each (*batch, n), oldest first.
        steps: how many were taken; calls: of the energy.
        done: where no further step helps, (*batch,).
    """

    x: Tensor
    energy: Tensor
    gradient: Tensor
    done: Tensor
    moves: tuple[Tensor, ...] = ()
    turns: tuple[Tensor, ...] = ()
    steps: int = 0
    calls: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """As a store keeps it; ``Descent.of`` gives it back."""
        pairs = {f"move_{i}": s for i, s in enumerate(self.moves)} | {f"turn_{i}": y for i, y in enumerate(self.turns)}
        counts = torch.tensor([self.steps, self.calls])
        return {"x": self.x, "energy": self.energy, "gradient": self.gradient, "done": self.done, "counts": counts} | (
            pairs
        )

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> Descent:
        """The search whose :meth:`tensors` were kept."""
        pairs = sum(name.startswith("move_") for name in tensors)
        moves, turns = (tuple(tensors[f"{kind}_{i}"] for i in range(pairs)) for kind in ("move", "turn"))
        steps, calls = tensors["counts"].tolist()
        x, energy, gradient, done = (tensors[name] for name in ("x", "energy", "gradient", "done"))
        return Descent(x, energy, gradient, done, moves, turns, steps, calls)


def minimise(
    energy_and_gradient: EnergyAndGradient,
    x0: Tensor | Descent,
    steps: int,
    memory: int = 10,
    bounds: Bounds | None = None,
    callback: Callable[[Descent], object] | None = None,
    *,
    tolerance: float = 1e-9,
    first: float = 1.0,
    metric: Metric | None = None,
) -> Descent:
    """Go down from ``x0`` (*batch, n), each problem of the batch by itself, until ``steps`` were taken or all are done.

    The line search brackets a step that meets the (weak) Wolfe conditions. Where ``energy`` is not finite the step is
    too long. With ``bounds`` the path is bent along them, and cells that press against one do not take part.

    Args:
        energy_and_gradient: energies and gradients of all problems at once; each call counts as one.
        x0: where to start, or the ``Descent`` to go on from; its steps count.
        steps: most steps in all.
        memory: pairs of moves kept for the curvature, 2 · memory · x0.numel() numbers.
        bounds: lowest and highest x, numbers or tensors that broadcast to it.
        callback: called with the ``Descent`` after every step: to show, to keep, or to stop by returning True.
        tolerance: a problem is done where a whole step promises less than this share of its energy.
        first: largest change of any number of x in the first trial, which has no curvature to go by; in units of x.
        metric: g → M g, a symmetric positive-definite guess of the inverse curvature up to a factor.

    Reference: Nocedal & Wright (2006), Numerical Optimization, Springer, algorithms 7.4 and 7.5; Lewis & Overton
    (2013), Nonsmooth optimization via quasi-Newton methods, Math. Program. 141, 135 (line search); Bertsekas (1982),
    Projected Newton methods, SIAM J. Control Optim. 20, 221 (bounds).

    Raises:
        OptionError: no steps, no memory, or bounds that cross.
        UnanswerableError: the energy or its gradient is not finite at the start.
    """
    if steps < 1 or memory < 1 or not first > 0:
        raise OptionError(f"steps {steps} and memory {memory} must be at least 1, first {first} positive.")
    box = None if bounds is None else _Box.of(bounds, x0.x if isinstance(x0, Descent) else x0)
    state = x0 if isinstance(x0, Descent) else start(energy_and_gradient, x0 if box is None else box.inside(x0))
    while state.steps < steps and not bool(state.done.all()):
        state = _step(energy_and_gradient, state, memory, box, tolerance, first, metric)
        if callback is not None and callback(state) is True:
            break
    return state


def start(energy_and_gradient: EnergyAndGradient, x: Tensor) -> Descent:
    """A search at ``x`` (*batch, n) before its first step."""
    energy, gradient = energy_and_gradient(x)
    if energy.shape != x.shape[:-1] or gradient.shape != x.shape:
        raise ShapeError(
            f"for x {tuple(x.shape)} energies {tuple(energy.shape)} and gradients {tuple(gradient.shape)} came back; "
            f"{tuple(x.shape[:-1])} and {tuple(x.shape)} are due."
        )
    if not bool(torch.isfinite(energy).all() and torch.isfinite(gradient).all()):
        raise UnanswerableError("the energy or its gradient is not finite where the search starts; start elsewhere.")
    return Descent(x.detach(), energy.detach().double(), gradient.detach(), torch.zeros_like(energy, dtype=torch.bool))


@dataclass(frozen=True)
class _Box:
    low: Tensor
    high: Tensor

    @staticmethod
    def of(bounds: Bounds, x: Tensor) -> _Box:
        low, high = (torch.as_tensor(b, dtype=x.dtype, device=x.device).expand_as(x) for b in bounds)
        if not bool((low < high).all()):
            raise OptionError(
                f"the lowest value {float(low.max()):g} must lie below the highest {float(high.min()):g}."
            )
        return _Box(low, high)

    def inside(self, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def free(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Where going down does not press against a bound."""
        return ~(((x <= self.low) & (gradient > 0)) | ((x >= self.high) & (gradient < 0)))


def _step(
    f: EnergyAndGradient,
    state: Descent,
    memory: int,
    box: _Box | None,
    tolerance: float,
    first: float,
    metric: Metric | None,
) -> Descent:
    x, g = state.x, state.gradient
    free = None if box is None else box.free(x, g)
    open_ = g if free is None else g * free
    direction = -_two_loops(state, open_, metric)
    direction = direction if free is None else direction * free
    slope = _dot(direction, open_)
    backwards = ~(slope < 0) & ~state.done
    if bool(backwards.any()):
        # the memory misleads (rounding, a bent path): steepest descent there
        direction = torch.where(backwards[..., None], -open_, direction)
        slope = _dot(direction, open_)
    done = state.done | (-0.5 * slope <= tolerance * state.energy.abs())
    scale = torch.ones_like(state.energy)
    if not state.moves:
        scale = first / direction.abs().amax(-1).double().clamp_min(1e-300)
    search = _Search(f, state, direction, slope, box)
    moved, energy, gradient, found, calls = search.run(scale, ~done)
    done = done | ~found
    s, y = moved - x, gradient - g
    return Descent(
        moved,
        energy,
        gradient,
        done,
        (*state.moves, s)[-memory:],
        (*state.turns, y)[-memory:],
        state.steps + 1,
        state.calls + calls,
    )


def _two_loops(state: Descent, g: Tensor, metric: Metric | None) -> Tensor:
    """H g with the inverse curvature H that the memory tells; pairs without curvature count for nothing."""
    q, known = g, []
    for s, y in zip(reversed(state.moves), reversed(state.turns)):
        sy = _dot(s, y)
        good = sy > CURVED * (_dot(s, s) * _dot(y, y)).sqrt()
        rho = torch.where(good, 1 / sy, 0.0)
        a = rho * _dot(s, q)
        q = q - a[..., None].to(q.dtype) * y
        known.append((s, y, rho, a))
    r = q if metric is None else metric(q)
    scale = torch.ones_like(state.energy)
    for _, y, rho, _ in reversed(known):
        # the last pair with curvature sets the scale of each problem
        my = y if metric is None else metric(y)
        scale = torch.where(rho > 0, 1 / (rho * _dot(y, my)).clamp_min(1e-300), scale)
    r = scale[..., None].to(r.dtype) * r
    for s, y, rho, a in reversed(known):
        r = r + (a - rho * _dot(y, r))[..., None].to(r.dtype) * s
    return r


class _Search:
    """A step length for each problem, by bracketing."""

    TRIES = 30

    def __init__(
        self, f: EnergyAndGradient, state: Descent, direction: Tensor, slope: Tensor, box: _Box | None
    ) -> None:
        self.f, self.direction, self.slope, self.box = f, direction, slope, box
        self.x, self.energy, self.gradient = state.x, state.energy, state.gradient
        # an energy in float32 is known to its own rounding alone
        self.rounding = 4 * torch.finfo(self.x.dtype).eps * self.energy.abs()

    def run(self, length: Tensor, waiting: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        """New x, energy and gradient of the problems ``waiting``; where a step was found, and the calls it took."""
        best = (self.x, self.energy, self.gradient)
        found = torch.zeros_like(waiting)
        low, high = torch.zeros_like(length), torch.full_like(length, torch.inf)
        low_energy, low_slope = self.energy, self.slope
        calls = 0
        while bool(waiting.any()) and calls < self.TRIES:
            whole = self.x + torch.where(waiting, length, 0.0)[..., None].to(self.x.dtype) * self.direction
            tried = whole if self.box is None else self.box.inside(whole)
            energy, g = self.f(tried)
            calls += 1
            energy, g = energy.detach().double(), g.detach()
            energy = torch.where(torch.isfinite(energy) & torch.isfinite(g).all(-1), energy, torch.inf)
            promised = _dot(self.gradient, tried - self.x).clamp_max(0.0)
            enough = energy <= self.energy + ARMIJO * promised + self.rounding
            slope = _dot(g, self.direction)
            flat = (slope >= CURVATURE * self.slope) | (whole != tried).any(-1)
            take = waiting & enough & (energy <= best[1] + self.rounding)
            best = (
                torch.where(take[..., None], tried, best[0]),
                torch.where(take, energy, best[1]),
                torch.where(take[..., None], g, best[2]),
            )
            found = found | take
            waiting = waiting & ~(enough & flat)
            # the minimiser of the parabola through what is known, kept well inside the bracket
            width = length - low
            bend = energy - low_energy - low_slope * width
            short = low + width * (-0.5 * low_slope * width / bend).nan_to_num(0.5, 0.5, 0.5).clamp(0.1, 0.5)
            secant = (low_slope / (low_slope - slope)).nan_to_num(4.0, 4.0, 4.0)
            further = low + width * torch.where(secant > 0, secant, 4.0).clamp(2.0, 10.0)
            high = torch.where(enough, high, length)
            low_energy, low_slope = torch.where(enough, energy, low_energy), torch.where(enough, slope, low_slope)
            low = torch.where(enough, length, low)
            onwards = torch.where(torch.isinf(high), further, 0.5 * (low + high))
            length = torch.where(enough, onwards, short)
        return (*best, found, calls)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a b over the last axis, float64."""
    return (a.double() * b.double()).sum(-1)
