"""Diffusion posterior sampling: at each step down the slope of the misfit of the denoised field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.plug_in.ancestral import ancestral
from posteriori.inference.plug_in.question import Levels, descent, question, require, with_slope
from posteriori.inference.plug_in.small_question import regimes


@dataclass(frozen=True)
class DPS:
    """After each ancestral step, x - ζ ∇ₓ ‖y - A(x̂₀(x))‖ in the variance-preserving scale of the prior; any operator.

    Args:
        draws: rows of each problem.
        levels: of the way; the slope is short-sighted, so take many.
        strength: ζ, in units of the prior's size.

    Reference: Chung, Kim, McCann, Klasky & Ye (2023), Diffusion posterior sampling for general noisy inverse problems,
    ICLR.
    """

    draws: int = 64
    levels: Levels = field(default_factory=lambda: Levels(100))
    strength: float = 1.0

    bias: ClassVar[str] = (
        "The errors of the data are not used and the denoised mean stands for the field: the strength sets the spread, "
        "so that data are followed too closely or too loosely, and draws are mostly too narrow."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Chung, Kim, McCann, Klasky & Ye (2023), Diffusion posterior sampling for general noisy inverse problems, "
        "ICLR.",
    )

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws={self.draws}: at least 1.")
        require(self.strength > 0, f"strength={self.strength}: above 0.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, or errors that are not independent Gaussian ones.
        """
        asked, rng = question(target, "DPS", context.rng), context.rng
        sigmas = self.levels.of(asked.scale)
        x = asked.start(self.draws, sigmas[0], rng.child("start"))
        data = asked.data_of(x)
        for k, now, then in descent(sigmas, context):

            def misfit(point: Tensor, at: slice, now: Tensor = now) -> tuple[Tensor, Tensor]:
                x0 = asked.denoise(point, now)
                return x0, (data[at] - asked.predict(x0)).square().sum(-1).clamp_min(1e-300).sqrt()

            x0, slope = with_slope(misfit, x)
            a, b = now / asked.scale, then / asked.scale
            size = self.strength * asked.scale * ((1 + a.square()) * (1 + b.square())).sqrt()
            x = ancestral(x, x0, now, then, rng.child("step", k)) - size * slope
        return asked.rows_as_draws(x)

    @staticmethod
    def example() -> tuple[DPS, Inverse]:
        """Two regimes of four cells."""
        return DPS(64, Levels(30)), regimes()
