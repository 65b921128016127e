"""Forecasts of fields: pairs without leaks, trials, made-up weather with its exact law, refusals of the study."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core import memory
from posteriori.core.errors import DataError, MemoryBudgetError, OptionError
from posteriori.core.random import Rng
from posteriori.core.raster import Layers, Raster
from posteriori.core.run import Context
from posteriori.domains.geography.daily_cycle import DailyCycle
from posteriori.domains.geography.forecast_contest import OURS, Contest
from posteriori.domains.geography.forecast_question import Spans, series_of
from posteriori.domains.geography.forecast_scores import exceedance
from posteriori.domains.geography.forecast_standing import alike, standings
from posteriori.domains.geography.forecasting import LINEAR_INVERSE, Past, Series, laws, simple, trial
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
    assert found.periods == (24, 12)
    assert torch.allclose(found.at(hours + 240), wave, atol=1e-9)
    assert torch.allclose(found.amplitude, torch.tensor([3.0, 3.0], dtype=torch.float64), atol=1e-9)
    assert DailyCycle.fitted(hours[:48], wave[:48]).periods == ()
    assert DailyCycle.fitted(24 * hours, wave).periods == ()


def test_a_yearly_cycle_is_found_in_months_and_left_out_where_years_are_too_few() -> None:
    """Months of a calendar of 360 days, 12 a year: no daily cycle can be told from them."""
    hours = 720.0 * torch.arange(60, dtype=torch.float64)
    wave = 290 + 5 * torch.cos(2 * torch.pi * hours / 8640)[:, None]
    found = DailyCycle.fitted(hours, wave, year=8640.0)
    assert found.periods == (8640, 4320)
    assert torch.allclose(found.at(hours + 86400), wave, atol=1e-9)
    assert DailyCycle.fitted(hours[:30], wave[:30], year=8640.0).periods == ()


def test_laws_that_noise_cannot_tell_from_the_best_are_averaged() -> None:
    """Ten blocks of two cases: a law behind by 0.1 each time is told, one behind by 0.1 on average of ±1 is not."""
    blocks = torch.arange(20) // 2
    best = Rng(1).normal((20,))
    wild = best + 0.1 + torch.where(blocks % 2 == 0, 1.0, -1.0)
    scores = {"best": best, "steadily worse": best + 0.1, "wild": wild}
    found = standings(scores, blocks)
    assert alike(found) == ("best", "wild")
    assert found["wild"].behind == pytest.approx(0.1)
    assert found["wild"].error == pytest.approx((10 / 9 / 10) ** 0.5)
    assert alike(standings(scores | {"x, from the recent mean": wild}, blocks)) == ("x, from the recent mean",)
    far = wild + 0.4
    assert alike(standings(scores | {"x, from the recent mean": far}, blocks)) == ("best", "wild")


def test_laws_from_the_recent_mean_follow_a_drift() -> None:
    """A level that rises by one a field: its recent mean lags by 5.5, less early on, which takes 0.22 off the bias."""
    made = series(240)
    level = torch.arange(240.0)[:, None]
    rising = replace(made, hours=24 * made.hours, fields=0.01 * Rng(2).normal((240, 42)) + level)
    past = Past.of(rising, torch.arange(150), 2)
    found = laws(past, gap=288.0)
    shown, then = past.shown(torch.arange(160, 230)), past.anomalies[torch.arange(162, 232)]
    assert float((past.recent - past.anomalies)[160:].mean()) == pytest.approx(-5.5, abs=0.01)
    assert float((found["recent mean"].mean(shown) - then).abs().max()) < 0.3
    assert float((found["climatology"].mean(shown) - then).abs().mean()) > 50
    assert not any("recent mean" in name for name in laws(past, gap=287.0))
    noisy = replace(rising, fields=Rng(2).normal((240, 42)) + 0.1 * level)
    contest = Contest.learnt(noisy, torch.arange(150), 48.0, 3, 288.0, 288.0)
    assert all("recent mean" in name for name in alike(contest.standing))


def monthly(months: int, calendar: str, skipped: int = -1) -> Raster:
    """Fields at the starts of months from January 2000 on, one of them left out."""
    starts = np.array([np.datetime64("2000-01") + k for k in range(months) if k != skipped])
    days = (starts.astype("datetime64[D]") - np.datetime64("2000-01-01")).astype(np.float64)
    if calendar == "360_day":
        days = 30.0 * np.arange(months)
    layers = Layers("time", days, "days since 2000-01-01", calendar)
    return Raster("t", Rng(3).normal((len(days), 5, 6)).numpy(), MapGrid((5, 6)), "K", layers=layers)


@pytest.mark.parametrize(("calendar", "step"), [("standard", 730.4), ("360_day", 720.0)])
def test_months_are_even_steps_in_every_calendar(calendar: str, step: float) -> None:
    made = series_of(monthly(48, calendar))
    assert made.step == pytest.approx(step, rel=1e-3)
    spans = Spans.of(made, "month", 12, (1,), 3, None)
    assert [made.ahead(lead) for lead in (spans.lead, *spans.leads, spans.gap, spans.block)] == [12, 1, 3, 12]
    assert made.ahead(Spans.of(made, "year", 1, (), None, None).lead) == 12


def test_a_month_that_is_missing_is_refused() -> None:
    with pytest.raises(DataError, match="uneven"):
        series_of(monthly(48, "standard", skipped=20))


def test_a_single_field_to_forecast_from_is_refused(tmp_path: Path) -> None:
    write_raster(monthly(48, "standard"), tmp_path / "t.nc")
    with pytest.raises(DataError, match=r"0 fields 1 month after another from 47 month"):
        Study(data=tmp_path / "t.nc", unit="month", lead=1, last_train=34, first_test=46.5)(Context(Rng(0)))


def test_spans_not_given_suit_the_step_of_the_fields() -> None:
    hourly = Spans.of(series(30), "h", None, None, None, None)
    assert (hourly.lead, hourly.leads, hourly.gap, hourly.block) == (6, (3, 12, 24), 40, 24)
    yearly = Spans.of(replace(series(30), hours=8640.0 * torch.arange(30)), "h", None, None, None, None)
    assert (yearly.lead, yearly.leads, yearly.gap, yearly.block) == (8640, (17280, 34560), 103680, 103680)
    rounded = Spans.of(replace(series(30), hours=(1 + 1e-12) * torch.arange(30, dtype=torch.float64)), "h", *4 * [None])
    assert (rounded.lead, rounded.leads) == (6, (3, 12, 24))


def test_years_of_360_days_are_forecast_and_written_in_their_calendar(tmp_path: Path) -> None:
    made = raster(120)
    layers = Layers("time", 360.0 * np.arange(120), "days since 1900-01-01", "360_day")
    write_raster(replace(made, layers=layers), tmp_path / "t.nc")
    study = Study(data=tmp_path / "t.nc", unit="year", lead=1, gap=2, block=5, folds=3, draws=50, quick=True)
    outcome = study(Context(Rng(0)))
    assert outcome.report.title == "t 1 year ahead"
    outcome.files["forecast.nc"](tmp_path / "ahead.nc")
    ahead = read_raster(tmp_path / "ahead.nc", "t_mean").layers
    assert (ahead.labels.tolist(), ahead.calendar) == ([120 * 360.0], "360_day")
    assert outcome.tables["left_out"]["in the average"].any()  # type: ignore[index]


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
    """z-scores of forecasts 5 h ahead over 800 fields of 42 cells that hang together: 1 within 0.15 (< 1e-3)."""
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
    contest = Contest.learnt(made, torch.arange(220), 3.0, 3, 20.0, 24.0)
    cases = made.pairs(torch.arange(250, 300), 3)
    found = contest.forecasts(cases)
    truth = made.fields[cases[:, 1]]
    error = {name: float((law.mean - truth).square().mean()) for name, law in found.items()}
    assert error[OURS] < error["climatology"]
    assert LINEAR_INVERSE in error
    space = MapGrid((6, 7)).space("t", "K")
    posterior = contest.posterior(space, found[OURS].mean)
    chances = [exceedance(posterior, 285.0, draws, Rng(3)) for draws in (200, 4000)]  # at once, and case by case
    assert all(chance.shape == (47, 6, 7) for chance in chances)
    exact = torch.special.ndtr((found[OURS].mean - 285.0) / found[OURS].std).reshape(47, 6, 7)
    assert (chances[0] - exact).square().mean().sqrt() < 0.05
    assert (chances[1] - exact).square().mean().sqrt() < 0.01
    assert torch.allclose(posterior.spread()[0].flatten(), found[OURS].std, rtol=1e-6)


def test_series_refuse_gaps_uneven_times_and_layers_without_times() -> None:
    with pytest.raises(DataError, match="have gaps"):
        series_of(raster(24, gap=True))
    few = np.where(np.arange(42).reshape(6, 7) < 2, raster(24).stored, np.nan)
    with pytest.raises(DataError, match=r"values in 2 cell\(s\)"):
        series_of(replace(raster(24), stored=few))
    with pytest.raises(DataError, match="four fields with times"):
        series_of(Raster("t", np.zeros((5, 6, 7)), MapGrid((6, 7)), layers=Layers("band", np.arange(5))))
    with pytest.raises(DataError, match="no cell changes over 20 fields"):
        Past.of(replace(series(24), fields=torch.arange(42.0).expand(24, -1)), torch.arange(20), 3)
    with pytest.raises(DataError, match="uneven"):
        Series(torch.tensor([0.0, 1, 2, 5]), torch.zeros(4, 42), torch.ones(6, 7, dtype=torch.bool))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lead": 0.0}, "lead=0"),
        ({"lead": float("inf")}, "lead=inf"),
        ({"folds": 1}, "folds=1"),
        ({"draws": 3}, "draws=3"),
        ({"leads": (-1.0,)}, "leads=-1"),
        ({"leads": (float("inf"),)}, "leads=inf"),
        ({"thresholds": (286.0, 290.5, 286.0)}, "thresholds=286,290.5,286 hold one twice"),
    ],
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


def test_errors_that_do_not_fit_in_memory_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raster(raster(300), tmp_path / "t.nc")
    study = Study(data=tmp_path / "t.nc", folds=20)
    monkeypatch.setattr(memory, "available", lambda: 40_000_000)
    with pytest.raises(MemoryBudgetError, match=r"errors of 42 cells .* fewer folds"):
        study(Context(Rng(0)))


def test_a_threshold_that_is_never_crossed_is_refused(tmp_path: Path) -> None:
    write_raster(raster(300), tmp_path / "t.nc")
    with pytest.raises(OptionError, match="thresholds=1000000 is never crossed"):
        Study(data=tmp_path / "t.nc", thresholds=(1e6,))(Context(Rng(0)))


def test_the_study_runs_on_a_file_and_writes_a_raster_ahead(tmp_path: Path) -> None:
    path = tmp_path / "t.nc"
    write_raster(raster(300), path)
    study = Study(data=path, lead=3, folds=3, gap=20, block=8, draws=100, quick=True)
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


def test_laws_that_one_stretch_is_too_short_to_learn_are_left_out_everywhere() -> None:
    """Of 28 fields 18 are learnt from where the first stretch of 7 is left out, but 15 where the second is."""
    made = series(28)
    rest = Past.of(made, torch.arange(10, 28), 1)
    assert f"{LINEAR_INVERSE}, 16 modes, lag 1" in laws(rest, 3.0)
    found = trial(made, torch.arange(28), 1, partial(laws, gap=3.0), 4, 3.0)
    assert f"{LINEAR_INVERSE}, 12 modes, lag 1" in found.errors
    assert f"{LINEAR_INVERSE}, 16 modes, lag 1" not in found.errors
    contest = Contest.learnt(made, torch.arange(28), 1.0, 4, 3.0, 4.0)
    assert set(contest.standing) == set(found.errors)
    assert torch.isfinite(contest.blend.std).all()


def test_pressures_are_told_apart_and_cells_that_never_change_are_certain(tmp_path: Path) -> None:
    """Thresholds 3 Pa apart above 101,325 Pa; two rows of zeros, as files hold for land."""
    made = raster(300)
    stored = 101_325 + 0.01 * made.stored
    stored[:, :2] = 0.0
    write_raster(replace(made, name="p", unit="Pa", stored=stored), tmp_path / "t.nc")
    levels = (101_327.8, 101_327.9)
    study = Study(data=tmp_path / "t.nc", lead=3, folds=3, gap=20, block=8, draws=50, quick=True, thresholds=levels)
    outcome = study(Context(Rng(0)))
    assert outcome.scores["thresholds"] == "101327.8 Pa, 101327.9 Pa"
    assert {f"brier_over_climatology_{level}" for level in levels} <= set(outcome.scores)
    outcome.files["forecast.nc"](tmp_path / "ahead.nc")
    assert (read_raster(tmp_path / "ahead.nc", "p_above_101327.9").values[:, :2] == 0).all()
    assert read_raster(tmp_path / "ahead.nc", "p_std").values[:, :2].max() < 1e-6
