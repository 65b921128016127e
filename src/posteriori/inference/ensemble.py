"""Deep ensembles: several nets from different beginnings, whose disagreement is what is not known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from posteriori.core.mixture import Mixture
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.field import Folds, learn_field, wave
from posteriori.learn.losses import CommonVariance
from posteriori.learn.members import Nets
from posteriori.learn.network import Architecture, Layers
from posteriori.learn.plan import Plan


@dataclass(frozen=True, eq=False)
class DeepEnsemble:
    """Nets of one architecture with other initial weights, each without one fold of the data.

    Each maximises Σ log N(d; f(features), v + s) with v the variance of the target's noise and s one learnt number,
    which keeps a few very precise data from deciding alone. ``between()`` of the mixture is the epistemic part; a
    member's own variance is s and a part τ² that the rows which the members did not see ask for.

    An approximation, with the bias that it states; repair its coverage with ``Conformal``. Of the prior only the mean
    is used.

    Args:
        features: of every cell of the field, (cells, f).
        net: the architecture, a picklable ``(inputs, outputs) → net``.
        members: how many nets.
        plan: how they are trained.
        folds: parts the data are cut into; each member leaves one out.

    Reference: Lakshminarayanan, Pritzel & Blundell (2017), Simple and scalable predictive uncertainty estimation using
    deep ensembles, arXiv:1612.01474.
    """

    features: Tensor
    net: Architecture = field(default_factory=Layers)
    members: int = 10
    plan: Plan = field(default_factory=lambda: Nets().plan)
    folds: int = 5
    bias: ClassVar[str] = "Disagreement follows architecture and plan, no stated prior; too small far from the data."
    references: ClassVar[tuple[str, ...]] = ("Lakshminarayanan, Pritzel & Blundell (2017), arXiv:1612.01474.",)

    def __call__(self, target: Target, context: Context) -> Mixture:
        """A mixture with one Gaussian for each net."""
        learner = Nets(self.net, self.plan, CommonVariance())
        return learn_field(target, "DeepEnsemble", self.features, self.members, Folds(self.folds), learner, context)

    @staticmethod
    def example() -> tuple[DeepEnsemble, Inverse]:
        """A small ensemble on a line."""
        features, target = wave()
        return DeepEnsemble(features, Layers(16), 4, Plan(epochs=150, batch=24, rate=2e-2), 2), target
