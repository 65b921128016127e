"""Laplace: exact where it says so, its formula elsewhere, and quadrature to see how far off."""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any

import pytest
import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.infer import infer
from posteriori.core.noise import Bernoulli, Normal, Student
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Classes
from posteriori.core.target import Inverse, Target
from posteriori.inference.curvature import Curvature, FullHessian, GaussNewton, dense_jacobian
from posteriori.inference.exact import Exact
from posteriori.inference.laplace import Laplace
from posteriori.inference.problems import banana, gaussian_prior, growth, regression


@pytest.mark.parametrize("curvature", [FullHessian(), GaussNewton()], ids=["full", "gauss-newton"])
def test_exact_for_linear_gaussian_questions(curvature: Curvature) -> None:
    _, many = regression(6, 9).simulate(5, Rng(0))
    exact, found = infer(many, Exact()), infer(many, Laplace(curvature))
    assert torch.allclose(found.center(), exact.center(), atol=1e-8)
    assert torch.allclose(found.spread(), exact.spread(), atol=1e-10)
    assert exact.log_evidence is not None
    assert found.log_evidence is not None
    assert torch.allclose(found.log_evidence, exact.log_evidence, atol=1e-8)


def test_logistic_question_near_quadrature(quadrature: Callable[..., Any]) -> None:
    """Log-concave and nearly normal: evidence within 0.05, means within 0.1 and spreads within 10 %."""
    linear = regression(2, 12)
    target = Inverse(linear.operator, linear.prior, (linear.data > 0).double(), Bernoulli())
    truth, found = quadrature(target, -8, 8, 400), infer(target, Laplace())
    assert found.log_evidence is not None
    assert abs(float(found.log_evidence - truth.log_evidence)) < 0.05
    assert (found.center() - truth.mean).abs().max() < 0.1
    assert (found.spread() / truth.covariance.diagonal().sqrt() - 1).abs().max() < 0.1


def test_mode_and_curvature_of_a_nonlinear_question() -> None:
    """At the answer the gradient vanishes and the covariance inverts the Hessian by finite differences."""
    target = growth()
    found = infer(target, Laplace())
    x, h = found.center(), 1e-4
    steps = h * torch.eye(3, dtype=torch.float64)
    energy = target.energy
    slope = torch.stack([(energy(x + e) - energy(x - e)) / (2 * h) for e in steps])
    assert slope.abs().max() < 1e-6
    rows = [
        [energy(x + a + b) - energy(x + a - b) - energy(x - a + b) + energy(x - a - b) for b in steps] for a in steps
    ]
    hessian = torch.stack([torch.stack(row) for row in rows]) / (4 * h * h)
    assert torch.allclose(found.covariance.dense() @ hessian, torch.eye(3, dtype=torch.float64), atol=1e-5)


def test_gauss_newton_leaves_out_the_bend_alone() -> None:
    """For d = exp(m) the full Hessian exceeds Gauss and Newton's by (exp(m) - d) exp(m) / σ²."""
    target = growth()
    x = target.prior.center()
    whole, half = FullHessian()(target, x), GaussNewton()(target, x)
    bend = torch.diag((x.exp() - target.data) * x.exp() / 0.25)
    assert torch.allclose(whole - half, bend, atol=1e-9)


def test_problems_with_covariances_of_their_own() -> None:
    _, many = growth().simulate(20, Rng(1))
    together = infer(many, Laplace(GaussNewton()))
    for i in (0, 7, 19):
        alone = infer(many.given(many.data[i]), Laplace(GaussNewton()))
        assert torch.allclose(together.center()[i], alone.center(), atol=1e-6)
        assert torch.allclose(together.spread()[i], alone.spread(), rtol=1e-5)
    rows = together.sample(4000, Rng(2))
    assert rows.shape == (4000, 20, 3)
    assert ((rows.std(0) / together.spread()) - 1).abs().max() < 5 / 8000**0.5


def test_evidence_changes_with_learnt_numbers_as_finite_differences_say() -> None:
    plain = growth()
    target = Inverse(plain.operator, plain.prior, plain.data, Normal(0.3, excess=0.4))
    noise = target.noise
    assert isinstance(noise, Normal)
    assert noise.log_excess is not None
    (slope,) = torch.autograd.grad(Laplace().log_evidence(target), noise.log_excess)
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            noise.log_excess += step
            values.append(float(infer(target, Laplace()).log_evidence))  # type: ignore[arg-type]
            noise.log_excess -= step
    assert abs(float(slope) - (values[0] - values[1]) / 2e-5) < 1e-5


