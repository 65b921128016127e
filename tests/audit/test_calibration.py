"""Coverage, Mahalanobis distances and calibration error against exact laws."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from posteriori.audit import calibration
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (7, 10), (10, 10), (680, 1000)])
def test_clopper_pearson_equals_scipy(hits: int, n: int) -> None:
    want = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert calibration.clopper_pearson(hits, n) == pytest.approx((want.low, want.high), abs=1e-12)


def test_credible_coverage_counts_hits() -> None:
    truth = torch.tensor([0.0, 1.0, 2.0, 3.0])
    got = calibration.credible_coverage(truth - 1, torch.tensor([1.0, 1.0, 1.0, 4.0]), truth, 0.9)
    assert (got.value, got.hits, got.cases) == (0.75, 3, 4)
    assert got.low < 0.75 < got.high


def test_blocks_widen_the_error_of_coverage() -> None:
    """100 blocks of 10 equal cases: the error is that of 100 cases, within 5 %."""
    y = Rng(0).normal((100, 1)).expand(100, 10)
    blocks = torch.arange(100)[:, None].expand(100, 10)
    got = calibration.credible_coverage(-torch.ones_like(y), torch.ones_like(y), y, 0.68, blocks)
    assert got.standard_error == pytest.approx(math.sqrt(got.value * (1 - got.value) / 100), rel=0.05)


def test_confidence_intervals_of_a_mean_cover_each_fixed_truth() -> None:
    """mean ± 1.96 s/sqrt(n) over 4000 repeats of the data: 95 % for every truth, to the 1e-4 limit."""
    rng, truth = Rng(1), torch.tensor([-3.0, 0.0, 8.0], dtype=torch.float64)
    mean = (truth + rng.normal((4000, 25, 3))).mean(1)
    half = stats.norm.ppf(0.975) / 5
    got = calibration.confidence_coverage(mean - half, mean + half, truth, 0.95)
    assert (got.elements - 0.95).abs().max() < 4 * math.sqrt(0.95 * 0.05 / 4000)
    assert got.worst.low < got.worst.value == got.elements.min() < got.worst.high
    assert got.mean.standard_error == pytest.approx(math.sqrt(0.95 * 0.05 / 12_000), rel=0.2)


def test_credible_intervals_need_not_be_confidence_intervals() -> None:
    """A shrunk estimate covers truths of its prior at the level, yet not one far in the prior's tail."""
    rng, half = Rng(2), stats.norm.ppf(0.95) * math.sqrt(0.5)
    truth = rng.normal((4000,))
    mean = (truth + rng.normal((4000,))) / 2
    credible = calibration.credible_coverage(mean - half, mean + half, truth, 0.9)
    assert abs(credible.value - 0.9) < 4 * math.sqrt(0.09 / 4000)
    fixed = torch.tensor([3.0], dtype=torch.float64)
    mean = (fixed + rng.normal((4000, 1))) / 2
    assert calibration.confidence_coverage(mean - half, mean + half, fixed, 0.9).worst.high < 0.5
    with pytest.raises(ShapeError, match="credible_coverage"):
        calibration.confidence_coverage(truth - 1, truth + 1, truth, 0.9)


def test_mahalanobis_distance_and_its_law() -> None:
    rng = Rng(3)
    a = rng.normal((6, 6))
    c, mean, y = a @ a.T + torch.eye(6, dtype=torch.float64), rng.normal((6,)), rng.normal((6,))
    got = calibration.mahalanobis(mean, c, y)
    d2 = ((y - mean) @ torch.linalg.inv(c) @ (y - mean)).item()
    assert got.value == pytest.approx(d2 / 6)
    assert got.dimensions == 6
    assert got.standard_error == pytest.approx(math.sqrt(2 / 6))
    assert got.p_value == pytest.approx(2 * min(stats.chi2.sf(d2, 6), stats.chi2.cdf(d2, 6)))


def test_mahalanobis_from_draws_follows_its_law() -> None:
    """600 truths, 40 draws of 5 elements each: 1 within 4 errors, and p-values uniform (false alarm 1e-4)."""
    rng = Rng(4)
    draws, truth = rng.normal((40, 600, 5)), rng.normal((600, 5))
    whole = calibration.mahalanobis_draws(draws, truth)
    assert abs(whole.value - 1) < 4 * whole.standard_error
    assert whole.dimensions == 3000
    each = [calibration.mahalanobis_draws(draws[:, i], truth[i]).p_value for i in range(600)]
    assert stats.kstest(each, "uniform").pvalue > 1e-4
    assert calibration.mahalanobis_draws(0.8 * draws, truth).p_value < 1e-6
    with pytest.raises(DataError, match="draw at least 10"):
        calibration.mahalanobis_draws(draws[:9], truth)


def test_mahalanobis_of_many_draws_is_that_of_their_law() -> None:
    rng = Rng(7)
    draws, truth = rng.normal((200_000, 3)), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    assert calibration.mahalanobis_draws(draws, truth).value == pytest.approx(5.25 / 3, rel=0.02)


def test_level_error_is_small_for_true_and_known_for_flat_laws() -> None:
    assert calibration.level_error(Rng(5).uniform((40_000,))).value < 0.01
    assert calibration.level_error(torch.full((50,), 0.5)).value == pytest.approx(0.5)
    nothing = calibration.level_error(torch.tensor([0.0, 1.0]), levels=(0.5,))
    assert nothing.value == 0.5


def test_sharpness_is_the_mean_width() -> None:
    got = calibration.sharpness(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
    assert got.value == 2
    assert got.standard_error == pytest.approx(1 / math.sqrt(3))


def test_bad_arguments_are_refused() -> None:
    one = torch.ones(2)
    with pytest.raises(OptionError, match="outside"):
        calibration.credible_coverage(one, one, one, 90)
    with pytest.raises(DataError, match="NaN"):
        calibration.credible_coverage(one, one * math.nan, one, 0.9)
    with pytest.raises(ShapeError, match="differ"):
        calibration.credible_coverage(one, one, torch.ones(3), 0.9)
    with pytest.raises(DataError, match="at least one"):
        calibration.credible_coverage(one[:0], one[:0], one[:0], 0.9)
