"""Inflated starts: a decoder's codes drawn wider than they are, with exact weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.core.target import Conditioned, Target
from posteriori.inference.code_mixture import CodeMixture
from posteriori.inference.codes import require_codes
from posteriori.inference.cross_entropy import weighted_rows
from posteriori.inference.subset_simulation import tail


@dataclass(frozen=True)
class InflatedStart:
    """Rows whose codes come from a mixture of standard normal laws inflated by ``scales``, with exact weights.

    It learns nothing and so misses nothing near the origin: it finds parts of an event that a learnt proposal has
    overlooked. Rows are wasted as scale to the power of the number of codes, so that it serves up to about ten. With
    1 among the scales it is defensive: no weight exceeds their number.

    Args:
        scales: standard deviations of the codes, each for an equal share of the rows.
        draws: rows.

    Reference: Bucher (2009), Asymptotic sampling for high-dimensional reliability analysis, Probabilistic Engineering
    Mechanics 24, 504; Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions,
    Technometrics 37, 185.
    """

    scales: tuple[float, ...] = (1.0, 2.0, 3.0)
    draws: int = 20_000

    references: ClassVar[tuple[str, ...]] = (
        "Bucher (2009), Asymptotic sampling for high-dimensional reliability analysis, Probabilistic Engineering "
        "Mechanics 24, 504.",
        "Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions, Technometrics "
        "37, 185.",
    )

    def __post_init__(self) -> None:
        if self.draws < 10 or not self.scales or not all(0 < s < float("inf") for s in self.scales):
            raise OptionError(f"{self}: draws from 10, and at least one scale, all positive.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """All rows with their weights, and log P.

        Raises:
            UnanswerableError: no rare event, a prior without codes, or no row in the event.
        """
        event, codes = require_codes(target, "InflatedStart")
        proposal = CodeMixture.inflated(codes.size, torch.tensor(self.scales, dtype=torch.float64))
        return weighted_rows(event, codes, proposal, self.draws, 0, context.rng.child("rows"))

    @staticmethod
    def example() -> tuple[InflatedStart, Conditioned]:
        """A sum of correlated normal numbers beyond three of its standard deviations."""
        return InflatedStart(draws=8000), tail(4, 3.0)
