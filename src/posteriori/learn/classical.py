"""Learners that are no nets: boosted trees, and kernel ridge with odd-even effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.errors import OptionError
from posteriori.core.optional import require
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.members import Predictions, Rows


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted regression trees (LightGBM), one thread; a row counts 1 / variance.

    Inductive bias: piecewise constant along each feature by itself; beyond the last row the value stays what it was
    there, so nothing is extrapolated.

    Args:
        trees: how many.
        rate: share of each tree that is kept.
        leaves: of a tree, at most.
        smallest: rows of a leaf, at least.
        rows, columns: shares of both that a tree is shown.
        ridge: added to the weight of a leaf.

    Reference: Ke et al. (2017), LightGBM: a highly efficient gradient boosting decision tree, NeurIPS 30.
    """

    trees: int = 400
    rate: float = 0.05
    leaves: int = 16
    smallest: int = 8
    rows: float = 0.8
    columns: float = 0.8
    ridge: float = 1.0

    references: ClassVar[tuple[str, ...]] = (
        "Ke et al. (2017), LightGBM: a highly efficient gradient boosting decision tree, NeurIPS 30.",
    )

    def __post_init__(self) -> None:
        if self.trees < 1 or self.leaves < 2 or not self.rate > 0:
            raise OptionError(
                f"trees={self.trees} must be at least 1, leaves={self.leaves} at least 2, rate={self.rate} above 0."
            )

    def fit_predict(self, x: Tensor, y: Tensor, variance: Tensor, x_all: Tensor, rng: Rng) -> Tensor:
        """Learn y (n,) of known error variance (n,) from x (n, f); predict at x_all (m, f), (m,).

        Raises:
            MissingExtraError: lightgbm is not installed.
        """
        lightgbm = require("lightgbm", "nuclei")
        options = {
            "objective": "regression",
            "learning_rate": self.rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.smallest,
            "bagging_fraction": self.rows,
            "bagging_freq": 1,
            "feature_fraction": self.columns,
            "lambda_l2": self.ridge,
            "seed": rng.entropy % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
        }
        weight = variance.reciprocal() / variance.reciprocal().mean()
        data = lightgbm.Dataset(x.numpy(), y.numpy(), weight=weight.numpy(), params={"verbose": -1})
        booster = lightgbm.train(options, data, num_boost_round=self.trees)
        return torch.from_numpy(booster.predict(x_all.numpy())).double()

    @staticmethod
    def example() -> BoostedTrees:
        """A few small trees."""
        return BoostedTrees(trees=50, leaves=4, smallest=2)


@dataclass(frozen=True)
class OddEvenRidge:
    """Kernel ridge regression at the lattice points that are the first two features, with odd-even effects.

    Kernel exp(-r²/2ℓ²) + odd_even · same · exp(-r²/2ℓ²), ``same`` one where both coordinates have the same parities;
    ridge λ beside the known variance of each row, both in units of the rows' own. ℓ and λ are those, of the offered
    ones, whose held-out rows have the smallest mean absolute error, over all regressions (Q = S⁻¹ gives every held-out
    error at once, Q_II⁻¹ (Q y)_I).

    Inductive bias: alike at near lattice points of one parity class, whatever physics says of them; a few lengths
    from the rows the prediction is zero.

    Args:
        lengths: [lattice steps].
        ridges: λ, shares of the variance of the rows.
        odd_even: weight of the second kernel.

    Reference: Wu, Guo & Zhao (2021), Nuclear masses in extended kernel ridge regression with odd-even effects,
    Phys. Lett. B 819, 136387.
    """

    lengths: Sequence[float] = (1.5, 2.2, 3.3)
    ridges: Sequence[float] = (0.02, 0.1, 0.3)
    odd_even: float = 0.3

    references: ClassVar[tuple[str, ...]] = (
        "Wu, Guo & Zhao (2021), Nuclear masses in extended kernel ridge regression with odd-even effects, "
        "Phys. Lett. B 819, 136387.",
    )

    def __call__(self, rows: Rows, context: Context) -> Predictions:
        """In closed form; draws nothing."""
        at, asked = rows.x[:, :2], rows.cells[:, :2]
        unit = rows.y[:, 0].square().mean().clamp_min(1e-300)
        noise = rows.variance / unit
        best = min(
            product(self.lengths, self.ridges),
            key=lambda pair: self._held_out_error(rows, self._kernel(at, at, pair[0]), noise + pair[1]),
        )
        length, ridge = best
        near = self._kernel(at, at, length)
        alpha = _solved(rows, near, noise + ridge)
        said = torch.cat([near, self._kernel(asked, at, length)]) @ alpha
        mean = said.mT[:, None]
        nothing, n = torch.zeros_like(mean), len(at)
        return Predictions(mean[..., :n], mean[..., n:], nothing[..., :n], nothing[..., n:])

    def _kernel(self, x: Tensor, y: Tensor, length: float) -> Tensor:
        near = torch.exp(-0.5 * (torch.cdist(x, y) / length).square())
        same = (x[:, None].remainder(2) == y.remainder(2)).all(-1)
        return near * (1 + self.odd_even * same)

    def _held_out_error(self, rows: Rows, kernel: Tensor, noise: Tensor) -> float:
        if not bool((rows.weight == 0).any()):
            return 0.0
        predicted = kernel @ _solved(rows, kernel, noise)
        return float((rows.y - predicted).abs()[rows.weight == 0].mean())

    @staticmethod
    def example() -> OddEvenRidge:
        """One choice of numbers."""
        return OddEvenRidge((2.0,), (0.1,))


def _solved(rows: Rows, kernel: Tensor, noise: Tensor) -> Tensor:
    """Coefficients (n, k) of the kernel at the rows, zero at those that a regression does not see."""
    inverse = torch.cholesky_inverse(cholesky(kernel + torch.diag(noise)))
    alpha = inverse @ rows.y
    for column, weight in enumerate(rows.weight.mT):
        held = (weight == 0).nonzero()[:, 0]
        if len(held):
            pull = torch.linalg.solve(inverse[held[:, None], held], alpha[held, column])
            alpha[:, column] -= inverse[:, held] @ pull
    return alpha
