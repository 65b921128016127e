"""Joint inversion: the linked prior is the law it says, the data find the link, and both methods together beat each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from posteriori import Mixture, Rng, infer
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.joint import Observed, Survey, observed
from posteriori.domains.geophysics.joint_links import OverLinks
from posteriori.domains.geophysics.joint_pictures import pairs_picture, sections_of, strengths_picture
from posteriori.domains.geophysics.joint_prior import LinkedPrior
from posteriori.domains.geophysics.joint_trial import Trial, gain, trial
from posteriori.domains.geophysics.small_questions import LogSounding, crosswell, sounding
from posteriori.domains.geophysics.studies.joint import Study
from posteriori.inference.exact import Exact
from posteriori.inference.low_rank_laplace import LowRankLaplace
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.inference.problems import regression
from posteriori.physics.petrophysics import Gardner
from posteriori.testing import check_operator

LENGTHS = {"z": 1000.0, "x": 3000.0}


@pytest.fixture(scope="module")
def survey() -> Survey:
    return Survey()


@pytest.fixture(scope="module")
def run(survey: Survey) -> Trial:
    return trial(survey, 4, survey.correlation, 2, Context(Rng(0)))


def test_the_linked_covariance_is_a_kronecker_product() -> None:
    prior = LinkedPrior.example()
    covariance = prior.covariance
    r = torch.tensor([[1.0, 0.7], [0.7, 1.0]], dtype=torch.float64)
    wanted = covariance.scale[:, None] * torch.kron(r, covariance.field.dense()) * covariance.scale
    every = torch.arange(12)
    some = torch.tensor([7, 0, 7, 3])
    assert float((covariance.dense() - wanted).abs().max()) < 1e-14
    assert float((covariance.block(some, every) - wanted[some]).abs().max()) < 1e-14
    assert float((covariance.matmul(torch.eye(12).double()) - wanted).abs().max()) < 1e-14
    # the largest of 144 entries is off by more than 5 standard errors with probability 1e-4
    rows = covariance.sample(5_000, Rng(0))
    error = (wanted.square() + wanted.diagonal()[:, None] * wanted.diagonal()).sqrt() / 5_000**0.5
    assert float(((rows.T @ rows / 5_000 - wanted).abs() / error).max()) < 5
    with pytest.raises(DataError, match="outside"):
        Survey().prior(1.0)


def test_density_follows_gardner_but_for_the_scatter(survey: Survey) -> None:
    """Regression of density on velocity over 300 sections: Gardner's slope, and the scatter that was asked for."""
    draws = survey.space.split(survey.prior(survey.correlation).sample(300, Rng(1)))
    v, rho = (draws[name] - mean for name, mean in zip(("velocity", "density"), survey.means, strict=True))
    slope = (v * rho).mean(0) / v.square().mean(0)
    wanted = Gardner(survey.grid).slope(survey.means[0])
    assert float((slope / wanted - 1).mean().abs()) < 0.02
    left = (rho - slope * v).square().mean().sqrt() / rho.square().mean().sqrt()
    assert float(left) == pytest.approx(0.3, abs=0.02)


def test_together_they_beat_each_alone_and_cover(run: Trial) -> None:
    joint = run.errors("joint", None)
    for single in ("seismic", "gravity", "seismic, told", "gravity, told"):
        assert gain(joint, run.errors(single, None), Rng(0))[0] > 0.05
    assert 0.8 < float(run.coverage().mean()) < 0.98
    assert 0.8 < float(run.strength.mean()) < 0.99


def test_a_false_link_is_seen_and_costs_little(survey: Survey) -> None:
    apart = trial(survey, 3, 0.0, 2, Context(Rng(2)))
    own = 0.5 * (apart.errors("seismic", 0) + apart.errors("gravity", 1))
    assert float((apart.errors("joint", None).mean() / own.mean()).sqrt()) < 1.05
    assert float(apart.strength.mean()) < 0.5


def test_without_a_link_the_parts_are_those_of_the_single_inversions(survey: Survey) -> None:
    _, times, gravity = survey.simulate(1, 0.0, Rng(4))
    seen = observed(survey, times[0], gravity[0], 1, Context())
    prior = survey.prior(0.0)
    both = infer(seen.question(survey, prior), Exact())
    n = survey.grid.size
    for part, cells in (
        (Observed(seen.seismic, None), slice(0, n)),
        (Observed(None, seen.gravity), slice(n, 2 * n)),
    ):
        alone = infer(part.question(survey, prior), Exact())
        gap = (both.center() - alone.center())[cells].abs() / alone.spread()[cells]
        assert float(gap.max()) < 1e-8


