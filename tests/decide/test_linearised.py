"""Tangents of nonlinear operators, and candidates that are groups of data, against what they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.correlated import Multivariate
from posteriori.core.covariance import DenseCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.decide.goals import Goal, Information, TotalVariance
from posteriori.decide.linearised import Linearised
from posteriori.decide.next_observation import next_observation
from posteriori.testing import check_operator

CELLS, SHOTS, RECEIVERS = 5, 4, 3
SPACE = Space("m", {"x": CELLS})
DATA = Space("d", {"shot": SHOTS, "receiver": RECEIVERS})
MANY = Space("d", {"shot": SHOTS, "receiver": 9})


class Curved(TorchOperator):
    """m ↦ tanh(A m) + 0.3 (A m)², in the shape of a gather."""

    def __init__(self, codomain: Space = DATA) -> None:
        super().__init__()
        self.domain, self.codomain = SPACE, codomain
        self.register_buffer("matrix", Rng(3).normal((codomain.size, CELLS)))
        self.matrix: Tensor

    def forward(self, m: Tensor) -> Tensor:
        y = m @ self.matrix.to(m.dtype).mT
        return self.codomain.unflat(y.tanh() + 0.3 * y.square())


def law() -> Gaussian:
    root = Rng(0).normal((CELLS, CELLS))
    return Gaussian(SPACE, Rng(1).normal((CELLS,)), DenseCovariance(root @ root.mT / CELLS))


def linear(codomain: Space = DATA) -> Dense:
    return Dense(SPACE, codomain, Rng(2).normal((codomain.size, CELLS)))


def sigma(codomain: Space = DATA) -> Tensor:
    return 0.2 + Rng(5).uniform((codomain.size,)).double()


def after(chosen: tuple[int, ...], candidates: Dense, covariance: Tensor) -> Tensor:
    """Posterior covariance of all data of the ``chosen`` shots, written out."""
    prior = law().covariance.dense()
    width = candidates.codomain.shape[1]
    cells = torch.cat([torch.arange(width) + width * i for i in chosen])
    j = candidates.rows(prior)[cells]
    s = j @ prior @ j.mT + covariance[cells[:, None], cells]
    return prior - prior @ j.mT @ torch.linalg.solve(s, j @ prior)


def worth(goal: Goal, left: Tensor) -> float:
    prior = law().covariance.dense()
    b = torch.eye(CELLS).double() if goal.operator is None else goal.operator.rows(prior)
    before, then = b @ prior @ b.mT, b @ left @ b.mT
    if isinstance(goal, TotalVariance):
        return float((before - then).trace())
    return float(0.5 * (torch.logdet(before) - torch.logdet(then)))


SUMS = Dense(SPACE, Space("g", {"sum": 2}), Rng(9).normal((2, CELLS)))
GOALS = {
    "all variance": TotalVariance(),
    "variance of two sums": TotalVariance(SUMS),
    "information": Information(),
    "information about two sums": Information(SUMS),
}


@pytest.mark.parametrize("codomain", [DATA, MANY], ids=["few data a group", "more data than cells"])
@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
def test_groups_equal_brute_force(goal: Goal, codomain: Space) -> None:
    candidates, errors = linear(codomain), sigma(codomain)
    ranking = next_observation(law(), candidates, errors, goal, by="shot", count=SHOTS)
    taken: tuple[int, ...] = ()
    reached = 0.0
    for step, added in zip(ranking.chosen.tolist(), ranking.added.tolist(), strict=True):
        total = {
            i: worth(goal, after((*taken, i), candidates, errors.square().diag()))
            for i in range(SHOTS)
            if i not in taken
        }
        assert step == max(total, key=total.__getitem__)
        assert added == pytest.approx(total[step] - reached, rel=1e-8)
        taken, reached = (*taken, step), total[step]
    alone = [worth(goal, after((i,), candidates, errors.square().diag())) for i in range(SHOTS)]
    assert ranking.gain.tolist() == pytest.approx(alone, rel=1e-9)
    assert ranking.candidates.dims == ("shot",)


def test_groups_along_the_inner_dim_and_groups_of_one() -> None:
    ranking = next_observation(law(), linear(), sigma(), by="receiver", count=2)
    turned = linear().matrix.reshape(SHOTS, RECEIVERS, CELLS).movedim(0, 1).reshape(-1, CELLS)
    other = Dense(SPACE, Space("d", {"receiver": RECEIVERS, "shot": SHOTS}), turned)
    errors = sigma().reshape(SHOTS, RECEIVERS).T.flatten()
    again = next_observation(law(), other, errors, by="receiver", count=2)
    assert torch.allclose(ranking.gain, again.gain, rtol=1e-10)
    single = Dense(SPACE, Space("d", {"station": DATA.size}), linear().matrix)
    alone = next_observation(law(), single, sigma(), count=4)
    grouped = next_observation(law(), single, sigma(), by="station", count=4)
    assert torch.equal(alone.chosen, grouped.chosen)
    assert torch.allclose(alone.added, grouped.added, rtol=1e-9)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
def test_errors_that_hang_together_across_groups(goal: Goal) -> None:
    root = Rng(11).normal((DATA.size, DATA.size))
    shared = 0.1 * root @ root.mT / DATA.size + 0.05 * torch.eye(DATA.size).double()
    ranking = next_observation(law(), linear(), Multivariate(shared), goal, by="shot", count=2)
    first, second = ranking.chosen.tolist()
    total = worth(goal, after((first, second), linear(), shared))
    assert float(ranking.added.sum()) == pytest.approx(total, rel=1e-8)


def test_gaps_of_a_group_tell_nothing_and_an_empty_group_is_refused() -> None:
    mask = torch.ones(SHOTS, RECEIVERS, dtype=torch.bool)
    mask[1, 0] = mask[2, 1] = False
    gappy = Space("d", {"shot": SHOTS, "receiver": RECEIVERS}, mask=mask)
    found = next_observation(law(), Dense(SPACE, gappy, linear().matrix), sigma(), by="shot")
    deaf = sigma().reshape(SHOTS, RECEIVERS).where(mask, 1e9).flatten()
    wanted = next_observation(law(), linear(), deaf, by="shot")
    assert torch.allclose(found.gain, wanted.gain, rtol=1e-9)
    mask[3] = False
    with pytest.raises(ShapeError, match="shot = 3"):
        next_observation(
            law(), Dense(SPACE, Space("d", {"shot": 4, "receiver": 3}, mask=mask), linear().matrix), 1.0, by="shot"
        )
    with pytest.raises(ShapeError, match="dims"):
        next_observation(law(), linear(), 1.0, by="station")


@pytest.mark.parametrize("goal", [TotalVariance(SUMS), Information()], ids=["variance", "information"])
def test_rows_estimate_the_closed_form_of_groups(goal: Goal) -> None:
    """Within 4.5 standard errors and a few per cent of bias; false alarm below 1e-4 for four estimates."""
    rows = Draws(SPACE, law().sample(1500, Rng(4)))
    exact = next_observation(law(), linear(), 10 * sigma(), goal, by="shot")
    found = next_observation(rows, linear(), 10 * sigma(), goal, by="shot", draws=1500)
    assert bool(((found.gain - exact.gain).abs() < 4.5 * found.standard_error + 0.06 * exact.gain).all())


def test_a_tangent_keeps_the_contract_and_touches_at_the_point() -> None:
    operator, at = Curved(), law().location
    tangent = Linearised(operator, at)
    check_operator(tangent)
    check_operator(Linearised.example())
    assert torch.allclose(tangent(at), operator(at), rtol=1e-14)
    for h in (1e-2, 1e-3):
        step = h * Rng(7).normal((CELLS,))
        assert float((tangent(at + step) - operator(at + step)).abs().max()) < 20 * h**2
    check_operator(tangent.dense())
    m = Rng(8).normal((3, CELLS))
    assert torch.allclose(tangent.dense()(m), tangent(m), rtol=1e-12)
    wide = Linearised(Curved(Space("d", {"shot": 1, "receiver": 2})), at)
    assert torch.allclose(wide.rows(at), wide.dense().matrix, rtol=1e-14)


def test_the_tangent_of_a_linear_operator_is_itself() -> None:
    operator = linear()
    tangent = Linearised(operator, law().location)
    m = Rng(8).normal((3, CELLS))
    assert torch.allclose(tangent(m), operator(m), rtol=1e-12, atol=1e-12)
    ranking, wanted = (next_observation(law(), o, sigma(), by="shot", count=2) for o in (tangent, operator))
    assert torch.allclose(ranking.added, wanted.added, rtol=1e-9)


def test_tangents_rank_as_rows_of_a_narrow_posterior_do() -> None:
    """Where the operator bends little over the posterior the Gauss-Newton gains are those found from its rows."""
    narrow = Gaussian(SPACE, law().location, DenseCovariance(1e-4 * law().covariance.dense()))
    noise = 0.02 * sigma()
    approximate = next_observation(narrow, Linearised(Curved(), narrow.location), noise, by="shot")
    by_rows = next_observation(narrow, Curved(), Normal(noise), by="shot", draws=2000)
    error = 4.5 * by_rows.standard_error + 0.06 * approximate.gain
    assert bool(((by_rows.gain - approximate.gain).abs() < error).all())


def test_a_point_without_a_value_is_refused() -> None:
    with pytest.raises(DataError, match="point of linearisation"):
        Linearised(Curved(), torch.full((CELLS,), torch.nan))
    with pytest.raises(ShapeError, match="point"):
        Linearised(Curved(), torch.zeros(3))
