"""Pseudo-inverse guidance: what is left to know at each noise level is taken for white."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.draws import Draws
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.plug_in.question import Levels, LinearQuestion, linear_question, require, with_slope
from posteriori.inference.plug_in.reference import solved
from posteriori.inference.plug_in.small_question import regimes
from posteriori.learn.diffusion.solvers import DDIM, Solver, solve


@dataclass(frozen=True)
class PiGDM:
    """ΠGDM: x̂₀ + σ² ∇ₓ log N(y; J x̂₀(x), R + r² J Jᵀ) with r² = σ²s²/(σ² + s²), s the prior's size; linear operators.

    Args:
        draws: rows of each problem.
        levels: of the way.
        solver: of the way; ancestral without.

    Reference: Song, Vahdat, Mardani & Kautz (2023), Pseudoinverse-guided diffusion models for inverse problems, ICLR.
    """

    draws: int = 64
    levels: Levels = field(default_factory=Levels)
    solver: Solver = field(default_factory=lambda: DDIM(eta=1.0))

    bias: ClassVar[str] = (
        "Exact for white priors alone: where cells hang together, data pull too little on their neighbours at high "
        "noise, and what is unseen is drawn with the wrong spread."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Song, Vahdat, Mardani & Kautz (2023), Pseudoinverse-guided diffusion models for inverse problems, ICLR.",
    )

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws={self.draws}: at least 1.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, an operator that is not linear, or other errors.
        """
        asked = linear_question(target, "PiGDM", context.rng)
        sigmas = self.levels.of(asked.scale)
        start = asked.start(self.draws, sigmas[0], context.rng.child("start"))
        x = solve(lambda x, sigma: _given_data(asked, x, sigma), start / sigmas[0], sigmas, self.solver, context.rng)
        return asked.rows_as_draws(x)

    @staticmethod
    def example() -> tuple[PiGDM, Inverse]:
        """Two regimes of four cells."""
        return PiGDM(64, Levels(12)), regimes()


def _given_data(asked: LinearQuestion, x: Tensor, sigma: Tensor) -> Tensor:
    """x̂₀ of ``x`` and the data."""
    r2 = (sigma * asked.scale).square() / (sigma.square() + asked.scale**2)
    factor = cholesky(torch.diag(asked.variance) + r2 * asked.rows @ asked.rows.mT)
    data = asked.data_of(x)

    def pulled(point: Tensor, at: slice) -> tuple[Tensor, Tensor]:
        x0 = asked.denoise(point, sigma)
        wanted = solved(factor, data[at] - asked.predict(x0)).detach()
        return x0, (asked.predict(x0) * wanted).sum(-1)

    x0, slope = with_slope(pulled, x)
    return x0 + sigma.square() * slope
