"""Reliability figures by hand, by identity, and under laws that are right or wrong by a known amount."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posteriori.audit.reliability import brier_parts, calibration_error, rate_error, reliability_curve
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng


def test_brier_parts_by_hand() -> None:
    """Two stated probabilities: 0.2 came 1 of 4 times, 0.8 came 3 of 4."""
    p = torch.tensor([0.2] * 4 + [0.8] * 4, dtype=torch.float64)
    o = torch.tensor([1, 0, 0, 0, 1, 1, 1, 0])
    parts = brier_parts(p, o)
    assert parts.reliability.value == pytest.approx(0.05**2)
    assert parts.resolution.value == pytest.approx(0.25**2)
    assert parts.uncertainty.value == pytest.approx(0.25)
    assert parts.within.value == pytest.approx(0, abs=1e-15)
    assert parts.score.value == pytest.approx((2 * 0.64 + 6 * 0.04) / 8)


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_parts_add_up(seed: int, bins: int) -> None:
    rng = Rng(seed)
    p, o = rng.uniform((37,)), rng.integers(2, (37,))
    parts = brier_parts(p, o, bins)
    total = parts.reliability.value - parts.resolution.value + parts.uncertainty.value + parts.within.value
    assert total == pytest.approx(((p - o) ** 2).mean().item(), abs=1e-12)
    assert parts.reliability.value >= 0
    assert parts.resolution.value >= 0


def test_true_probabilities_are_reliable_and_shifted_ones_are_not() -> None:
    """20 000 events; a shift of 0.1 gives reliability 0.01 and calibration error 0.1 (within 5 errors: 6e-7)."""
    rng = Rng(1)
    p = 0.8 * rng.uniform((20_000,))
    o = (rng.uniform((20_000,)) < p).long()
    assert brier_parts(p, o).reliability.value < 3e-4
    assert calibration_error(p, o).value < 0.015
    shifted, error = brier_parts(p + 0.1, o).reliability, calibration_error(p + 0.1, o)
    assert shifted.standard_error is not None
    assert error.standard_error is not None
    assert abs(shifted.value - 0.01) < 5 * shifted.standard_error + 3e-4
    assert abs(error.value - 0.1) < 5 * error.standard_error
    curve = reliability_curve(p, o)
    assert ((curve.stated - curve.observed).abs() < 5 * curve.standard_error).all()
    assert len(curve.stated) == 8
    assert curve.cases.sum() == 20_000


def test_jackknife_error_is_the_spread_over_samples() -> None:
    """Spread of the resolution over 300 samples of 200 events, within 15 % (spread of a spread: 4 %)."""
    values, errors = [], []
    for seed in range(300):
        rng = Rng(seed)
        p = rng.uniform((200,))
        part = brier_parts(p, (rng.uniform((200,)) < p).long(), bins=5).resolution
        values.append(part.value)
        errors.append(part.standard_error or 0.0)
    assert torch.tensor(errors).mean().item() == pytest.approx(torch.tensor(values).std().item(), rel=0.15)


def test_the_error_of_a_rate_is_never_zero() -> None:
    assert rate_error(torch.tensor(0.0), torch.tensor(10.0)) > 0.05
    assert rate_error(torch.tensor(500.0), torch.tensor(1000.0)).item() == pytest.approx(0.0158, abs=1e-4)


def test_swapped_arguments_are_refused() -> None:
    with pytest.raises(DataError, match="which argument came first"):
        brier_parts(torch.tensor([0.0, 1.0]), torch.tensor([0.3, 0.9]))
    with pytest.raises(ShapeError, match="differ"):
        calibration_error(torch.tensor([0.5]), torch.tensor([1, 0]))
