"""The action of least expected loss, with how sure that choice is; alarms and abstention among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.posterior import DRAWS, Posterior
from posteriori.core.random import Rng

Loss = Callable[[Tensor, Any], Tensor]
"""(draws x (n, *space.shape), an action) → losses (n, *case)."""
ABSTAIN = -1


@dataclass(frozen=True)
class Decision:
    """What to do in each case, the axes that the loss leaves behind the draws.

    Attributes:
        actions: what was on offer, a of them.
        expected: loss of each action, float64 (a, *case).
        standard_error: its Monte-Carlo error.
        best: position of the action of least expected loss, int64 (*case); ``ABSTAIN`` where deciding costs more.
        lead: by how much the best, or abstaining, is ahead of the next, (*case).
        lead_error: Monte-Carlo error of ``lead``, over the same draws.
    """

    actions: tuple[Any, ...]
    expected: Tensor
    standard_error: Tensor
    best: Tensor
    lead: Tensor
    lead_error: Tensor

    @property
    def action(self) -> Any:
        """The action of a single case; None means abstain."""
        if self.best.ndim:
            raise ShapeError(f"there are {tuple(self.best.shape)} cases; read the positions in best.")
        return None if int(self.best) == ABSTAIN else self.actions[int(self.best)]

    def sure(self, errors: float = 3.0) -> Tensor:
        """Where the lead is more than ``errors`` of its Monte-Carlo errors, (*case); take more draws elsewhere."""
        return self.lead > errors * self.lead_error


def act(
    posterior: Posterior,
    loss: Loss,
    actions: Sequence[Any],
    *,
    abstention: float | None = None,
    draws: int = DRAWS,
    rng: Rng | None = None,
) -> Decision:
    """The action whose expected loss is least.

    Args:
        posterior: what is believed; its rows carry their weights.
        loss: of draws (n, *problem, *space.shape) and one action, (n, *case).
        actions: what can be done.
        abstention: what it costs not to decide (to ask an expert, to wait); never done without.
        draws: rows to take from a law that has none of its own.

    Raises:
        OptionError: no action, or only one and no abstention.
        ShapeError: a loss that does not begin with the draws.

    Reference: Berger (1985), Statistical Decision Theory and Bayesian Analysis, Springer, section 4.4.
    """
    if len(actions) + (abstention is not None) < 2:
        raise OptionError("a decision needs two actions, or one and the cost of abstaining.")
    x, weights = posterior.rows(draws, rng or Rng(0).child("act"))
    losses = torch.stack([_checked(loss(x, action), len(x), action) for action in actions])
    if abstention is not None:
        losses = torch.cat([losses, torch.full_like(losses[:1], abstention)])
    w = weights.reshape(*weights.shape, *(1,) * (losses.ndim - 1 - weights.ndim)).to(losses)
    expected, error = _mean(losses, w)
    first, second = expected.topk(2, dim=0, largest=False).indices
    ahead = losses.gather(0, _at(second, losses))[0] - losses.gather(0, _at(first, losses))[0]
    lead, lead_error = _mean(ahead[None], w)
    n = len(actions)
    best = torch.where(first == n, ABSTAIN, first)
    return Decision(tuple(actions), expected[:n], error[:n], best, lead[0], lead_error[0])


@dataclass(frozen=True)
class CostLoss:
    """The two-action loss of an alarm: acting costs ``cost``; an event met without acting costs ``loss``.

    The actions are True (act) and False. What is spent on acting saves ``effect`` of the loss.

    Args:
        event: draws (n, …) → booleans (n, *case).
        cost, loss: > 0, in one unit.
        effect: share of the loss that acting prevents, in (0, 1].

    Reference: Murphy (1977), The value of climatological, categorical and probabilistic forecasts in the cost-loss
    ratio situation, Mon. Weather Rev. 105, 803.
    """

    event: Callable[[Tensor], Tensor]
    cost: float
    loss: float
    effect: float = 1.0

    def __post_init__(self) -> None:
        if not (self.cost > 0 and self.loss > 0 and 0 < self.effect <= 1):
            raise OptionError(
                f"cost {self.cost} and loss {self.loss} must be positive and effect {self.effect} in (0, 1]."
            )

    @property
    def threshold(self) -> float:
        """The probability of the event above which acting pays: C / (effect · L); above one it never does."""
        return self.cost / (self.effect * self.loss)

    def __call__(self, x: Tensor, acts: bool) -> Tensor:
        happened = self.event(x).double() * self.loss
        return self.cost + (1 - self.effect) * happened if acts else happened


def _checked(losses: Tensor, n: int, action: Any) -> Tensor:
    if losses.ndim == 0 or len(losses) != n:
        raise ShapeError(f"the loss of action {action!r} is {tuple(losses.shape)}; it needs one number for each draw.")
    return losses.double()


def _mean(values: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean of (a, draws, *case) over the draws, and its standard error."""
    mean = (w * values).sum(1)
    return mean, (w.square() * (values - mean[:, None]).square()).sum(1).sqrt()


def _at(position: Tensor, losses: Tensor) -> Tensor:
    """``position`` (*case) as an index into (a, draws, *case)."""
    return position[None, None].expand(1, *losses.shape[1:])
