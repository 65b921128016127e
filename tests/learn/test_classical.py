"""Classical learners against closed forms and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori.core import optional
from posteriori.core.errors import MissingExtraError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.classical import BoostedTrees, OddEvenRidge
from posteriori.learn.members import Rows


def lattice(side: int = 9) -> torch.Tensor:
    axis = torch.arange(20, 20 + side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def test_the_ridge_solves_the_normal_equations_of_each_fold() -> None:
    """Every regression equals a ridge fitted to its own rows alone, written out in NumPy."""
    x = lattice()
    rng = Rng(0)
    y, variance = rng.normal((len(x),)), rng.uniform((len(x),)) + 0.1
    weight = torch.ones(len(x), 3, dtype=torch.float64)
    weight[::4, 0], weight[5:30, 1] = 0, 0
    said = OddEvenRidge((2.0,), (0.1,), odd_even=0.5)(
        Rows(x, y[:, None].expand(-1, 3).contiguous(), variance, weight, x), Context(rng)
    )
    at = x.numpy()
    gap = ((at[:, None] - at) ** 2).sum(-1)
    same = (at[:, None] % 2 == at % 2).all(-1)
    kernel = np.exp(-gap / 8) * (1 + 0.5 * same)
    unit = float(y.square().mean())
    for k in range(3):
        seen = weight[:, k].numpy() > 0
        noise = np.diag(variance.numpy()[seen] / unit + 0.1)
        alpha = np.linalg.solve(kernel[np.ix_(seen, seen)] + noise, y.numpy()[seen])
        np.testing.assert_allclose(said.cells[k, 0], kernel[:, seen] @ alpha, atol=1e-9)


def test_the_ridge_chooses_the_length_that_held_out_rows_ask_for() -> None:
    """A field of length 6 without noise: the shortest kernel predicts held-out rows worst."""
    x = lattice(12)
    matrix = torch.exp(-0.5 * (torch.cdist(x, x) / 6).square()) + 1e-8 * torch.eye(len(x), dtype=torch.float64)
    y = torch.linalg.cholesky(matrix) @ Rng(1).normal((len(x),))
    weight = torch.ones(len(x), 1, dtype=torch.float64)
    held = Rng(2).permutation(len(x))[:40]
    weight[held] = 0
    rows = Rows(x, y[:, None], torch.full_like(y, 1e-6), weight, x)
    either = OddEvenRidge((0.5, 6.0), (1e-4,), odd_even=0.0)(rows, Context())
    smooth = OddEvenRidge((6.0,), (1e-4,), odd_even=0.0)(rows, Context())
    assert torch.equal(either.cells, smooth.cells)
    assert float((either.rows[0, 0, held] - y[held]).abs().max()) < 0.05


def test_trees_learn_a_step_and_do_not_extrapolate() -> None:
    x = torch.linspace(-1, 1, 400, dtype=torch.float64)[:, None]
    y = (x[:, 0] > 0.2).double() * 5
    asked = torch.tensor([[-9.0], [-0.5], [0.8], [9.0]], dtype=torch.float64)
    said = BoostedTrees(trees=200).fit_predict(x, y, torch.ones(400, dtype=torch.float64), asked, Rng(0))
    assert said == pytest.approx(torch.tensor([0.0, 0.0, 5.0, 5.0], dtype=torch.float64), abs=0.05)
    assert said[0] == pytest.approx(float(said[1]), abs=0.05)


def test_trees_repeat_and_follow_precise_rows() -> None:
    """Rows of two kinds at one place: the prediction is their mean weighted by 1 / variance, 1 · 0.9 + 11 · 0.1."""
    x = torch.zeros(200, 1, dtype=torch.float64)
    y = torch.where(torch.arange(200) % 2 == 0, 1.0, 11.0).double()
    variance = torch.where(torch.arange(200) % 2 == 0, 1.0, 9.0).double()
    trees = BoostedTrees(trees=1, rate=1.0, smallest=2, rows=1.0)
    first, second = (trees.fit_predict(x, y, variance, x[:1], Rng(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert float(first) == pytest.approx(2.0, abs=1e-6)


def test_without_lightgbm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    x = torch.zeros(4, 1, dtype=torch.float64)
    with pytest.raises(MissingExtraError, match=r"posteriori\[nuclei\]"):
        BoostedTrees().fit_predict(x, x[:, 0], x[:, 0] + 1, x, Rng(0))


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="trees=0"):
        BoostedTrees(trees=0)
