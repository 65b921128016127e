"""From noise to a sample: solvers of the probability-flow equation dx/dσ = (x - x̂₀(x, σ))/σ."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.learn.diffusion.denoiser import Denoise


class Solver(Protocol):
    """Takes x from the first noise level to the last."""

    def __call__(self, denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: Rng | None = None) -> Tensor:
        """x at ``sigmas[-1]`` of x at ``sigmas[0]``; ``rng`` is needed where noise is drawn on the way."""

    def evaluations(self, steps: int) -> int:
        """Calls of the denoiser for ``steps`` steps that end at σ = 0."""


@dataclass(frozen=True)
class Churn:
    """Noise drawn on the way: before a step from σ the level is raised to σ (1 + γ), γ = min(amount/steps, √2 - 1).

    Args:
        amount: all of it, over the steps; 0 for none.
        low, high: σ where it is done.
        inflation: factor of the drawn noise.

    Reference: Karras, Aittala, Aila & Laine (2022), algorithm 2.
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = float("inf")
    inflation: float = 1.0

    def __call__(self, x: Tensor, sigma: Tensor, steps: int, rng: Rng | None) -> tuple[Tensor, Tensor]:
        """x with more noise, and the level it has then."""
        if self.amount == 0 or not self.low <= float(sigma) <= self.high:
            return x, sigma
        if rng is None:
            raise OptionError("churn draws noise on the way: give solve(…, rng=…).")
        raised = sigma * (1 + min(self.amount / steps, sqrt(2) - 1))
        more = (raised.square() - sigma.square()).sqrt() * self.inflation
        return x + more.to(x) * rng.normal(x.shape, x), raised


@dataclass(frozen=True)
class DDIM:
    """Euler steps in σ (order 1); with ``eta`` = 1 fresh noise at each step, as ancestral sampling draws it.

    Reference: Song, Meng & Ermon (2021), Denoising diffusion implicit models, ICLR.
    """

    eta: float = 0.0

    def __call__(self, denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: Rng | None = None) -> Tensor:
        """One evaluation a step."""
        if self.eta and rng is None:
            raise OptionError(f"eta={self.eta} draws noise on the way: give solve(…, rng=…).")
        for now, then in pairwise(sigmas):
            x0 = denoiser(x, now)
            fresh = self.eta * then / now * (now.square() - then.square()).clamp_min(0).sqrt()
            kept = (then.square() - fresh.square()).clamp_min(0).sqrt() / now
            x = x0 + kept.to(x) * (x - x0)
            if self.eta and rng is not None and float(then) > 0:
                x = x + fresh.to(x) * rng.normal(x.shape, x)
        return x

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps


@dataclass(frozen=True)
class Heun:
    """The trapezoidal rule in σ (order 2); the last step to σ = 0 is Euler's.

    Reference: Karras, Aittala, Aila & Laine (2022), algorithms 1 and 2.
    """

    churn: Churn = field(default_factory=Churn)

    def __call__(self, denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: Rng | None = None) -> Tensor:
        """Two evaluations a step, one in the last."""
        steps = len(sigmas) - 1
        for low, then in pairwise(sigmas):
            x, now = self.churn(x, low, steps, rng)
            slope = (x - denoiser(x, now)) / now.to(x)
            ahead = x + (then - now).to(x) * slope
            if float(then) > 0:
                slope = 0.5 * (slope + (ahead - denoiser(ahead, then)) / then.to(x))
                ahead = x + (then - now).to(x) * slope
            x = ahead
        return x

    def evaluations(self, steps: int) -> int:
        """2 steps - 1."""
        return 2 * steps - 1


@dataclass(frozen=True)
class DPMSolver2M:
    """DPM-Solver++ with two points: exact in the linear part, x̂₀ linear in ln σ between steps (order 2).

    It draws no noise on the way: x̂₀ of the step before would belong to another path, and draws come out far too wide.

    Reference: Lu, Zhou, Bao, Chen, Li & Zhu (2022), DPM-Solver++: fast solver for guided sampling of diffusion
    probabilistic models, arXiv:2211.01095.
    """

    def __call__(self, denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: Rng | None = None) -> Tensor:
        """One evaluation a step."""
        before: tuple[Tensor, Tensor] | None = None
        for now, then in pairwise(sigmas):
            x0 = denoiser(x, now)
            x = multistep(x, x0, now, then, before)
            before = x0, now
        return x

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps


