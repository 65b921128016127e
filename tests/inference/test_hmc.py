"""Hamiltonian Monte Carlo against closed forms and quadrature, within 5 Monte-Carlo errors (false alarm 6e-7 each)."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.infer import infer
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular, Classes, Interval, Positive, Support
from posteriori.core.target import Inverse, Target
from posteriori.inference.adaptation import windows
from posteriori.inference.exact import Exact
from posteriori.inference.hmc import HMC
from posteriori.inference.problems import banana, growth, regression
from posteriori.inference.unconstrained import Unconstrained

ERRORS = 5.0


def agrees(found: Draws, mean: Tensor, std: Tensor) -> None:
    ess = found.ess()
    assert ess.min() > 200
    assert found.rhat().max() < 1.05
    assert ((found.center() - mean).abs() / std < ERRORS / ess.sqrt()).all()
    assert ((found.spread() / std - 1).abs() < ERRORS * 1.2 / ess.sqrt()).all()


@pytest.mark.parametrize("dense", [False, True], ids=["diagonal", "dense"])
def test_exact_for_linear_gaussian_questions(dense: bool) -> None:
    question = regression()
    exact = infer(question, Exact())
    agrees(infer(question, HMC(draws=500, warmup=300, steps=8, dense=dense)), exact.center(), exact.spread())


@pytest.mark.slow
def test_banana_against_quadrature(quadrature: Callable[..., Any]) -> None:
    truth = quadrature(banana(), -6, 6, 600)
    found = infer(banana(), HMC(draws=1000, warmup=400))
    agrees(found, truth.mean, truth.covariance.diagonal().sqrt())


def test_problems_of_very_different_widths_move_together() -> None:
    """Each problem has its step size and scales: one with a posterior 1000 times wider must not slow another."""

    widths = torch.tensor([[0.01], [1.0], [10.0]], dtype=torch.float64)

    class Widths(Inverse):
        def energy(self, x: Tensor) -> Tensor:
            return (
                (0.5 * ((x - self.data) / torch.tensor([[0.01], [1.0], [10.0]], dtype=x.dtype)) ** 2).sum(-1).double()
            )

    plain = regression(4, 4)
    centres = torch.tensor([[5.0], [0.0], [-30.0]], dtype=torch.float64).expand(3, 4).clone()
    target = Widths(plain.operator, plain.prior, centres, plain.noise)
    found = infer(target, HMC(draws=400, warmup=500, steps=8))
    agrees(found, centres, widths.expand(3, 4))


class Free(Target):
    """One cell with a known density."""

    def __init__(self, support: Support, log_density: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.space = Space("m", {"x": 1}, support=support)
        self.log_density = log_density

    def energy(self, x: Tensor) -> Tensor:
        return -self.log_density(x[..., 0].double())


@pytest.mark.parametrize(
    ("support", "log_density", "mean", "std"),
    [
        (Positive(), lambda x: 2 * x.log() - 2 * x, 1.5, sqrt(3) / 2),
        (Interval(-1.0, 3.0), lambda x: ((x + 1) / 4).log() + 4 * ((3 - x) / 4).log(), -1 + 8 / 7, 4 * sqrt(10 / 392)),
    ],
    ids=["gamma", "beta"],
)
def test_borders_are_kept(support: Support, log_density: Callable[[Tensor], Tensor], mean: float, std: float) -> None:
    """Gamma(3, 2): mean 3/2, variance 3/4. Beta(2, 5) on (-1, 3): mean 2/7, variance 10/392 of the unit interval."""
    target = Free(support, log_density)
    found = infer(target, HMC(draws=1000, warmup=300, steps=6))
    assert bool(Unconstrained(target.space, "test").inside(found.values).all())
    agrees(found, torch.tensor([mean], dtype=torch.float64), torch.tensor([std], dtype=torch.float64))


def test_angles_wrap() -> None:
    """Von Mises of concentration 4 around 0.1: the mean cosine is I₁(4) / I₀(4)."""
    target = Free(Circular(2 * torch.pi), lambda x: 4 * torch.cos(x - 0.1))
    found = infer(target, HMC(draws=1000, warmup=300, steps=6))
    values = found.values[:, 0]
    assert 0 <= float(values.min()) < float(values.max()) < 2 * torch.pi
    cosine = torch.cos(values - 0.1)
    four = torch.tensor(4.0, dtype=torch.float64)
    expected = torch.special.i1e(four) / torch.special.i0e(four)
    assert abs(float(cosine.mean() - expected)) < ERRORS * float(cosine.std()) / 400**0.5
    assert abs(float(torch.remainder(found.center() - 0.1 + 1, 2 * torch.pi)) - 1) < 0.15


def test_joined_spaces_keep_each_part_to_its_own_support() -> None:
    space = Space.of(a=Space("a", {"x": 2}), s=Space("s", {"y": 1}, support=Positive()))
    map_ = Unconstrained(space, "test")
    u = Rng(0).normal((7, 3))
    x = map_.values(u)
    assert torch.equal(x[:, :2], u[:, :2])
    assert torch.allclose(x[:, 2], u[:, 2].exp())
    assert torch.allclose(map_.coordinates(x), u)
    jacobian = torch.func.vmap(torch.func.jacrev(map_.values))(u)
    assert torch.allclose(torch.logdet(jacobian), map_.log_jacobian(u))


@pytest.mark.parametrize("support", [Positive(), Interval(-2.0, 0.5), Circular(3.0)])
def test_coordinates_have_the_stated_jacobian(support: Support) -> None:
    map_ = Unconstrained(Space("m", {"x": 4}, support=support), "test")
    u = Rng(1).normal((5, 4))
    jacobian = torch.func.vmap(torch.func.jacrev(map_.values))(u)
    assert torch.allclose(torch.logdet(jacobian), torch.as_tensor(map_.log_jacobian(u)))
    if not isinstance(support, Circular):
        assert torch.allclose(map_.coordinates(map_.values(u)), u)


def test_same_seed_same_rows() -> None:
    method = HMC(draws=20, warmup=30, chains=2)
    first, second, third = (infer(growth(), method, seed=seed) for seed in (1, 1, 2))
    assert isinstance(first, Draws)
    assert isinstance(second, Draws)
    assert isinstance(third, Draws)
    assert torch.equal(first.values, second.values)
    assert not torch.equal(first.values, third.values)
    assert first.chains == 2
    assert first.values.shape == (40, 3)


def test_stats_tell_how_it_went() -> None:
    target = growth()
    found = infer(target, HMC(draws=200, warmup=200))
    assert isinstance(found, Draws)
    assert set(found.stats) == {"accept", "energy", "diverging", "step_size"}
    assert torch.allclose(found.stats["energy"], target.energy(found.values))
    assert 0.6 < float(found.stats["accept"].mean()) < 0.97


class Funnel(Target):
    """Neal's funnel: its neck is too narrow for the step size of its mouth."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space("m", {"x": 6})

    def energy(self, x: Tensor) -> Tensor:
        v, rest = x[..., 0].double(), x[..., 1:].double()
        return v.square() / 18 + 0.5 * (rest.square().sum(-1) * (-v).exp() + 5 * v)


