"""Normal scores and circles: laws that come out as promised, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.domains.geography.kinds import NormalScores, from_circle, to_circle


def _rain(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=n) < 0.6, 0.0, rng.gamma(0.7, 3.0, size=n))


@pytest.mark.slow
def test_scores_are_standard_normal_and_new_ones_give_the_law_back() -> None:
    """Kolmogorov-Smirnov on values that the map has not seen; false alarms 1e-3 each."""
    scores = NormalScores.of(_rain(200_000, 0))
    new = _rain(5_000, 1)
    assert stats.kstest(scores.forward(new, Rng(0)), "norm").pvalue > 1e-3
    drawn = scores.inverse(np.random.default_rng(2).normal(size=5_000))
    assert stats.ks_2samp(drawn, new).pvalue > 1e-3
    assert abs((drawn == 0).mean() - 0.6) < 3.3 * np.sqrt(0.24 / 5000)


def test_values_come_back() -> None:
    values = _rain(3000, 3).reshape(3, 10, 100)
    values[0, 0, 0] = np.nan
    scores = NormalScores.of(values)
    back = scores.inverse(scores.forward(values, Rng(1)))
    inside = values[values > 0] >= np.exp(scores.logs[0])
    assert np.isnan(back[0, 0, 0])
    assert (back[values == 0] == 0).all()
    assert np.allclose(back[values > 0][inside], values[values > 0][inside], rtol=1e-9)


def test_the_order_of_values_is_kept_beyond_the_largest() -> None:
    scores = NormalScores.of(_rain(5000, 4))
    steep = scores.inverse(np.linspace(-3, 7, 400))
    assert (np.diff(steep) >= 0).all()
    assert steep[-1] > 1.5 * np.exp(scores.logs[-1])
    large = np.array([2.0, 5.0]) * np.exp(scores.logs[-1])
    assert np.allclose(scores.inverse(scores.forward(large, Rng(0))), large)


@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=5))
def test_directions_come_back(degrees: list[float]) -> None:
    angle = np.array(degrees)
    back = from_circle(3.0 * to_circle(angle))
    assert ((back >= 0) & (back < 360)).all()
    assert np.abs((back - angle + 180) % 360 - 180).max() < 1e-9


def test_no_direction_is_a_gap_and_bad_values_are_refused() -> None:
    assert np.isnan(from_circle(np.zeros((2, 1)))).all()
    assert np.isnan(from_circle(to_circle(np.array([np.nan])))).all()
    with pytest.raises(DataError, match="zero or more"):
        NormalScores.of(np.array([-1.0, 2.0]))
    with pytest.raises(DataError, match="too few"):
        NormalScores.of(np.array([0.0, 2.0]))
    with pytest.raises(DataError, match="zero or more"):
        NormalScores.of(_rain(1000, 0)).forward(np.array([-1.0]), Rng(0))
