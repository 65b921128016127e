"""Ways to choose the strength λ of damping from the data alone or from their known noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.inference.filters import Filters, strengths

TRIED = 200
GOLDEN = (sqrt(5.0) - 1) / 2
SECTIONS = 45


class Choice(Protocol):
    """A rule that gives λ > 0 for each problem."""

    def __call__(self, filters: Filters) -> Tensor:
        """λ, (problems,)."""


@dataclass(frozen=True)
class Fixed:
    """λ as it was given; 1 takes prior or penalty as they are."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.strength < float("inf"):
            raise OptionError(f"strength {self.strength} must be positive and finite.")

    def __call__(self, filters: Filters) -> Tensor:
        """The same for every problem."""
        return torch.full_like(filters.outside, self.strength)


@dataclass(frozen=True)
class GeneralisedCrossValidation:
    """The λ that predicts left-out data best: least m ‖d - J m‖² / (m - Σφ)²; knows no noise level.

    Reference: Golub, Heath & Wahba (1979), Technometrics 21, 215.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Golub, Heath & Wahba (1979), Generalized cross-validation as a method for choosing a good ridge parameter, "
        "Technometrics 21, 215.",
    )

    def __call__(self, filters: Filters) -> Tensor:
        """The least of the function, over all strengths that change anything."""
        return least(lambda strength: self.score(filters, strength), filters)

    def score(self, filters: Filters, strength: Tensor) -> Tensor:
        """m ρ / (m - Σφ)², (problems, strengths)."""
        free = (filters.count - filters.degrees(strength)).clamp_min(1e-12 * filters.count)
        return filters.count * filters.misfit(strength) / free.square()


@dataclass(frozen=True)
class LCurve:
    """The corner of log ‖L m‖ against log ‖d - J m‖: where its curvature is largest; knows no noise level.

    It is not consistent: with ever more data it damps too much.

    Reference: Hansen & O'Leary (1993), SIAM J. Sci. Comput. 14, 1487; Vogel (1996), Inverse Problems 12, 535.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Hansen & O'Leary (1993), The use of the L-curve in the regularization of discrete ill-posed problems, "
        "SIAM J. Sci. Comput. 14, 1487.",
    )

    def __call__(self, filters: Filters) -> Tensor:
        """The sharpest corner among all strengths that change anything."""
        return least(lambda strength: -filters.curvature(strength), filters)


@dataclass(frozen=True)
class Discrepancy:
    """The λ that leaves the misfit that noise would: ‖d - J m‖² = factor · m, by bisection.

    Data that no strength brings there get the nearest one: the least where they are never fitted so well (ask
    ``existence`` why), the largest where what is expected explains them already.

    Reference: Morozov (1966), Soviet Math. Dokl. 7, 414.
    """

    factor: float = 1.0

    references: ClassVar[tuple[str, ...]] = (
        "Morozov (1966), On the solution of functional equations by the method of regularization, "
        "Soviet Math. Dokl. 7, 414.",
    )

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise OptionError(f"factor {self.factor} must be positive; 1 expects the misfit of the noise.")

    def __call__(self, filters: Filters) -> Tensor:
        """Where the misfit, which grows with λ, passes the noise."""
        low, high = (torch.full_like(filters.outside, end).log() for end in filters.range())
        for _ in range(80):
            middle = 0.5 * (low + high)
            under = filters.misfit(middle.exp()[:, None])[:, 0] < self.factor * filters.count
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return (0.5 * (low + high)).exp()


@dataclass(frozen=True)
class MaximumEvidence:
    """The λ under which the data are most probable: type-II maximum likelihood.

    Reference: MacKay (1992), Bayesian interpolation, Neural Computation 4, 415.
    """

    references: ClassVar[tuple[str, ...]] = ("MacKay (1992), Bayesian interpolation, Neural Computation 4, 415.",)

    def __call__(self, filters: Filters) -> Tensor:
        """The largest evidence among all strengths that change anything."""
        return least(lambda strength: -filters.log_evidence(strength), filters)


def least(score: Callable[[Tensor], Tensor], filters: Filters) -> Tensor:
    """The strength of least ``score`` for each problem: the best of a grid, then golden sections around it."""
    low, high = filters.range()
    tried = strengths(low, high, TRIED, filters.outside)
    found = score(tried.expand(len(filters.outside), -1))
    best = found.nan_to_num(nan=torch.inf).argmin(-1)
    a = tried[(best - 1).clamp_min(0)].log()
    b = tried[(best + 1).clamp_max(TRIED - 1)].log()
    for _ in range(SECTIONS):
        left, right = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
        both = score(torch.stack([left, right], -1).exp())
        lower = both[:, 0] < both[:, 1]
        a, b = torch.where(lower, a, left), torch.where(lower, right, b)
    return (0.5 * (a + b)).exp()