def test_a_funnel_is_seen_to_be_one() -> None:
    found = infer(Funnel(), HMC(draws=500, warmup=200, accept=0.6))
    assert isinstance(found, Draws)
    assert float(found.stats["diverging"].sum()) > 0 or float(found.rhat().max()) > 1.02


def test_starts_where_it_is_told() -> None:
    """Without a prior to draw from, and far from where standard normal coordinates reach."""

    class Far(Free):
        def energy(self, x: Tensor) -> Tensor:
            near = (x[..., 0] - 50).abs() < 5
            return torch.where(near, (x[..., 0] - 50).square(), torch.inf).double()

    target = Far(Positive(), lambda x: x)
    with pytest.raises(UnanswerableError, match="start="):
        infer(target, HMC(draws=10, warmup=20))
    there = Draws(target.space, 50 + Rng(0).normal((100, 1)))
    found = infer(target, HMC(draws=300, warmup=100, start=there))
    assert abs(float(found.center()) - 50) < 0.3


def test_single_precision_stays_single() -> None:
    question = regression()
    question.data = question.data.float()
    found = infer(question, HMC(draws=200, warmup=100, dense=True))
    assert found.center().dtype == torch.float32
    exact = infer(regression(), Exact())
    assert ((found.center() - exact.center()).abs() < 0.5 * exact.spread()).all()


def test_refuses_what_it_cannot_answer() -> None:
    steps = Free(Positive(), lambda x: (x > 1).double())
    with pytest.raises(UnanswerableError, match="no derivative"):
        infer(steps, HMC())
    classes = Free(Classes(("a", "b")), lambda x: x)
    with pytest.raises(UnanswerableError, match="classes"):
        infer(classes, HMC())
    with pytest.raises(OptionError, match="warmup"):
        HMC(warmup=3)


def test_windows_double_and_fill_the_middle() -> None:
    for warmup in (20, 100, 500, 1000):
        start, ends = windows(warmup)
        assert 0 < start < ends[0]
        assert ends == sorted(set(ends))
        assert ends[-1] == warmup - max(1, int(0.2 * warmup))


@pytest.mark.slow
def test_fifty_cells_within_a_few_hundred_transitions() -> None:
    question = regression(50, 30)
    exact = infer(question, Exact())
    agrees(infer(question, HMC(draws=400, warmup=400, steps=16, dense=True)), exact.center(), exact.spread())


def test_no_chain_is_left_behind_far_out() -> None:
    """From draws of a wide prior some chains start where the slope is a hundred times steeper."""
    found = infer(growth(50), HMC(draws=300, warmup=400, steps=16))
    assert isinstance(found, Draws)
    assert found.rhat().max() < 1.05
    assert float(found.stats["diverging"].sum()) == 0
