"""Held-out predictions, model weights and averages, against refits and known optima."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from posteriori.core.correlated import Multivariate
from posteriori.core.covariance import DenseCovariance, ScaledCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import Method, infer
from posteriori.core.mixture import Mixture
from posteriori.core.noise import Bernoulli
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.averaging import Average, ByEvidence, ByPseudoBMA, ByStacking, mixed
from posteriori.inference.exact import Exact
from posteriori.inference.exact_folds import leave_out
from posteriori.inference.held_out import held_out
from posteriori.inference.hmc import HMC
from posteriori.inference.laplace import Laplace
from posteriori.inference.model_weights import evidence_weights, pseudo_bma_weights, stacking_weights
from posteriori.inference.parts import part
from posteriori.inference.problems import banana, growth, regression


@pytest.mark.parametrize("folds", [None, torch.arange(12) % 4, torch.tensor([0] * 11 + [7])])
def test_left_out_as_if_answered_anew(folds: Tensor | None) -> None:
    """Means, spreads and densities of every datum, and of every fold together as a ratio of evidences."""
    target = regression(5, 12)
    found = leave_out(target, folds)
    number = torch.arange(12) if folds is None else folds
    whole = Exact().log_evidence(target)
    for j, name in enumerate(number.unique()):
        out, kept = (number == name).nonzero()[:, 0], (number != name).nonzero()[:, 0]
        rest, new = part(target, kept), part(target, out)
        law = infer(rest, Exact()).map(new.operator)
        assert torch.allclose(found.mean[out], law.center(), atol=1e-9)
        assert torch.allclose(found.noise_free_std[out], law.spread(), atol=1e-9)
        assert torch.allclose(found.std[out], (law.spread().square() + 0.09).sqrt(), atol=1e-9)
        assert torch.allclose(found.fold_log_density[j], whole - Exact().log_evidence(rest), atol=1e-8)
    assert torch.allclose(found.log_density, held_out(Exact(), target, number, Context()), atol=1e-9)


def test_left_out_of_many_problems_and_correlated_errors() -> None:
    _, many = regression(5, 8).simulate(3, Rng(0))
    folds = torch.arange(8) % 2
    together = leave_out(many, folds)
    alone = leave_out(many.given(many.data[1]), folds)
    assert together.mean.shape == (3, 8)
    assert together.fold_log_density.shape == (3, 2)
    assert torch.allclose(together.mean[1], alone.mean)
    assert torch.allclose(together.fold_log_density[1], alone.fold_log_density)
    shared = Multivariate(0.09 * torch.eye(8, dtype=torch.float64))
    plain = many.given(many.data[1])
    correlated = Inverse(plain.operator, plain.prior, plain.data, shared)
    assert torch.allclose(leave_out(correlated, folds).log_density, alone.log_density, atol=1e-9)


def test_held_out_from_draws() -> None:
    """Two thousand rows: log densities within 0.25 of the closed form, the most for data in the tails."""
    target = regression(4, 8)
    folds = torch.arange(8) % 2
    rows = held_out(HMC(draws=300, warmup=100, steps=4, dense=True), target, folds, Context())
    assert (rows - leave_out(target, folds).log_density).abs().max() < 0.25


def test_folds_that_make_no_sense() -> None:
    with pytest.raises(DataError, match="one for each datum"):
        leave_out(regression(4, 8), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match="nothing to learn"):
        leave_out(regression(4, 8), torch.zeros(8, dtype=torch.int64))
    with pytest.raises(UnanswerableError):
        leave_out(growth())


def test_evidence_weights_are_posterior_probabilities() -> None:
    """Odds 3 : 1 of the evidences and 1 : 2 before make 3 : 2."""
    log = torch.tensor([3.0, 1.0], dtype=torch.float64).log() - 1000
    assert torch.allclose(evidence_weights(log), torch.tensor([0.75, 0.25], dtype=torch.float64))
    prior = torch.tensor([1.0, 2.0], dtype=torch.float64).log()
    assert torch.allclose(evidence_weights(log, prior), torch.tensor([0.6, 0.4], dtype=torch.float64))
    assert evidence_weights(torch.zeros(2, 5)).shape == (2, 5)


def test_stacking_reaches_known_optima() -> None:
    """Models that are each right for a share of the cases get that share; a dominated one gets nothing."""
    right = torch.full((2, 100), -50.0, dtype=torch.float64)
    right[0, :30], right[1, 30:] = 0.0, 0.0
    assert torch.allclose(stacking_weights(right), torch.tensor([0.3, 0.7], dtype=torch.float64), atol=1e-4)
    best = torch.stack([torch.zeros(50), -torch.ones(50), -2 * torch.ones(50)])
    assert torch.allclose(stacking_weights(best), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


def test_stacking_cannot_be_improved() -> None:
    """The sum is concave, so that the largest derivative over one bounds what any other weights could gain."""
    log_p = 2 * Rng(0).normal((6, 300))
    w = stacking_weights(log_p)
    p = log_p.exp()
    assert abs(float(w.sum()) - 1) < 1e-12
    assert float((p / (w @ p)).mean(1).max()) - 1 < 1e-5


def test_pseudo_bma_is_softer_than_evidence() -> None:
    """Equal models share; where one is better by 3 ± 10 in the sum, the bootstrap keeps the other alive."""
    assert torch.allclose(pseudo_bma_weights(torch.zeros(4, 20), Rng(0)), torch.full((4,), 0.25, dtype=torch.float64))
    gap = Rng(1).normal((100,))
    gap = gap - gap.mean() + 0.03
    log_p = torch.stack([gap, torch.zeros(100, dtype=torch.float64)])
    soft, hard = pseudo_bma_weights(log_p, Rng(2))[0], evidence_weights(log_p.sum(1))[0]
    assert 0.5 < float(soft) < 0.8 < 0.95 < float(hard)


def test_broken_densities_are_refused() -> None:
    with pytest.raises(DataError, match="nan"):
        stacking_weights(torch.tensor([[0.0, torch.nan], [0.0, 0.0]]))
    with pytest.raises(DataError, match="under every model"):
        stacking_weights(torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]]))


@dataclass(frozen=True)
class Widened:
    """Exact, with spreads multiplied: as bad a model as one likes."""

    factor: float

    def __call__(self, target: Target, context: Context) -> Posterior:
        inner = Exact()(target, context)
        scale = torch.full((1,), self.factor, dtype=torch.float64)
        wide = ScaledCovariance(inner.covariance, scale)
        return Gaussian(inner.space, inner.location, wide, problems=inner.problems)


@pytest.mark.parametrize("weighting", [ByStacking(5), ByPseudoBMA(5)], ids=["stacking", "pseudo-bma"])
def test_held_out_data_find_the_right_model(weighting: ByStacking | ByPseudoBMA) -> None:
    found = infer(regression(4, 80), Average((Widened(30.0), Exact()), weighting))
    assert isinstance(found, Mixture)
    assert float(found.weights[1]) > 0.8


def test_models_weighted_by_evidence() -> None:
    """Two priors for one data set: the mixture's mean is the posterior mean of the joint model over both."""
    question = regression()
    shifted = Gaussian(question.space, question.prior.center() + 1.0, DenseCovariance(question.prior.covariance.matrix))
    other = Inverse(question.operator, shifted, question.data, question.noise)
    answers = [infer(question, Exact()), infer(other, Exact())]
    log = torch.stack([Exact().log_evidence(q) for q in (question, other)])
    found = mixed(answers, evidence_weights(log), Rng(0))
    p = 1 / (1 + float((log[1] - log[0]).exp()))
    assert torch.allclose(found.center(), p * answers[0].center() + (1 - p) * answers[1].center())


