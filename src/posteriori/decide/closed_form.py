"""Exact gains of Gaussian laws: each observation taken is one downdate."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.covariance import Covariance, cholesky
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise
from posteriori.core.operator import Operator, Selection
from posteriori.decide.downdated import Downdated
from posteriori.decide.goals import Goal, TotalVariance
from posteriori.inference.exact import noise_matrix


def closed_form(
    posterior: Gaussian, candidates: Operator, noise: Noise, goal: Goal
) -> FallingVariance | GrowingInformation:
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
        return FallingVariance(s, between(covariance, goal.operator, candidates))
    if goal.operator is None:
        return GrowingInformation(s, errors)
    root = cholesky(covariance.under(goal.operator))
    shared = between(covariance, goal.operator, candidates)
    white = torch.linalg.solve_triangular(root, shared, upper=False)
    return GrowingInformation(s, s - white.mT @ white)


def between(covariance: Covariance, goal: Operator | None, candidates: Operator) -> Tensor:
    """Covariance (g, c) of the goal, all cells without one, with the candidates' noise-free values."""
    if isinstance(goal, Selection) and isinstance(candidates, Selection):
        return covariance.block(goal.index, candidates.index)
    across = covariance.across(candidates)
    if goal is None:
        return across.mT
    return goal.codomain.flat(goal.matmul(goal.domain.unflat(across))).mT


class FallingVariance:
    """Σ_g G_gi² / S_ii of every i; the sums of squares are carried along, so that G is never rewritten."""

    def __init__(self, s: Tensor, shared: Tensor) -> None:
        self.s, self.shared = Downdated(s), shared
        self.squares = shared.square().sum(0)
        self.steps = torch.empty(0, len(shared), dtype=shared.dtype)

    def gains(self) -> tuple[Tensor, Tensor]:
        gain = (self.squares / self.s.variance.clamp_min(1e-300)).double()
        return gain, torch.zeros_like(gain)

    def gain_together(self, cells: Tensor) -> Tensor:
        """What observing ``cells`` together takes off: tr(S⁻¹ GᵀG) of their block."""
        left = self.shared[:, cells] - self.steps.mT @ self.s.columns[:, cells]
        white = torch.linalg.solve_triangular(cholesky(self.s.block(cells)), left.mT, upper=False)
        return white.square().sum()

    def take(self, index: int) -> None:
        self.take_together(torch.tensor([index]))

    def take_together(self, cells: Tensor) -> None:
        """Count ``cells`` as observed."""
        before = self.steps.mT @ self.s.columns[:, cells]
        earlier = self.s.columns
        columns, factor = self.s.take(cells)
        g = torch.linalg.solve_triangular(factor, (self.shared[:, cells] - before).mT, upper=False)
        product = g @ self.shared - (g @ self.steps.mT) @ earlier
        grown = (columns * ((g @ g.mT) @ columns - 2 * product)).sum(0)
        self.steps = torch.cat([self.steps, g])
        self.squares = (self.squares + grown).clamp_min(0.0)


class GrowingInformation:
    """½ log(Var(y_i) / Var(y_i | goal)) of every i."""

    def __init__(self, s: Tensor, given_goal: Tensor) -> None:
        self.s, self.given_goal = Downdated(s), Downdated(given_goal)

    def gains(self) -> tuple[Tensor, Tensor]:
        known = self.given_goal.variance.clamp_min(1e-14 * self.s.first)
        gain = 0.5 * (self.s.variance.clamp_min(1e-300) / known).log().clamp_min(0.0).double()
        return gain, torch.zeros_like(gain)

    def gain_together(self, cells: Tensor) -> Tensor:
        """What ``cells`` observed together tell: ½ log |S| - ½ log |S given the goal| of their block."""
        now, then = (cholesky(d.block(cells)).diagonal().log().sum() for d in (self.s, self.given_goal))
        return (now - then).clamp_min(0.0)

    def take(self, index: int) -> None:
        self.take_together(torch.tensor([index]))

    def take_together(self, cells: Tensor) -> None:
        """Count ``cells`` as observed."""
        self.s.take(cells)
        self.given_goal.take(cells)
