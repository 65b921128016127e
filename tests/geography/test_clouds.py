"""Stacks under clouds: the law in time against its truth, DINEOF against its reference run, dressing, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, MemoryBudgetError, OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import Context
from posteriori.domains.geography.cloud_contest import Choice, moments
from posteriori.domains.geography.cloud_gaps import (
    FAR,
    GappyStack,
    cells_to_seen,
    cloud_shapes,
    days_to_seen,
    hidden_by,
    interpolated,
)
from posteriori.domains.geography.cloud_residual import missed
from posteriori.domains.geography.cloud_scene import drifting_scene
from posteriori.domains.geography.dineof import Dineof
from posteriori.domains.geography.dineof_setup import DineofSetup, read_gher
from posteriori.domains.geography.dressing import Dressing
from posteriori.domains.geography.raster import MapGrid, read_raster, write_raster
from posteriori.domains.geography.residual_trial import diffusion_over_gaussian
from posteriori.domains.geography.studies.clouds import Study
from posteriori.inference.space_time import SpaceTime, fit_space_time
from posteriori.learn.gappy_gaussian import GappyGaussian, drawn, fit_gappy_gaussian
from posteriori.learn.innovation_correlation import InnovationCorrelation, fit_innovation_correlation

NAN = float("nan")
WORLD = torch.ones(6, 6, dtype=torch.bool)


def law(times: int = 5) -> GappyGaussian:
    t = torch.arange(times, dtype=torch.float64)
    return GappyGaussian(t, 0.2 * torch.eye(times).double() + torch.exp(-(t[:, None] - t).abs() / 3))


def separable(times: int = 5) -> SpaceTime:
    share = torch.full((times,), 0.8, dtype=torch.float64)
    return SpaceTime(law(times), InnovationCorrelation(share, 3 * torch.ones_like(share)), WORLD)


def test_a_value_is_predicted_from_the_others_as_the_textbook_says() -> None:
    own = law()
    series = own.mean[:, None] + Rng(0).normal((5, 3))
    series[1, 0] = NAN
    mean, variance = own.predict(series)
    c = own.covariance
    for date, sample in ((1, 0), (3, 0), (2, 1)):
        others = [k for k in range(5) if k != date and bool(torch.isfinite(series[k, sample]))]
        gain = torch.linalg.solve(c[others][:, others], c[others, date])
        assert mean[date, sample] == pytest.approx(
            float(own.mean[date] + gain @ (series - own.mean[:, None])[others, sample])
        )
        assert variance[date, sample] == pytest.approx(float(c[date, date] - gain @ c[others, date]))


def test_the_law_is_found_again_from_samples_that_all_have_gaps() -> None:
    truth = law()
    series = drawn(truth, Rng(1).normal((5, 6000)))
    series[Rng(2).uniform(series.shape) < 0.4] = NAN
    found = fit_gappy_gaussian(series, torch.arange(5.0), share=0.001)
    assert (found.mean - truth.mean).abs().max() < 0.08  # five standard errors
    assert (found.covariance - truth.covariance).norm() / truth.covariance.norm() < 0.08


def test_patterns_of_gaps_that_do_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    series = drawn(law(), Rng(1).normal((5, 50)))
    series[2, ::2] = NAN
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match="2 patterns of gaps in 5 times"):
        fit_gappy_gaussian(series, torch.arange(5.0))


def test_a_date_never_seen_follows_its_neighbours() -> None:
    series = drawn(law(), Rng(1).normal((5, 500)))
    series[2] = NAN
    found = fit_gappy_gaussian(series, torch.arange(5.0))
    assert float(found.mean[2]) == pytest.approx(float(found.mean[[1, 3]].mean()), abs=1e-9)
    assert torch.linalg.eigvalsh(found.covariance).min() > 0
    assert float(found.covariance[2, 2]) > 0.3


def test_correlation_of_errors_is_found_again() -> None:
    share, length = torch.full((3,), 0.8, dtype=torch.float64), torch.full((3,), 6.0, dtype=torch.float64)
    fields = InnovationCorrelation(share, length).fields((160, 160), 3, Rng(0))
    assert float(fields.square().mean()) == pytest.approx(1.0, abs=0.1)
    found = fit_innovation_correlation(fields)
    assert float(found.share.mean()) == pytest.approx(0.8, abs=0.1)
    assert 4 <= float(found.length.mean()) <= 8


def test_the_filling_is_the_exact_posterior_of_a_product_covariance_where_other_dates_are_whole() -> None:
    model = separable()
    stack = model._grid(drawn(model.law, Rng(3).normal((5, 36))))
    stack[2, :3, :4] = NAN
    mean, std = model.fill(stack)
    place = WORLD.nonzero().double()
    apart = torch.cdist(place, place)
    space = model.correlation.between(2, apart)
    space.fill_diagonal_(1.0)
    whole = torch.kron(model.law.covariance, space)
    flat = stack.reshape(-1)
    seen, gap = torch.isfinite(flat), ~torch.isfinite(flat)
    anomaly = (flat - model.law.mean.repeat_interleave(36))[seen]
    gain = torch.linalg.solve(whole[seen][:, seen], whole[seen][:, gap]).mT
    exact = model.law.mean.repeat_interleave(36)[gap] + gain @ anomaly
    spread = (whole[gap][:, gap] - gain @ whole[seen][:, gap]).diagonal().sqrt()
    assert torch.allclose(mean.reshape(-1)[gap], exact, atol=1e-8)
    assert torch.allclose(std.reshape(-1)[gap], spread, atol=1e-8)
    assert torch.equal(mean.reshape(-1)[seen], flat[seen])


def test_members_agree_with_what_is_seen_and_spread_as_stated() -> None:
    model = separable()
    stack = model._grid(drawn(model.law, Rng(3).normal((5, 36))))
    stack[2, :3, :4] = NAN
    members, (mean, std) = model.members(stack, 400, Rng(0)), model.fill(stack)
    seen = torch.isfinite(stack)
    assert torch.equal(members[:, seen], stack[seen].expand(400, -1))
    assert float((members.std(0) / std)[~seen].mean()) == pytest.approx(1.0, abs=0.08)
    assert float((members.mean(0) - mean)[~seen].abs().max()) < 0.3
    with pytest.raises(DataError, match="does not fit"):
        model.fill(stack[:3])


def test_dineof_finds_functions_of_low_rank_and_their_number() -> None:
    rng = Rng(0)
    truth = rng.normal((12, 2)) @ rng.normal((2, 300)) + 5
    noisy = truth + 0.01 * rng.normal((12, 300))
    gaps = rng.uniform((12, 300)) < 0.4
    held = (rng.uniform((12, 300)) < 0.05) & ~gaps
    values = torch.where(gaps, NAN, noisy)
    found = Dineof(tolerance=1e-5, most=5).filled(values, torch.arange(12.0), held=held)
    assert found.modes in (2, 3)
    final = Dineof(tolerance=1e-5).filled(values, torch.arange(12.0), modes=2)
    assert float((final.values - truth)[gaps].square().mean().sqrt()) < 0.1
    with pytest.raises(DataError, match="either cells"):
        Dineof().filled(values, torch.arange(12.0))
    with pytest.raises(DataError, match="2 dates with values cannot"):
        Dineof(fewest=2).filled(values[:2], torch.arange(2.0), held=held[:2])


def test_dineof_repeats_the_reference_run(shared: Path) -> None:
    """Every error of the program's own run, and its filling at its own points, to rounding."""
    place = shared / "geography/alboran_sst"
    setup = DineofSetup.read(place / "dineof.init")
    raster = read_raster(place / "alboranSST_small.nc", "SST")
    values = raster.values.copy()
    assert setup.domain is not None
    values[:, ~setup.domain] = np.nan
    held = setup.held(np.isfinite(values))
    days = (raster.times - raster.times[0]) / np.timedelta64(1, "D")
    series, cells = torch.from_numpy(values[:, setup.domain]), torch.from_numpy(held[:, setup.domain])
    found = setup.method.filled(series, torch.from_numpy(days), held=cells)
    assert found.modes == 3
    np.testing.assert_allclose(list(found.errors.values()), read_gher(place / "valc.dat")[1:6], rtol=1e-9)
    best = np.sort(read_gher(place / "CVpoints_best_estimate.dat"))
    own = found.values[cells].numpy() - np.nanmean(values[:, setup.domain])
    np.testing.assert_allclose(np.sort(own), best, atol=1e-9)


