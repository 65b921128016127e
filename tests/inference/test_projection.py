"""Projected draws keep sums and limits exactly and move as little as they can."""

from __future__ import annotations

import pytest
import torch
from scipy import optimize

from posteriori import Rng, Space, infer
from posteriori.core.algebra import BlockAverage, Dense
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.target import Inverse
from posteriori.inference.exact import Exact
from posteriori.inference.problems import Exponential
from posteriori.inference.projection import conserve, conserve_within
from posteriori.physics.areal_means import areal_means, blocks

GRID = Space("rain", {"y": 6, "x": 8}, "mm")
MEANS = BlockAverage(GRID, {"y": 2, "x": 2})


def _residual(z: torch.Tensor, operator: torch.nn.Module, b: torch.Tensor) -> float:
    return float((operator(z) - b).abs().max() / b.abs().max())


def test_block_means_are_kept_to_rounding() -> None:
    x = Rng(0).normal((50, 6, 8)) + 3
    b = Rng(1).normal((50, 3, 4)) + 3
    z = conserve(x, MEANS, b)
    assert _residual(z, MEANS, b) < 1e-14
    torch.testing.assert_close(z - x, (b - MEANS(x)).repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_in_the_metric_of_its_covariance_a_prior_becomes_its_posterior() -> None:
    """Mean and covariance of projected draws against the closed form; every |z| below 4.5: false alarm 1e-3."""
    cells = torch.cartesian_prod(torch.arange(6.0), torch.arange(8.0)).double()
    k = (-torch.cdist(cells, cells) / 3).exp()
    prior = Gaussian(GRID, torch.zeros(6, 8).double(), DenseCovariance(k))
    b = Rng(2).normal((3, 4))
    exact = infer(Inverse(MEANS, prior, b, 1e-6), Exact())
    z = conserve(prior.sample(4000, Rng(3)), MEANS, b, prior.covariance)
    assert _residual(z, MEANS, b) < 1e-12
    assert float(((z.mean(0) - exact.center()) / exact.spread()).abs().max()) * 4000**0.5 < 4.5
    assert float((z.std(0) / exact.spread() - 1).abs().max()) * 8000**0.5 < 4.5


@pytest.mark.parametrize("overlap", [False, True])
def test_positivity_is_exact_and_nearest(overlap: bool) -> None:
    """Against a general solver of the same quadratic programme."""
    space = Space("m", {"x": 7})
    matrix = torch.tensor([[1.0, 2, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 3, 0]]).double()
    if overlap:
        matrix[1, 2] = 0.5
    operator = Dense(space, Space("d", {"sum": 2}), matrix, torch.tensor([0.4, -0.1]).double())
    x, v = Rng(4).normal((20, 7)), 0.5 + Rng(5).uniform((7,))
    b = torch.tensor([1.1, 0.1]).double()
    z = conserve_within(x, operator, b, variance=v)
    assert float(z.min()) >= 0
    assert _residual(z, operator, b) < 1e-13
    for own, start in zip(z, x, strict=True):
        best = optimize.minimize(
            lambda q, start=start: float(((torch.from_numpy(q) - start) ** 2 / v).sum()),
            own.clamp_min(0.01).numpy(),
            bounds=[(0, None)] * 7,
            constraints={"type": "eq", "fun": lambda q: matrix.numpy() @ q - [0.7, 0.2]},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert float(((own - start) ** 2 / v).sum()) <= best.fun * (1 + 1e-7) + 1e-9


def test_rain_blocks_dry_and_wet() -> None:
    rng = Rng(6)
    x = rng.normal((200, 6, 8)) * 5
    b = rng.uniform((200, 3, 4)) * torch.tensor([0.0, 1e-6, 1.0, 1e4])
    z = conserve_within(x, MEANS, b)
    assert float(z.min()) >= 0
    assert float(((MEANS(z) - b).abs() / b.clamp_min(1e-12)).max()) < 1e-10
    assert bool((z.reshape(200, 3, 2, 4, 2)[:, :, :, 0] == 0).all())


def test_shares_stay_between_zero_and_one_and_other_cells_as_they_are() -> None:
    regions = blocks(GRID, 3).masked_fill(torch.arange(8) == 7, -1)
    operator = areal_means(GRID, regions, 0.5 + Rng(7).uniform((6, 8)))
    x = Rng(8).normal((30, 6, 8))
    b = torch.rand(30, operator.codomain.size, generator=torch.Generator().manual_seed(0)).double()
    b[0] = 1.0
    z = conserve_within(x, operator, b, 0.0, 1.0)
    assert float(z.min()) >= 0
    assert float(z.max()) <= 1
    assert float((operator(z) - b).abs().max()) < 1e-12
    torch.testing.assert_close(z[:, :, 7], x[:, :, 7].clamp(0, 1))


def test_what_cannot_be_is_refused() -> None:
    x = Rng(0).normal((2, 6, 8))
    with pytest.raises(DataError, match="beyond what fields"):
        conserve_within(x, MEANS, torch.full((3, 4), -0.1).double())
    with pytest.raises(DataError, match="not finite"):
        conserve(x, MEANS, torch.full((3, 4), float("nan")).double())
    with pytest.raises(OptionError, match="no field"):
        conserve_within(x, MEANS, torch.ones(3, 4).double(), 1.0, 0.0)
    with pytest.raises(UnanswerableError, match="linear"):
        conserve(x, Exponential(GRID), x)
    space = Space("m", {"x": 3})
    twice = Dense(space, Space("d", {"sum": 2}), torch.tensor([[1.0, 1, 0], [1, 1, 0]]).double())
    with pytest.raises(DataError, match="cannot be met together"):
        conserve(torch.zeros(3).double(), twice, torch.tensor([1.0, 2.0]).double())
