"""Monte-Carlo dropout: one net, asked many times with some of its hidden units gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.mixture import Mixture
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.field import Folds, learn_field, wave
from posteriori.learn.losses import CommonVariance
from posteriori.learn.members import Nets
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan


@dataclass(frozen=True, eq=False)
class MonteCarloDropout:
    """One net trained with dropout; each pass drops one set of units **for all cells**, so that passes are functions.

    Fresh units in each cell, as dropout layers draw them, would lose every covariance between cells. The variance of a
    pass is one number that the net learns, and a part τ² that the fold of the data which it did not see asks for.

    An approximation, with the bias that it states; repair its coverage with ``Conformal``. Of the prior only the mean
    is used.

    Args:
        features: of every cell of the field, (cells, f).
        net: the shape of the MLP; its dropout must be above 0.
        passes: how many thinned nets answer.
        plan: how the net is trained.
        folds: the data are cut into this many parts, of which the net sees all but one.

    Reference: Gal & Ghahramani (2016), Dropout as a Bayesian approximation, arXiv:1506.02142.
    """

    features: Tensor
    net: Layers = field(default_factory=lambda: Layers(dropout=0.1))
    passes: int = 50
    plan: Plan = field(default_factory=lambda: Nets().plan)
    folds: int = 5
    bias: ClassVar[str] = "The spread follows the dropout share, not the number of data: it hardly shrinks with more."
    references: ClassVar[tuple[str, ...]] = ("Gal & Ghahramani (2016), arXiv:1506.02142.",)

    def __post_init__(self) -> None:
        if self.net.dropout <= 0 or self.passes < 2:
            raise OptionError(f"dropout={self.net.dropout} must be above 0 and passes={self.passes} at least 2.")

    def __call__(self, target: Target, context: Context) -> Mixture:
        """A mixture with one Gaussian for each pass."""
        learner = Nets(self.net, self.plan, CommonVariance(), self.passes)
        return learn_field(target, "MonteCarloDropout", self.features, 1, Folds(self.folds), learner, context)

    @staticmethod
    def example() -> tuple[MonteCarloDropout, Inverse]:
        """A small net on a line."""
        features, target = wave()
        return MonteCarloDropout(features, Layers(32, dropout=0.1), 20, Plan(epochs=150, batch=24, rate=2e-2)), target
