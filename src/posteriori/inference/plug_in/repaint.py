"""RePaint: observed cells are overwritten by noised data at each level, and the rest is drawn again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from posteriori.core.draws import Draws
from posteriori.core.errors import UnanswerableError
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.plug_in.ancestral import ancestral
from posteriori.inference.plug_in.question import Levels, descent, linear_question, require
from posteriori.inference.plug_in.small_question import regimes


@dataclass(frozen=True)
class RePaint:
    """Ancestral steps with observed cells overwritten by data + noise of the level; each step ``repeats`` times, with
    noise put back in between so that the rest can agree with the data. Each row overwrites with a copy of the data of
    its own, perturbed by their errors. Masks (selections of cells) alone.

    Args:
        draws: rows of each problem.
        levels: of the way.
        repeats: of each step; one is plain replacement.

    Reference: Lugmayr, Danelljan, Romero, Yu, Timofte & Van Gool (2022), RePaint: inpainting using denoising diffusion
    probabilistic models, CVPR.
    """

    draws: int = 64
    levels: Levels = field(default_factory=Levels)
    repeats: int = 5

    bias: ClassVar[str] = (
        "Data are overwritten, not weighed: few repeats leave the unseen cells too free of them, and seen cells keep "
        "the data's errors instead of smoothing them."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Lugmayr, Danelljan, Romero, Yu, Timofte & Van Gool (2022), RePaint: inpainting using denoising diffusion "
        "probabilistic models, CVPR.",
    )

    def __post_init__(self) -> None:
        require(self.draws >= 1 and self.repeats >= 1, f"draws={self.draws}, repeats={self.repeats}: at least 1.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, an operator that is no selection of cells, or other errors.
        """
        asked, rng = linear_question(target, "RePaint", context.rng), context.rng
        operator = asked.target.operator
        if not isinstance(operator, Selection):
            raise UnanswerableError(f"RePaint overwrites observed cells; {operator} selects none: use Guided.")
        sigmas = self.levels.of(asked.scale)
        x = asked.start(self.draws, sigmas[0], rng.child("start"))
        error = asked.variance.sqrt() * rng.child("error").normal((*x.shape[:-1], len(asked.variance)), x)
        data = asked.data + error
        with torch.no_grad():
            for k, now, then in descent(sigmas, context):
                for again in range(self.repeats if float(then) > 0 else 1):
                    own = rng.child("step", k, again)
                    if again:
                        x = x + (now.square() - then.square()).sqrt() * own.child("back").normal(x.shape, x)
                    x = ancestral(x, asked.denoise(x, now), now, then, own)
                    x[..., operator.index] = data + then * own.child("data").normal(data.shape, x)
        return asked.rows_as_draws(x)

    @staticmethod
    def example() -> tuple[RePaint, Inverse]:
        """Two of four cells that follow one of two regimes."""
        prior = regimes().prior
        operator = Selection.along(prior.space, "x", [0, 2])
        return RePaint(64, Levels(12), 2), Inverse(operator, prior, torch.tensor([1.2, 0.6]).double(), 0.3)
