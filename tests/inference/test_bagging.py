"""Bagging: the bootstrap's spread where theory knows it, nets and foreign learners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import posteriori as po
from posteriori.core.algebra import Identity
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.random import Rng
from posteriori.core.target import Inverse
from posteriori.inference.bagging import Bagging, Polynomial
from posteriori.inference.field import wave
from posteriori.learn.members import Nets
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan


def line(n: int = 300, sigma: float = 0.3) -> tuple[Tensor, Inverse]:
    """A straight line seen everywhere with equal errors."""
    x = torch.linspace(-1, 1, n, dtype=torch.float64)[:, None]
    space = po.Space("m", {"x": n})
    prior = Gaussian(space, torch.zeros(n).double(), DiagonalCovariance(torch.ones(n).double()))
    data = 1 + 2 * x[:, 0] + sigma * Rng(0).normal((n,))
    return x, Inverse(Identity(space), prior, data, Normal(sigma))


def test_spread_of_bagged_lines_is_their_standard_error() -> None:
    """σ √(xᵀ (XᵀX)⁻¹ x) of least squares, to 4 standard errors of 200 resamples (and 10 % for n = 300)."""
    x, target = line()
    answer = po.infer(target, Bagging(x, Polynomial(1), 200))
    columns = torch.cat([torch.ones_like(x), x], 1)
    theory = 0.3 * (columns @ torch.linalg.inv(columns.mT @ columns) * columns).sum(1).sqrt()
    ratio = answer.between() / theory
    assert bool(((ratio - 1).abs() < 0.1 + 4 / 400**0.5).all())
    best = columns @ torch.linalg.lstsq(columns, target.data[:, None]).solution[:, 0]
    assert bool(((answer.center() - best).abs() < 4 * theory / 200**0.5).all())


def test_nothing_is_left_over_where_the_learner_is_right() -> None:
    """The line explains all but the known noise, so τ is well below it."""
    x, target = line()
    answer = po.infer(target, Bagging(x, Polynomial(1), 20))
    assert float(answer.parts[0].spread()[0]) < 0.3 * 0.3


def test_nets_are_trained_on_resamples() -> None:
    features, target = wave(data=32)
    nets = Nets(Layers(16), Plan(epochs=200, batch=32, rate=1e-2))
    answer = po.infer(target, Bagging(features, nets, 6))
    error = target.operator(answer.center()) - target.data
    assert float(error.square().mean().sqrt()) < 0.25
    assert float(answer.between().min()) > 0


def test_any_point_learner_will_do() -> None:
    """A nearest neighbour in NumPy: at a measured cell each member says the value there or, left out, a neighbour's."""
    features, target = wave(data=40)
    answer = po.infer(target, Bagging(features, Nearest(), 30))
    order = target.operator.index.argsort()
    data = target.data[order]
    said = torch.stack([part.center() for part in answer.parts])
    assert bool((said[:, :, None] == data).any(-1).all())
    assert abs(float((said == data).double().mean()) - (1 - np.exp(-1))) < 0.05


@dataclass(frozen=True)
class Nearest:
    """The value of the nearest row."""

    def fit_predict(self, x: Tensor, y: Tensor, variance: Tensor, x_all: Tensor, rng: Rng) -> Tensor:
        at = np.abs(x_all.numpy() - x.numpy()[:, 0]).argmin(1)
        return torch.from_numpy(y.numpy()[at])
