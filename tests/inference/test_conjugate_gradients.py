"""Conjugate gradients against the dense closed form, to rounding."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.algebra import Dense
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.noise import Bernoulli, Normal
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.inference.conjugate_gradients import ConjugateGradients
from posteriori.inference.exact import Exact
from posteriori.inference.lanczos import log_determinant
from posteriori.inference.problems import banana, growth, regression


def smooth(cells: int = 120, data: int = 70, dtype: torch.dtype = torch.float64) -> Inverse:
    """A smooth field seen at some cells, errors from 0.01 to 1."""
    at = torch.linspace(0, 1, cells, dtype=torch.float64)
    k = torch.exp(-0.5 * ((at[:, None] - at) / 0.1).square()) + 1e-8 * torch.eye(cells)
    space = Space("m", {"x": cells})
    prior = Gaussian(space, torch.zeros(cells, dtype=dtype), DenseCovariance(k.to(dtype)))
    order = Rng(3).permutation(cells)[:data].sort().values
    operator = Selection(space, Space("d", {"id": data}), order)
    sigma = torch.logspace(-2, 0, data, dtype=torch.float64)
    return Inverse(operator, prior, torch.sin(9 * at[order]).to(dtype), Normal(sigma))


@pytest.mark.parametrize("rank", [0, 10, 200])
@pytest.mark.parametrize("question", [smooth(), regression(30, 40)], ids=["selection", "matrix"])
def test_answers_as_the_dense_factor_does(question: Inverse, rank: int) -> None:
    exact, found = infer(question, Exact()), infer(question, ConjugateGradients(rank=rank))
    cells = torch.tensor([0, 7, 11, 29])
    assert torch.allclose(found.center(), exact.center(), atol=1e-8, rtol=0)
    assert torch.allclose(found.spread(), exact.spread(), atol=1e-8, rtol=0)
    assert torch.allclose(found.covariance_between(cells), exact.covariance_between(cells), atol=1e-8, rtol=0)
    v = Rng(0).normal((2, question.space.size))
    assert torch.allclose(found.covariance.matmul(v), exact.covariance.matmul(v), atol=1e-8, rtol=0)


def test_answers_many_problems_at_once() -> None:
    question = regression(20, 15)
    _, many = question.simulate(6, Rng(1))
    exact, found = infer(many, Exact()), infer(many, ConjugateGradients(rank=5))
    assert torch.allclose(found.center(), exact.center(), atol=1e-8)
    assert found.log_evidence is not None
    assert found.log_evidence.shape == (6,)


@pytest.mark.parametrize("rank", [0, 10, 40])
def test_log_evidence_lies_within_its_error(rank: int) -> None:
    """Four standard errors of 64 probes: false alarm about 1e-4."""
    question = smooth()
    exact, found = infer(question, Exact()), infer(question, ConjugateGradients(rank=rank, probes=64))
    assert exact.log_evidence is not None
    assert found.log_evidence is not None
    assert found.log_evidence_error is not None
    assert abs(float(found.log_evidence - exact.log_evidence)) < 4 * float(found.log_evidence_error) + 1e-8


def test_a_better_preconditioner_gives_a_surer_evidence() -> None:
    errors = [infer(smooth(), ConjugateGradients(rank=rank)).log_evidence_error for rank in (0, 20, 70)]
    assert errors[0] > 3 * errors[1] > 3 * errors[2]
    assert infer(smooth(), ConjugateGradients(probes=0)).log_evidence is None


def test_draws_follow_the_law() -> None:
    """Whitened draws are standard normal: mean squares within 5 standard errors (false alarm 6e-7)."""
    question = smooth(40, 25)
    exact, found = infer(question, Exact()), infer(question, ConjugateGradients(rank=10))
    rows = found.sample(2000, Rng(5)) - exact.center()
    projections = Rng(6).normal((8, 40))
    ratio = (rows @ projections.mT).square().mean(0) / (projections @ exact.covariance.dense() * projections).sum(-1)
    assert (ratio - 1).abs().max() < 5 * (2 / 2000) ** 0.5


def test_variances_from_draws_have_the_stated_error() -> None:
    question = smooth(40, 25)
    exact, found = infer(question, Exact()), infer(question, ConjugateGradients(variance_draws=800))
    ratio = found.spread() / exact.spread() - 1
    assert 0.3 / (2 * 800) ** 0.5 < ratio.square().mean().sqrt() < 2 / (2 * 800) ** 0.5
    assert torch.equal(found.spread(), found.spread())


def test_gaps_in_the_data_do_not_count() -> None:
    question = regression(6, 8)
    keep = torch.tensor([True, True, False, True, True, True, False, True])
    space = Space("d", {"station": 8}, mask=keep)
    assert isinstance(question.operator, Dense)
    operator = Dense(question.space, space, question.operator.matrix, question.operator.constant)
    gapped = Inverse(operator, question.prior, question.data, question.noise)
    exact, found = infer(gapped, Exact()), infer(gapped, ConjugateGradients())
    assert torch.allclose(found.center(), exact.center(), atol=1e-8)


def test_single_precision_reaches_its_own_rounding() -> None:
    found = infer(smooth(dtype=torch.float32), ConjugateGradients(rank=40))
    assert found.center().dtype == torch.float32
    assert (found.center() - infer(smooth(), Exact()).center()).abs().max() < 2e-2


def test_refuses_what_it_cannot_answer() -> None:
    for question in (growth(), banana()):
        with pytest.raises(UnanswerableError, match="Laplace or HMC"):
            infer(question, ConjugateGradients())
    logistic = Inverse(regression().operator, regression().prior, torch.ones(3, dtype=torch.float64), Bernoulli())
    with pytest.raises(UnanswerableError, match="Gaussian noise"):
        infer(logistic, ConjugateGradients())
    with pytest.raises(UnanswerableError, match="raise rank"):
        infer(smooth(), ConjugateGradients(rank=0, iterations=5))
    with pytest.raises(OptionError):
        ConjugateGradients(tolerance=2.0)


def test_log_determinant_of_known_matrices() -> None:
    """Random signs give a diagonal's log-determinant without variance; other matrices within 4 errors."""
    values = torch.logspace(-1, 2, 30, dtype=torch.float64)
    signs = torch.where(Rng(0).uniform((16, 30)) < 0.5, -1.0, 1.0).double()
    found, error = log_determinant(lambda v: v * values, signs, 30)
    assert abs(float(found - values.log().sum())) < 1e-9
    assert float(error) < 1e-9
    turn = torch.linalg.qr(Rng(1).normal((30, 30))).Q
    matrix = turn @ torch.diag(values) @ turn.mT
    found, error = log_determinant(lambda v: v @ matrix, signs, 30)
    assert 0 < abs(float(found - values.log().sum())) < 4 * float(error)
    found, _ = log_determinant(lambda v: 3.0 * v, signs, 30)
    assert abs(float(found) - 30 * torch.log(torch.tensor(3.0))) < 1e-5