def test_the_average_over_strengths_is_the_one_of_its_parts(survey: Survey) -> None:
    _, times, gravity = survey.simulate(1, survey.correlation, Rng(5))
    seen = observed(survey, times[0], gravity[0], 2, Context())
    question = seen.question(survey, survey.prior(0.0))
    over = OverLinks(strengths=(0.0, 0.9))
    mixture = infer(question, over)
    assert isinstance(mixture, Mixture)
    assert float(mixture.weights[1]) > 0.9
    fitted = MarginalLikelihood(Exact(), steps=12).fit(
        seen.question(survey, LinkedPrior(survey.space, survey.means, survey.sigmas, LENGTHS, 0.3, learn=True))
    )
    assert float(fitted.prior.covariance.correlation.detach()) > 0.9  # type: ignore[union-attr]
    with pytest.raises(UnanswerableError, match="LinkedPrior"):
        infer(regression(), over)
    with pytest.raises(UnanswerableError, match="no evidence"):
        OverLinks(_mute, (0.0,))(question, Context())  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="correlations"):
        OverLinks(strengths=(1.0,))


def _mute(target: object, context: Context) -> object:
    answer = infer(target, Exact())  # type: ignore[arg-type]
    answer.log_evidence = None
    return answer


@pytest.mark.slow
def test_tangents_and_the_nonlinear_operators_give_one_posterior(survey: Survey) -> None:
    """Gauss-Newton with the whole eikonal against the tangent at the seismic mode: within a quarter of its spread."""
    truth, times, gravity = survey.simulate(1, survey.correlation, Rng(3))
    prior = survey.prior(survey.correlation)
    linear = infer(observed(survey, times[0], gravity[0], 2, Context()).question(survey, prior), Exact())
    operator = survey.operator()
    data = torch.zeros(operator.codomain.size, dtype=torch.float64)
    data[survey.picks], data[survey.seismic.codomain.size :] = times[0], gravity[0]
    whole = infer(Inverse(operator, prior, data, Normal(survey.errors())), LowRankLaplace(rank=64, tolerance=1e-4))
    away = (whole.center() - linear.center()) / linear.spread()
    assert float(away.square().mean().sqrt()) < 0.25
    assert float((whole.spread() / linear.spread() - 1).abs().max()) < 0.2
    inside = ((whole.center() - truth[0]).abs() < 1.645 * whole.spread()).double().mean()
    assert 0.75 < float(inside) <= 1.0


def test_methods_answer_real_operators() -> None:
    check_operator(LogSounding.example())
    target = sounding()
    found, fewer = infer(target, LowRankLaplace(rank=10)), infer(target, LowRankLaplace(rank=6))
    assert float((found.center() - fewer.center()).abs().max()) < 1e-6
    wells = crosswell(shots=2, receivers=3)
    velocity = infer(wells, LowRankLaplace(rank=6, tolerance=1e-4))
    assert velocity.log_evidence is not None
    assert float((velocity.spread() / wells.prior.covariance.diagonal().sqrt().reshape(8, 8)).max()) < 1.0  # type: ignore[union-attr]


def test_pictures_are_drawn(run: Trial, survey: Survey) -> None:
    means = {"truth": run.truth[0], "joint": run.answers["joint"][0].mean}
    draws: list[Callable[[], object]] = [
        lambda: sections_of(survey, means, run.answers["joint"][0].std),
        lambda: pairs_picture({"true link": (np.array([0.5, 0.6]), np.array([0.4, 0.5]))}),
        lambda: strengths_picture({"true link": run.strength.numpy()}),
    ]
    for draw in draws:
        figure = draw()
        figure.canvas.draw()  # type: ignore[attr-defined]
        axes = figure.axes  # type: ignore[attr-defined]
        assert all(a.has_data() for a in axes if a.axison)
        assert any(a.get_xlabel() for a in axes)
        assert any(a.get_ylabel() for a in axes)


def test_bad_options_are_refused() -> None:
    with pytest.raises(OptionError, match="scatter"):
        Survey(scatter=1.5)
    for spread in (-1.0, 1.0, 1e9):
        with pytest.raises(OptionError, match=r"longest offset of .* between 300 m and the section's 20000 m"):
            Survey(spread=spread)
    with pytest.raises(OptionError, match="deep"):
        Survey(deep=5000.0)
    with pytest.raises(OptionError, match="models=1"):
        Study(models=1)(Context())
