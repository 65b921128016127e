"""Forecasts of fields: pairs without leaks, trials, made-up weather with its exact law, refusals of the study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.raster import Layers, Raster
from posteriori.core.run import Context
from posteriori.domains.geography.daily_cycle import DailyCycle
from posteriori.domains.geography.forecast_contest import LINEAR_INVERSE, OURS, Contest
from posteriori.domains.geography.forecast_question import series_of
from posteriori.domains.geography.forecasting import Series, simple, trial
from posteriori.domains.geography.moving_weather import MovingWeather
from posteriori.domains.geography.persistence import damped, kept
from posteriori.domains.geography.raster import MapGrid, read_raster, write_raster
from posteriori.domains.geography.studies.temperature import START, Study


def small() -> MovingWeather:
    return MovingWeather(100 * Rng(5).normal((6, 7)).abs())


def series(n: int = 240) -> Series:
    weather = small()
    hours, fields = weather.fields(n, Rng(7))
    return Series(hours, fields, torch.ones(6, 7, dtype=torch.bool))


def raster(n: int = 240, gap: bool = False) -> Raster:
    made = series(n)
    stored = made.fields.reshape(n, 6, 7).numpy().copy()
    if gap:
        stored[3, 1, 1] = np.nan
    layers = Layers.at(START + np.arange(n) * np.timedelta64(1, "h"))
    return Raster("t", stored, MapGrid((6, 7)), "K", nodata=float("nan"), layers=layers)


def test_a_daily_cycle_is_found_exactly_and_left_out_where_days_are_too_few() -> None:
    hours = torch.arange(96, dtype=torch.float64)
    wave = 280 + 3 * torch.cos(2 * torch.pi * (hours - 15) / 24)[:, None].expand(96, 2)
    found = DailyCycle.fitted(hours, wave)
    assert found.harmonics == 2
    assert torch.allclose(found.at(hours + 240), wave, atol=1e-9)
    assert torch.allclose(found.amplitude, torch.tensor([3.0, 3.0], dtype=torch.float64), atol=1e-9)
    assert DailyCycle.fitted(hours[:48], wave[:48]).harmonics == 0
    assert DailyCycle.fitted(24 * hours, wave).harmonics == 0


def test_pairs_never_reach_over_what_is_left_out() -> None:
    made = series(30)
    within = torch.tensor([*range(10), *range(15, 30)])
    pairs = made.pairs(within, 4)
    assert pairs.tolist() == [[i, i + 4] for i in [*range(6), *range(15, 26)]]
    assert made.ahead(4.0) == 4
    with pytest.raises(OptionError, match="no whole number"):
        made.ahead(0.5)


def test_persistence_is_dressed_with_its_own_errors() -> None:
    now = Rng(1).normal((500, 3))
    then = 0.5 * now + 2
    law = damped(now - now.mean(0), then - then.mean(0))
    assert torch.allclose(law.factor, torch.full((3,), 0.5, dtype=torch.float64))
    assert float(law.covariance.diagonal().max()) < 1e-4
    assert torch.allclose(kept(now, then).covariance.diagonal(), (then - now).var(0, correction=0), rtol=1e-4)


def test_the_law_of_made_up_weather_is_that_of_its_courses() -> None:
    """z-scores of forecasts 5 h ahead over 400 fields of 42 cells that hang together: 1 within a tenth (< 1e-3)."""
    weather = small()
    _, fields = weather.fields(800, Rng(3))
    hours = torch.arange(800, dtype=torch.float64)
    anomalies = fields - weather.cycle(hours)
    carried, covariance = weather.forecast(5)
    error = anomalies[5:] - anomalies[:-5] @ carried.mT
    z = error / covariance.diagonal().sqrt()
    assert float(z.square().mean()) == pytest.approx(1.0, abs=0.15)


def _spoilt(fields: torch.Tensor, cases: torch.Tensor) -> torch.Tensor:
    """The same fields, those of the cases ten degrees off and twice as rough."""
    other = fields.clone()
    other[cases.unique()] = 2 * other[cases.unique()] + 10
    return other


def test_a_trial_scores_each_stretch_by_laws_that_have_not_seen_it() -> None:
    made = series()
    asked = torch.arange(200), 3, simple, 3, 10.0
    found = trial(made, *asked)
    assert set(found.crps) == {"climatology", "anomaly persistence", "damped"}
    seen = trial(replace(made, fields=_spoilt(made.fields, found.cases[found.fold == 0])), *asked)
    assert torch.equal(seen.spread["damped"][0], found.spread["damped"][0])
    assert not torch.equal(seen.spread["damped"][1], found.spread["damped"][1])
    assert len(found.fold) == len(found.errors["damped"]) == len(found.cases)
    assert 0.5 < found.factor("damped") < 3


def test_the_forecast_beats_the_climate_and_its_joint_law_has_its_spread() -> None:
    made = series(300)
    contest = Contest.learnt(made, torch.arange(220), 3.0, 3, 20.0)
    cases = made.pairs(torch.arange(250, 300), 3)
    found = contest.forecasts(cases)
    truth = made.fields[cases[:, 1]]
    error = {name: float((law.mean - truth).square().mean()) for name, law in found.items()}
    assert error[OURS] < error["climatology"]
    assert LINEAR_INVERSE in error
    space = MapGrid((6, 7)).space("t", "K")
    posterior = contest.posterior(space, found[OURS].mean)
    assert torch.allclose(posterior.spread()[0].flatten(), found[OURS].std, rtol=1e-6)


def test_series_refuse_gaps_uneven_times_and_layers_without_times() -> None:
    with pytest.raises(DataError, match="have gaps"):
        series_of(raster(24, gap=True))
    with pytest.raises(DataError, match="four fields with times"):
        series_of(Raster("t", np.zeros((5, 6, 7)), MapGrid((6, 7)), layers=Layers("band", np.arange(5))))
    with pytest.raises(DataError, match="uneven"):
        Series(torch.tensor([0.0, 1, 2, 5]), torch.zeros(4, 42), torch.ones(6, 7, dtype=torch.bool))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"lead": 0.0}, "lead=0"), ({"folds": 1}, "folds=1"), ({"draws": 3}, "draws=3"), ({"leads": (-1.0,)}, "leads=-1")],
)
def test_options_out_of_range_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Study(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("last", "first"), [(-5.0, None), (1e4, None), (100.0, 50.0), (290.0, None)])
def test_hours_that_leave_nothing_to_learn_or_to_test_are_refused(
    tmp_path: Path, last: float, first: float | None
) -> None:
    path = tmp_path / "t.nc"
    write_raster(raster(300), path)
    with pytest.raises(OptionError, match=r"last_train=.*first_test="):
        Study(data=path, last_train=last, first_test=first)(Context(Rng(0)))


def test_too_few_days_to_judge_are_refused_before_the_work(tmp_path: Path) -> None:
    write_raster(raster(300), tmp_path / "t.nc")
    with pytest.raises(DataError, match=r"24 h after another .* 2 block\(s\) of 24 h"):
        Study(data=tmp_path / "t.nc", last_train=200, first_test=245)(Context(Rng(0)))


def test_a_threshold_that_is_never_crossed_is_refused(tmp_path: Path) -> None:
    write_raster(raster(300), tmp_path / "t.nc")
    with pytest.raises(OptionError, match=r"thresholds=1e\+06 is never crossed"):
        Study(data=tmp_path / "t.nc", thresholds=(1e6,))(Context(Rng(0)))


def test_the_study_runs_on_a_file_and_writes_a_raster_ahead(tmp_path: Path) -> None:
    path = tmp_path / "t.nc"
    write_raster(raster(300), path)
    study = Study(data=path, lead=3, folds=3, gap=20, block=8, draws=50, quick=True)
    outcome = study(Context(Rng(0)))
    assert outcome.scores["crps_over_climatology"] < 1  # type: ignore[operator]
    assert outcome.posterior is not None
    outcome.files["forecast.nc"](tmp_path / "ahead.nc")
    mean, then = read_raster(tmp_path / "ahead.nc", "t_mean"), START + np.timedelta64(302, "h")
    assert mean.grid.shape == (6, 7)
    assert mean.times.tolist() == [then.tolist()]
    assert abs(mean.values - outcome.posterior.center().numpy()).max() < 1e-9
    for level in outcome.scores["thresholds"].split(", "):  # type: ignore[union-attr]
        chance = read_raster(tmp_path / "ahead.nc", f"t_above_{level.split()[0]}").values
        assert 0 <= chance.min() < chance.max() <= 1
    for picture in outcome.pictures.values():
        picture()
