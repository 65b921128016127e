"""Nets that learn a mean and a variance of their own in each cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from posteriori.core.mixture import Mixture
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.field import Folds, learn_field, wave
from posteriori.learn.losses import LearntVariance
from posteriori.learn.members import Nets
from posteriori.learn.network import Architecture, Layers
from posteriori.learn.plan import Plan


@dataclass(frozen=True, eq=False)
class Heteroscedastic:
    """Nets with two outputs, f and log s: d ~ N(f, σ² + excess² + s) with s another number in each cell.

    ``s`` is what a net could not explain there: model error that is no measurement error. The members' disagreement,
    ``between()``, comes on top, and so does one number τ² from the rows each member did not see.

    An approximation, with the bias that it states; repair its coverage with ``Conformal``. Of the prior only the mean
    is used.

    Args:
        features: of every cell of the field, (cells, f).
        net: the architecture, a picklable ``(inputs, outputs) → net``.
        members: how many nets; 1 has no epistemic part.
        plan: how they are trained.
        folds: parts the data are cut into; each member leaves one out.
        beta: exponent of the variance that multiplies each row's likelihood; 0 for the likelihood itself.

    References: Nix & Weigend (1994), Estimating the mean and variance of the target probability distribution, ICNN;
    Seitzer, Tavakoli, Antic & Martius (2022), arXiv:2203.09168.
    """

    features: Tensor
    net: Architecture = field(default_factory=Layers)
    members: int = 10
    plan: Plan = field(default_factory=lambda: Nets().plan)
    folds: int = 5
    beta: float = 0.5
    bias: ClassVar[str] = (
        "The variance is over-fitted where data are few, which τ² mends on average; none far from them."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Nix & Weigend (1994), Estimating the mean and variance of the target probability distribution, ICNN.",
        "Seitzer, Tavakoli, Antic & Martius (2022), arXiv:2203.09168.",
    )

    def __call__(self, target: Target, context: Context) -> Mixture:
        """A mixture with one Gaussian for each net."""
        learner = Nets(self.net, self.plan, LearntVariance(self.beta))
        return learn_field(target, "Heteroscedastic", self.features, self.members, Folds(self.folds), learner, context)

    @staticmethod
    def example() -> tuple[Heteroscedastic, Inverse]:
        """A small ensemble on a line."""
        features, target = wave()
        return Heteroscedastic(features, Layers(16), 4, Plan(epochs=150, batch=24, rate=2e-2), 2), target
