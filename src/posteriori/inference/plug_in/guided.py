"""Draws that go from noise to field with the data in view of a Gaussian reference; independent, without weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from posteriori.core.draws import Draws
from posteriori.core.prior import GaussianLaw
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.plug_in.question import Levels, descent, linear_question, question, require
from posteriori.inference.plug_in.reference import reference_of, seen_near
from posteriori.inference.plug_in.small_question import regimes
from posteriori.inference.plug_in.twisted import Twisted, Walk


@dataclass(frozen=True)
class Guided:
    """:class:`~posteriori.inference.plug_in.twisted.Twisted` without weights: each row goes its own way.

    Exact for a Gaussian prior and its own covariance as the reference, whatever the number of steps. One evaluation of
    the denoiser a step, none of its derivative.

    Args:
        draws: rows of each problem.
        levels: of the way.
        reference: a Gaussian law of the field; without, the prior itself where it is Gaussian, else the localised
            covariance of its draws.
    """

    draws: int = 64
    levels: Levels = field(default_factory=Levels)
    reference: GaussianLaw | None = None

    bias: ClassVar[str] = (
        "Exact for Gaussian priors alone: elsewhere the data weigh regimes by the reference's likelihood of their "
        "denoised mean, so their shares and the tails are off, and more steps do not mend it."
    )

    references: ClassVar[tuple[str, ...]] = Twisted.references

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws={self.draws}: at least 1.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows, (draw, *problem, *space.shape).

        Raises:
            UnanswerableError: a prior that cannot denoise, or errors that are not independent Gaussian ones.
        """
        rng = context.rng
        linear = isinstance(target, Inverse) and target.operator.linear
        asked = (linear_question if linear else question)(target, "Guided", rng)
        sigmas = self.levels.of(asked.scale)
        with torch.no_grad():
            reference = reference_of(asked, self.reference, rng)
            walk = Walk(asked, reference)
            x, _, _ = walk.begin(self.draws, sigmas[0], rng.child("begin"))
            for k, now, then in descent(sigmas, context):
                x0 = asked.denoise(x, now)
                seen = seen_near(asked, reference, x0)
                x, _ = walk.step(x, x0, seen, now, then, rng.child("step", k))
        return asked.rows_as_draws(x)

    @staticmethod
    def example() -> tuple[Guided, Inverse]:
        """Two regimes of four cells."""
        return Guided(64, Levels(12)), regimes()
