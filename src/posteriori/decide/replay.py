"""What a sequence of observations would have done: conditioning again and again on data that are known by now."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.errors import ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise
from posteriori.core.operator import Selection
from posteriori.decide.closed_form import between
from posteriori.inference.exact import noise_matrix


def replay(
    law: Gaussian, candidates: Selection, data: Tensor, noise: Noise, orders: Tensor, truth: Tensor | None = None
) -> Tensor:
    """Root mean square error of the mean over all cells after 0, 1, … k observations, (orders, k + 1).

    One Cholesky factor of the reordered S gives every step of an order: with S = L Lᵀ, w = L⁻¹ (d - μ) and
    A = L⁻¹ J Σ, the mean after k steps is μ + Σ_{i ≤ k} A_i w_i.

    Args:
        law: what was believed before.
        candidates: the cells that were observed.
        data, noise: what was observed, (c,), and its law.
        orders: sequences of candidates, each once, int64 (orders, k).
        truth: of every cell, (n,); cells that are NaN do not count. The data without, where every cell is a candidate.

    Raises:
        ShapeError: no truth, and cells that are no candidates.
    """
    if truth is None:
        if candidates.codomain.size != law.space.size:
            raise ShapeError(f"{candidates.codomain.size} candidates of {law.space.size} cells leave truths unknown.")
        truth = torch.empty_like(law.location).index_copy(0, candidates.index, data)
    counts = torch.isfinite(truth).nonzero()[:, 0]
    with torch.no_grad():
        within = law.covariance.under(candidates)
        s = within + noise_matrix(noise, len(within)).to(within)
        shared = between(law.covariance, Selection.where(law.space, torch.isfinite(truth)), candidates)
        residual = data - candidates(law.location)
        error = truth[counts] - law.location[counts]
        curves = []
        for order in orders:
            factor = cholesky(s[order[:, None], order])
            both = torch.cat([shared[:, order].mT, residual[order, None]], dim=1)
            white = torch.linalg.solve_triangular(factor, both, upper=False)
            moved = (white[:, :-1] * white[:, -1:]).cumsum(0)
            left = torch.cat([error[None], error - moved])
            curves.append(left.square().mean(-1).sqrt())
    return torch.stack(curves)


def needed(curves: Tensor, level: float) -> Tensor:
    """How many observations bring an error (orders, k + 1) to ``level`` for the first time; k + 1 where none does."""
    reached = curves <= level
    first = reached.double().argmax(-1)
    return torch.where(reached.any(-1), first, curves.shape[-1])
