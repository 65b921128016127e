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

    Reference: Lu, Zhou, Bao, Chen, Li & Zhu (2022), DPM-Solver++: fast solver for guided sampling of diffusion
    probabilistic models, arXiv:2211.01095.
    """

    churn: Churn = field(default_factory=Churn)

    def __call__(self, denoiser: Denoise, x: Tensor, sigmas: Tensor, rng: Rng | None = None) -> Tensor:
        """One evaluation a step."""
        before: tuple[Tensor, Tensor] | None = None
        steps = len(sigmas) - 1
        for low, then in pairwise(sigmas):
            x, now = self.churn(x, low, steps, rng)
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


@torch.no_grad()
def solve(
    denoiser: Denoise, noise: Tensor, sigmas: Tensor, solver: Solver | None = None, rng: Rng | None = None
) -> Tensor:
    """A sample for each standard normal ``noise`` (*batch, …), which is scaled by ``sigmas[0]``.

    Args:
        denoiser: (x, σ) → x̂₀; give conditions by ``functools.partial``.
        noise: standard normal.
        sigmas: falling levels, e.g. of :func:`posteriori.learn.diffusion.schedule.karras`.
        solver: :class:`DPMSolver2M` without.
        rng: where the solver draws noise on the way.

    Raises:
        OptionError: levels that do not fall, or noise on the way without ``rng``.
    """
    if sigmas.ndim != 1 or len(sigmas) < 2 or bool((sigmas.diff() >= 0).any()) or float(sigmas[-1]) < 0:
        raise OptionError(f"noise levels must fall to 0 or above in at least one step; {sigmas} were given.")
    start = sigmas[0].to(noise) * noise
    return (solver or DPMSolver2M())(denoiser, start, sigmas, rng)
