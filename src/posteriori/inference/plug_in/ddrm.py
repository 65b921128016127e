"""Denoising diffusion restoration: each singular direction of the operator follows its datum or the denoiser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.plug_in.question import Levels, descent, linear_question, require
from posteriori.inference.plug_in.small_question import regimes

TINY = 1e-10
"""Singular values below this share of the largest see nothing."""


@dataclass(frozen=True)
class DDRM:
    """In the singular directions of R^(-½) J: a seen one steps towards its datum, an unseen one as the denoiser says.

    A direction whose datum has the error s is drawn around (1 - η_b) x̂₀ + η_b datum with variance σ² - η_b² s² once
    σ ≥ s, and below that around x̂₀ + √(1 - η²) σ (datum - x̂₀)/s with variance η²σ².

    Args:
        draws: rows of each problem.
        levels: of the way.
        eta: η, share of fresh noise.
        eta_data: η_b, weight of the data while noise is larger than their errors.

    Reference: Kawar, Elad, Ermon & Song (2022), Denoising diffusion restoration models, NeurIPS, eqs. 7 and 8.
    """

    draws: int = 64
    levels: Levels = field(default_factory=Levels)
    eta: float = 0.85
    eta_data: float = 1.0

    bias: ClassVar[str] = (
        "Data are replaced, not weighed: what they say of other directions comes through the denoiser alone, so that "
        "unseen cells are drawn too wide and seen ones with the spread of the last levels."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Kawar, Elad, Ermon & Song (2022), Denoising diffusion restoration models, NeurIPS.",
    )

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws={self.draws}: at least 1.")
        require(0 <= self.eta <= 1 and 0 <= self.eta_data <= 1, f"eta={self.eta}, eta_data={self.eta_data}: in [0, 1].")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, an operator that is not linear, or other errors.
        """
        asked, rng = linear_question(target, "DDRM", context.rng), context.rng
        sigmas = self.levels.of(asked.scale)
        with torch.no_grad():
            weight = asked.variance.rsqrt()
            left, s, right = torch.linalg.svd(weight[:, None] * asked.rows, full_matrices=True)
            seen = s > TINY * s[0]
            datum = torch.zeros(*asked.data.shape[:-1], len(right), dtype=torch.float64)
            error = torch.full((len(right),), torch.inf, dtype=torch.float64)
            rank = int(seen.sum())
            datum[..., :rank] = ((weight * asked.data) @ left)[..., :rank] / s[:rank]
            error[:rank] = 1 / s[:rank]
            first = (sigmas[0].square() - error.square()).clamp_min(0.0).sqrt()
            mean = torch.where(error < sigmas[0], datum, (asked.mean @ right.mT).expand(datum.shape))
            noise = rng.child("start").normal((self.draws, *datum.shape), datum)
            x = mean + torch.where(error < sigmas[0], first, sigmas[0]) * noise
            for k, now, then in descent(sigmas, context):
                x0 = asked.denoise(x @ right, now) @ right.mT
                fresh = rng.child("step", k).normal(x.shape, x)
                x = self._step(x, x0, datum, error, (now, then), fresh)
        return asked.rows_as_draws(x @ right)

    def _step(
        self, x: Tensor, x0: Tensor, datum: Tensor, error: Tensor, levels: tuple[Tensor, Tensor], fresh: Tensor
    ) -> Tensor:
        now, then = levels
        kept = (1 - self.eta**2) ** 0.5
        close = error <= then
        mean = torch.where(
            close, (1 - self.eta_data) * x0 + self.eta_data * datum, x0 + kept * then * (datum - x0) / error
        )
        mean = torch.where(torch.isinf(error), x0 + kept * then * (x - x0) / now, mean)
        spread = (then.square() - self.eta_data**2 * error.square()).clamp_min(0.0).sqrt()
        return mean + torch.where(close, spread, self.eta * then) * fresh

    @staticmethod
    def example() -> tuple[DDRM, Inverse]:
        """Two regimes of four cells."""
        return DDRM(64, Levels(12)), regimes()
