"""Plain sampling of a rare event: the baseline, and all that can be done with draws alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.prior import Samples
from posteriori.core.run import Context
from posteriori.core.target import Conditioned, Target
from posteriori.core.weights import log_mean_exp
from posteriori.inference.codes import heights, require_event
from posteriori.inference.subset_simulation import tail


@dataclass(frozen=True)
class PlainSampling:
    """Draws of the prior, those outside the event with weight zero; unbiased, at a cost of 1 / p for each row inside.

    Args:
        draws: rows.

    Reference: Metropolis & Ulam (1949), The Monte Carlo method, J. Am. Stat. Assoc. 44, 335.
    """

    draws: int = 10_000

    references: ClassVar[tuple[str, ...]] = (
        "Metropolis & Ulam (1949), The Monte Carlo method, J. Am. Stat. Assoc. 44, 335.",
    )

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise OptionError(f"draws={self.draws}: at least 2.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """All rows with their weights, one or zero, and log P.

        Raises:
            UnanswerableError: no rare event, a prior that cannot be drawn from, or no row in the event.
        """
        event = require_event(target, "PlainSampling")
        if not isinstance(event.prior, Samples):
            raise UnanswerableError(f"{type(event.prior).__name__} cannot be drawn from.")
        x = event.prior.sample(self.draws, context.rng.child("prior"))
        height = heights(event, x)
        inside = height > event.level
        if not bool(inside.any()):
            raise UnanswerableError(
                f"none of {self.draws:,} draws is in the event: P < {3 / self.draws:.1e} with 95 % confidence; use "
                "SubsetSimulation or CrossEntropy."
            )
        log_weights = torch.where(inside, 0.0, -torch.inf).double()
        evidence, error = log_mean_exp(log_weights)
        found = Draws(event.space, x, log_weights, log_evidence=evidence, stats={"height": height})
        found.log_evidence_error = error
        return found

    @staticmethod
    def example() -> tuple[PlainSampling, Conditioned]:
        """A sum of correlated normal numbers above one standard deviation."""
        return PlainSampling(4000), tail(4, 1.0)
