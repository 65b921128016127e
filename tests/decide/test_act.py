"""Decisions against their closed forms: newsvendor, cost-loss alarm, abstention, knapsack."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.decide.act import ABSTAIN, CostLoss, act
from posteriori.decide.allocate import allocate

DEMAND = Gaussian(
    Space("demand", {"day": 1}), torch.tensor([10.0]).double(), DiagonalCovariance(torch.tensor([4.0]).double())
)
UNDER, OVER = 3.0, 1.0


def newsvendor(x: Tensor, stock: float) -> Tensor:
    return UNDER * (x[..., 0] - stock).clamp_min(0) + OVER * (stock - x[..., 0]).clamp_min(0)


def test_newsvendor_orders_the_critical_quantile() -> None:
    """Stock F⁻¹(under / (under + over)), expected loss (under + over) σ φ(z)."""
    stocks = [8 + 0.1 * k for k in range(60)]
    decision = act(DEMAND, newsvendor, stocks, draws=40_000, rng=Rng(1))
    z = float(torch.special.ndtri(torch.tensor(UNDER / (UNDER + OVER)).double()))
    assert decision.action == pytest.approx(10 + 2 * z, abs=0.15)
    least = (UNDER + OVER) * 2 * float(torch.exp(torch.tensor(-0.5 * z**2))) / (2 * torch.pi) ** 0.5
    k = int(decision.best)
    assert abs(float(decision.expected[k]) - least) < 4.5 * float(decision.standard_error[k]) + 0.01
    assert not bool(decision.sure())
    assert bool(act(DEMAND, newsvendor, [11.3, 20.0], draws=4000).sure())


@pytest.mark.parametrize(("cost", "effect"), [(1.0, 1.0), (3.0, 1.0), (3.0, 0.5), (8.0, 0.5)])
def test_an_alarm_rings_above_the_cost_loss_ratio(cost: float, effect: float) -> None:
    """Thirty cases at once; each acts exactly where its own P(event) > C / (effect L)."""
    space = Space("level", {"place": 30})
    mean = torch.linspace(-3, 3, 30, dtype=torch.float64)
    posterior = Gaussian(space, mean, DiagonalCovariance(torch.ones(30).double()))
    alarm = CostLoss(lambda x: x > 0, cost=cost, loss=10.0, effect=effect)
    decision = act(posterior, alarm, (False, True), draws=20_000)
    p = torch.special.ndtr(mean)
    assert alarm.threshold == pytest.approx(cost / 10 / effect)
    clear = (p - alarm.threshold).abs() > 0.02
    assert torch.equal((decision.best == 1)[clear], (p > alarm.threshold)[clear])
    assert bool(decision.sure()[decision.lead > 0.3].all())


def test_abstention_where_deciding_costs_more() -> None:
    """Naming the sign of N(m, 1) wrongly costs one: abstain at 0.1 where min(p, 1 - p) > 0.1."""
    mean = torch.linspace(-3, 3, 41, dtype=torch.float64)
    posterior = Gaussian(Space("m", {"x": 41}), mean, DiagonalCovariance(torch.ones(41).double()))
    decision = act(posterior, lambda x, a: (x.sign() != a).double(), (-1, 1), abstention=0.1, draws=20_000)
    risk = torch.special.ndtr(-mean.abs())
    clear = (risk - 0.1).abs() > 0.01
    assert torch.equal((decision.best == ABSTAIN)[clear], (risk > 0.1)[clear])
    assert act(DEMAND, newsvendor, [10.0], abstention=0.01).action is None


def test_weights_count() -> None:
    draws = Draws(Space("m", {"x": 1}), torch.tensor([[0.0], [1.0]]).double(), torch.tensor([0.9, 0.1]).double().log())
    decision = act(draws, lambda x, a: (x[:, 0] - a).abs(), [0.0, 1.0])
    assert decision.expected.tolist() == pytest.approx([0.1, 0.9])
    assert decision.action == 0.0


def test_allocation_is_the_best_of_all_subsets() -> None:
    mean, cost = Rng(3).uniform((9,)) * 4 - 0.5, Rng(4).uniform((9,)) + 0.2
    posterior = Gaussian(Space("m", {"x": 9}), mean, DiagonalCovariance(torch.ones(9).double()))
    found = allocate(posterior, lambda x: x, cost, 2.0, draws=2000)
    sets = (s for size in range(10) for s in itertools.combinations(range(9), size))
    best = max(float(found.benefit[list(s)].sum()) for s in sets if float(cost[list(s)].sum()) <= 2.0)
    assert found.total == pytest.approx(best, rel=1e-9)
    assert found.spent <= 2.0
    assert found.total_error == pytest.approx((int(found.bought.sum()) / 2000) ** 0.5, rel=0.15)


def test_refusals() -> None:
    with pytest.raises(OptionError, match="two actions"):
        act(DEMAND, newsvendor, [10.0])
    with pytest.raises(ShapeError, match="each draw"):
        act(DEMAND, lambda x, a: x.sum(), [1, 2])
    with pytest.raises(OptionError, match="positive"):
        CostLoss(lambda x: x > 0, cost=0.0, loss=1.0)
    with pytest.raises(ShapeError, match="cases"):
        _ = act(DEMAND, lambda x, a: (x - a).abs(), [1.0, 2.0]).action
    with pytest.raises(OptionError, match="budget"):
        allocate(DEMAND, lambda x: x, torch.ones(1), -1.0)
    with pytest.raises(ShapeError, match="benefits"):
        allocate(DEMAND, lambda x: x, torch.ones(2), 1.0)
