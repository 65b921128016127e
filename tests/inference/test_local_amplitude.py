"""The local amplitude of a Gaussian answer, and tails that are due."""

from __future__ import annotations

import math

import pytest
import torch

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.inference.local_amplitude import Conditioned, LocalAmplitude, tails

SHAPE = (8, 8)
AT = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0)).double()
K = torch.exp(-torch.cdist(AT, AT) / 3)
SEEN, REST = torch.arange(0, 64, 2), torch.arange(1, 64, 2)


def conditioned(data: torch.Tensor) -> Conditioned:
    """Every second cell of a field of mean zero."""
    return Conditioned.of(K, torch.zeros(64, dtype=torch.float64), 0.01, SEEN, REST, data)


def test_misses_are_what_leaving_each_cell_out_gives() -> None:
    x = torch.linalg.cholesky(K) @ Rng(0).normal((64,))
    found = conditioned(x[SEEN])
    for i in (0, 7, 31):
        others = SEEN[torch.arange(32) != i]
        s = K[others][:, others] + 0.01 * torch.eye(31)
        gain = torch.linalg.solve(s, K[others, SEEN[i]])
        miss = x[SEEN[i]] - gain @ x[others]
        std = (K[SEEN[i], SEEN[i]] + 0.01 - gain @ K[others, SEEN[i]]).sqrt()
        assert float(found.missed[i]) == pytest.approx(float(miss / std), rel=1e-8)


def test_the_amplitude_follows_the_misses_nearby_and_scales_with_the_field() -> None:
    x = torch.linalg.cholesky(K) @ Rng(1).normal((64,))
    rough = torch.where(AT[:, 1] < 4, x, 3 * x)
    a = LocalAmplitude(weight=0.1, reach=1.5).amplitude(conditioned(rough[SEEN]), SHAPE)
    left = AT[REST, 1] < 3
    assert float(a[~left].mean()) > 1.3 * float(a[left].mean())


def test_tails_give_back_the_law_they_were_drawn_from() -> None:
    """Degrees 4 within 3 to 5.5, factor within 5 % of 0.7, from 2e5 draws; a Gaussian gets no tails."""
    normal, chi2 = Rng(0).normal((200_000,)), 2 * torch.from_numpy(Rng(1).numpy.standard_gamma(2.0, 200_000))
    factor, degrees = tails(0.7 * normal / (chi2 / 4).sqrt(), torch.ones(200_000, dtype=torch.float64))
    assert factor == pytest.approx(0.7, rel=0.05)
    assert 3 < degrees < 5.5
    factor, degrees = tails(1.3 * normal, torch.ones(200_000, dtype=torch.float64))
    assert factor == pytest.approx(1.3, rel=0.03)
    assert degrees > 15


def test_draws_have_the_stated_spread() -> None:
    found = conditioned(torch.zeros(32, dtype=torch.float64) + 0.3)
    for degrees in (math.inf, 6.0):
        spread = LocalAmplitude(degrees=degrees, members=20_000)
        drawn = spread.draw(found, SHAPE, Rng(2)).std(0)
        assert float((drawn / spread.std(found, SHAPE) - 1).abs().max()) < 0.08


def test_the_cells_one_by_one_say_the_same_of_each_and_keep_no_covariance() -> None:
    found = conditioned(Rng(3).normal((32,)))
    spread = LocalAmplitude(degrees=5.0)
    assert torch.equal(spread.std(found.alone, SHAPE), spread.std(found, SHAPE))
    assert found.alone.variance.untyped_storage().nbytes() == 32 * 8


def test_numbers_out_of_range_are_refused() -> None:
    for options in ({"reach": 0.0}, {"factor": -1.0}, {"degrees": 2.0}, {"members": 1}, {"weight": math.nan}):
        with pytest.raises(OptionError):
            LocalAmplitude(**options)
