"""Every kind of posterior tells one law by its summaries, draws, maps and files; broken ones are caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from posteriori import Draws, Gaussian, Mixture, Posterior, Rng, Space, infer
from posteriori.core.categorical import Categorical
from posteriori.core.covariance import DenseCovariance, DiagonalCovariance, LowRankCovariance, SumCovariance
from posteriori.core.support import Classes
from posteriori.inference.exact import Exact
from posteriori.inference.problems import gaussian_prior, regression
from posteriori.testing import check_posterior

SPACE = Space("velocity", {"y": [0.0, 0.5], "x": ["a", "b", "c"]}, "km/s")


def _normal(*shape: int) -> Tensor:
    return Rng(7).normal(shape)


def _posteriors() -> dict[str, Posterior]:
    factor = _normal(6, 2)
    dense = Gaussian(SPACE, _normal(2, 3), DenseCovariance(factor @ factor.T + torch.eye(6).double()))
    parts = SumCovariance(
        LowRankCovariance(factor, torch.full((6,), 0.2).double()), DiagonalCovariance(_normal(6) ** 2)
    )
    shifted = Gaussian(SPACE, _normal(2, 3) + 3, parts)
    rows = dense.sample(2000, Rng(1))
    target = regression()
    _, many = target.simulate(5, Rng(2))
    joined = Space.of(wave=Space("w", {"x": 2}, "s"), gravity=Space("g", {"station": 4}, "mgal"))
    classes = Space("rock", {"x": 3}, support=Classes(("granite", "basalt")))
    return {
        "dense": dense,
        "structured": shifted,
        "draws": Draws(SPACE, rows),
        "weighted draws": Draws(SPACE, rows, 0.5 * _normal(2000)),
        "draws of problems": Draws(SPACE, dense.sample(8000, Rng(3)).reshape(2000, 4, 2, 3), chains=4),
        "mixture": Mixture([dense, shifted], torch.tensor([0.2, 0.8])),
        "mixture by problem": Mixture(
            [Gaussian(SPACE, _normal(4, 2, 3) + k, parts, problems={"problem": None}) for k in (0, 2)],
            torch.tensor([[0.1, 0.9], [0.7, 0.3], [0.5, 0.5], [1.0, 0.0]]).double(),
        ),
        "mixture of draws": Mixture([Draws(SPACE, rows), shifted]),
        "conditioned": infer(target, Exact()),
        "problems": infer(many, Exact()),
        "joined": Gaussian(joined, _normal(6), DiagonalCovariance(torch.arange(1.0, 7.0).double())),
        "classes": Categorical(classes, torch.tensor([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]]).double()),
    }


@pytest.mark.parametrize("name", _posteriors())
def test_every_posterior_keeps_the_contract(name: str) -> None:
    check_posterior(_posteriors()[name])


class Broken(Gaussian):
    """A Gaussian whose parts can be broken one by one."""

    what = ""

    def sample(self, n: int, rng: Rng) -> Tensor:
        x = super().sample(n, Rng(n) if self.what == "stream" else rng)
        if self.what == "stream":
            return x + 1e-3 * torch.rand(())
        return self.location + 0.9 * (x - self.location) if self.what == "narrow" else x

    def quantile(self, p: Tensor) -> Tensor:
        return super().quantile(0.5 + 0.9 * (p - 0.5)) if self.what == "quantile" else super().quantile(p)

    def covariance_between(self, cells: Tensor) -> Tensor:
        block = super().covariance_between(cells)
        return 1.1 * block if self.what == "covariance" else block


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("narrow", "two laws"),
        ("stream", "same stream"),
        ("quantile", "90 % interval"),
        ("covariance", "two variances"),
    ],
)
def test_a_broken_posterior_is_caught(what: str, message: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("posteriori.testing.posteriors.check_saved", lambda posterior, rng: None)
    prior = gaussian_prior()
    broken = Broken(prior.space, prior.location, prior.covariance)
    broken.what = what
    with pytest.raises(AssertionError, match=message):
        check_posterior(broken)
