"""What all learners of a field share: designs, the left-over variance, the prior's mean, refusals, workers, stores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor

import posteriori as po
from posteriori.core.algebra import BlockAverage, Identity
from posteriori.core.correlated import Multivariate
from posteriori.core.covariance import DenseCovariance, DiagonalCovariance
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal, Student
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.core.target import Inverse
from posteriori.core.tasks import workers
from posteriori.inference.bagging import Bagging, Polynomial
from posteriori.inference.ensemble import DeepEnsemble
from posteriori.inference.field import Bootstrap, Folds, aleatoric, wave
from posteriori.learn.members import Nets, left_over
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan

FEATURES, TARGET = wave()
SMALL = DeepEnsemble(FEATURES, Layers(8, 1), 3, Plan(epochs=5, batch=12), 3)


def test_folds_hold_each_row_out_once_in_turn() -> None:
    weights = Folds(4).weights(22, 8, Rng(0))
    assert torch.equal((weights == 0).sum(1), torch.full((22,), 2))
    assert set((weights == 0).sum(0).tolist()) <= {5, 6}
    with pytest.raises(OptionError):
        Folds(1).weights(5, 5, Rng(0))


def test_bootstrap_leaves_out_a_share_of_one_over_e() -> None:
    """(1 - 1/n)ⁿ of the rows, within 4 standard errors of 200 resamples."""
    weights = Bootstrap().weights(400, 200, Rng(1))
    assert torch.equal(weights.sum(0), torch.full((200,), 400.0).double())
    assert abs(float((weights == 0).double().mean()) - exp(-1)) < 4 * sqrt(0.1 / 400 / 200)


def test_left_over_variance_is_found() -> None:
    """Residuals of variance 0.3 + τ²; the likelihood's own standard error, τ² within 4 of them."""
    rng = Rng(2)
    tau2 = torch.tensor([0.0, 0.2, 5.0], dtype=torch.float64)
    known = torch.full((3, 2, 4000), 0.3, dtype=torch.float64)
    residual = rng.normal((3, 1, 4000)).expand(3, 2, 4000) * (known + tau2[:, None, None]).sqrt()
    held = torch.ones(3, 2, 4000, dtype=torch.bool)
    found = left_over(residual, known, held)
    error = (0.3 + tau2) * sqrt(2 / 4000)
    assert bool(((found - tau2).abs() < 4 * error + 0.01 * tau2).all())
    assert torch.equal(left_over(residual, known, ~held), torch.zeros(3).double())


