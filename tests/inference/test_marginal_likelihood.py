"""Learnt numbers against closed forms and against another implementation."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from posteriori.core.algebra import Identity
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.noise import Normal
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.inference.conjugate_gradients import ConjugateGradients
from posteriori.inference.exact import Exact
from posteriori.inference.laplace import Laplace
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.inference.problems import growth, regression, scaled_regression
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern


def spread_data(m: int = 200) -> Inverse:
    """Independent y ~ N(0, 0.6² + s²): the best s² is mean(y²) - 0.6²."""
    space = Space("m", {"x": m})
    prior = Gaussian(space, torch.zeros(m, dtype=torch.float64), DiagonalCovariance(torch.full((m,), 0.36).double()))
    return Inverse(Identity(space), prior, 1.5 * Rng(2).normal((m,)), Normal(0.0, excess=0.3))


def best(target: Inverse) -> float:
    return float((target.data.square().mean() - 0.36).sqrt())


def excess(target: Target) -> float:
    assert isinstance(target, Inverse)
    assert isinstance(target.noise, Normal)
    assert target.noise.log_excess is not None
    return float(target.noise.log_excess.detach().exp())


@pytest.mark.parametrize("blocks", [1, 5])
def test_finds_the_best_model_error(blocks: int) -> None:
    """The data are independent, so that blocks lose nothing."""
    target = spread_data()
    fitted = MarginalLikelihood(Exact(), blocks=blocks).fit(target)
    assert abs(excess(fitted) / best(target) - 1) < 1e-4


def test_laplace_gives_the_same_numbers() -> None:
    target = scaled_regression(4, 30)
    exact, laplace = (excess(MarginalLikelihood(method).fit(target)) for method in (Exact(), Laplace()))
    assert abs(exact / laplace - 1) < 1e-4
    assert 0.2 < exact < 0.8


def test_agrees_with_scikit_learn() -> None:
    """Length, amplitude and noise of a Matérn process, all three learnt; scikit-learn's own optimiser, its own code."""
    process = pytest.importorskip("sklearn.gaussian_process")
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")
    x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    y = torch.sin(7 * x[:, 0]) + 0.2 * Rng(4).normal((40,))
    space = Space("f", {"x": 40})
    prior = GaussianProcess(space, x, Matern([0.3], spread=1e4))
    target = Inverse(Identity(space), prior, y, Normal(0.0, excess=0.5))
    fitted = MarginalLikelihood(Exact(), tolerance=1e-6).fit(target)
    theirs = process.GaussianProcessRegressor(
        kernels.ConstantKernel(1.0) * kernels.Matern(0.3, nu=2.5) + kernels.WhiteKernel(0.25), alpha=0.0
    ).fit(x.numpy(), y.numpy())
    assert isinstance(fitted, Inverse)
    assert isinstance(fitted.prior, GaussianProcess)
    ours = dict(fitted.prior.named_parameters())["covariance.kernel.numbers.logs"].detach().exp().numpy()
    amplitude2, length, noise2 = np.exp(theirs.kernel_.theta)
    assert np.allclose([ours[0] ** 2, ours[1], excess(fitted) ** 2], [amplitude2, length, noise2], rtol=2e-2)
    gained = float(Exact().log_evidence(fitted).detach()) - theirs.log_marginal_likelihood_value_
    assert gained > -1e-4


def test_the_prior_of_the_numbers_counts() -> None:
    """With a spread of 1e-3 around its median a length cannot move."""
    space = Space("f", {"x": 20})
    x = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None]
    prior = GaussianProcess(space, x, Matern([0.3], spread=1e-3))
    target = Inverse(Identity(space), prior, torch.sin(20 * x[:, 0]), 0.1)
    fitted = MarginalLikelihood(Exact()).fit(target)
    logs = next(fitted.parameters()).detach()
    assert (logs - torch.tensor([1.0, 0.3]).log()).abs().max() < 1e-2


def test_the_answer_is_that_of_the_fitted_target() -> None:
    target = scaled_regression(4, 30)
    method = MarginalLikelihood(Exact())
    answer, expected = infer(target, method), infer(method.fit(target), Exact())
    assert torch.allclose(answer.center(), expected.center())
    assert torch.allclose(answer.spread(), expected.spread())
    assert answer.log_evidence is not None
    assert expected.log_evidence is not None
    assert float(answer.log_evidence) > float(Exact().log_evidence(target).detach())


def test_the_target_is_left_alone_and_fixed_numbers_stay() -> None:
    target = spread_data()
    before = deepcopy(target.state_dict())
    MarginalLikelihood(Exact()).fit(target)
    assert all(torch.equal(before[k], v) for k, v in target.state_dict().items())
    next(target.parameters()).requires_grad_(False)
    with pytest.raises(UnanswerableError, match=r"no nn\.Parameter"):
        infer(target, MarginalLikelihood(Exact()))


@dataclass(frozen=True)
class Counting:
    """Exact, with each evaluation of its evidence noted."""

    calls: list[int]

    def __call__(self, target: Target, context: Context) -> Posterior:
        return Exact()(target, context)

    def log_evidence(self, target: Target) -> Tensor:
        self.calls.append(1)
        return Exact().log_evidence(target)


def test_few_evaluations_are_spent() -> None:
    calls: list[int] = []
    MarginalLikelihood(Counting(calls)).fit(spread_data())
    assert len(calls) <= 15


def test_recovers_from_numbers_for_which_nothing_is_finite() -> None:
    """A start so bad that the line search overshoots into overflow must still end at the best value."""
    target = spread_data()
    assert isinstance(target.noise, Normal)
    assert target.noise.log_excess is not None
    with torch.no_grad():
        target.noise.log_excess.fill_(-200.0)
    bad = deepcopy(target)
    bad.data.fill_(1e200)
    with pytest.raises(UnanswerableError, match="starting values"):
        MarginalLikelihood(Exact()).fit(bad)
    with torch.no_grad():
        target.noise.log_excess.fill_(-6.0)
    assert abs(excess(MarginalLikelihood(Exact()).fit(target)) / best(target) - 1) < 1e-3


def test_refuses_what_it_cannot_fit() -> None:
    with pytest.raises(UnanswerableError, match="no log_evidence"):
        MarginalLikelihood(ConjugateGradients())
    with pytest.raises(UnanswerableError, match=r"no nn\.Parameter"):
        infer(regression(), MarginalLikelihood(Exact()))
    plain = growth()
    learning = Inverse(plain.operator, plain.prior, plain.data, Normal(0.5, excess=0.1))
    with pytest.raises(UnanswerableError, match="linear"):
        infer(learning, MarginalLikelihood(Exact()))
    with pytest.raises(OptionError, match="blocks"):
        MarginalLikelihood(Exact(), blocks=0)
    with pytest.raises(OptionError, match="cannot fill"):
        MarginalLikelihood(Exact(), blocks=500).fit(spread_data())
