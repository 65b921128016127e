"""Ensemble scores of fields, block bootstrap and splits, against laws whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from posteriori.audit.rasters import bootstrap as boot
from posteriori.audit.rasters import ensemble as ens
from posteriori.audit.rasters import splits
from posteriori.audit.rasters.cells import cos_latitude, field_mean
from posteriori.core.errors import DataError, LeakError, OptionError, ShapeError
from posteriori.core.random import Rng


def perfect(members: int, cases: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Members and truths of one law about a centre that varies from case to case; members' spread times ``scale``."""
    rng = Rng(7)
    centre = 3 * rng.normal((cases, 5, 4))
    return centre + scale * rng.normal((members, cases, 5, 4)), centre + rng.normal((cases, 5, 4))


@pytest.mark.parametrize("members", [2, 4, 16, 50])
def test_spread_equals_skill_and_ranks_cover_for_any_size(members: int) -> None:
    """60,000 independent cells: four standard errors, false alarm below 1e-3 a figure."""
    x, y = perfect(members, 3000)
    spread, skill = ens.spread_skill(x, y)
    assert abs((spread.mean() / skill.mean()).sqrt().item() - 1) < 4 * math.sqrt((0.5 + 0.5 / (members - 1)) / 60000)
    for level in (0.5, 0.9):
        share = ens.rank_coverage(x, y, level, Rng(1)).mean().item()
        assert abs(share - level) < 4 * math.sqrt(level * (1 - level) / 60000)
    low, high = ens.student_interval(x, 0.9)
    assert abs(ens.interval_coverage(low, high, y).mean().item() - 0.9) < 4 * math.sqrt(0.09 / 60000)
    assert abs(ens.outer_ranks(x, y, Rng(2)).mean().item() - 1) < 4 * math.sqrt((members - 1) / 2 / 60000) + 1e-9


def test_intervals_between_members_cover_where_plain_quantiles_do_not() -> None:
    x, y = perfect(19, 3000)
    low, high = ens.fair_interval(x, 0.9)
    assert abs(ens.interval_coverage(low, high, y).mean().item() - 0.9) < 4 * math.sqrt(0.09 / 60000)
    assert torch.equal(low, x.min(0).values)
    assert torch.equal(high, x.max(0).values)
    flat = Rng(3).uniform((17, 3000, 5, 4))
    plain = torch.quantile(flat[:16], torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0)
    found = ens.interval_coverage(plain[0], plain[1], flat[16]).mean().item()
    assert abs(found - ens.plain_coverage(0.9, 16)) < 4 * math.sqrt(0.16 / 60000)
    assert ens.plain_coverage(0.9, 16) == pytest.approx(0.794, abs=1e-3)
    with pytest.raises(OptionError, match="Draw 19 members"):
        ens.fair_interval(x[:16], 0.9)
    low, high = ens.fair_interval(x, 0.85)
    assert (low > x.min(0).values).all()
    assert (high < x.max(0).values).all()


def test_crps_is_that_of_properscoring_and_masked_cells_are_never_read() -> None:
    properscoring = pytest.importorskip("properscoring")
    x, y = perfect(6, 8)
    mask = torch.rand(8, 5, 4, generator=Rng(3).generator) > 0.3
    mask[:, 0, 0] = True
    holes = torch.where(mask, y, math.nan)
    plain = properscoring.crps_ensemble(y.numpy(), x.movedim(0, -1).numpy())
    gini = (x[:, None] - x[None]).abs().mean((0, 1)) / 2
    fair = torch.from_numpy(plain) + gini - gini * 6 / 5
    found = ens.field_crps(torch.where(mask, x, math.nan), holes, mask)
    assert torch.allclose(found, torch.where(mask, fair, 0).sum((1, 2)) / mask.sum((1, 2)))
    with pytest.raises(DataError, match="scored cell"):
        ens.field_crps(x, holes)
    lost = torch.where((torch.arange(6) == 4)[:, None, None, None] & mask, math.nan, x)
    for score in (
        lambda: ens.field_crps(lost, y),
        lambda: ens.spread_squared(lost, mask),
        lambda: ens.rank_coverage(lost, y, 0.5, Rng(0)),
    ):
        with pytest.raises(DataError, match="finite"):
            score()
    with pytest.raises(DataError, match="NaN in a scored cell"):
        ens.interval_coverage(lost[4], x[0], y)
    assert (ens.interval_coverage(torch.full_like(y, -math.inf), torch.full_like(y, math.inf), y) == 1).all()