def test_prior_mean_is_subtracted_and_added() -> None:
    """Field, prior and data shifted by a smooth function: the answer shifts by it and changes in nothing else."""
    shift = 3 + 2 * FEATURES[:, 0].square()
    prior = TARGET.prior
    assert isinstance(prior, Gaussian)
    moved = Inverse(
        TARGET.operator,
        Gaussian(prior.space, prior.location + shift, prior.covariance),
        TARGET.data + TARGET.operator(shift),
        Normal(0.1),
    )
    plain, other = po.infer(TARGET, SMALL), po.infer(moved, SMALL)
    torch.testing.assert_close(other.center(), plain.center() + shift, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(other.spread(), plain.spread(), rtol=1e-4, atol=1e-6)


def test_members_and_parts_add_up() -> None:
    """total² = between² + aleatoric², and the covariance of two cells is that of the members' means."""
    answer = po.infer(TARGET, replace(SMALL, plan=Plan(epochs=60, batch=24, rate=1e-2)))
    parts = answer.between().square() + aleatoric(answer).square()
    torch.testing.assert_close(answer.spread().square(), parts)
    means = torch.stack([part.center() for part in answer.parts])[:, [3, 5]]
    block = answer.covariance_between(torch.tensor([3, 5]))
    torch.testing.assert_close(block[0, 1], torch.cov(means.mT, correction=0)[0, 1])


def test_several_problems_have_their_own_answers() -> None:
    """The first is answered as if alone; equal data of two problems meet two designs, so their members differ."""
    data = torch.stack([TARGET.data, TARGET.data, 10 * TARGET.data])
    method = Bagging(FEATURES, Polynomial(3), 30)
    together, alone = po.infer(TARGET.given(data), method), po.infer(TARGET, method)
    torch.testing.assert_close(together.center()[0], alone.center())
    torch.testing.assert_close(together.spread()[0], alone.spread())
    gap = (together.center()[1] - alone.center()).abs()
    assert bool((gap > 0).all())
    assert bool((gap < 6 * alone.between() / 30**0.5).all())
    assert float((together.spread()[2] / alone.spread()).mean()) == pytest.approx(10, rel=0.3)


def test_gaps_and_selections_of_selections_reach_the_same_cells() -> None:
    """Half of the data, once as a second selection and once as a mask of the codomain."""
    space = TARGET.operator.codomain
    half = space.labels("x")[::2]
    chosen = TARGET.operator.select("x", half)
    short = Inverse(Selection.along(space, "x", half) @ TARGET.operator, TARGET.prior, TARGET.data[::2], Normal(0.1))
    mask = torch.arange(space.size) % 2 == 0
    gappy = Selection(TARGET.space, replace(space, mask=mask), TARGET.operator.index)
    masked = Inverse(gappy, TARGET.prior, TARGET.data, Normal(0.1))
    direct = Inverse(chosen, TARGET.prior, TARGET.data[::2], Normal(0.1))
    answers = [po.infer(t, SMALL).center() for t in (direct, short, masked)]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_unequal_errors_weigh_by_their_variance() -> None:
    """Bagged straight lines follow the precise half of two contradicting halves; correlated errors count alone."""
    space = po.Space("m", {"x": 40})
    x = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    data = torch.where(torch.arange(40) % 2 == 0, 1.0, -1.0).double()
    sigma = torch.where(torch.arange(40) % 2 == 0, 0.1, 10.0).double()
    prior = Gaussian(space, torch.zeros(40).double(), DiagonalCovariance(torch.ones(40).double()))
    method = Bagging(x, Polynomial(0), 8)
    answer = po.infer(Inverse(Identity(space), prior, data, Normal(sigma)), method)
    torch.testing.assert_close(answer.center(), torch.full((40,), 1 - 2 / 10001).double(), rtol=1e-3, atol=0.0)
    linked = Inverse(Identity(space), prior, data, Multivariate(torch.diag(sigma.square())))
    assert torch.equal(po.infer(linked, method).center(), answer.center())


def test_what_cannot_be_learnt_is_refused() -> None:
    prior = TARGET.prior
    blocks = BlockAverage(prior.space, {"x": 2})
    with pytest.raises(UnanswerableError, match="Selection"):
        po.infer(Inverse(blocks, prior, torch.zeros(20).double(), 0.1), SMALL)
    with pytest.raises(UnanswerableError, match="Student"):
        po.infer(Inverse(TARGET.operator, prior, TARGET.data, Student(0.1)), SMALL)
    with pytest.raises(ShapeError, match="40 cells"):
        po.infer(TARGET, replace(SMALL, features=FEATURES[:-1]))
    with pytest.raises(OptionError, match="0 members"):
        po.infer(TARGET, replace(SMALL, members=0))
    broken = FEATURES.clone()
    broken[7] = torch.nan
    with pytest.raises(DataError, match="feature 0 of cell 7"):
        po.infer(TARGET, replace(SMALL, features=broken))
    with pytest.raises(DataError, match="not finite"):
        po.infer(TARGET, Bagging(FEATURES, Broken(), 2))


@dataclass(frozen=True)
class Broken:
    """Says nothing of use."""

    def fit_predict(self, x: Tensor, y: Tensor, variance: Tensor, x_all: Tensor, rng: Rng) -> Tensor:
        return torch.full((len(x_all),), torch.nan)


def test_finished_tasks_are_kept_but_never_for_another_question(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = po.infer(TARGET, SMALL, store=store)
    written = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors"))
    assert torch.equal(po.infer(TARGET, SMALL, store=store).center(), first.center())
    assert written == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors"))
    other = TARGET.given(2 * TARGET.data)
    assert torch.equal(po.infer(other, SMALL, store=store).center(), po.infer(other, SMALL).center())


@pytest.mark.slow
def test_workers_give_the_same_arrays() -> None:
    """40 nets in 3 blocks over one and two processes."""
    method = replace(SMALL, members=40)
    alone = po.infer(TARGET, method)
    with workers(2) as executor:
        other = po.infer(TARGET, method, executor=executor)
    assert torch.equal(alone.center(), other.center())
    assert torch.equal(alone.spread(), other.spread())


def test_nets_that_cannot_be_thinned_are_refused() -> None:
    prior = Gaussian(TARGET.space, torch.zeros(40).double(), DenseCovariance(torch.eye(40).double()))
    target = Inverse(TARGET.operator, prior, TARGET.data, Normal(0.1))
    with pytest.raises(OptionError, match="thinned"):
        Bagging(FEATURES, Nets(flat, Plan(epochs=1), passes=3), 2)(target, Context())


def flat(inputs: int, outputs: int) -> torch.nn.Module:
    return torch.nn.Linear(inputs, outputs)
