"""Mean-and-variance nets: a scatter that changes with the features is found, with and without β."""

from __future__ import annotations

import pytest
import torch

import posteriori as po
from posteriori.core.algebra import Identity
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.random import Rng
from posteriori.core.target import Inverse
from posteriori.inference.field import aleatoric
from posteriori.inference.heteroscedastic import Heteroscedastic
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan

N = 600


def growing(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Inverse]:
    """sin(3x) with a scatter exp(x - 1) that the quoted error of 0.02 does not know."""
    x = torch.linspace(-1, 1, N, dtype=torch.float64)[:, None]
    space = po.Space("m", {"x": N})
    prior = Gaussian(space, torch.zeros(N).double(), DiagonalCovariance(torch.ones(N).double()))
    scatter = torch.exp(x[:, 0] - 1)
    data = torch.sin(3 * x[:, 0]) + scatter * Rng(seed).normal((N,))
    return x, scatter, Inverse(Identity(space), prior, data, Normal(0.02))


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_growing_scatter_is_found(beta: float) -> None:
    """Means over tenths of the line (60 rows: 9 % each) within 35 % of the truth, and the mean function within 0.2."""
    x, scatter, target = growing()
    plan = Plan(epochs=60, batch=64, rate=1e-2)
    answer = po.infer(target, Heteroscedastic(x, Layers(16), 5, plan, 5, beta))
    found, true = (t.reshape(10, -1).mean(1) for t in (aleatoric(answer), scatter))
    assert bool(((found / true - 1).abs() < 0.35).all()), (found / true).tolist()
    assert float((answer.center() - torch.sin(3 * x[:, 0])).square().mean().sqrt()) < 0.2


def test_several_problems_keep_their_own_scatter() -> None:
    x, _, target = growing()
    x = x[::10]
    space = po.Space("m", {"x": 60})
    prior = Gaussian(space, torch.zeros(60).double(), DiagonalCovariance(torch.ones(60).double()))
    data = target.data[::10]
    several = Inverse(Identity(space), prior, torch.stack([data, 10 * data]), Normal(0.02))
    answer = po.infer(several, Heteroscedastic(x, Layers(8, 1), 2, Plan(epochs=100, batch=60, rate=1e-2), 2))
    wide = aleatoric(answer)
    assert wide.shape == (2, 60)
    assert 5 < float(wide[1].mean() / wide[0].mean()) < 20
