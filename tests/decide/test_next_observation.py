"""Expected gains against closed forms, brute force and the laws that they obey."""

from __future__ import annotations

import itertools
import time
from math import log

import pytest
import torch
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.correlated import Multivariate
from posteriori.core.covariance import DenseCovariance, DiagonalCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.decide.goals import Goal, Information, TotalVariance
from posteriori.decide.next_observation import next_observation
from posteriori.inference.exact import Exact

SPACE = Space("m", {"x": 7})
NOISE = torch.tensor([0.3, 0.5, 0.2, 1.0, 0.4], dtype=torch.float64)


def law(seed: int = 0) -> Gaussian:
    root = Rng(seed).normal((7, 7))
    return Gaussian(SPACE, Rng(seed).child("mean").normal((7,)), DenseCovariance(root @ root.mT / 7))


def matrix(rows: int, seed: int) -> Dense:
    return Dense(SPACE, Space("y", {"candidate": rows}), Rng(seed).normal((rows, 7)))


def utility(goal: Goal, candidates: Dense, chosen: tuple[int, ...], noise: Tensor) -> float:
    """What observing ``chosen`` does for the goal, from the posterior covariances written out."""
    sigma = law().covariance.dense()
    b = torch.eye(7, dtype=torch.float64) if goal.operator is None else goal.operator.rows(sigma)
    j = candidates.rows(sigma)[list(chosen)]
    s = j @ sigma @ j.mT + noise[list(chosen)][:, None] * torch.diag(noise[list(chosen)])
    after = sigma - sigma @ j.mT @ torch.linalg.solve(s, j @ sigma)
    if isinstance(goal, TotalVariance):
        return float((b @ (sigma - after) @ b.mT).trace())
    return float(0.5 * (torch.logdet(b @ sigma @ b.mT) - torch.logdet(b @ after @ b.mT)))


def test_information_of_a_scalar_is_half_the_log_of_the_variance_ratio() -> None:
    space = Space("m", {"x": 1})
    posterior = Gaussian(space, torch.zeros(1, dtype=torch.float64), DiagonalCovariance(torch.tensor([9.0]).double()))
    ranking = next_observation(posterior, Selection.along(space, "x", [0]), 1.5)
    assert float(ranking.gain) == pytest.approx(0.5 * log(1 + 9 / 2.25), rel=1e-12)
    falling = next_observation(posterior, Selection.along(space, "x", [0]), 1.5, TotalVariance())
    assert float(falling.gain) == pytest.approx(81 / 11.25, rel=1e-12)


GOALS = {
    "all variance": TotalVariance(),
    "variance of three sums": TotalVariance(matrix(3, 5)),
    "variance of two cells": TotalVariance(Selection.along(SPACE, "x", [6, 1])),
    "information": Information(),
    "information about two sums": Information(matrix(2, 6)),
}


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
def test_a_greedy_sequence_equals_brute_force(goal: Goal) -> None:
    candidates = matrix(5, 1)
    ranking = next_observation(law(), candidates, NOISE, goal, count=4)
    taken: tuple[int, ...] = ()
    reached = 0.0
    for step, added in zip(ranking.chosen.tolist(), ranking.added.tolist(), strict=True):
        worth = {i: utility(goal, candidates, (*taken, i), NOISE) for i in range(5) if i not in taken}
        assert step == max(worth, key=worth.__getitem__)
        assert added == pytest.approx(worth[step] - reached, rel=1e-9)
        taken, reached = (*taken, step), worth[step]
    alone = [utility(goal, candidates, (i,), NOISE) for i in range(5)]
    assert ranking.gain.tolist() == pytest.approx(alone, rel=1e-9)
    assert ranking.order.tolist() == sorted(range(5), key=lambda i: -alone[i])


def test_gains_are_what_conditioning_then_does() -> None:
    candidates, goal = Selection.along(SPACE, "x", [2, 5, 0]), TotalVariance(Selection.along(SPACE, "x", [1, 3]))
    ranking = next_observation(law(), candidates, 0.4, goal)
    chosen = Selection.along(SPACE, "x", [[2, 5, 0][int(ranking.chosen[0])]])
    after = Exact()(Inverse(chosen, law(), torch.tensor([0.7], dtype=torch.float64), Normal(0.4)), Context())
    fall = law().spread().square() - after.spread().square()
    assert float(fall[[1, 3]].sum()) == pytest.approx(float(ranking.added[0]), rel=1e-10)


def test_shared_errors_count_once() -> None:
    """Two candidates of one cell whose errors are the same tell nothing new the second time."""
    twice = Dense(SPACE, Space("y", {"candidate": 2}), torch.eye(7).double()[[0, 0]])
    shared = torch.full((2, 2), 0.25, dtype=torch.float64) + 1e-9 * torch.eye(2, dtype=torch.float64)
    ranking = next_observation(law(), twice, Multivariate(shared), count=2)
    apart = next_observation(law(), twice, 0.5, count=2)
    assert float(ranking.added[1]) < 1e-6 < 0.1 < float(apart.added[1])