def test_files_of_dineof_that_are_none_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "valc.dat"
    broken.write_bytes(b"\x00\x00\x00\x18nothing")
    with pytest.raises(DataError, match="no GHER"):
        read_gher(broken)
    with pytest.raises(DataError, match="no file"):
        DineofSetup.read(tmp_path / "dineof.init")
    (tmp_path / "dineof.init").write_text("nev = many\n")
    with pytest.raises(DataError, match="no number for 'nev'"):
        DineofSetup.read(tmp_path / "dineof.init")


def tiny() -> GappyStack:
    values = torch.arange(4.0).double()[:, None, None].expand(4, 2, 3).clone()
    values[1, 0, 0] = values[2, 0, 0] = values[3, 1, 2] = values[2, 0, 1] = NAN
    return GappyStack(values, torch.tensor([0.0, 1.0, 2.0, 3.0]).double(), torch.ones(2, 3, dtype=torch.bool))


def test_lines_over_time_and_distances() -> None:
    stack = tiny()
    line = interpolated(stack)
    assert line[1, 0, 0] == pytest.approx(1.0)
    assert line[3, 1, 2] == pytest.approx(2.0)
    assert days_to_seen(stack)[2, 0, 0] == 1.0
    assert cells_to_seen(stack.observed)[2, 0, 0] == 1.0
    alone = GappyStack(
        torch.full((2, 1, 1), NAN).double(), torch.arange(2.0).double(), torch.ones(1, 1, dtype=torch.bool)
    )
    assert days_to_seen(alone)[0, 0, 0] == FAR


