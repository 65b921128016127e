"""Patterns: planted clusters come back, noise shows none, stability and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import Context
from posteriori.domains.geography.land_maps import LandMaps
from posteriori.domains.geography.pattern_clusters import clusters, phases_anew, rand_index
from posteriori.domains.geography.pattern_features import principal
from posteriori.domains.geography.pattern_samples import courses_of, fields_of, patches_of, polluted
from posteriori.domains.geography.studies import patterns
from posteriori.domains.geography.studies.patterns import Study
from posteriori.learn.bottleneck import Bottleneck, Denoising, bottleneck_features


def test_rand_index_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    for _ in range(20):
        one, other = draw.integers(0, 4, 60), draw.integers(0, 3, 60)
        assert rand_index(one, other) == pytest.approx(metrics.adjusted_rand_score(one, other))
    assert rand_index(one, (one + 1) % 4) == 1


def test_phases_keep_covariance_and_spectrum() -> None:
    draw = np.random.default_rng(0)
    points = np.cumsum(draw.normal(size=(101, 3)) @ draw.normal(size=(3, 3)), 0)
    other = phases_anew(points, Rng(0))
    assert np.cov(other.T) == pytest.approx(np.cov(points.T), rel=1e-8)
    assert np.abs(np.fft.rfft(other, axis=0)) == pytest.approx(np.abs(np.fft.rfft(points, axis=0)), abs=1e-8)
    assert np.abs(other - points).max() > 1


@pytest.mark.slow
def test_no_clusters_in_noise() -> None:
    """Of six noise fields at most two are said to have clusters; false alarm of this test 2e-3 at 5 % each."""
    alarms = 0
    for seed in range(6):
        samples = polluted(Rng(seed), 120, planted=False)
        alarms += clusters(principal(samples.rows), samples.block, Rng(seed), most=3, resamples=4).found
    assert alarms <= 2


def test_net_takes_noise_off_and_keeps_what_differs() -> None:
    """Rows of two kinds: codes part them; trained error is below that of handing the noise back."""
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 2, 120)
    rows = torch.from_numpy(
        np.where(kind[:, None] == 1, 1.0, -1.0) * np.linspace(-1, 1, 20) + 0.2 * draw.normal(size=(120, 20))
    )
    codes = bottleneck_features(rows, Context(Rng(0)), codes=2, epochs=40).numpy()
    assert codes.shape == (120, 2)
    assert np.isfinite(codes).all()
    centres = np.stack([codes[kind == k].mean(0) for k in (0, 1)])
    nearest = np.linalg.norm(codes[:, None] - centres, axis=-1).argmin(1)
    assert (nearest == kind).mean() > 0.95
    again = bottleneck_features(rows, Context(Rng(0)), codes=2, epochs=40).numpy()
    assert (codes == again).all()
    assert Denoising()(Bottleneck(20, 2).eval(), rows.float()).shape == (120,)
    with pytest.raises(ShapeError, match="eight rows"):
        bottleneck_features(rows[:4], Context(Rng(0)))


def test_patches_have_their_classical_type() -> None:
    """A hole filled, a strip along the edge and an island far away, each many times over."""
    old = np.zeros((90, 90), np.int64)
    new = old.copy()
    for r in range(0, 90, 30):
        for c in range(0, 90, 30):
            old[r + 2 : r + 12, c + 2 : c + 12] = 1
            old[r + 6, c + 6] = 0
    new[:] = old
    for r in range(0, 90, 30):
        for c in range(0, 90, 30):
            new[r + 6, c + 6] = 1
            new[r + 4 : r + 8, c + 12] = 1
            new[r + 20 : r + 23, c + 20 : c + 23] = 1
    grid = MapGrid((90, 90))
    raster = Raster("land", new[None].astype(np.uint8), grid, "1", Kind.CATEGORICAL)
    land = LandMaps(raster, (0, 1), np.stack([old, new]), (2000.0, 2010.0), (), np.ones((90, 90), bool))
    found = patches_of(land)
    assert np.bincount(found.groups["infill, edge, outlying"]).tolist() == [9, 9, 9]
    assert np.exp(found.values[:, 0]).round().tolist().count(9) == 9
    assert found.place is not None
    assert (found.place >= 0).sum() == (new - old).sum()


def test_courses_fill_zeros_and_average_to_the_hour(tmp_path: Path) -> None:
    numbers = np.tile(np.repeat(np.arange(24.0) + 10, 2), 15)[:, None] * np.ones((1, 2))
    numbers[3, 0] = 0
    path = tmp_path / "speed.csv"
    np.savetxt(path, numbers, delimiter=",", header="a,b", comments="")
    found = courses_of(path, 48)
    assert found.values.shape == (30, 24)
    assert found.values[-1] == pytest.approx(np.arange(24) + 10)
    assert found.values[0, 1] == pytest.approx((11 + 11.5) / 2)
    assert found.at[:3].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="a day of 48000"):
        courses_of(path, 48_000)
    path.write_text("a,b\n1,x\n")
    with pytest.raises(DataError, match="table of numbers"):
        courses_of(path, 24)


def test_bad_fields_and_options_are_refused() -> None:
    values = np.random.default_rng(0).normal(size=(30, 6, 7))
    raster = Raster("t", values, MapGrid((6, 7)), "K", nodata=float("nan"), layers=_layers(30))
    assert fields_of(raster, 5).block.tolist() == (np.arange(30) // 5).tolist()
    gaps = values.copy()
    gaps[3, 2, 2] = np.nan
    with pytest.raises(DataError, match="gaps that come and go"):
        fields_of(Raster("t", gaps, MapGrid((6, 7)), "K", nodata=float("nan"), layers=_layers(30)), 5)
    with pytest.raises(DataError, match="24 at least"):
        fields_of(raster.select(slice(0, 5)), 1)
    with pytest.raises(DataError, match="same in every sample"):
        fields_of(Raster("t", np.ones((30, 6, 7)), MapGrid((6, 7)), "K", layers=_layers(30)), 5)
    with pytest.raises(DataError, match="2 blocks"):
        clusters(principal(values.reshape(30, -1)), np.arange(30) // 15, Rng(0))
    with pytest.raises(OptionError, match="most=1"):
        Study(most=1)
    with pytest.raises(OptionError, match="noise=3"):
        Study(noise=3)


def _layers(count: int) -> Layers:
    return Layers("time", np.arange(count), "days since 2020-01-01")


def test_too_few_blocks_are_refused_before_a_net_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(patterns, "features", never)
    path = tmp_path / "speed.csv"
    courses = 40 + np.random.default_rng(0).normal(size=(24 * 8, 4))
    np.savetxt(path, courses, delimiter=",", header="a,b,c,d", comments="")
    with pytest.raises(DataError, match="4 blocks"):
        Study(data=(str(path),), per_day=24)(Context(Rng(0)))


@pytest.mark.slow
def test_study_offline() -> None:
    """The planted regimes come back: their number and, by the gate, their members."""
    outcome = Study(quick=True)(Context(Rng(0)))
    assert outcome.report.passed
    assert outcome.scores["clusters"] == 4
    for picture in outcome.pictures.values():
        picture()