def test_area_weights_and_refusals_of_cells() -> None:
    field = torch.tensor([[1.0, 3.0], [5.0, 7.0]], dtype=torch.float64)
    weights = cos_latitude(torch.tensor([0.0, 60.0]))
    assert field_mean(field, weights=weights).item() == pytest.approx((2 * 1 + 6 * 0.5) / 1.5)
    with pytest.raises(DataError, match="reach"):
        cos_latitude(torch.tensor([91.0]))
    with pytest.raises(DataError, match="all False"):
        field_mean(field, torch.zeros(2, 2, dtype=torch.bool))
    with pytest.raises(ShapeError, match="mask"):
        field_mean(field, torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(DataError, match="booleans"):
        field_mean(field, torch.ones(2, 2))
    with pytest.raises(DataError, match=">= 0"):
        field_mean(field, weights=-torch.ones(2, 2))


def test_joint_scores_prefer_the_true_law() -> None:
    rng = Rng(5)
    common = rng.normal((41, 200, 1, 1))
    x = (common + 0.1 * rng.normal((41, 200, 4, 4)))[:40]
    y = common[40] + 0.1 * rng.normal((200, 4, 4))
    shuffled = torch.stack([x[rng.permutation(40), :, i // 4, i % 4] for i in range(16)], -1).reshape(40, 200, 4, 4)
    assert ens.field_energy_score(x, y).mean() < ens.field_energy_score(shuffled, y).mean()
    assert ens.field_variogram_score(x, y).mean() < 0.5 * ens.field_variogram_score(shuffled, y).mean()
    assert ens.field_crps(x, y).mean().item() == pytest.approx(ens.field_crps(shuffled, y).mean().item())
    one = torch.zeros(4, 4, dtype=torch.bool)
    one[1, 2] = True
    assert torch.allclose(ens.field_energy_score(x, y, one), ens.field_crps(x, y, one))


@pytest.mark.slow
def test_block_bootstrap_covers_with_few_correlated_blocks() -> None:
    """400 data sets of 10 blocks of 12 equal cases: 95 % intervals hold 0.90 to 0.985 (false alarm about 1e-3)."""
    rng, held, naive = Rng(11), 0, 0
    blocks = torch.arange(120) // 12
    for i in range(400):
        values = rng.normal((10, 1)).expand(10, 12).reshape(-1) + 0.3 * rng.normal((120,))
        held += boot.bootstrap(values[:, None], lambda m: m[..., 0], blocks, rng.child(i), 500).holds(0.0)
        naive += boot.bootstrap(values[:, None], lambda m: m[..., 0], torch.arange(120), rng.child(i), 500).holds(0.0)
    assert 0.90 <= held / 400 <= 0.985
    assert naive / 400 < 0.6


def test_bootstrap_of_ratio_and_difference() -> None:
    rng = Rng(2)
    theirs = 1 + rng.uniform((200,))
    blocks = torch.arange(200) // 10
    exact = boot.bootstrap_ratio(0.8 * theirs, theirs, blocks, rng)
    assert exact.low == pytest.approx(0.8)
    assert exact.high == pytest.approx(0.8)
    assert boot.bootstrap_root_ratio(0.64 * theirs, theirs, blocks, rng).value == pytest.approx(0.8)
    gap = boot.bootstrap_difference(0.8 * theirs, theirs, blocks, rng)
    assert gap.high < 0
    assert gap.value == pytest.approx(-0.2 * theirs.mean().item())
    assert boot.bootstrap_root(theirs, blocks, rng).value == pytest.approx(theirs.mean().sqrt().item())
    with pytest.raises(DataError, match="at least three"):
        boot.bootstrap_mean(theirs, torch.zeros(200), rng)
    with pytest.raises(ShapeError, match="paired"):
        boot.bootstrap_ratio(theirs, theirs[:-1], blocks, rng)


def test_time_splits_keep_their_gap() -> None:
    times = np.arange(600.0)
    split = splits.time_split(times, 431, 472, 40)
    assert len(split.train) == 432
    assert split.test[0] == 472
    with pytest.raises(LeakError, match="apart"):
        splits.time_split(times, 440, 472, 40)
    with pytest.raises(LeakError, match="in training and in test"):
        splits.time_split(times, 480, 472, 0)
    for fold in splits.time_folds(times, 5, 40):
        apart = np.abs(times[fold.train][:, None] - times[fold.test][None]).min()
        assert apart > 40
        assert len(fold.test) == 120
    assert sum(len(f.test) for f in splits.time_folds(times, 5, 40)) == 600
    dates = np.datetime64("2019-03-01T18") + np.arange(12) * np.timedelta64(1, "h")
    assert splits.time_blocks(dates).tolist() == [0] * 6 + [1] * 6
    for take in (splits.hours, splits.time_blocks):
        with pytest.raises(DataError, match="one axis"):
            take(dates[:0])


def test_space_folds_keep_their_gap() -> None:
    y, x = np.meshgrid(np.arange(40.0), np.arange(30.0), indexing="ij")
    cells = np.stack([y.ravel(), x.ravel()], 1)
    tested = []
    for fold in splits.space_folds(cells, 10.0, 3, 3.0, Rng(1)):
        splits.require_gap(cells[fold.train], cells[fold.test], 3.0)
        with pytest.raises(LeakError, match="more than 6 apart"):
            splits.require_gap(cells[fold.train], cells[fold.test], 6.0)
        tested.append(fold.test)
    assert sorted(torch.cat(tested).tolist()) == list(range(1200))
    assert len(torch.unique(splits.space_blocks(cells, (10, 15)))) == 8
    with pytest.raises(OptionError, match="folds"):
        splits.space_folds(cells, 100.0, 2, 0.0, Rng(1))
