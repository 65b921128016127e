"""Monte-Carlo dropout: its passes are functions, with the covariances between cells that functions have."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import posteriori as po
from posteriori.core.errors import OptionError
from posteriori.inference.dropout import MonteCarloDropout
from posteriori.inference.exact import Exact
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan


def test_passes_are_smooth_functions() -> None:
    """Neighbouring cells of 40 vary together between the passes; with units dropped cell by cell they would not."""
    method, target = MonteCarloDropout.example()
    answer = po.infer(target, method)
    means = torch.stack([part.center() for part in answer.parts])
    assert means.shape == (20, 40)
    correlation = torch.corrcoef(means.mT)
    assert float(correlation.diagonal(1).median()) > 0.9
    assert float(correlation.diagonal(1).min()) > 0.6


def test_answer_comes_near_the_exact_one() -> None:
    method, target = MonteCarloDropout.example()
    answer, exact = po.infer(target, method), po.infer(target, Exact())
    gap = (answer.center() - exact.center()).square().mean().sqrt()
    assert float(gap) < 0.25 * float(target.prior.spread().square().mean().sqrt())


def test_more_dropout_spreads_more() -> None:
    """The bias that the method states: the spread follows the dropout share."""
    method, target = MonteCarloDropout.example()
    wide = replace(method, net=Layers(32, dropout=0.4))
    spreads = [float(po.infer(target, m).between().mean()) for m in (method, wide)]
    assert spreads[1] > 1.3 * spreads[0]


def test_net_without_dropout_is_refused() -> None:
    features = torch.zeros(3, 1)
    with pytest.raises(OptionError, match=r"dropout=0\.0"):
        MonteCarloDropout(features, Layers(8))
    with pytest.raises(OptionError, match="passes=1"):
        MonteCarloDropout(features, Layers(8, dropout=0.1), 1, Plan())
