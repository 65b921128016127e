"""Importance sampling: moments, evidence and the verdict of k̂, against closed forms and quadrature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from posteriori.core.covariance import DenseCovariance, ScaledCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.noise import Normal
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.target import Inverse, Target
from posteriori.core.weights import pareto_smooth
from posteriori.inference.curvature import GaussNewton
from posteriori.inference.exact import Exact
from posteriori.inference.hmc import HMC
from posteriori.inference.importance import Importance
from posteriori.inference.laplace import Laplace
from posteriori.inference.problems import banana, growth, regression


def answered(target: Target, method: Importance, seed: int = 0) -> Draws:
    found = infer(target, method, seed)
    assert isinstance(found, Draws)
    assert found.log_evidence is not None
    assert found.log_evidence_error is not None
    return found


def test_a_perfect_proposal_gives_equal_weights() -> None:
    """Without the net every raw weight is the evidence itself."""
    question = regression()
    found = answered(question, Importance(Exact(), draws=200, defensive=0.0, smooth=False))
    exact = infer(question, Exact()).log_evidence
    assert exact is not None
    assert found.log_weights is not None
    assert torch.allclose(found.log_weights, exact.expand(200), atol=1e-9)
    assert torch.allclose(found.ess(), torch.tensor(200.0, dtype=torch.float64))


def test_banana_against_quadrature(quadrature: Callable[..., Any]) -> None:
    """From the prior as proposal: means, spreads and evidence within 5 errors."""
    truth = quadrature(banana(), -6, 6, 600)
    target = banana()
    assert isinstance(target.prior, Gaussian)
    found = answered(target, Importance(target.prior, draws=20000, defensive=0.0))
    std = truth.covariance.diagonal().sqrt()
    assert float(found.pareto_k()) < 0.7
    assert ((found.center() - truth.mean).abs() < 5 * std / found.ess().sqrt()).all()
    assert ((found.spread() / std - 1).abs() < 5 / found.ess().sqrt()).all()
    assert abs(float(found.log_evidence - truth.log_evidence)) < 5 * float(found.log_evidence_error)


def test_every_row_is_kept_and_counted() -> None:
    """Rows outside the support have weight zero, and the evidence is a mean over them too: P(x > 0) = 1/2."""

    class Half(Target):
        def __init__(self) -> None:
            super().__init__()
            self.space = Space("m", {"x": 1}, support=Positive())

        def energy(self, x: Tensor) -> Tensor:
            return (0.5 * x[..., 0].square()).double()

    target = Half()
    whole = Gaussian(target.space, torch.zeros(1).double(), DenseCovariance(torch.eye(1).double()))
    found = answered(target, Importance(whole, draws=4000, defensive=0.0))
    assert len(found.values) == 4000
    assert found.log_weights is not None
    assert 1800 < int((found.log_weights == -torch.inf).sum()) < 2200
    expected = 0.5 * torch.log(torch.tensor(torch.pi / 2, dtype=torch.float64))
    assert abs(float(found.log_evidence - expected)) < 5 * float(found.log_evidence_error)
    assert float(found.center()) > 0.7


def test_evidence_errors_are_those_of_repeats() -> None:
    """Over 60 seeds the squared z-scores sum to a chi-square of 60: between its 1e-4 tails."""
    question = growth()
    method = Importance(question.prior, draws=1000, defensive=0.0)
    found = [answered(question, method, seed) for seed in range(60)]
    sure = answered(question, Importance(Laplace(), draws=60000)).log_evidence
    z = torch.stack([(f.log_evidence - sure) / f.log_evidence_error for f in found])
    assert 25 < float(z.square().sum()) < 115


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.5, 0.9, 1.5])
def test_k_of_known_tails(shape: float) -> None:
    """Draws of generalised Pareto laws: k̂ leans by 10 in 434 towards 1/2 and errs by (1 + k) / √424."""
    u = Rng(5).uniform((20000,))
    weights = ((1 - u) ** -shape - 1) / shape + 1e-3
    k = float(pareto_smooth(weights.log())[1])
    assert abs(k - (shape * 424 + 5) / 434) < 4 * (1 + shape) / 424**0.5 + 0.02


def test_k_tells_good_proposals_from_bad() -> None:
    question = regression()
    exact = infer(question, Exact())
    assert isinstance(exact, Gaussian)
    size = torch.ones(1, dtype=torch.float64)
    narrow = Gaussian(exact.space, exact.location, ScaledCovariance(exact.covariance, 0.4 * size))
    wide = Gaussian(exact.space, exact.location, ScaledCovariance(exact.covariance, 1.5 * size))
    bad, good = (answered(question, Importance(q, defensive=0.0)) for q in (narrow, wide))
    assert float(bad.stats["pareto_k"][0]) > 0.7 > 0.5 > float(good.stats["pareto_k"][0])
    saved = answered(question, Importance(narrow, defensive=0.1, draws=20000))
    assert abs(float(saved.log_evidence - exact.log_evidence)) < 5 * float(saved.log_evidence_error)


def test_smoothing_tames_the_largest_weights_only() -> None:
    target = growth()
    raw = answered(target, Importance(target.prior, smooth=False))
    smooth = answered(target, Importance(target.prior, smooth=True))
    assert raw.log_weights is not None
    assert smooth.log_weights is not None
    assert torch.equal(smooth.stats["raw_log_weight"], raw.log_weights)
    changed = (raw.log_weights != smooth.log_weights).sum()
    assert 0 < int(changed) <= 3 * 4000**0.5 + 1
    assert torch.equal(raw.log_evidence, smooth.log_evidence)  # type: ignore[arg-type]


def test_problems_at_once_and_proposals_of_their_own() -> None:
    truth, many = growth().simulate(40, Rng(3))
    method = Importance(Laplace(GaussNewton()), draws=2000)
    found = answered(many, method)
    assert found.center().shape == truth.shape
    assert found.pareto_k().shape == (40,)
    alone = answered(many.given(many.data[7]), method)
    assert ((alone.center() - found.center()[7]).abs() < 0.2 * alone.spread()).all()
    shared = answered(many, Importance(many.prior, draws=2000))
    assert shared.values.shape == (2000, 40, 3)


def test_refuses_what_it_cannot_answer() -> None:
    question = regression()
    with pytest.raises(UnanswerableError, match="no density"):
        infer(question, Importance(HMC(draws=20, warmup=20)))
    with pytest.raises(UnanswerableError, match="proposal speaks of"):
        infer(question, Importance(banana().prior))
    with pytest.raises(OptionError, match="defensive"):
        Importance(defensive=1.0)
    far = Inverse(question.operator, question.prior, question.data, Normal(0.3))
    beyond = Gaussian(far.space, torch.full((4,), torch.nan).double().nan_to_num(1e200), far.prior.covariance)
    with pytest.raises(UnanswerableError, match="every weight is zero"):
        infer(far, Importance(beyond, defensive=0.0))


def test_shape_of_the_tail_is_that_of_the_raw_weights() -> None:
    posterior = infer(growth(), Importance(draws=2000))
    assert isinstance(posterior, Draws)
    assert float(posterior.pareto_k()) == float(posterior.stats["pareto_k"][0])
