"""Linear inverse models and shared regressions against dynamics that are known."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.learn.linear_inverse_model import LinearInverseModel
from posteriori.learn.shared_regression import Moments, Surroundings


def course(n: int, rng: Rng) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """n states of x' = A x + noise of unit variance in four numbers, A, and its stationary covariance."""
    a = torch.tensor([[0.8, 0.2, 0, 0], [-0.2, 0.7, 0, 0], [0, 0, 0.5, 0.3], [0, 0, 0, 0.4]], dtype=torch.float64)
    covariance = torch.eye(4, dtype=torch.float64)
    for _ in range(200):
        covariance = a @ covariance @ a.mT + torch.eye(4, dtype=torch.float64)
    x, found = torch.zeros(4, dtype=torch.float64), []
    for push in rng.normal((n, 4)):
        x = a @ x + push
        found.append(x)
    return torch.stack(found), a, covariance


def test_a_linear_inverse_model_finds_the_dynamics_and_their_spread() -> None:
    """Five standard errors of 20,000 states: false alarm below 1e-4."""
    states, a, covariance = course(20_000, Rng(1).child("lim"))
    first = torch.arange(len(states) - 1)
    model = LinearInverseModel.fitted(states, torch.stack([first, first + 1], 1), power=3, modes=4)
    three = torch.linalg.matrix_power(a, 3)
    x = Rng(2).normal((5, 4))
    assert torch.allclose(model.mean(x), x @ three.mT, atol=0.15)
    expected = covariance - three @ covariance @ three.mT
    assert torch.allclose(model.covariance.dense(), expected, atol=0.25)


def test_patterns_left_out_count_as_noise() -> None:
    states, _, _ = course(2000, Rng(3).child("lim"))
    first = torch.arange(len(states) - 1)
    model = LinearInverseModel.fitted(states, torch.stack([first, first + 1], 1), power=400, modes=2)
    assert torch.allclose(model.mean(states[:3]), torch.zeros(3, 4, dtype=torch.float64), atol=1e-8)
    assert torch.allclose(model.covariance.diagonal(), states.square().mean(0), rtol=1e-5)


def test_a_linear_inverse_model_refuses_more_modes_than_it_can_tell() -> None:
    states = Rng(0).normal((6, 4))
    with pytest.raises(OptionError, match="5 modes"):
        LinearInverseModel.fitted(states, torch.tensor([[0, 1]]), 1, 5)
    with pytest.raises(DataError, match="1 pairs"):
        LinearInverseModel.fitted(states, torch.tensor([[0, 1]]), 1, 2)


def test_a_regression_finds_coefficients_that_all_cells_share() -> None:
    """What came is 0.5 times the cell, 2 times its static and cell: exact without noise."""
    mask = torch.ones(6, 7, dtype=torch.bool)
    mask[0, 0] = False
    static = Rng(1).normal((1, 6, 7))
    told = Surroundings(mask, static, scales=(2.0,))
    now = Rng(2).normal((40, 1, 6, 7))
    then = torch.where(mask, now[:, 0] * (0.5 + 2 * static[0]), 0.0)
    found = Moments.of(told, now, then).ridge(0.0)
    assert torch.allclose(found.mean(now), then, atol=1e-6)
    assert found.variance == pytest.approx(0.0, abs=1e-6)
    assert torch.allclose(found.mean(now), told(now) @ found.weights, atol=1e-12)


def test_a_constant_field_has_no_slope_and_its_own_mean() -> None:
    mask = torch.ones(5, 6, dtype=torch.bool)
    mask[2, 3] = False
    told = Surroundings(mask, torch.zeros(0, 5, 6), scales=(1.5,))
    seen = told(torch.full((1, 1, 5, 6), 3.0))[0]
    assert told.count == seen.shape[-1] == 5
    assert torch.allclose(seen[mask][:, [0, 1, 2]], torch.tensor(3.0, dtype=torch.float64))
    assert float(seen[mask][:, 3:].abs().max()) < 1e-12
    assert float(seen[~mask].abs().max()) == 0


def test_a_strong_ridge_is_the_climate_and_other_shapes_are_refused() -> None:
    mask = torch.ones(5, 6, dtype=torch.bool)
    told = Surroundings(mask, torch.zeros(0, 5, 6))
    now = Rng(2).normal((9, 1, 5, 6))
    assert float(Moments.of(told, now, now[:, 0]).ridge(1e9).mean(now).abs().max()) < 1e-6
    with pytest.raises(ShapeError, match="cases of 1 fields"):
        told(now[:, 0])
    with pytest.raises(OptionError, match="scales"):
        Surroundings(mask, torch.zeros(0, 5, 6), scales=(0.0,))
    with pytest.raises(DataError, match="no cases"):
        Moments.of(told, now[:0], now[:0, 0])