@pytest.mark.parametrize("seed", range(5))
def test_information_is_submodular_and_greedy_within_its_bound(seed: int) -> None:
    """What a candidate adds never grows with the set it is added to; greedy has at least 1 - 1/e of the best set."""
    candidates = matrix(5, 10 + seed)
    worth = {
        frozenset(s): utility(Information(), candidates, s, NOISE) if s else 0.0
        for size in range(6)
        for s in itertools.combinations(range(5), size)
    }
    for small, large in itertools.product(worth, worth):
        if small <= large:
            for i in set(range(5)) - large:
                assert worth[small | {i}] - worth[small] >= worth[large | {i}] - worth[large] - 1e-9
    ranking = next_observation(law(), candidates, NOISE, count=3)
    best = max(value for s, value in worth.items() if len(s) == 3)
    assert float(ranking.added.sum()) >= (1 - 1 / 2.718281828) * best
    assert float(ranking.added.sum()) == pytest.approx(worth[frozenset(ranking.chosen.tolist())], rel=1e-9)


def test_costs_and_budget() -> None:
    candidates = matrix(5, 1)
    free = next_observation(law(), candidates, NOISE, TotalVariance(), count=5)
    best = int(free.chosen[0])
    dear = torch.ones(5, dtype=torch.float64)
    dear[best] = 1e3
    ranking = next_observation(law(), candidates, NOISE, TotalVariance(), count=5, cost=dear)
    assert int(ranking.chosen[-1]) == best
    within = next_observation(law(), candidates, NOISE, TotalVariance(), count=5, cost=dear, budget=3.5)
    assert len(within.chosen) == 3
    assert best not in within.chosen.tolist()
    table = ranking.table()
    assert table["gain"].dims == ("candidate",)
    assert float(table["cost"][best]) == 1e3


def test_thousands_of_candidates_in_a_second() -> None:
    space = Space("m", {"x": 3000})
    at = torch.linspace(0, 100, 3000, dtype=torch.float64)
    covariance = DenseCovariance(torch.exp(-(at[:, None] - at).abs()))
    posterior = Gaussian(space, torch.zeros(3000, dtype=torch.float64), covariance)
    every = Selection.along(space, "x", space.labels("x"))
    spent = []
    for _ in range(2):
        start = time.process_time()
        next_observation(posterior, every, 0.1, TotalVariance(), count=10)
        spent.append(time.process_time() - start)
    assert min(spent) < 1.0


ROWS = 1000


def rows() -> Draws:
    return Draws(SPACE, law().sample(ROWS, Rng(4)))


@pytest.mark.parametrize("goal", [TotalVariance(matrix(2, 5)), Information()], ids=["variance", "information"])
def test_rows_estimate_the_closed_form(goal: Goal) -> None:
    """Within 4.5 standard errors and the stated bias of a few per cent; false alarm 1e-4 for ten estimates."""
    candidates = matrix(5, 1)
    exact = next_observation(law(), candidates, 3 * NOISE, goal, count=2)
    found = next_observation(rows(), candidates, 3 * NOISE, goal, count=2)
    assert bool((found.standard_error > 0).all())
    assert bool(((found.gain - exact.gain).abs() < 4.5 * found.standard_error + 0.06 * exact.gain).all())
    assert abs(float(found.added[1] - exact.added[1])) < 4.5 * float(found.added_error[1]) + 0.1 * float(exact.added[1])


def test_weighted_rows_stand_for_the_law_they_weigh() -> None:
    wide = torch.tensor(1.5, dtype=torch.float64)
    x = wide * Rng(8).normal((2 * ROWS, 1))
    weights = -0.5 * x[:, 0].square() * (1 - 1 / wide**2)
    posterior = Draws(Space("m", {"x": 1}), x, weights)
    ranking = next_observation(posterior, Selection.along(posterior.space, "x", [0]), 0.5, TotalVariance())
    assert abs(float(ranking.gain) - 1 / 1.25) < 4.5 * float(ranking.standard_error) + 0.02


def test_refusals_name_the_next_step() -> None:
    candidates = matrix(5, 1)
    with pytest.raises(UnanswerableError, match="TotalVariance"):
        next_observation(rows(), candidates, NOISE, Information(matrix(2, 6)))
    with pytest.raises(UnanswerableError, match="more draws"):
        next_observation(rows(), candidates, 1e-6 * NOISE)
    with pytest.raises(UnanswerableError, match="independent"):
        next_observation(rows(), candidates, Multivariate(torch.eye(5).double()))
    several = Gaussian(SPACE, torch.zeros(2, 7).double(), law().covariance, problems={"day": None})
    with pytest.raises(UnanswerableError, match="one at a time"):
        next_observation(several, candidates, NOISE)
    with pytest.raises(ShapeError, match="costs"):
        next_observation(law(), candidates, NOISE, cost=torch.ones(3))
    with pytest.raises(OptionError, match="positive"):
        next_observation(law(), candidates, NOISE, cost=torch.zeros(5))
    with pytest.raises(OptionError, match="empty"):
        next_observation(law(), candidates, NOISE, count=0)
    with pytest.raises(ShapeError, match="look at"):
        next_observation(law(), Selection.example(), 1.0)
    known = Gaussian(SPACE, torch.zeros(7).double(), DiagonalCovariance(torch.zeros(7).double()))
    with pytest.raises(DataError, match="known exactly"):
        next_observation(known, Selection.along(SPACE, "x", [0, 1]), Multivariate(torch.zeros(2, 2).double()), count=2)
