"""One-dimensional scores against closed forms, numerical integration and laws of proper scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor

from posteriori.audit import scores
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng

NUMBER = st.floats(-5, 5)
SCALE = st.floats(0.05, 5)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def crps_by_integration(cdf: object, y: float) -> float:
    left = integrate.quad(lambda x: cdf(x) ** 2, -60, y, limit=400, points=[y - 5, y - 1])[0]  # type: ignore[operator]
    right = integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, 60, limit=400, points=[y + 1, y + 5])[0]  # type: ignore[operator]
    return left + right


def test_crps_of_a_standard_normal_at_its_mean() -> None:
    score = scores.crps_gaussian(tensor(0.0), tensor(1.0), tensor(0.0)).item()
    assert score == pytest.approx(2 / math.sqrt(2 * math.pi) - 1 / math.sqrt(math.pi), abs=1e-15)


@pytest.mark.parametrize(("mean", "std", "y"), [(0.3, 1.7, -2.0), (-1.0, 0.4, -0.9), (2.0, 3.0, 9.0)])
def test_gaussian_crps_is_the_integral_of_squared_cdf_error(mean: float, std: float, y: float) -> None:
    want = crps_by_integration(stats.norm(mean, std).cdf, y)
    assert scores.crps_gaussian(tensor(mean), tensor(std), tensor(y)).item() == pytest.approx(want, abs=1e-7)


def test_mixture_crps_is_the_integral_of_squared_cdf_error() -> None:
    m, s, w = [-2.0, 0.5, 3.0], [0.5, 1.5, 0.3], [0.2, 0.5, 0.3]

    def cdf(x: float) -> float:
        return float(sum(wi * stats.norm.cdf(x, mi, si) for mi, si, wi in zip(m, s, w, strict=True)))

    got = scores.crps_mixture(tensor(*m)[:, None], tensor(*s)[:, None], tensor(*w), tensor(1.0)).item()
    assert got == pytest.approx(crps_by_integration(cdf, 1.0), abs=1e-7)


def test_a_mixture_of_points_scores_as_its_weighted_ensemble() -> None:
    points, weights, y = tensor(1.0, -2.0, 0.5, 4.0)[:, None], tensor(1, 2, 3, 4), tensor(0.7)
    got = scores.crps_mixture(points, torch.zeros_like(points), weights, y)
    torch.testing.assert_close(got, scores.crps_draws(points, y, weights))


def test_ensemble_crps_is_the_sum_over_pairs() -> None:
    rng = Rng(0)
    x, y, w = rng.normal((7, 3)), rng.normal((3,)), rng.uniform((7,)) + 0.1
    p = (w / w.sum())[:, None]
    pairs = (p[:, None] * p[None] * (x[:, None] - x[None]).abs()).sum((0, 1))
    torch.testing.assert_close(scores.crps_draws(x, y, w), (p * (x - y).abs()).sum(0) - pairs / 2)
    fair = (p * (x - y).abs()).sum(0) - pairs / 2 / (1 - p.square().sum())
    torch.testing.assert_close(scores.crps_fair(x, y, w), fair)


def test_the_plain_score_of_one_point_is_its_distance() -> None:
    assert scores.crps_draws(tensor(3.0)[:, None], tensor(1.0)).item() == 2.0
    with pytest.raises(DataError, match="at least two draws"):
        scores.crps_fair(tensor(3.0)[:, None], tensor(1.0))


def test_the_fair_score_of_small_ensembles_is_unbiased() -> None:
    """Mean over 40 000 ensembles of 3 draws; false alarm 6e-5 (4 standard errors)."""
    draws, y = Rng(1).normal((3, 40_000)), torch.full((40_000,), 0.8, dtype=torch.float64)
    got = scores.crps_fair(draws, y)
    want = scores.crps_gaussian(tensor(0.0), tensor(1.0), tensor(0.8)).item()
    assert abs(got.mean().item() - want) < 4 * got.std().item() / 200
    assert scores.crps_draws(draws, y).mean().item() > want + 0.1


def test_log_scores_equal_scipy() -> None:
    got = scores.log_score_gaussian(tensor(1.0), tensor(2.0), tensor(-0.5)).item()
    assert got == pytest.approx(-stats.norm.logpdf(-0.5, 1, 2))
    m, s, w = tensor(0.0, 2.0)[:, None], tensor(1.0, 0.5)[:, None], tensor(0.3, 0.7)
    density = 0.3 * stats.norm.pdf(1.2) + 0.7 * stats.norm.pdf(1.2, 2, 0.5)
    assert scores.log_score_mixture(m, s, w, tensor(1.2)).item() == pytest.approx(-math.log(density))
    assert scores.log_score_classes(tensor(0.2, 0.8)[None], torch.tensor([1])).item() == pytest.approx(-math.log(0.8))


def test_interval_score_charges_width_and_misses() -> None:
    low, high = tensor(0.0, 0.0, 0.0), tensor(2.0, 2.0, 2.0)
    got = scores.interval_score(low, high, tensor(1.0, -0.5, 3.0), 0.9)
    torch.testing.assert_close(got, tensor(2.0, 2 + 20 * 0.5, 2 + 20 * 1.0))
    with pytest.raises(OptionError, match="level"):
        scores.interval_score(low, high, low, 90)


def test_crps_is_twice_the_mean_quantile_score() -> None:
    levels = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    quantiles = torch.special.ndtri(levels)
    loss = torch.stack(
        [scores.quantile_score(q, tensor(0.6), p) for q, p in zip(quantiles[::20], levels[::20].tolist(), strict=True)]
    )
    want = scores.crps_gaussian(tensor(0.0), tensor(1.0), tensor(0.6)).item()
    assert 2 * loss.mean().item() == pytest.approx(want, abs=2e-3)


def test_brier_scores_by_hand() -> None:
    torch.testing.assert_close(scores.brier(tensor(0.9, 0.2), torch.tensor([1, 1])), tensor(0.01, 0.64))
    p = tensor(0.7, 0.2, 0.1)[None]
    assert scores.brier_classes(p, torch.tensor([0])).item() == pytest.approx(0.09 + 0.04 + 0.01)


def test_rms_and_its_error() -> None:
    """The error of an RMS of n normals is 1 / sqrt(2 n); within 10 % at n = 20 000."""
    got = scores.rms(Rng(2).normal((20_000,)))
    assert got.value == pytest.approx(1, abs=0.025)
    assert got.standard_error == pytest.approx(1 / math.sqrt(40_000), rel=0.1)


@given(NUMBER, SCALE, NUMBER, NUMBER, SCALE)
@settings(max_examples=60, deadline=None)
def test_crps_is_affine_equivariant(mean: float, std: float, y: float, shift: float, scale: float) -> None:
    m, s, t = tensor(mean), tensor(std), tensor(y)
    moved = scores.crps_gaussian(scale * m + shift, scale * s, scale * t + shift)
    torch.testing.assert_close(moved, scale * scores.crps_gaussian(m, s, t), atol=1e-10, rtol=1e-8)
    x = Rng(3).normal((6, 1))
    turned = scores.crps_draws(-scale * x + shift, -scale * t + shift)
    torch.testing.assert_close(turned, scale * scores.crps_draws(x, t), atol=1e-10, rtol=1e-8)


@given(NUMBER, SCALE)
@settings(max_examples=40, deadline=None)
def test_the_true_law_scores_best_on_average(mean: float, std: float) -> None:
    """E over y ~ N(0, 1) of the CRPS and log score of N(mean, std²), by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    y, w = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    for score in (scores.crps_gaussian, scores.log_score_gaussian):
        stated = (w * score(tensor(mean), tensor(std), y)).sum().item()
        true = (w * score(tensor(0.0), tensor(1.0), y)).sum().item()
        assert stated >= true - 2e-3


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(DataError, match=r"std\[1\] is 0"):
        scores.crps_gaussian(tensor(0, 0), tensor(1, 0), tensor(0, 0))
    with pytest.raises(ShapeError, match="weights"):
        scores.crps_draws(tensor(1, 2, 3)[:, None], tensor(0), tensor(1, 1))
    with pytest.raises(DataError, match="weights must be"):
        scores.crps_draws(tensor(1, 2)[:, None], tensor(0), tensor(1, -1))
    with pytest.raises(DataError, match=r"error\[1\] is nan"):
        scores.rms(tensor(1, math.nan))