def test_cells_are_hidden_by_shapes_of_other_dates_and_only_where_they_are_seen() -> None:
    stack = tiny()
    shapes = cloud_shapes(stack.observed, stack.domain)
    hidden = hidden_by(shapes, stack.observed, torch.tensor([0, 1]), Rng(0))
    assert bool(hidden[0].any())
    assert not bool(hidden[2:].any())
    assert not bool((hidden & ~stack.observed).any())
    with pytest.raises(DataError, match="partly clouded"):
        cloud_shapes(torch.ones(4, 2, 3, dtype=torch.bool), stack.domain)


def test_dressing_gives_the_distribution_that_it_learnt() -> None:
    """Coverage of 20,000 exponential errors within four standard errors of 0.9."""
    rng = Rng(0)
    near = rng.uniform((2, 40_000)) * 10
    scale = 1 + near[0]
    errors = scale * (-rng.uniform((40_000,)).log() - 1)
    half = slice(0, 20_000), slice(20_000, None)
    dressing = Dressing.learnt(errors[half[0]], scale[half[0]], near[:, half[0]])
    mean = torch.zeros(20_000, dtype=torch.float64)
    low, high = dressing.interval(mean, scale[half[1]], near[:, half[1]], 0.9)
    truth = errors[half[1]]
    assert float(((low <= truth) & (truth <= high)).double().mean()) == pytest.approx(0.9, abs=0.012)
    assert dressing.quantiles(mean, scale[half[1]], near[:, half[1]]).shape == (100, 20_000)
    with pytest.raises(DataError, match="50 are needed"):
        Dressing.learnt(errors[:9], scale[:9], near[:, :9])