def multistep(x: Tensor, x0: Tensor, now: Tensor, then: Tensor, before: tuple[Tensor, Tensor] | None) -> Tensor:
    """One step of :class:`DPMSolver2M` from ``now`` to ``then``; ``before`` is x̂₀ of the step before and its level."""
    aim = x0
    if before is not None and float(then) > 0:
        ratio = (now / then).log() / (before[1] / now).log()
        aim = x0 + (0.5 * ratio).to(x) * (x0 - before[0])
    return aim + (then / now).to(x) * (x - aim)


@dataclass(frozen=True)
class Adams:
    """Exponential Adams with correction: x̂₀ a polynomial in ln σ through the latest evaluations (order ``points`` + 1).

    dx/d ln σ = x - x̂₀ is solved exactly for the polynomial; each evaluation serves both to correct the step that led
    to it and to predict the next. Of all solvers here it needs the fewest evaluations on smooth denoisers, above all
    on levels that are even in ln σ (:func:`posteriori.learn.diffusion.schedule.geometric`).

    Args:
        points: earlier evaluations that a prediction rests on; the correction adds the newest.

    Raises:
        OptionError: no points.

    Reference: Hochbruck & Ostermann (2010), Exponential integrators, Acta Numerica; Zhao, Bai, Rao, Zhou & Lu (2023),
    UniPC: a unified predictor-corrector framework for fast sampling of diffusion models, NeurIPS.
    """

    points: int = 3

    def __post_init__(self) -> None:
        if self.points < 1:
            raise OptionError(f"points={self.points} must be at least 1.")

    def __call__(self, denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: Rng | None = None) -> Tensor:
        """One evaluation a step."""
        seen: list[tuple[Tensor, Tensor]] = []
        begun: tuple[Tensor, Tensor] | None = None
        for now, then in pairwise(sigmas):
            x0 = denoiser(x, now)
            seen = [*seen[-self.points :], (x0, now)]
            if begun is not None:
                x = advance(begun[0], begun[1], now, seen)
            begun = x, now
            x = x0 if float(then) == 0 else advance(x, now, then, seen[-self.points :])
        return x

    def evaluations(self, steps: int) -> int:
        """One a step."""
        return steps


def advance(x: Tensor, now: Tensor, then: Tensor, seen: list[tuple[Tensor, Tensor]]) -> Tensor:
    """x at level ``then`` of x at ``now``, with x̂₀ the polynomial in ln σ through ``seen``, pairs of x̂₀ and level."""
    length = (now / then).log().double()
    powers = range(len(seen))
    moments = [1 - torch.exp(-length)]
    for power in powers[1:]:
        moments.append(length**power - power * moments[-1])
    at = torch.stack([(now / level).log().double() for _, level in seen])
    weights = torch.linalg.solve(torch.stack([at**power for power in powers]), torch.stack(moments))
    ahead = (then / now).to(x) * x
    for weight, (x0, _) in zip(weights, seen, strict=True):
        ahead = ahead + weight.to(x) * x0
    return ahead


@torch.no_grad()
def solve(denoiser: Denoise, noise: Tensor, sigmas: Tensor, solver: Solver, rng: Rng | None = None) -> Tensor:
    """A sample for each standard normal ``noise`` (*batch, …), which is scaled by ``sigmas[0]``.

    Args:
        denoiser: (x, σ) → x̂₀; give conditions by ``functools.partial``.
        noise: standard normal.
        sigmas: falling levels, e.g. of :func:`posteriori.learn.diffusion.schedule.karras`.
        solver: of the way.
        rng: where the solver draws noise on the way.

    Raises:
        OptionError: levels that do not fall, or noise on the way without ``rng``.
    """
    if sigmas.ndim != 1 or len(sigmas) < 2 or not bool((sigmas.diff() < 0).all()) or float(sigmas[-1]) < 0:
        raise OptionError(f"noise levels must fall to 0 or above in at least one step; {sigmas} were given.")
    start = sigmas[0].to(noise) * noise
    return solver(denoiser, start, sigmas, rng)
