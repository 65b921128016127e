"""Posteriors from products alone: the closed form where there is one, their bias told where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from posteriori import Draws, Gaussian, Rng, Space, infer
from posteriori.core.algebra import Dense, Identity
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.noise import Bernoulli
from posteriori.core.operator import Operator
from posteriori.core.target import Inverse
from posteriori.inference.curvature import GaussNewton
from posteriori.inference.exact import Exact
from posteriori.inference.hmc import HMC
from posteriori.inference.laplace import Laplace
from posteriori.inference.low_rank_laplace import LowRankLaplace, SharpenedCovariance
from posteriori.inference.problems import Exponential, gaussian_prior, growth, regression
from posteriori.inference.randomised_map import RandomisedMap
from posteriori.inference.reduced_basis import Lift, ReducedBasis
from posteriori.inference.stein import Stein
from posteriori.learn.smoothness import Smoothness
from posteriori.testing import check_operator
from posteriori.testing.methods import check_exact
from posteriori.testing.reference import closed_form


class Foreign(Operator):
    """exp(m) without torch, its derivatives by hand."""

    def __init__(self, domain: Space) -> None:
        super().__init__()
        self.domain, self.codomain = domain, Space("d", domain.coords)

    def forward(self, m: Tensor) -> Tensor:
        return torch.from_numpy(np.exp(m.detach().numpy()))

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        return self.forward(m) * v

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        return self.forward(m) * r


def wide(cells: int = 200, stations: int = 40) -> Inverse:
    """40,000 cells of a smooth field, whose covariance would take 12.8 GB, seen through 40 sums along lines."""
    space = Space("m", {"z": np.arange(cells) * 10.0, "x": np.arange(cells) * 10.0})
    rng = Rng(3)
    kernel = torch.zeros(stations, cells, cells, dtype=torch.float64)
    for i, (row, column) in enumerate(rng.integers(cells - 40, (stations, 2)).tolist()):
        kernel[i, row : row + 20, column : column + 40] = 1 / 800
    operator = Dense(space, Space("d", {"station": stations}), kernel.flatten(1))
    target = Inverse(operator, Smoothness(space, 1.0, 200.0), torch.zeros(stations, dtype=torch.float64), 0.05)
    return target.given(target.simulate(1, rng)[1].data[0])


def test_a_linear_question_gets_its_closed_form() -> None:
    target = regression(8, 6)
    check_exact(LowRankLaplace(), target, closed_form(target))
    _, many = target.simulate(5, Rng(0))
    found, exact = infer(many, LowRankLaplace()), infer(many, Exact())
    assert isinstance(found, Gaussian)
    assert float((found.location - exact.center()).abs().max()) < 1e-10
    assert found.log_evidence is not None
    assert exact.log_evidence is not None
    assert float((found.log_evidence - exact.log_evidence).abs().max()) < 1e-10


def test_equal_eigenvalues_are_all_found() -> None:
    space = Space("m", {"x": 12})
    prior = Gaussian(space, torch.zeros(12).double(), DiagonalCovariance(torch.ones(12).double()))
    found = infer(Inverse(Identity(space), prior, torch.ones(12).double(), 1.0), LowRankLaplace(rank=12))
    assert isinstance(found, Gaussian)
    assert float((found.covariance.dense() - 0.5 * torch.eye(12)).abs().max()) < 1e-12


def test_no_variance_is_off_by_more_than_the_rank_allows() -> None:
    target = regression(12, 10, sigma=0.2)
    exact = closed_form(target)
    prior = target.prior.covariance.dense()  # type: ignore[attr-defined]
    errors = []
    for rank in (2, 4, 8):
        found = infer(target, LowRankLaplace(rank=rank)).covariance  # type: ignore[attr-defined]
        assert isinstance(found, SharpenedCovariance)
        error = (found.dense() - exact.covariance).diagonal() / prior.diagonal()
        assert float(error.min()) > -1e-3
        errors.append(float(error.max()))
        assert errors[-1] <= float(found.left_out)
    assert errors[0] > errors[1] > errors[2]


def test_forty_thousand_cells_without_their_matrix() -> None:
    target = wide()
    exact, found = infer(target, Exact()), infer(target, LowRankLaplace(rank=40))
    assert isinstance(found, Gaussian)
    cells = torch.arange(0, 40_000, 1111)
    std = exact.covariance_between(cells).diagonal().sqrt()
    assert float(((found.center() - exact.center()).flatten()[cells].abs() / std).max()) < 1e-6
    gap = found.covariance_between(cells) - exact.covariance_between(cells)
    assert float((gap / (std[:, None] * std)).abs().max()) < 1e-6
    # 400 draws: a variance is off by more than 30 % with probability 3e-5 in each of 37 cells
    rows = target.space.flat(found.sample(400, Rng(5)))[:, cells]
    assert float((rows.var(0) / std.square() - 1).abs().max()) < 0.35


def test_a_foreign_nonlinear_operator_has_the_mode_and_curvature_of_the_dense_method() -> None:
    smooth = growth(6, 0.4)
    foreign = Inverse(Foreign(smooth.space), smooth.prior, smooth.data, smooth.noise)
    dense, found = infer(foreign, Laplace(GaussNewton())), infer(foreign, LowRankLaplace(rank=6))
    assert isinstance(dense, Gaussian)
    assert isinstance(found, Gaussian)
    assert float((dense.location - found.location).abs().max()) < 1e-4
    assert float((dense.spread() / found.spread() - 1).abs().max()) < 1e-3
    assert float((dense.log_evidence - found.log_evidence).abs()) < 1e-3  # type: ignore[operator]


def test_members_of_a_linear_question_follow_its_closed_form() -> None:
    target = regression(6, 5)
    check_exact(RandomisedMap(members=800), target, closed_form(target))
    check_exact(RandomisedMap(members=800, at_once=100), target, closed_form(target))


def test_a_full_basis_is_the_inner_method_and_unseen_directions_keep_the_prior() -> None:
    target = regression(5, 2, sigma=0.05)
    check_exact(ReducedBasis(HMC(draws=800, warmup=300, dense=True), rank=2), target, closed_form(target))
    one = infer(target, ReducedBasis(Exact(), rank=1))
    assert isinstance(one, Draws)
    lifted = infer(target, ReducedBasis(Exact(), rank=2))
    # the second direction keeps the prior's spread where it is left out
    assert float(one.spread().square().sum() / lifted.spread().square().sum()) > 1.2


@pytest.mark.slow
def test_a_reduced_basis_follows_a_bent_posterior() -> None:
    target = growth()
    found = infer(target, ReducedBasis(HMC(draws=600, warmup=200, steps=6, dense=True), rank=3))
    whole = infer(target, HMC(draws=600, warmup=200, steps=6, dense=True))
    assert isinstance(found, Draws)
    error = found.spread() * found.ess().rsqrt() * 2**0.5
    assert float(((found.center() - whole.center()).abs() / error).max()) < 4.5
    assert float((found.spread() / whole.spread() - 1).abs().max()) < 0.15


def test_particles_of_few_dimensions_keep_their_spread_and_lose_it_in_many() -> None:
    few = infer(regression(2, 2), Stein(particles=100))
    exact = infer(regression(2, 2), Exact())
    assert float((few.spread() / exact.spread() - 1).abs().max()) < 0.15
    space = Space("m", {"x": 100})
    prior = Gaussian(space, torch.zeros(100).double(), DiagonalCovariance(torch.ones(100).double()))
    many = infer(Inverse(Identity(space), prior, torch.zeros(100).double(), 1.0), Stein(particles=40))
    assert float(many.spread().mean()) < 0.6 * 0.5**0.5


def test_the_lift_is_an_operator() -> None:
    check_operator(Lift.example())


def test_what_cannot_be_answered_is_refused() -> None:
    prior = gaussian_prior(3)
    yes = Inverse(Identity(prior.space), prior, torch.ones(3).double(), Bernoulli())
    with pytest.raises(UnanswerableError, match="perturbs Gaussian data"):
        infer(yes, RandomisedMap())
    assert infer(yes, LowRankLaplace()).center().shape == (3,)
    far = Inverse(Exponential(prior.space), prior, torch.ones(3).double(), 1e-3)
    with pytest.raises(UnanswerableError, match="raise steps"):
        infer(far, LowRankLaplace(steps=1))
    with pytest.raises(OptionError, match="leaves the prior"):
        LowRankLaplace(rank=0)
