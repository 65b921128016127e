"""Which forecasts cannot be told from the best by their scores on stretches left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from posteriori.audit.estimate import average
from posteriori.domains.geography.forecasting import drifts

ERRORS = 2.0
"""Standard errors by which a law must do worse than the best to be told from it."""


@dataclass(frozen=True)
class Standing:
    """How one law did beside the best.

    Args:
        score: its mean.
        behind: its mean less that of the best.
        error: standard error of that difference over blocks of time; zero where there is but one block.
    """

    score: float
    behind: float
    error: float

    @property
    def told(self) -> bool:
        """Whether it is worse by more than the noise."""
        return self.behind > ERRORS * self.error


def standings(scores: Mapping[str, Tensor], blocks: Tensor) -> dict[str, Standing]:
    """Of laws by name from their scores, lower is better, and the block of time of each case, all (case,)."""
    best = min(scores.values(), key=lambda found: float(found.mean()))
    found = {}
    for name, score in scores.items():
        behind = average(score - best, blocks)
        found[name] = Standing(float(score.mean()), behind.value, behind.standard_error or 0.0)
    return found


def alike(standing: Mapping[str, Standing]) -> tuple[str, ...]:
    """The best and all that cannot be told from it, whose average risks less than a choice among them.

    Laws that start from the recent mean are averaged alone, since the others fail once what is usual drifts, where one
    of them is within a standard error of the best; elsewhere they are left out.

    Reference: Hansen, Lunde & Nason (2011), the model confidence set, Econometrica 79, 453 (here by pairs, in one
    step); Clemen (1989), combining forecasts, Int. J. Forecasting 5, 559, for plain averages.
    """
    drifting = any(law.behind <= law.error for name, law in standing.items() if drifts(name))
    return tuple(name for name, law in standing.items() if not law.told and drifts(name) is drifting)
