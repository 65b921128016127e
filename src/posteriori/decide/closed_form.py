"""Exact gains of Gaussian laws: each observation taken is one rank-one downdate."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.covariance import Covariance, cholesky
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise
from posteriori.core.operator import Operator, Selection
from posteriori.decide.goals import Goal, TotalVariance
from posteriori.decide.rule import Rule
from posteriori.inference.exact import noise_matrix


def closed_form(posterior: Gaussian, candidates: Operator, noise: Noise, goal: Goal) -> Rule:
    """The rule for observations y = J x + e of a Gaussian x.

    With S = J Σ Jᵀ + R and G the covariance of the goal with y, observing y_i takes Σ_g G_gi² / S_ii off the goal's
    total variance, and tells ½ log(S_ii / Var(y_i | goal)) about it. Afterwards S loses S_·i S_i· / S_ii, and so on:
    a step costs one product with G, and the c² entries of S are read, not written.
    """
    covariance = posterior.covariance
    within = covariance.under(candidates)
    errors = noise_matrix(noise, len(within)).to(within)
    s = within + errors
    if isinstance(goal, TotalVariance):
        return _FallingVariance(s, between(covariance, goal.operator, candidates))
    if goal.operator is None:
        return _GrowingInformation(s, errors)
    root = cholesky(covariance.under(goal.operator))
    shared = between(covariance, goal.operator, candidates)
    white = torch.linalg.solve_triangular(root, shared, upper=False)
    return _GrowingInformation(s, s - white.mT @ white)


def between(covariance: Covariance, goal: Operator | None, candidates: Operator) -> Tensor:
    """Covariance (g, c) of the goal, all cells without one, with the candidates' noise-free values."""
    if isinstance(goal, Selection) and isinstance(candidates, Selection):
        return covariance.block(goal.index, candidates.index)
    across = covariance.across(candidates)
    if goal is None:
        return across.mT
    return goal.codomain.flat(goal.matmul(goal.domain.unflat(across))).mT


class _Downdated:
    """A covariance (c, c) of which observed rows are conditioned on, by the columns of its pivoted Cholesky factor."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.first = matrix.diagonal().clone()
        self.variance = self.first.clone()
        self.columns = torch.empty(0, len(matrix), dtype=matrix.dtype)

    def take(self, i: int) -> Tensor:
        """The column that observing i adds, (c,).

        Raises:
            DataError: nothing is left to observe at i.
        """
        if not float(self.variance[i]) > 1e-14 * float(self.first[i]):
            raise DataError(f"candidate {i} is known exactly by now; give its observation a noise, or fewer in turn.")
        column = (self.matrix[i] - self.columns[:, i] @ self.columns) / self.variance[i].sqrt()
        self.columns = torch.cat([self.columns, column[None]])
        self.variance = (self.variance - column.square()).clamp_min(0.0)
        return column


class _FallingVariance:
    """Σ_g G_gi² / S_ii of every i; the sums of squares are carried along, so that G is never rewritten."""

    def __init__(self, s: Tensor, shared: Tensor) -> None:
        self.s, self.shared = _Downdated(s), shared
        self.squares = shared.square().sum(0)
        self.steps = torch.empty(0, len(shared), dtype=shared.dtype)

    def gains(self) -> tuple[Tensor, Tensor]:
        gain = (self.squares / self.s.variance.clamp_min(1e-300)).double()
        return gain, torch.zeros_like(gain)

    def take(self, index: int) -> None:
        g = (self.shared[:, index] - self.s.columns[:, index] @ self.steps) / self.s.variance[index].sqrt()
        product = g @ self.shared - (self.steps @ g) @ self.s.columns
        column = self.s.take(index)
        self.steps = torch.cat([self.steps, g[None]])
        self.squares = (self.squares - 2 * column * product + column.square() * g.square().sum()).clamp_min(0.0)


class _GrowingInformation:
    """½ log(Var(y_i) / Var(y_i | goal)) of every i."""

    def __init__(self, s: Tensor, given_goal: Tensor) -> None:
        self.s, self.given_goal = _Downdated(s), _Downdated(given_goal)

    def gains(self) -> tuple[Tensor, Tensor]:
        known = self.given_goal.variance.clamp_min(1e-14 * self.s.first)
        gain = 0.5 * (self.s.variance.clamp_min(1e-300) / known).log().clamp_min(0.0).double()
        return gain, torch.zeros_like(gain)

    def take(self, index: int) -> None:
        self.s.take(index)
        self.given_goal.take(index)