def test_each_problem_of_many_has_its_own_weights() -> None:
    question = regression()
    _, many = question.simulate(3, Rng(4))
    answers: Sequence[Posterior] = [infer(many, Exact()), infer(many, Widened(2.0))]
    weights = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], dtype=torch.float64)
    found = mixed(answers, weights, Rng(5))
    assert isinstance(found, Draws)
    ratio = found.spread() / answers[0].spread()
    expected = torch.tensor([1.0, 2.0, 2.5**0.5], dtype=torch.float64)[:, None]
    assert ((ratio / expected - 1).abs() < 0.15).all()
    assert isinstance(infer(many, Average((Exact(), Laplace()))), Draws)


def test_refuses_what_it_cannot_weigh() -> None:
    no_evidence: tuple[Method, ...] = (Exact(), HMC(draws=20, warmup=20))
    with pytest.raises(UnanswerableError, match="ByStacking"):
        infer(regression(), Average(no_evidence, ByEvidence()))
    _, many = regression().simulate(3, Rng(0))
    with pytest.raises(UnanswerableError, match="one problem"):
        infer(many, Average((Exact(), Laplace()), ByStacking()))
    with pytest.raises(OptionError):
        Average(())
    logistic = Inverse(regression().operator, regression().prior, torch.ones(3, dtype=torch.float64), Bernoulli())
    with pytest.raises(UnanswerableError):
        infer(logistic, Average((Exact(), Laplace())))
    assert infer(banana(), Average((Laplace(),))).center().shape == (2,)
