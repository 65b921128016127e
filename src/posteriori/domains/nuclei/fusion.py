"""Several mass models as one, with weights that vary over the chart and are learnt where the models were tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.space import Space
from posteriori.domains.nuclei.challengers import Guess
from posteriori.domains.nuclei.features import feature_table

STEPS = 60
SMOOTH = ("A", "I", "p_closure", "n_closure")
TYPICAL = {"A": (130.0, 70.0), "I": (0.13, 0.1), "p_closure": (0.3, 0.3), "n_closure": (0.3, 0.3)}
"""Middle and half-width of each smooth feature over the known nuclei."""


@dataclass(frozen=True, eq=False)
class LocalWeights:
    """Weights softmax_b(θ_b · φ) of models b, φ = 1 and smooth features of a nucleus (size, asymmetry, closures).

    Attributes:
        theta: (models, 1 + features); zero for equal weights.
    """

    theta: Tensor

    def __call__(self, cells: Space) -> Tensor:
        """Weights (models, cells), which sum to one in each cell."""
        return (self.theta @ smooth(cells).mT).softmax(0)

    @staticmethod
    def learnt(guesses: Sequence[Guess], pull: float = 10.0) -> LocalWeights:
        """The weights under which the fused models err least where they were not shown the masses.

        Minimises Σ log(1 + e²/(σ² + s²)) + pull ½ |θ|² over all folds, e the error of the weighted mean, s a typical
        error of the equal one: as a Student law with one degree, so that no single nucleus decides.

        Raises:
            OptionError: fewer than two models.
        """
        if len(guesses) < 2:
            raise OptionError(f"{len(guesses)} model cannot be fused; give two or more.")
        first = guesses[0]
        rows = torch.cat(list(first.held))
        phi = smooth(first.cells)[first.known[rows]]
        said = torch.stack([torch.cat([mean for mean, _ in guess.said]) for guess in guesses])
        error = said - first.masses[rows]
        scale = first.variance[rows] + error.mean(0).square().median()
        theta = torch.zeros(len(guesses), phi.shape[1], dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([theta], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            fused = ((theta @ phi.mT).softmax(0) * error).sum(0)
            total = (1 + fused.square() / scale).log().sum() + 0.5 * pull * theta.square().sum()
            total.backward()
            return total

        with torch.enable_grad():
            optimiser.step(loss)
        return LocalWeights(theta.detach())


def fused(guesses: Sequence[Guess], weights: LocalWeights) -> Guess:
    """The weighted mean of guesses about the same cells and folds; what they disagree on is their own variance."""
    first = guesses[0]
    w = weights(first.cells)
    mean, own = _mixed(w, [(guess.mean, guess.own) for guess in guesses])
    said = [_mixed(w[:, first.known[rows]], [guess.said[k] for guess in guesses]) for k, rows in enumerate(first.held)]
    return replace(first, mean=mean, own=own, said=said)


def smooth(cells: Space) -> Tensor:
    """1 and the smooth features of each cell, about one in size, (cells, 5)."""
    table = feature_table(cells)
    columns = [torch.from_numpy((table[name] - TYPICAL[name][0]) / TYPICAL[name][1]) for name in SMOOTH]
    return torch.stack([torch.ones_like(columns[0]), *columns], -1)


def _mixed(w: Tensor, laws: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    means, own = torch.stack([m for m, _ in laws]), torch.stack([v for _, v in laws])
    mean = (w * means).sum(0)
    return mean, (w * (own + (means - mean).square())).sum(0)
