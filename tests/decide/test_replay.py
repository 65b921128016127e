"""A replayed sequence against conditioning step by step."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.decide.replay import needed, replay
from posteriori.inference.exact import Exact

SPACE = Space("m", {"x": 6})
ROOT = Rng(0).normal((6, 6))
LAW = Gaussian(SPACE, Rng(1).normal((6,)), DenseCovariance(ROOT @ ROOT.mT))
SIGMA = torch.tensor([0.1, 0.5, 0.3, 0.2], dtype=torch.float64)
DATA = Rng(2).normal((4,))
CELLS = [3, 0, 5, 1]


def test_every_step_is_the_posterior_of_what_was_seen_so_far() -> None:
    truth = torch.tensor([1.0, torch.nan, -0.5, 2.0, torch.nan, 0.3], dtype=torch.float64)
    orders = torch.tensor([[2, 0, 3, 1], [1, 3, 0, 2]])
    found = replay(LAW, Selection.along(SPACE, "x", CELLS), DATA, Normal(SIGMA), orders, truth)
    kept = torch.isfinite(truth)
    for order, curve in zip(orders, found, strict=True):
        for k in range(5):
            seen = order[:k]
            mean = LAW.location
            if k:
                operator = Selection.along(SPACE, "x", [CELLS[i] for i in seen.tolist()])
                mean = Exact()(Inverse(operator, LAW, DATA[seen], Normal(SIGMA[seen])), Context()).center()
            error = (mean - truth)[kept].square().mean().sqrt()
            assert float(curve[k]) == pytest.approx(float(error), rel=1e-9)


def test_needed_counts_to_the_first_crossing() -> None:
    curves = torch.tensor([[4.0, 2.0, 3.0, 1.0], [4.0, 4.0, 4.0, 4.0]])
    assert needed(curves, 2.5).tolist() == [1, 4]
    assert needed(curves, 4.0).tolist() == [0, 0]


def test_unknown_truths_are_refused() -> None:
    with pytest.raises(ShapeError, match="truths"):
        replay(LAW, Selection.along(SPACE, "x", CELLS), DATA, Normal(SIGMA), torch.tensor([[0, 1, 2, 3]]))
