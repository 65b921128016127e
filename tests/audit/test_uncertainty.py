"""Splits of uncertainty against analytic laws: the epistemic part falls with data, the aleatoric does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from posteriori.audit.estimate import average, jackknife
from posteriori.audit.uncertainty import bias_variance, split_entropy, split_variance
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng


def test_a_mixture_splits_its_exact_variance() -> None:
    means, variances = torch.tensor([[0.0], [3.0]]).double(), torch.tensor([[1.0], [4.0]]).double()
    got = split_variance(means, variances, torch.tensor([0.25, 0.75]).double())
    assert got.aleatoric.item() == pytest.approx(3.25)
    assert got.epistemic.item() == pytest.approx(0.25 * 0.75 * 9)
    second_moment = 0.25 * 1 + 0.75 * (4 + 9)
    assert got.total.item() == pytest.approx(second_moment - 2.25**2)


def bootstrap_means(n: int, members: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """Members that know the mean of N(0, 4) from n data each, for 200 cases: epistemic 4/n, aleatoric 4."""
    data = 2 * rng.normal((members, 200, n))
    return data.mean(-1), data.var(-1)


def test_epistemic_falls_with_data_and_aleatoric_does_not() -> None:
    few = split_variance(*bootstrap_means(10, 20, Rng(0)))
    many = split_variance(*bootstrap_means(160, 20, Rng(1)))
    for split, n in ((few, 10), (many, 160)):
        epistemic, aleatoric = split.mean_epistemic, split.mean_aleatoric
        assert epistemic.standard_error is not None
        assert aleatoric.standard_error is not None
        assert abs(epistemic.value - 4 / n) < 4 * epistemic.standard_error
        assert abs(aleatoric.value - 4) < 4 * aleatoric.standard_error
    assert many.mean_epistemic.value < few.mean_epistemic.value / 8
    assert abs(many.mean_aleatoric.value - few.mean_aleatoric.value) < 0.2


def test_the_error_counts_shared_members() -> None:
    """A shift common to all cases: 20 members, variance 1, error sqrt(2 / 19), over 200 runs."""
    errors = []
    for seed in range(200):
        shift = Rng(seed).normal((20, 1)).expand(20, 300)
        got = split_variance(shift, torch.ones(20, 300).double()).mean_epistemic
        errors.append((got.standard_error or 0.0) ** 2)
    assert math.sqrt(sum(errors) / 200) == pytest.approx(math.sqrt(2 / 19), rel=0.25)


def test_entropy_split_of_agreeing_and_opposed_members() -> None:
    agree = split_entropy(torch.tensor([[0.5, 0.5], [0.5, 0.5]]).double()[:, None])
    opposed = split_entropy(torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()[:, None])
    assert agree.epistemic.item() == pytest.approx(0)
    assert agree.aleatoric.item() == pytest.approx(math.log(2))
    assert opposed.epistemic.item() == pytest.approx(math.log(2))
    assert opposed.aleatoric.item() == 0
    weighted = split_entropy(
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()[:, None], torch.tensor([1.0, 0.0]).double()
    )
    assert weighted.epistemic.item() == 0
    with pytest.raises(DataError, match="sum to 1"):
        split_entropy(torch.ones(2, 1, 3).double())


def test_bias_variance_of_a_shrunk_mean() -> None:
    """b x̄ of n = 5 data: bias² = (1 - b)² mu², variance b² / 5, noise 0.25; within 4 errors each."""
    rng, b, mu = Rng(2), 0.7, 2.0
    refits = b * (mu + rng.normal((40, 500, 5)).mean(-1))
    truth = mu + 0.5 * rng.normal((500,))
    got = bias_variance(refits, truth, torch.tensor(0.25).double())
    for part, want in ((got.bias2, 0.09 * 4), (got.variance, 0.49 / 5), (got.error, 0.36 + 0.098 + 0.25)):
        assert part.standard_error is not None
        assert abs(part.value - want) < 4 * part.standard_error
    assert got.noise.value == 0.25
    assert got.error.value == pytest.approx(got.bias2.value + got.variance.value + got.noise.value, abs=1e-12)
    assert got.error.value == pytest.approx((refits - truth).square().mean().item())


def test_two_members_still_give_a_split_without_a_member_error() -> None:
    assert split_variance(torch.tensor([[0.0], [2.0]]), torch.ones(2, 1)).epistemic.item() == 2
    with pytest.raises(DataError, match="no disagreement"):
        split_variance(torch.zeros(1, 3), torch.ones(1, 3))
    with pytest.raises(ShapeError, match="are not"):
        bias_variance(torch.zeros(3, 4), torch.zeros(5))


def test_average_of_blocks_is_that_of_their_means() -> None:
    x = Rng(3).normal((50,))
    plain = average(x)
    assert plain.standard_error == pytest.approx(x.std().item() / math.sqrt(50))
    repeated = average(x.repeat_interleave(4), torch.arange(50).repeat_interleave(4))
    assert repeated.standard_error == pytest.approx(plain.standard_error)
    assert repeated.value == pytest.approx(plain.value)
    assert average(x[:1]).standard_error is None
    with pytest.raises(ShapeError, match="block labels"):
        average(x, torch.arange(3))


def test_jackknife_of_a_mean_is_its_error() -> None:
    x = Rng(4).normal((60, 1))
    got = jackknife(x, lambda mean: mean[..., 0])
    assert got.standard_error == pytest.approx(average(x).standard_error)
    blocks = torch.arange(60) // 3
    assert jackknife(x, lambda m: m[..., 0], blocks).standard_error == pytest.approx(average(x, blocks).standard_error)
