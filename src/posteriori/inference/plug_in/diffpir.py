"""DiffPIR: denoise, move to the data by a proximal step, put noise back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from posteriori.core.covariance import cholesky
from posteriori.core.draws import Draws
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.plug_in.question import Levels, descent, linear_question, require
from posteriori.inference.plug_in.reference import solved
from posteriori.inference.plug_in.small_question import regimes


@dataclass(frozen=True)
class DiffPIR:
    """x̃₀ = argmin ‖y - J x₀‖²_R + (λ/σ²) ‖x₀ - x̂₀‖², then noise: x̃₀ + σ' (√(1-ζ) (x - x̃₀)/σ + √ζ noise).

    Args:
        draws: rows of each problem.
        levels: of the way.
        strength: λ, how much the denoised field weighs.
        fresh: ζ, share of fresh noise.

    Reference: Zhu, Zhang, Liang, Cao, Wen, Timofte & Van Gool (2023), Denoising diffusion models for plug-and-play
    image restoration, CVPR workshops.
    """

    draws: int = 64
    levels: Levels = field(default_factory=Levels)
    strength: float = 7.0
    fresh: float = 0.3

    bias: ClassVar[str] = (
        "A maximum of the posterior in disguise: what is left to know is never drawn but as noise of the next level, "
        "so that the spread is set by λ, ζ and the levels."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Zhu, Zhang, Liang, Cao, Wen, Timofte & Van Gool (2023), Denoising diffusion models for plug-and-play image "
        "restoration, CVPR workshops.",
    )

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws={self.draws}: at least 1.")
        require(self.strength > 0, f"strength={self.strength}: above 0.")
        require(0 <= self.fresh <= 1, f"fresh={self.fresh} is a share, in [0, 1].")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, an operator that is not linear, or other errors.
        """
        asked, rng = linear_question(target, "DiffPIR", context.rng), context.rng
        sigmas = self.levels.of(asked.scale)
        x = asked.start(self.draws, sigmas[0], rng.child("start"))
        with torch.no_grad():
            for k, now, then in descent(sigmas, context):
                x0, r2 = asked.denoise(x, now), now.square() / self.strength
                factor = cholesky(torch.diag(asked.variance) + r2 * asked.rows @ asked.rows.mT)
                x0 = x0 + r2 * solved(factor, asked.data - asked.predict(x0)) @ asked.rows
                noise = rng.child("step", k).normal(x.shape, x)
                x = x0 + then * ((1 - self.fresh) ** 0.5 * (x - x0) / now + self.fresh**0.5 * noise)
        return asked.rows_as_draws(x)

    @staticmethod
    def example() -> tuple[DiffPIR, Inverse]:
        """Two regimes of four cells."""
        return DiffPIR(64, Levels(12)), regimes()
