"""What to observe next: candidates ranked by what each is expected to do for a goal, per unit of cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
import xarray as xr
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import Operator
from posteriori.core.posterior import DRAWS, Posterior
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.decide.closed_form import closed_form
from posteriori.decide.goals import Goal, Information
from posteriori.decide.groups import Groups, closed_form_of_groups
from posteriori.decide.nested import nested
from posteriori.decide.rule import Rule


@dataclass(frozen=True)
class Ranking:
    """Candidates by expected gain for one goal.

    Attributes:
        candidates: what can be observed, c cells.
        gain: of each candidate observed alone, float64 (c,), in nat or in the squared unit of the goal.
        standard_error: of ``gain``, (c,); zero where it is exact.
        cost: of each candidate, (c,).
        chosen: the greedy sequence, positions (k,); the first has the largest gain per cost.
        added: what each member of the sequence adds to those before it, (k,).
        added_error: its standard error, (k,).
    """

    candidates: Space
    gain: Tensor
    standard_error: Tensor
    cost: Tensor
    chosen: Tensor
    added: Tensor
    added_error: Tensor

    @property
    def order(self) -> Tensor:
        """All candidates by falling gain per cost, each taken alone; positions (c,)."""
        return torch.argsort(self.gain / self.cost, descending=True, stable=True)

    def table(self) -> xr.Dataset:
        """Gain, its standard error and cost of every candidate, labelled."""
        columns = {"gain": self.gain, "standard_error": self.standard_error, "cost": self.cost}
        arrays = {name: self.candidates.label(self.candidates.unflat(c)) for name, c in columns.items()}
        return xr.Dataset({name: array.drop_attrs().rename(name) for name, array in arrays.items()})


def next_observation(
    posterior: Posterior,
    candidates: Operator,
    noise: Noise | Tensor | float,
    goal: Goal | None = None,
    *,
    by: str | None = None,
    count: int = 1,
    cost: Tensor | None = None,
    budget: float = inf,
    draws: int = DRAWS,
    rng: Rng | None = None,
) -> Ranking:
    """Which of the candidates to observe next, and which ``count`` to observe in turn.

    Closed form where the posterior is Gaussian and both operators are linear: the sequence is then known before any
    datum is. A nonlinear operator is made linear by :class:`posteriori.decide.linearised.Linearised`. From the
    posterior's own rows otherwise (see :func:`posteriori.decide.nested.nested`), with errors.
    Greedy sequences for the information about x itself reach at least 1 - 1/e of the best set's.

    Args:
        posterior: what is believed now, of one problem.
        candidates: each cell of its codomain is one possible observation, which can be made once.
        noise: of the candidates; a number or tensor is a **standard deviation**.
        goal: what to serve; information about x without.
        by: a dim of the candidates whose labels are the choices instead: all data of a label are taken together, as
            those of one shot are.
        count: length of the greedy sequence.
        cost: of each candidate, (c,), > 0; one each without.
        budget: what the sequence may cost together; a candidate that no longer fits is passed over.
        draws: rows to take where the closed form does not hold.

    Raises:
        UnanswerableError: several problems at once, or no estimate exists for this goal; the message says which.
        OptionError: count, cost or budget out of range.

    Reference: Nemhauser, Wolsey & Fisher (1978), An analysis of approximations for maximizing submodular set
    functions, Math. Programming 14, 265; Krause, Singh & Guestrin (2008), Near-optimal sensor placements in Gaussian
    processes, JMLR 9, 235.
    """
    if posterior.problems:
        raise UnanswerableError(f"the posterior has the problems {list(posterior.problems)}; ask for one at a time.")
    if not posterior.space.same(candidates.domain):
        raise ShapeError(f"the posterior speaks of {posterior.space}, the candidates look at {candidates.domain}.")
    groups = None if by is None else Groups.along(candidates.codomain, by)
    choices = candidates.codomain if groups is None else groups.space
    cost = _cost(cost, choices.size)
    if count < 1 or not budget > 0:
        raise OptionError(f"a sequence of {count} within a budget of {budget} is empty; give both above zero.")
    goal = goal or Information()
    noise = noise if isinstance(noise, Noise) else Normal(noise)
    linear = candidates.linear and (goal.operator is None or goal.operator.linear)
    with torch.no_grad():
        if isinstance(posterior, Gaussian) and linear and groups is None:
            rule: Rule = closed_form(posterior, candidates, noise, goal)
        elif isinstance(posterior, Gaussian) and linear and groups is not None:
            rule = closed_form_of_groups(posterior, candidates, noise, goal, groups)
        else:
            rng = rng or Rng(0).child("next observation")
            rule = nested(posterior, candidates, noise, goal, draws, rng, None if groups is None else groups.cells)
        return _greedy(rule, choices, cost, count, budget)


def _greedy(rule: Rule, candidates: Space, cost: Tensor, count: int, budget: float) -> Ranking:
    first = gain, error = rule.gains()
    left, spent = torch.ones(len(gain), dtype=torch.bool), 0.0
    chosen: list[int] = []
    added: list[tuple[Tensor, Tensor]] = []
    while len(chosen) < count:
        open_ = left & (spent + cost <= budget)
        if not bool(open_.any()):
            break
        best = int(torch.where(open_, gain / cost, -inf).argmax())
        chosen.append(best)
        added.append((gain[best], error[best]))
        left[best] = False
        spent += float(cost[best])
        if len(chosen) < count:
            rule.take(best)
            gain, error = rule.gains()
    steps = torch.tensor([[float(g), float(e)] for g, e in added], dtype=torch.float64).reshape(-1, 2)
    return Ranking(candidates, *first, cost, torch.tensor(chosen, dtype=torch.int64), steps[:, 0], steps[:, 1])


def _cost(cost: Tensor | None, n: int) -> Tensor:
    if cost is None:
        return torch.ones(n, dtype=torch.float64)
    if cost.shape != (n,):
        raise ShapeError(f"{tuple(cost.shape)} costs do not fit {n} candidates; give one each.")
    if not bool((torch.isfinite(cost) & (cost > 0)).all()):
        raise OptionError("a cost is not positive and finite; leave out what cannot be bought.")
    return cost.double()