class Valley(Target):
    """Lowest along a line: the mode has a free direction."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space("m", {"x": 2})

    def energy(self, x: Tensor) -> Tensor:
        return (x.sum(-1) - 1.0).square().double()


class Quartic(Target):
    """A normal density times a constant, over one cell, known without a prior."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space("m", {"x": 1})

    def energy(self, x: Tensor) -> Tensor:
        return (0.5 * ((x[..., 0] - 2) / 0.3) ** 2 + 7.0).double()


def test_targets_without_a_prior() -> None:
    found = infer(Quartic(), Laplace())
    assert torch.allclose(found.center(), torch.tensor([2.0], dtype=torch.float64), atol=1e-8)
    assert found.log_evidence is not None
    assert abs(float(found.log_evidence) - (0.5 * log(2 * pi * 0.09) - 7.0)) < 1e-9


class Foreign(Operator):
    """2 m by code that torch cannot look into."""

    linear = True

    def __init__(self) -> None:
        super().__init__()
        self.domain = self.codomain = Space("m", {"x": 4})

    def forward(self, m: Tensor) -> Tensor:
        return torch.from_numpy(2 * m.detach().numpy())

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        return torch.from_numpy(2 * v.detach().numpy())

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        return torch.from_numpy(2 * r.detach().numpy())


def test_foreign_operators_need_gauss_newton() -> None:
    target = Inverse(Foreign(), gaussian_prior(4), torch.ones(4, dtype=torch.float64), 0.5)
    with pytest.raises(UnanswerableError, match="GaussNewton"):
        infer(target, Laplace())
    exact, found = infer(target, Exact()), infer(target, Laplace(GaussNewton()))
    assert torch.allclose(found.center(), exact.center(), atol=1e-8)
    assert torch.allclose(found.spread(), exact.spread(), atol=1e-8)


def test_jacobians_by_either_derivative_agree() -> None:
    tall, wide = growth(3).operator, banana().operator
    x = Rng(0).normal((5, 3))
    assert torch.allclose(dense_jacobian(tall, x), torch.diag_embed(x.exp()))
    y = Rng(0).normal((5, 2))
    expected = torch.stack([2 * y[:, :1], torch.ones(5, 1)], -1)
    assert torch.allclose(dense_jacobian(wide, y), expected)


class Steps(Target):
    """An energy made of comparisons, so that it has no slope."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space("m", {"x": 1})

    def energy(self, x: Tensor) -> Tensor:
        return (x[..., 0] > 0).double()


def test_leaves_a_saddle_point() -> None:
    """The prior's mean lies on the ridge between the two modes of the banana, where the slope across it is zero."""
    target = banana()
    found = infer(target, Laplace())
    x = found.center()
    assert abs(float(x[0])) > 0.5
    assert float(target.energy(x)) < float(target.energy(torch.tensor([0.0, 0.9]).double()))


def test_refuses_what_it_cannot_answer() -> None:
    with pytest.raises(UnanswerableError, match="positive definite"):
        infer(Valley(), Laplace())
    with pytest.raises(UnanswerableError, match="no derivative"):
        infer(Steps(), Laplace())
    with pytest.raises(UnanswerableError, match="within 1 steps"):
        infer(growth(), Laplace(steps=1))
    classes = Valley()
    classes.space = Space("m", {"x": 2}, support=Classes(("a", "b")))
    with pytest.raises(UnanswerableError, match="classes"):
        infer(classes, Laplace())


def test_heavy_tails_are_no_obstacle_to_gauss_newton() -> None:
    linear = regression(3, 10)
    data = linear.data.clone()
    data[0] += 30.0
    target = Inverse(linear.operator, linear.prior, data, Student(0.3, 4.0))
    clean, pulled = infer(linear, Exact()).center(), infer(linear.given(data), Exact()).center()
    found = infer(target, Laplace(GaussNewton())).center()
    assert (found - clean).norm() < 0.1 * (pulled - clean).norm()
