"""Moment matching: what is left to know at each noise level, as the denoiser's own derivative tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.plug_in.question import AT_ONCE, Levels, LinearQuestion, linear_question, require
from posteriori.inference.plug_in.small_question import regimes
from posteriori.learn.diffusion.solvers import DPMSolver2M, Solver, solve

SMALL = 1e-10
"""Share of the first squared residual at which conjugate gradients stop."""


@dataclass(frozen=True)
class Tweedie:
    """x̂₀ + V Jᵀ (R + J V Jᵀ)⁻¹ (y - J x̂₀) with V = σ² ∂x̂₀/∂x, the exact covariance of x₀ given x; linear operators.

    V is never written out: each conjugate gradient costs one derivative of the denoiser.

    Args:
        draws: rows of each problem.
        levels: of the way.
        gradients: conjugate gradients of each evaluation, at most.
        solver: of the way; steps with fresh noise leave V out and are too narrow unless they are many.

    Reference: Rozet, Andry, Lanusse & Louppe (2024), Learning diffusion priors from observations by expectation
    maximization, NeurIPS; Boys et al. (2024), Tweedie moment projected diffusions for inverse problems, TMLR.
    """

    draws: int = 64
    levels: Levels = field(default_factory=Levels)
    gradients: int = 5
    solver: Solver = field(default_factory=DPMSolver2M)

    bias: ClassVar[str] = (
        "Exact for Gaussian priors once conjugate gradients converge and steps are many; elsewhere what is left to "
        "know is taken for Gaussian, so regimes get the wrong shares."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Rozet, Andry, Lanusse & Louppe (2024), Learning diffusion priors from observations by expectation "
        "maximization, NeurIPS.",
    )

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws={self.draws}: at least 1.")
        require(self.gradients >= 1, f"gradients={self.gradients}: at least 1.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, an operator that is not linear, or other errors.
        """
        asked = linear_question(target, "Tweedie", context.rng)
        sigmas = self.levels.of(asked.scale)
        start = asked.start(self.draws, sigmas[0], context.rng.child("start"))

        def given_data(x: Tensor, sigma: Tensor) -> Tensor:
            flat = x.reshape(-1, x.shape[-1])
            pieces = zip(flat.split(AT_ONCE), asked.data_of(x).split(AT_ONCE), strict=True)
            return torch.cat([_moved(asked, a, y, sigma, self.gradients) for a, y in pieces]).reshape(x.shape)

        return asked.rows_as_draws(solve(given_data, start / sigmas[0], sigmas, self.solver, context.rng))

    @staticmethod
    def example() -> tuple[Tweedie, Inverse]:
        """Two regimes of four cells."""
        return Tweedie(64, Levels(12), 3), regimes()


def _moved(asked: LinearQuestion, x: Tensor, data: Tensor, sigma: Tensor, gradients: int) -> Tensor:
    """x̂₀ of rows ``x`` (b, n) and their data (b, m), by conjugate gradients on (R + J V Jᵀ) u = y - J x̂₀."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        x0 = asked.denoise(point, sigma)

    def spread(u: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(x0, point, u @ asked.rows, retain_graph=True)
        return sigma.square() * found

    r = data - asked.predict(x0.detach())
    u, p, rr = torch.zeros_like(r), r, r.square().sum(-1, keepdim=True)
    enough = SMALL * rr
    for _ in range(gradients):
        q = asked.variance * p + asked.predict(spread(p))
        curvature = (p * q).sum(-1, keepdim=True)
        step = torch.where((rr > enough) & (curvature > 0), rr / curvature, torch.zeros_like(rr))
        u, r = u + step * p, r - step * q
        now = r.square().sum(-1, keepdim=True)
        p, rr = r + now / rr.clamp_min(1e-300) * p, now
    return x0.detach() + spread(u)
