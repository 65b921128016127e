"""Challengers on a part of the chart: their names, their honesty about spread, and what they may not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from posteriori import infer
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.nuclei import challengers, data, fusion, law
from posteriori.domains.nuclei.bayesian_net import BayesianNet, NetValues
from posteriori.domains.nuclei.challengers import CHALLENGERS, Guess, challenger
from posteriori.domains.nuclei.chart import chart, points, protons_neutrons
from posteriori.domains.nuclei.error_growth import ErrorGrowth, HeldOut, remoteness
from posteriori.inference.problems import regression
from posteriori.learn.classical import BoostedTrees
from posteriori.learn.kernels import matern32
from posteriori.learn.members import Each, Nets, Rows
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan
from posteriori.testing import check_operator


@pytest.fixture(scope="module")
def part() -> law.Question:
    """Nuclei around nickel to zirconium as AME2016 knew them, on the liquid drop."""
    known = data.measured(2016)
    return law.Question(2016, ("semf5",), measured=known[known["Z"].between(28, 40)].reset_index(drop=True))


def small(name: str) -> challengers.Challenger:
    """The challenger with a training of a second."""
    known = challenger(name)
    brief = Plan(epochs=2, batch=64)
    if name == "mlp":
        return replace(known, learner=Nets(Layers(8, 1), brief))
    if name in ("cnn", "gnn"):
        assert hasattr(known.learner, "plan")
        return replace(known, learner=replace(known.learner, plan=replace(known.learner.plan, epochs=1)))
    return replace(known, learner=Each(BoostedTrees(trees=40))) if name == "lightgbm" else known


@pytest.mark.parametrize("name", [name for name in CHALLENGERS if name != "bnn"])
def test_every_challenger_answers_and_keeps_what_is_measured(name: str, part: law.Question) -> None:
    cells = law.cells_of(part.masses, pd.DataFrame({"Z": [28, 34], "N": [52, 62]}))
    target = part.target(cells, "semf5")
    answer = infer(target, small(name))
    spread, z = answer.spread(), protons_neutrons(cells)[0]
    known = target.operator.index
    sigma = target.noise.variance(len(known)).sqrt()
    assert bool((spread[known] <= sigma).all())
    assert float(((answer.center()[known] - target.data) / sigma).abs().median()) < 0.1
    unknown = torch.ones(len(z), dtype=torch.bool).index_fill(0, known, False)
    assert float(spread[unknown].min()) > 50.0
    assert answer.sample(3, Rng(0)).shape == (3, len(z))


def test_names_are_listed_where_one_is_wrong() -> None:
    with pytest.raises(OptionError, match="gp, lightgbm, krr, mlp, cnn, gnn, bnn"):
        challenger("xgboost")


def test_a_question_that_is_no_chart_is_refused() -> None:
    with pytest.raises(UnanswerableError, match="chart"):
        challenger("krr")(regression(), Context())


def test_held_out_predictions_do_not_see_what_is_held_out(part: law.Question) -> None:
    """Masses of a fold changed by 10 MeV leave the fold's own predictions as they were, up to the liquid drop's fit."""
    cells = law.cells_of(part.masses)
    target = part.target(cells, "semf5")
    method = replace(small("lightgbm"), chain_ends=1, interior=1)
    first = method.guess(target, Context(Rng(0)))
    spoilt = target.data.clone()
    spoilt[first.held[0]] += 10_000.0
    second = method.guess(target.given(spoilt), Context(Rng(0)))
    torch.testing.assert_close(second.said[0][0], first.said[0][0])
    assert float((second.said[1][0] - first.said[1][0]).abs().max()) > 100


def test_error_growth_finds_the_numbers_that_made_the_errors() -> None:
    """Errors drawn from the law itself on the known chart: size, growth and correlation come back within 30 %."""
    at = points(law.cells_of(data.measured(2012)))[::8]
    remote = 1 + 3 * Rng(0).uniform((len(at),))
    truth = ErrorGrowth(size=200.0, fall=0.5, growth=1.0, own=1.0, length=5.0, shared=0.7)
    nothing = torch.zeros(len(at), dtype=torch.float64)
    s = truth.spread(at, remote, nothing)
    shared = 0.7 * matern32(torch.cdist(at, at) / 5.0) + 0.3 * torch.eye(len(at), dtype=torch.float64)
    root = torch.linalg.cholesky(s[:, None] * shared * s)
    folds = [HeldOut(at, remote, root @ Rng(k).normal((len(at),)), torch.full_like(s, 20.0), nothing) for k in range(3)]
    found = ErrorGrowth.learnt(folds)
    assert found.size == pytest.approx(200.0, rel=0.3)
    assert found.growth == pytest.approx(1.0, abs=0.2)
    assert found.length == pytest.approx(5.0, rel=0.3)
    assert found.shared == pytest.approx(0.7, abs=0.15)


def test_remoteness_of_a_gap_and_of_a_step_beyond() -> None:
    """A gap has four neighbours at 1 and two at √2; far away it is the plain distance."""
    square = torch.cartesian_prod(torch.arange(20), torch.arange(20)).double()
    hole = (square == 10).all(-1)
    assert float(remoteness(square[hole], square[~hole])) == pytest.approx((4 + 2 * 2**0.5) / 6)
    assert float(remoteness(square[hole], square)) == pytest.approx((4 + 2 * 2**0.5) / 6)
    far = torch.tensor([[500.0, 10.0]], dtype=torch.float64)
    assert float(remoteness(far, square)) == pytest.approx(481, abs=1)


def test_the_weights_of_a_bayesian_net_are_an_operator() -> None:
    check_operator(NetValues(Rng(0).normal((7, 3)), 4))


def test_a_fold_of_what_came_later_is_one_that_no_baseline_had_seen() -> None:
    """WS4 saw AME2012, so on 2016 only the nuclei since 2012 may test it; DZ10 may be tested twice."""
    plain = challengers.measured_since(law.Question(2016, ("dz10",)))
    assert len(plain) == 2
    newer = set(law.names_of(data.first_measured(2012, 2016)))
    assert set(plain[1]) == newer
    assert len(newer & set(plain[0])) > 0.8 * len(newer)  # a few had been measured, and were withdrawn by 2012
    assert len(challengers.measured_since(law.Question(2016, ("dz10", "ws4")))) == 1


def _two_models(part: law.Question) -> list[Guess]:
    """One right for small A, the other for large, with known errors elsewhere."""
    cells = chart(*protons_neutrons(law.cells_of(data.measured(2012))))
    n = cells.size
    heavy = torch.from_numpy(sum(protons_neutrons(cells)) > 120)
    truth, rng = torch.zeros(n, dtype=torch.float64), Rng(5)
    rows = torch.arange(n)
    found = []
    for k, good in enumerate((~heavy, heavy)):
        mean = torch.where(good, 10.0, 800.0) * rng.child(k).normal((n,))
        zero = torch.zeros(n, dtype=torch.float64)
        found.append(Guess(cells, mean, zero, rows, truth, zero + 1.0, zero + 1.0, [rows], [(mean, zero)]))
    return found


def test_local_weights_find_where_each_model_is_right(part: law.Question) -> None:
    models = _two_models(part)
    weights = fusion.LocalWeights.learnt(models)
    w = weights(models[0].cells)
    assert torch.allclose(w.sum(0), torch.ones_like(w[0]))
    a = torch.from_numpy(np.asarray(sum(protons_neutrons(models[0].cells))))
    assert float(w[0, a < 90].mean()) > 0.9
    assert float(w[1, a > 160].mean()) > 0.9
    assert float(fusion.fused(models, weights).mean.square().mean()) < 0.3 * float(
        challengers.averaged(models).mean.square().mean()
    )
    equal = fusion.fused(models, fusion.LocalWeights(torch.zeros(2, 5, dtype=torch.float64)))
    torch.testing.assert_close(equal.mean, challengers.averaged(models).mean)
    torch.testing.assert_close(equal.own, challengers.averaged(models).own)
    with pytest.raises(OptionError, match="two or more"):
        fusion.LocalWeights.learnt(models[:1])


@pytest.mark.slow
def test_lightgbm_and_krr_reach_their_peers_on_new_nuclei() -> None:
    """DZ10, 2016 → 2020: untuned peers reach 268 and 284 keV; a perfect law of 71 nuclei covers 57-79 % at 68 %."""
    question = law.Question(2016, ("dz10",))
    later = data.evaluation(2020).merge(data.new_since(2016, 2020))
    for name, most in (("lightgbm", 290.0), ("krr", 320.0)):
        answer = challengers.law(question, name, law.cells_of(question.masses, later), Context(Rng(0)))
        at = answer.space.index("nuclide", law.names_of(later))
        error = answer.center()[at].numpy() - later["mass_excess"].to_numpy()
        assert float(np.sqrt((error**2).mean())) < most
        total = np.hypot(answer.spread()[at].numpy(), later["sigma"].to_numpy())
        assert 0.57 <= float((np.abs(error) < 0.994 * total).mean()) <= 0.79


@pytest.mark.slow
def test_a_bayesian_net_widens_away_from_its_rows() -> None:
    """Rows on [-1, 1] of a sine: inside it is learnt, and its own variance grows beyond."""
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    y = torch.sin(2 * x)
    asked = torch.tensor([[0.3], [3.0]], dtype=torch.float64)
    rows = Rows(x, y, torch.full((60,), 1e-4, dtype=torch.float64), torch.ones_like(y), asked)
    said = BayesianNet(5)(rows, Context(Rng(0)))
    assert float(said.cells[0, 0, 0]) == pytest.approx(float(torch.sin(torch.tensor(0.6))), abs=0.05)
    assert float(said.cell_variance[0, 0, 1]) > 10 * float(said.cell_variance[0, 0, 0])
