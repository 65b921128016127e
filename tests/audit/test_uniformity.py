"""Uniformity tests against published quantiles and scipy, and their false-alarm rate and power."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from posteriori.audit import uniformity as law
from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng


@pytest.mark.parametrize(("a2", "p"), [(1.93295783274159, 0.10), (2.4923671600494, 0.05), (3.8781250216054, 0.01)])
def test_anderson_darling_quantiles(a2: float, p: float) -> None:
    """Marsaglia & Marsaglia (2004), evaluating the Anderson-Darling distribution."""
    assert law.anderson_darling_tail(a2) == pytest.approx(p, abs=1e-12)


def test_the_tail_joins_its_asymptote_and_is_one_at_zero() -> None:
    assert law.anderson_darling_tail(9.0) == pytest.approx(1 - 0.999960466, rel=2e-4)
    assert law.anderson_darling_tail(20.0) == pytest.approx(law.anderson_darling_tail(20.0001), rel=0.02)
    assert law.anderson_darling_tail(0.01) == pytest.approx(1)
    assert 0 < law.anderson_darling_tail(80.0) < 1e-30


def test_kolmogorov_and_bias_equal_scipy() -> None:
    u = Rng(0).uniform((50,))
    got = law.uniformity(u)
    z = stats.norm.ppf(u.numpy())
    assert got.kolmogorov == pytest.approx(stats.kstest(u.numpy(), "uniform").pvalue)
    assert got.bias == pytest.approx(2 * stats.norm.sf(abs(z.sum()) / 50**0.5))
    assert got.spread == pytest.approx(2 * min(stats.chi2.sf((z**2).sum(), 50), stats.chi2.cdf((z**2).sum(), 50)))


def test_false_alarms_are_as_stated() -> None:
    """400 uniform samples: p <= 0.05 in at most 5 %, counted within the binomial 1e-4 limit (37)."""
    tests = [law.uniformity(Rng(seed).uniform((30,))) for seed in range(400)]
    for name in ("bias", "spread", "anderson_darling", "kolmogorov", "p_value"):
        assert sum(getattr(t, name) <= 0.05 for t in tests) <= 37


def test_over_confidence_and_bias_are_seen_for_what_they_are() -> None:
    truth = Rng(1).normal((400,))
    zero, one = torch.zeros(400, dtype=torch.float64), torch.ones(400, dtype=torch.float64)
    narrow = law.uniformity(law.pit_gaussian(zero, 0.7 * one, truth))
    wide = law.uniformity(law.pit_gaussian(zero, 1.4 * one, truth))
    shifted = law.uniformity(law.pit_gaussian(0.4 * one, one, truth))
    assert narrow.p_value < 1e-4
    assert narrow.spread_z > 1.2
    assert narrow.bias > 1e-3
    assert wide.p_value < 1e-4
    assert wide.spread_z < 0.85
    assert shifted.bias < 1e-4
    assert shifted.mean_z < -0.2


def test_ranks_of_tied_draws_are_uniform() -> None:
    """Truth and 7 draws from three classes: ranks 0 … 7 equally often (chi-square, false alarm 1e-3)."""
    rng = Rng(2)
    draws, truth = rng.integers(3, (7, 8000)), rng.integers(3, (8000,))
    rank = law.ranks(draws, truth, rng)
    histogram = law.rank_histogram(rank, 7)
    assert len(histogram.counts) == 8
    assert histogram.p_value > 1e-3
    assert histogram.standard_error[0].item() == pytest.approx((1000 * 7 / 8) ** 0.5)


def test_rank_bins_that_cannot_be_equal_expect_so() -> None:
    histogram = law.rank_histogram(torch.arange(10), draws=9, bins=4)
    assert histogram.expected.tolist() == [3, 2, 3, 2]
    assert histogram.p_value == 1
    with pytest.raises(OptionError, match="0 … 5"):
        law.rank_histogram(torch.arange(10), draws=5)


def test_randomised_transforms_are_uniform() -> None:
    """Draws equal and weighted, and Poisson counts: p_value > 1e-3 each (false alarm 1e-3)."""
    rng = Rng(3)
    draws, truth = rng.normal((15, 3000)), rng.normal((3000,))
    assert law.uniformity(law.pit_draws(draws, truth, rng)).p_value > 1e-3
    proposals = 1.5 * rng.normal((400, 3000))
    weights = torch.exp(-proposals.square() * (1 - 1 / 2.25) / 2)
    assert law.uniformity(law.pit_draws(proposals, truth, rng, weights)).p_value > 1e-3
    counts = torch.poisson(torch.full((3000,), 1.3, dtype=torch.float64), generator=rng.generator)
    below, at = (torch.from_numpy(stats.poisson.cdf(k.numpy(), 1.3)) for k in (counts - 1, counts))
    assert law.uniformity(law.pit_discrete(below, at, rng)).p_value > 1e-3
    assert law.uniformity((below + at) / 2).p_value < 1e-6


def test_equal_weights_change_nothing() -> None:
    draws, truth = Rng(4).normal((9, 20)), Rng(5).normal((20,))
    plain = law.pit_draws(draws, truth, Rng(6))
    torch.testing.assert_close(law.pit_draws(draws, truth, Rng(6), torch.ones(9)), plain)
    torch.testing.assert_close((plain * 10).floor().long(), (draws < truth).sum(0))


def test_mixture_transform_equals_its_cdf() -> None:
    m, s = torch.tensor([[0.0], [2.0]]).double(), torch.tensor([[1.0], [0.5]]).double()
    got = law.pit_mixture(m, s, torch.tensor([0.25, 0.75]).double(), torch.tensor([1.0]).double())
    assert got.item() == pytest.approx(0.25 * stats.norm.cdf(1) + 0.75 * stats.norm.cdf(1, 2, 0.5))


def test_values_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        law.uniformity(torch.tensor([0.2, 3.0]))


def test_pit_histogram_counts() -> None:
    histogram = law.pit_histogram(torch.tensor([0.05, 0.15, 0.151, 1.0]), bins=10)
    assert histogram.counts.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert histogram.expected[0].item() == pytest.approx(0.4)