def test_a_cut_law_has_the_moments_of_what_it_is_drawn_as() -> None:
    """Half of a law at zero lies below it: the mean is that of what is kept, not the cut mean; others are untouched."""
    errors = Rng(0).child("errors").normal((2000,)).double()
    away = torch.stack([torch.ones(2000), torch.arange(2000) % 40]).double()
    dressing = Dressing.learnt(errors, torch.ones(2000).double(), away)
    mean, scale = torch.tensor([0.0, 0.5, 50.0, torch.nan]).double(), torch.tensor([1.0, 2.0, 3.0, 1.0]).double()
    at = away[:, :4]
    found = moments(dressing, mean, scale, at, lambda x: x.clamp_min(0.0))
    plain = moments(dressing, mean, scale, at, lambda x: x)
    law = dressing.quantiles(mean, scale, at)
    for ours, uncut, own in zip(found, plain, (torch.mean, torch.std), strict=True):
        assert torch.allclose(ours[:2], own(law.clamp_min(0.0), 0)[:2])
        assert torch.allclose(uncut[:3], own(law, 0)[:3])
        assert ours[2] == uncut[2]
    assert bool(found[0][3].isnan())
    assert float(found[0][0]) == pytest.approx((2 * torch.pi) ** -0.5, abs=0.05)


def test_clouds_drift_over_a_field_and_some_days_are_clear() -> None:
    truth, hidden = drifting_scene(20, 24, Rng(0))
    cover = hidden.double().mean((1, 2))
    assert truth.shape == hidden.shape == (20, 24, 24)
    assert int((cover == 0).sum()) >= 2
    assert float(cover.max()) > 0.5
    assert fit_space_time(torch.where(hidden, NAN, truth), torch.arange(20.0)).domain.all()


def scene(folder: Path, dates: int = 24) -> tuple[Path, Path, Path]:
    truth, hidden = drifting_scene(dates, 20, Rng(4))
    data, mask, times = folder / "scene.npy", folder / "mask.npy", folder / "times.json"
    np.save(data, truth.numpy().astype(np.float32))
    np.save(mask, hidden.numpy())
    stamps = np.datetime64("2020-01-01") + 5 * np.arange(dates)
    times.write_text(json.dumps([str(stamp) for stamp in stamps]))
    return data, mask, times


@pytest.mark.slow
def test_the_study_fills_a_users_stack_and_keeps_every_observed_value(tmp_path: Path) -> None:
    data, mask, times = scene(tmp_path)
    outcome = Study(data=data, mask=mask, times=times, members=4, quick=True)(Context(Rng(0)))
    assert {"crps", "rmse", "coverage90", "interpolation.crps", "dineof.crps"} <= set(outcome.scores)
    assert outcome.report["crps_over_dineof"].value < 1
    assert outcome.posterior is not None
    outcome.files["filled.nc"](tmp_path / "filled.nc")
    filled, given, hidden = read_raster(tmp_path / "filled.nc").stored, np.load(data), np.load(mask)
    assert filled.dtype == np.float32
    assert np.isfinite(filled).all()
    assert np.array_equal(filled[~hidden], given[~hidden])
    for picture in outcome.pictures.values():
        picture()


@pytest.mark.slow
def test_packed_whole_numbers_that_are_never_negative_stay_so(tmp_path: Path) -> None:
    """The law dips below zero; the file cannot, nor beyond what its dtype holds."""
    truth, hidden = drifting_scene(24, 20, Rng(4))
    stored = np.where(hidden, 255, (60 * truth.clamp_min(0)).clamp_max(200).round()).astype(np.uint8)
    layers = Layers.at(np.datetime64("2020-01-01T00:00:00") + 5 * np.arange(24) * np.timedelta64(1, "D"))
    packed = Raster("q", stored, MapGrid((20, 20)), "mm", Kind.NON_NEGATIVE, 255, 0.1, layers=layers)
    write_raster(packed, tmp_path / "q.nc")
    outcome = Study(data=tmp_path / "q.nc", members=2, quick=True)(Context(Rng(0)))
    outcome.files["filled.nc"](tmp_path / "filled.nc")
    filled = read_raster(tmp_path / "filled.nc")
    assert filled.stored.dtype == np.uint8
    assert filled.observed.all()
    assert np.array_equal(filled.stored[~hidden.numpy()], stored[~hidden.numpy()])
    assert isinstance(outcome.posterior, Draws)
    assert float(outcome.posterior.values.min()) >= 0


