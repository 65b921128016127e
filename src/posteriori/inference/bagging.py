"""Bagging: one learner on many resamples of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.mixture import Mixture
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.field import Bootstrap, learn_field, wave
from posteriori.learn.members import Each, Nets, PointLearner


@dataclass(frozen=True, eq=False)
class Bagging:
    """Learners on bootstrap resamples of the data; what the resamples change is what is not known.

    A member's own variance is what it learns itself, if anything, and a part τ² that the rows which its resample left
    out (about 37 %) ask for.

    An approximation, with the bias that it states; repair its coverage with ``Conformal``. Of the prior only the mean
    is used.

    Args:
        features: of every cell of the field, (cells, f).
        learner: nets (trained side by side), or anything that fits and predicts points.
        members: how many resamples.

    Reference: Breiman (1996), Bagging predictors, Machine Learning 24, 123.
    """

    features: Tensor
    learner: Nets | PointLearner
    members: int = 20
    bias: ClassVar[str] = "Resamples see the scatter of other data, not the learner's own error, which members share."
    references: ClassVar[tuple[str, ...]] = ("Breiman (1996), Bagging predictors, Machine Learning 24, 123.",)

    def __call__(self, target: Target, context: Context) -> Mixture:
        """A mixture with one Gaussian for each resample."""
        learner = self.learner if isinstance(self.learner, Nets) else Each(self.learner)
        return learn_field(target, "Bagging", self.features, self.members, Bootstrap(), learner, context)

    @staticmethod
    def example() -> tuple[Bagging, Inverse]:
        """Cubic fits on a line."""
        features, target = wave()
        return Bagging(features, Polynomial(3), 20), target


@dataclass(frozen=True)
class Polynomial:
    """Powers 0 … ``degree`` of each feature, fitted by weighted least squares with a small ridge."""

    degree: int
    ridge: float = 1e-6

    def fit_predict(self, x: Tensor, y: Tensor, variance: Tensor, x_all: Tensor, rng: Rng) -> Tensor:
        """Closed form; draws nothing from ``rng``."""
        columns, asked = self._powers(x), self._powers(x_all)
        white = columns / variance[:, None]
        normal = white.mT @ columns + self.ridge * torch.eye(columns.shape[1], dtype=x.dtype)
        return asked @ torch.linalg.solve(normal, white.mT @ y)

    def _powers(self, x: Tensor) -> Tensor:
        powers = [x**p for p in range(1, self.degree + 1)]
        return torch.cat([torch.ones_like(x[:, :1]), *powers], 1)
