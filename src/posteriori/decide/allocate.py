"""What to spend a budget on: the items of largest expected benefit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.posterior import DRAWS, Posterior
from posteriori.core.random import Rng


@dataclass(frozen=True)
class Allocation:
    """What to buy.

    Attributes:
        benefit: expected benefit of each item, float64 (items,).
        standard_error: its Monte-Carlo error.
        bought: booleans (items,).
        spent: what they cost.
        total, total_error: their expected benefit together, and its Monte-Carlo error over the same draws.
    """

    benefit: Tensor
    standard_error: Tensor
    bought: Tensor
    spent: float
    total: float
    total_error: float


def allocate(
    posterior: Posterior,
    benefit: Callable[[Tensor], Tensor],
    cost: Tensor,
    budget: float,
    *,
    draws: int = DRAWS,
    rng: Rng | None = None,
) -> Allocation:
    """The set of items within ``budget`` whose expected benefits add up to the most; exact (0-1 knapsack).

    Args:
        posterior: what is believed, of one problem.
        benefit: draws (n, *space.shape) → benefit of each item (n, items); benefits of several items add up.
        cost: (items,), >= 0.
        budget: > 0.
        draws: rows to take from a law that has none of its own.

    Raises:
        ShapeError: benefits and costs of other numbers of items.
        OptionError: a negative cost or a budget that is not positive.
    """
    if not budget > 0 or not bool((torch.isfinite(cost) & (cost >= 0)).all()):
        raise OptionError(f"costs must be finite and >= 0 and the budget {budget} positive.")
    x, weights = posterior.rows(draws, rng or Rng(0).child("allocate"))
    values = benefit(x).double()
    if values.shape != (len(x), len(cost)):
        raise ShapeError(
            f"benefits {tuple(values.shape)} are not one for each of {len(x)} draws and {len(cost)} items."
        )
    w = weights.reshape(-1, 1).to(values)
    mean = (w * values).sum(0)
    error = (w.square() * (values - mean).square()).sum(0).sqrt()
    bought = _knapsack(mean.numpy(), cost.double().numpy(), budget)
    together = values[:, bought].sum(-1)
    total = float(w[:, 0] @ together)
    total_error = float((w[:, 0].square() * (together - total).square()).sum().sqrt())
    return Allocation(mean, error, bought, float(cost[bought].sum()), total, total_error)


def _knapsack(benefit: np.ndarray, cost: np.ndarray, budget: float) -> Tensor:
    found = milp(
        -benefit,
        integrality=np.ones(len(benefit)),
        bounds=Bounds(0, (benefit > 0).astype(float)),
        constraints=LinearConstraint(cost[None], ub=budget),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise DataError(f"the budget could not be allocated: {found.message}")
    return torch.from_numpy(found.x > 0.5)
