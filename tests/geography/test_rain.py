"""Nowcasts of rain: motion, STEPS, the learnt law, made-up rain, refusals of the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Layers, Raster
from posteriori.core.run import Context
from posteriori.domains.geography import rain_data
from posteriori.domains.geography.motion import carried, inside, motion, origins
from posteriori.domains.geography.rain_choice import SHARES, SLACK, apart, mixed, stretches
from posteriori.domains.geography.rain_contest import Contest, wet_starts
from posteriori.domains.geography.rain_data import FLOW, MadeUpRain, rain_of
from posteriori.domains.geography.rain_law import Trial, case_of, learnt
from posteriori.domains.geography.rain_scores import RainScores
from posteriori.domains.geography.raster import read_raster
from posteriori.domains.geography.steps import (
    WET,
    Steps,
    autoregression,
    bandpass,
    decibels,
    matched,
    noise,
    rain_of_decibels,
)
from posteriori.domains.geography.studies.rain import Study

START = np.datetime64("2021-06-01T00:00:00")


def raster(fields: np.ndarray, unit: str = "mm", minutes: int = 10) -> Raster:
    layers = Layers.at(START + np.arange(len(fields)) * np.timedelta64(minutes, "m"))
    grid = MapGrid(fields.shape[1:], (2000.0, 0.0, 0.0, 0.0, -2000.0, 0.0), "EPSG:32633")
    return Raster("rain", fields, grid, unit, nodata=float("nan"), layers=layers)


@pytest.fixture(scope="module")
def made() -> np.ndarray:
    return MadeUpRain().scores(40, Rng(3))


def test_motion_of_smooth_fields_is_found() -> None:
    y, x = np.indices((64, 64))
    frames = [np.exp(-((y - 25 - at * FLOW[0]) ** 2 + (x - 25 - at * FLOW[1]) ** 2) / 60) for at in range(3)]
    flow = motion(frames)[:, 20:36, 20:36]
    assert np.allclose(flow.mean((1, 2)), FLOW, atol=0.15)


def test_a_field_carried_along_even_motion_is_shifted_exactly() -> None:
    field = Rng(0).numpy.standard_normal((12, 14))
    flow = np.broadcast_to(np.array([1.0, -2.0])[:, None, None], (2, 12, 14))
    origin = origins(flow, 3)
    known = inside(origin)
    expected = np.roll(field, (3, -6), (0, 1))
    assert known.sum() == 9 * 8
    assert np.allclose(carried(field, origin)[known], expected[known], atol=1e-9)
    with pytest.raises(ShapeError, match="two"):
        motion([field])


def test_the_cascade_adds_up_and_autoregression_is_that_of_yule_and_walker() -> None:
    assert np.allclose(bandpass((32, 48), 5).sum(0), 1)
    rng = Rng(1).numpy
    x = [np.zeros(200_000), np.zeros(200_000)]
    for _ in range(60):
        x.append(0.9 * x[-1] - 0.15 * x[-2] + rng.standard_normal(200_000))
    unit = [part / x[-1].std() for part in x[-3:]]
    phi1, phi2, amplitude = autoregression(unit[2], unit[1], unit[0])
    assert (phi1, phi2) == pytest.approx((0.9, -0.15), abs=0.02)
    assert amplitude == pytest.approx(1 / x[-1].std(), abs=0.02)


def test_a_process_that_would_swing_is_the_nearest_that_does_not() -> None:
    """Correlations 0.69 and 0.32 are those of φ = (0.9, -0.3), whose roots are complex; a real double root is found."""
    rng = Rng(11).numpy
    basis = np.linalg.qr(rng.standard_normal((400, 3)))[0].T * 20
    correlation = np.array([[1, 0.69, 0.32], [0.69, 1, 0.69], [0.32, 0.69, 1]])
    now, before, earlier = np.linalg.cholesky(correlation) @ basis
    phi1, phi2, amplitude = autoregression(now, before, earlier)
    assert phi1**2 + 4 * phi2 == pytest.approx(0, abs=1e-9)
    assert phi1 / (1 - phi2) == pytest.approx(0.69)
    assert amplitude > 0


def test_decibels_and_back_and_gains() -> None:
    rain = np.array([0.0, 0.04, WET, 3.0])
    assert np.allclose(rain_of_decibels(decibels(rain)), [0, 0, WET, 3.0])
    with pytest.raises(OptionError, match="gains"):
        Steps(gains=(1.0, 0.0))
    with pytest.raises(OptionError, match="levels"):
        Steps(gains=(1.0,))


def test_matching_keeps_the_values_and_the_order() -> None:
    rng = Rng(2).numpy
    field, now = rng.standard_normal((6, 7)), rng.uniform(size=(6, 7))
    found = matched(field, now)
    assert np.array_equal(np.sort(found, None), np.sort(now, None))
    assert np.array_equal(np.argsort(found, None), np.argsort(field, None))


def test_noise_has_unit_variance_and_steps_repeat(made: np.ndarray) -> None:
    assert noise(400, (16, 16), 2.0, 2.5, Rng(4)).std() == pytest.approx(1, abs=0.03)
    past = [MadeUpRain.rain(field) for field in made[:3]]
    steps = Steps(members=4)
    one, again = steps(past, 2, Rng(5)), steps(past, 2, Rng(5))
    assert np.array_equal(one, again)
    assert one.shape == (4, 64, 64)
    assert (one >= 0).all()
    assert (steps([np.zeros((64, 64))] * 3, 2, Rng(5)) == 0).all()
    with pytest.raises(ShapeError, match="three"):
        steps(past[:2], 2, Rng(5))


def test_the_exact_law_of_made_up_rain_has_flat_ranks() -> None:
    """A chi-square over 9 ranks of thinned cells; false alarm about 1e-4."""
    world = MadeUpRain()
    scores = world.scores(120, Rng(9))
    starts = range(0, 115, 5)
    members = np.stack([world.ahead(scores[s], 3, 8, Rng(10).child(s)) for s in starts], 1)
    truth = torch.from_numpy(world.rain(scores[3:][list(starts)]))
    thin = torch.zeros(truth.shape, dtype=torch.bool)
    thin[:, ::16, ::16] = True
    posterior = Draws(MapGrid((64, 64)).space("rain", "mm"), torch.from_numpy(members))
    judged = RainScores({"a": posterior}, truth, thin, (1.0,), torch.arange(23), Rng(1))
    share = (posterior.values >= 1).double().mean(0)
    assert torch.allclose(judged.chances["a", 1.0], share)
    assert judged.brier("a", 1.0).mean() < ((share.mean() - (truth >= 1).double()) ** 2).mean()
    counts = np.bincount(judged.ranks("a").numpy(), minlength=9)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 32


def test_the_learnt_law_follows_what_is_seen() -> None:
    """Where the truth is what came along, the law closes in on it."""
    world = MadeUpRain()
    scores = world.scores(3, Rng(6))
    past = [world.rain(field) for field in scores]
    case = case_of(past, 2)
    law = learnt([Trial(0, past, case.kept, case, case.defined)], Rng(7))
    location, spread = law.parameters_of(case)
    wet = case.defined & (case.kept > 0.3)
    assert np.abs(location - np.cbrt(case.kept / case.size))[wet].mean() < 0.1
    assert spread[wet].mean() < 0.2
    with pytest.raises(DataError, match="no wet case"):
        learnt([], Rng(7))


def test_the_law_has_no_rain_far_from_any() -> None:
    past = [np.zeros((96, 96)) for _ in range(3)]
    for frame in past:
        frame[:40, :40] = 2.0
    case = case_of(past, 1)
    law = learnt([Trial(0, past, past[-1], case, case.defined)], Rng(7))
    members = law.members(case, 6, Rng(8))
    assert (members[:, 85:, 85:] == 0).all()
    assert (members[:, 5:30, 5:30] > 0.5).mean() > 0.9


def test_stretches_left_out_share_no_frame_and_go_both_ways(made: np.ndarray) -> None:
    rain = rain_of(raster(MadeUpRain.rain(made)), 1)
    every, folds = stretches(rain, 18, 2)
    assert sum(len(fold) for fold in folds) == len(every)
    for fold in folds:
        seen = {t.first + at for t in apart(every, fold, 2) for at in range(5)}
        assert seen
        assert not seen & {t.first + at for t in fold for at in range(5)}
    forwards, backwards = every[:2]
    assert np.array_equal(forwards.truth, rain.fields[forwards.first + 4])
    assert np.array_equal(backwards.truth, rain.fields[forwards.first])
    with pytest.raises(DataError, match="eight"):
        stretches(rain, 8, 2)


def test_members_are_mixed_by_share() -> None:
    assert np.array_equal(mixed(np.ones((4, 1)), np.zeros((4, 1)), 0.25).sum(0), [1])


@pytest.mark.slow
def test_a_contest_is_chosen_on_what_is_left_out_and_repeats(made: np.ndarray) -> None:
    rain = rain_of(raster(MadeUpRain.rain(made)), 1)
    contest = Contest.learnt(rain, 18, 2, 1.0, 8, Rng(8))
    choice, bar = contest.choice, contest.choice.tried[0]
    assert choice.share in SHARES
    assert bar.name == "STEPS"
    assert min(one.crps for one in choice.tried) > 0
    found = choice.tried[1 + SHARES.index(choice.share)]
    assert found.skill >= bar.skill - SLACK or choice.share == 0
    assert not any(one.crps < found.crps and one.skill >= bar.skill - SLACK for one in choice.tried[1:])
    one, again = contest.posterior(30, Rng(9)), contest.posterior(30, Rng(9))
    assert torch.equal(one.values, again.values)
    past = list(rain.fields[28:31])
    assert one.space.mask is not None
    assert np.array_equal(one.space.mask.numpy(), case_of(past, 2).defined)
    assert not one.space.mask.all()
    assert wet_starts(rain, range(2, 5)) == [2, 3, 4]


def test_blocks_leave_gaps_and_negative_cells_out() -> None:
    fields = np.ones((24, 64, 64))
    fields[0, 0, 0], fields[0, 0, 1], fields[1, :2, :2] = -0.1, 3.0, np.nan
    rain = rain_of(raster(fields), 2)
    assert rain.fields[0, 0, 0] == pytest.approx(5 / 3)
    assert not rain.known[1, 0, 0]
    assert rain.cell == pytest.approx(4.0)
    assert rain.grid.transform == (4000.0, 0.0, 0.0, 0.0, -4000.0, 0.0)


def test_what_is_no_rain_is_refused() -> None:
    wet = np.ones((24, 32, 32))
    with pytest.raises(DataError, match="24 frames"):
        rain_of(raster(wet[:5]), 1)
    with pytest.raises(DataError, match="no depth of rain"):
        rain_of(raster(wet, "K"), 1)
    with pytest.raises(DataError, match="no rain"):
        rain_of(raster(0 * wet), 1)
    with pytest.raises(OptionError, match="blocks of 3"):
        rain_of(raster(wet), 3)
    with pytest.raises(OptionError, match="last_train=96"):
        Study(last_train=96)(Context(Rng(0)))
    with pytest.raises(OptionError, match="lead"):
        Study(lead=0)
    with pytest.raises(OptionError, match="members"):
        Study(members=1)
    with pytest.raises(OptionError, match="thresholds"):
        Study(thresholds=(-1.0,))


@pytest.mark.slow
def test_study_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The posterior, the file and the pictures tell of the same members; cells fed from outside are gaps."""
    monkeypatch.setattr(rain_data, "FRAMES", 48)
    outcome = Study(members=8, quick=True)(Context(Rng(0)))
    posterior, path = outcome.posterior, tmp_path / "forecast.nc"
    assert isinstance(posterior, Draws)
    assert posterior.space.mask is not None
    outcome.files["forecast.nc"](path)
    chance = read_raster(path, "rain_above_1").values[0]
    known = posterior.space.mask.numpy()
    assert np.array_equal(np.isnan(chance), ~known)
    assert np.allclose(chance[known], (posterior.values >= 1).double().mean(0).numpy()[known])
    for picture in outcome.pictures.values():
        picture()
