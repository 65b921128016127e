"""Expected gains from the rows of any posterior: each row plays the truth in turn, the others the belief."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.errors import UnanswerableError
from posteriori.core.noise import Noise
from posteriori.core.operator import Operator
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.decide.goals import Goal, TotalVariance
from posteriori.decide.rule import Rule

FEWEST_ROWS = 5.0
"""Effective rows that must be left, on average, where the rows are reweighted by what was observed."""


def nested(
    posterior: Posterior,
    candidates: Operator,
    noise: Noise,
    goal: Goal,
    draws: int,
    rng: Rng,
    groups: Sequence[Tensor] | None = None,
) -> Rule:
    """The rule that reweights rows: row k gives the observation y_k, all others are the belief before it.

    Each cell of the candidates is one observation; with ``groups`` of cells each group is.

    ``TotalVariance``: the fall of the mean square error of the reweighted mean, goal by goal. The mean over few rows
    errs a little itself, so the gain is on the low side.
    ``Information``: the mean of log p(y_k | x_k) - log of the others' mean p(y_k | x_j), on the high side.
    Both errors fall as 1 / rows. Gains come with the standard error over the rows.

    Raises:
        UnanswerableError: errors of candidates hang together, the information about a function of x is asked for, or
            the rows are too few for what the observations tell.

    Reference: Rainforth, Cornish, Yang, Warrington & Wood (2018), On nesting Monte Carlo estimators, ICML.
    """
    if isinstance(noise, CorrelatedNoise):
        raise UnanswerableError("rows can be reweighted by independent errors only; give the candidates such a noise.")
    if not isinstance(goal, TotalVariance) and goal.operator is not None:
        raise UnanswerableError(
            "the information about a function of x has no estimate from rows; use TotalVariance(operator), "
            "Information() about x itself, or a Gaussian posterior."
        )
    x, weights = posterior.rows(draws, rng.child("rows"))
    memory.require(8 * 8 * len(x) ** 2, f"every pair of {len(x)} rows", "pass fewer draws")
    prediction = candidates.codomain.flat(candidates(x)).double()
    simulated = noise.sample(prediction, rng.child("noise"))
    log_belief = weights.reshape(-1).log().expand(len(x), -1).clone().fill_diagonal_(-inf)
    values = None
    if isinstance(goal, TotalVariance):
        values = (x if goal.operator is None else goal.operator(x)).reshape(len(x), -1).double()
    return _Rows(weights.reshape(-1), log_belief, _Likelihoods(noise, simulated, prediction, groups), values)


class _Likelihoods:
    """log p(y_k of candidate i | row j)."""

    def __init__(
        self, noise: Noise, simulated: Tensor, prediction: Tensor, groups: Sequence[Tensor] | None = None
    ) -> None:
        self.noise, self.simulated, self.prediction = noise, simulated, prediction
        self.groups = torch.arange(prediction.shape[1])[:, None] if groups is None else groups
        self.size = len(self.groups)

    def __call__(self, i: int) -> Tensor:
        """(rows k, rows j)."""
        cells = self.groups[i]
        total = torch.zeros(len(self.simulated), len(self.prediction), dtype=torch.float64)
        for cell in cells.split(1):
            total -= self.noise.part(cell).energy(self.simulated[:, None, cell], self.prediction[None, :, cell])
        return total


class _Rows:
    """Gains about the goal's ``values`` (rows, g) at each row; information about the rows themselves without."""

    def __init__(self, weights: Tensor, log_belief: Tensor, likelihoods: _Likelihoods, values: Tensor | None) -> None:
        self.weights, self.log_belief, self.likelihoods, self.values = weights, log_belief, likelihoods, values

    def gains(self) -> tuple[Tensor, Tensor]:
        of_one = self._told if self.values is None else self._nearer
        gains = torch.stack([of_one(self.likelihoods(i)) for i in range(self.likelihoods.size)])
        mean = gains @ self.weights
        self._require_rows(self.log_belief + self.likelihoods(int(mean.argmax())))
        return mean, (self.weights.square() * (gains - mean[:, None]).square()).sum(-1).sqrt()

    def take(self, index: int) -> None:
        self.log_belief = self.log_belief + self.likelihoods(index)

    def _nearer(self, log_likelihood: Tensor) -> Tensor:
        """How much nearer the goal of each row the mean of the others comes, (rows,)."""
        return self._errors(self.log_belief) - self._errors(self.log_belief + log_likelihood)

    def _errors(self, log_belief: Tensor) -> Tensor:
        assert self.values is not None
        return (torch.softmax(log_belief, -1) @ self.values - self.values).square().sum(-1)

    def _told(self, log_likelihood: Tensor) -> Tensor:
        """log p(y | own row) - log p(y | all other rows), (rows,)."""
        others = torch.log_softmax(self.log_belief, -1) + log_likelihood
        return log_likelihood.diagonal() - torch.logsumexp(others, -1)

    def _require_rows(self, log_belief: Tensor) -> None:
        """Refuse estimates of the largest gain that would rest on too few rows."""
        effective = float(self.weights @ (1 / torch.softmax(log_belief, -1).square().sum(-1)))
        if effective < FEWEST_ROWS:
            raise UnanswerableError(
                f"{len(log_belief)} rows leave {effective:.1f} effective ones after these observations, "
                f"{FEWEST_ROWS:g} at least are needed; give more draws, or ask for fewer observations in turn."
            )
