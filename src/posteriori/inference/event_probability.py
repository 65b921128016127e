"""The probability of a rare event as an answer states it: p, interval, effective sample size and k̂ together."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, nan, sqrt

import torch
from scipy.stats import norm, t
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.weights import log_mean_exp

ISLAND = "island"
"""The figure of each row that numbers the independent run it comes from."""
CALLS = "calls"
"""The figure of each row that holds the operator calls of the whole answer, shared out evenly."""


@dataclass(frozen=True)
class EventProbability:
    """What is known of the probability of an event.

    Attributes:
        p: the estimate, the mean of unnormalised weights.
        relative_error: its standard error, in units of p.
        low, high: confidence interval at the level asked for.
        ess: effective sample size of the rows in the event.
        pareto_k: k̂ of their weights; NaN where rows are not weighted by a density ratio.
        calls: of the operator.
    """

    p: float
    relative_error: float
    low: float
    high: float
    ess: float
    pareto_k: float
    calls: int

    def z(self, truth: float) -> float:
        """Distance of the estimate from the ``truth`` in standard errors."""
        return (self.p - truth) / (self.relative_error * self.p)

    def covers(self, truth: float) -> bool:
        """Whether the interval holds the ``truth``."""
        return self.low <= truth <= self.high


def event_probability(answer: Draws, level: float = 0.95) -> EventProbability:
    """p with its interval: by Student's law over islands where there are some, of independent rows otherwise.

    The interval is symmetric in log p, since estimates of a rare probability scatter by factors.

    Raises:
        OptionError: a level outside (0, 1).
        UnanswerableError: draws that do not know the probability of an event.
    """
    if not 0 < level < 1:
        raise OptionError(f"level {level} is outside (0, 1).")
    if answer.log_evidence is None or answer.log_evidence_error is None or answer.log_weights is None:
        raise UnanswerableError("these draws state no log P; ask SubsetSimulation, CrossEntropy or InflatedStart.")
    log_p, error = float(answer.log_evidence), float(answer.log_evidence_error)
    islands = answer.stats.get(ISLAND)
    if islands is None:
        wide, k = float(norm.ppf(0.5 + level / 2)), float(answer.pareto_k())
    else:
        wide, k = float(t.ppf(0.5 + level / 2, int(islands.max()))), nan
    calls = int(answer.stats[CALLS].sum().round()) if CALLS in answer.stats else len(answer.log_weights)
    ess = float(answer.ess())
    return EventProbability(exp(log_p), error, exp(log_p - wide * error), exp(log_p + wide * error), ess, k, calls)


def island_evidence(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """log of the mean probability of independent islands (k,), and its standard error."""
    mean, _ = log_mean_exp(log_p)
    relative = (log_p - mean).exp()
    return mean, relative.std() / sqrt(len(log_p))


def shared_out(calls: int, rows: int) -> Tensor:
    """``calls`` spread over ``rows``, float64 (rows,)."""
    return torch.full((rows,), calls / rows, dtype=torch.float64)