@pytest.mark.slow
def test_draws_of_clouds_are_learnt_from_where_the_hidden_cells_are_given(tmp_path: Path) -> None:
    data, mask, times = scene(tmp_path, 10)
    own = np.zeros((10, 20, 20), bool)
    own[1:9:2, 5:12, 5:12] = True
    np.save(tmp_path / "own.npy", own)
    found = [Study(data, None, mask, times, tmp_path / "own.npy", draws, 2)(Context(Rng(0))) for draws in (1, 2)]
    assert found[0].scores["cells"] == found[1].scores["cells"]
    assert found[0].scores["crps"] != found[1].scores["crps"]


def test_a_diffusion_model_learns_what_the_law_misses_where_the_truth_is_known() -> None:
    """The dressed law's errors have mean 0 and spread 1 on the dates it was dressed on; only hidden cells count."""
    truth, hidden = drifting_scene(24, 20, Rng(4))
    stack = GappyStack(torch.where(hidden, NAN, truth), 5 * torch.arange(24.0).double(), torch.ones(20, 20) > 0)
    shapes, dates = cloud_shapes(stack.observed, stack.domain), torch.arange(24)
    sets = [hidden_by(shapes, stack.observed, dates, Rng(i)) for i in range(3)]
    with pytest.raises(DataError, match=r"cells of 4 date\(s\) are held out, and 5 are needed"):
        missed(stack, [hidden_by(shapes, stack.observed, torch.arange(4), Rng(0))], Choice())
    cases = missed(stack, sets, Choice())
    assert int(cases.known.sum()) == sum(int(part.sum()) for part in sets)
    assert bool(torch.isfinite(cases.conditions()).all())
    early = cases.known & (cases.fold < cases.fold.max())[:, None, None]
    ratio = (cases.error / cases.std)[early]
    assert abs(float(ratio.mean())) < 0.05
    assert float(ratio.std()) == pytest.approx(1.0, abs=0.1)
    assert cases.score is not None
    assert torch.equal(torch.isfinite(cases.score), cases.known)
    assert 0.5 < diffusion_over_gaussian(cases, lambda x: x, Context(Rng(0)), 2, (4,), (1.0,)) < 2.0


def test_a_set_up_file_of_another_stack_is_refused_before_the_work(tmp_path: Path) -> None:
    data, mask, _ = scene(tmp_path, 8)
    setup = tmp_path / "dineof.init"
    setup.write_text("nev=3\nneini=1\nnitemax=50\ntoliter=1e-3\nseed=3\nmask=['sea.nc#sea']\n")
    write_raster(Raster("sea", np.ones((1, 9, 9)), MapGrid((9, 9))), tmp_path / "sea.nc")
    with pytest.raises(ShapeError, match="set-up file has"):
        Study(data=data, mask=mask, hide=setup)(Context(Rng(0)))


def test_bad_input_is_refused(tmp_path: Path) -> None:
    data, mask, times = scene(tmp_path, 8)
    with pytest.raises(OptionError, match="go with data"):
        Study(mask=mask)
    with pytest.raises(OptionError, match="draws=0 times"):
        Study(draws=0)
    with pytest.raises(OptionError, match="members=1 of"):
        Study(members=1)
    context = Context(Rng(0))
    np.save(mask, np.ones((8, 20, 20), bool))
    with pytest.raises(DataError, match="hides every cell"):
        Study(data=data, mask=mask)(context)
    half = np.load(data)
    half[:, :10] = np.nan
    np.save(tmp_path / "half.npy", half)
    np.save(mask, np.isfinite(half))
    with pytest.raises(DataError, match="outside the mask"):
        Study(data=tmp_path / "half.npy", mask=mask)(context)
    data, mask, times = scene(tmp_path, 8)
    times.write_text('["2020-01-01"]')
    with pytest.raises(DataError, match="1 dates for 8 layers"):
        Study(data=data, mask=mask, times=times)(context)
    times.write_text("yesterday")
    with pytest.raises(DataError, match="cannot read dates"):
        Study(data=data, mask=mask, times=times)(context)
    np.save(data, np.full((8, 4, 4), np.nan))
    with pytest.raises(DataError, match="no value at all"):
        Study(data=data)(context)
    np.save(data, np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match="stack of dates"):
        Study(data=data)(context)
    np.save(data, np.full((8, 4, 4), np.inf))
    with pytest.raises(DataError, match="infinite"):
        Study(data=data)(context)
