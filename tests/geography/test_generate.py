"""Generation: splits, frame, refusals, georeferenced output; a small run end to end."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import fft, stats
from torch import Tensor

from posteriori.audit.rasters.spectra import Rings, spectrum_ratio
from posteriori.audit.rasters.splits import require_gap
from posteriori.audit.rasters.variograms import axis_lags, variogram, variogram_error, variogram_ratio
from posteriori.core import memory
from posteriori.core.errors import DataError, MemoryBudgetError, OptionError, ShapeError
from posteriori.core.map_grid import WGS84, MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import Context
from posteriori.domains.geography import generator
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.generation_base import SHARES, Base, chosen_base, steps_from
from posteriori.domains.geography.generation_data import in_tiles, in_time, with_condition
from posteriori.domains.geography.generation_scores import Judge, chance, downstream
from posteriori.domains.geography.generation_sizes import Sizes, evened, sized
from posteriori.domains.geography.generator import Frame, eof_gaussian, loaded, trained
from posteriori.domains.geography.raster import read_raster, write_raster
from posteriori.domains.geography.studies.generate import SHIPPED, Study
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.gaussian_denoiser import GaussianDenoiser


def stack(days: int = 24, hourly: bool = True) -> Raster:
    """Smooth fields of 10 x 12 cells every second hour, with a daily cycle."""
    n = 12 * days
    rng = Rng(0)
    y, x = np.meshgrid(np.arange(10), np.arange(12), indexing="ij")
    waves = np.stack([np.cos(0.4 * y + 0.2 * k * x) for k in range(4)])
    score = rng.numpy.standard_normal((n, 4))
    values = 280 + np.einsum("nk,kyx->nyx", score, waves) + 0.1 * rng.numpy.standard_normal((n, 10, 12))
    step = np.timedelta64(2, "h") if hourly else np.timedelta64(1, "D")
    layers = Layers.at(np.datetime64("2019-03-01T00", "ns") + np.arange(n) * step)
    grid = MapGrid((10, 12), (0.25, 0.0, -5.0, 0.0, -0.25, 58.0), WGS84)
    return Raster("t2m", values.astype(np.float32), grid, "K", nodata=float("nan"), layers=layers)


def test_blocks_of_time_keep_their_gap_and_whole_days() -> None:
    sample = in_time(stack(), 48, 12)
    assert len(sample.train) == 144
    assert len(sample.held) == 72
    assert sample.held_hour is not None
    assert not set(sample.blocks.tolist()) & set(sample.held_blocks.tolist())
    assert set(sample.held_hour.tolist()) == set(range(0, 24, 2))
    assert in_time(stack(hourly=False), 240, 24).hour is None


def test_times_are_read_in_every_calendar_however_they_are_rounded() -> None:
    sample = in_time(stack(), 48, 12)
    for unit, first in (("days since 2000-01-01", 60.0), ("days since 0001-01-01", 719_982.0)):
        layers = Layers("time", first + np.arange(288) / 12, unit, "360_day")
        again = in_time(replace(stack(), layers=layers), 48, 12)
        assert torch.equal(again.train, sample.train)
        assert torch.equal(again.held, sample.held)
        assert again.hour is not None
        assert again.hour.unique().tolist() == list(range(0, 24, 2))


def test_tiles_of_training_and_held_out_squares_share_no_cell() -> None:
    dem = load_dem()
    marked = replace(dem, stored=np.arange(dem.stored.size, dtype=np.int32).reshape(dem.stored.shape))
    sample = in_tiles(marked, 24)
    train, held = (set(part.unique().tolist()) for part in (sample.dense, sample.held))
    assert not train & held
    cells = [np.stack(np.divmod(np.array(sorted(part)), 403), 1) for part in (train, held)]
    require_gap(*cells, 3.9)
    assert len(sample.train) == 240
    assert len(sample.held) == 240
    assert torch.equal(sample.dense_blocks.unique(), sample.blocks.unique())
    assert sample.dense_blocks.shape == (len(sample.dense),)


def test_squares_with_a_gap_give_no_tiles() -> None:
    dem = load_dem()
    stored = dem.stored.astype(np.float32)
    stored[0, 30:40, 100:110] = np.nan
    holed = replace(dem, stored=stored, nodata=float("nan"))
    sample, whole = in_tiles(holed, 24), in_tiles(dem, 24)
    assert len(sample.train) + len(sample.held) == len(whole.train) + len(whole.held) - 4 * 2  # squares of 32 cells
    assert torch.isfinite(sample.dense).all()
    assert sample.dense_blocks.shape == (len(sample.dense),)
    stored[0, ::20, ::20] = np.nan
    with pytest.raises(ShapeError, match="fill gaps first"):
        in_tiles(replace(holed, stored=stored), 24)


def test_frame_whitens_and_comes_back() -> None:
    sample = in_tiles(load_dem(), 24)
    frame = Frame.of(sample)
    unit = frame.unit(sample.dense)
    assert unit.square().mean().item() == pytest.approx(1, rel=1e-3)
    assert torch.allclose(frame.fields(unit), sample.dense, atol=0.05)
    assert frame.unit(sample.held).square().mean().item() == pytest.approx(1, abs=0.3)


def test_repair_gives_draws_the_power_of_training_fields_at_every_scale_and_along_both_axes() -> None:
    sample = in_tiles(load_dem(), 24)
    frame, rings, lags = Frame.of(sample), Rings.of(sample.shape), axis_lags(sample.shape)
    north = torch.linspace(1.6, 0.8, 24, dtype=torch.float64)[:, None]
    unit = frame.unit(sample.held + 40 * Rng(3).normal(sample.held.shape))
    waves = north.numpy() * fft.dctn(unit.numpy(), axes=(-2, -1), norm="ortho")
    steep = torch.from_numpy(fft.idctn(waves, axes=(-2, -1), norm="ortho"))
    drawn = frame.fields(steep)
    repaired = frame.repaired(sample.dense, drawn).fields(frame.unit(drawn))
    assert (spectrum_ratio(drawn, sample.train, rings) - 1).abs().max() > 1
    assert (spectrum_ratio(repaired, sample.train, rings) - 1).abs().max() < 0.15
    assert variogram_error(drawn, sample.train, lags) > 1
    assert (variogram_ratio(repaired, sample.train, lags) - 1).abs().max() < 0.1


def test_repair_gives_cells_with_places_the_mean_and_spread_of_training_fields() -> None:
    sample = in_time(stack(), 32, 4)
    frame = Frame.of(sample)
    east = torch.linspace(0.7, 1.4, 12, dtype=torch.float64)
    drawn = 281 + (sample.held - 280) * east
    repaired = frame.repaired(sample.dense, drawn).fields(frame.unit(drawn))
    assert (drawn.std(0) / sample.dense.std(0) - 1).abs().max() > 0.3
    assert (repaired.std(0) / sample.dense.std(0) - 1).abs().max() < 0.2
    assert (repaired.mean(0) - sample.dense.mean(0)).abs().max() < 0.6  # of 1 before


def test_sizes_are_drawn_by_their_own_law_at_their_own_hour() -> None:
    """Means of 20,000 draws and a Kolmogorov-Smirnov distance far beyond chance; false alarms below 1e-6."""
    truth = 1.5 * torch.sign(Rng(0).normal((300,))) + 0.3 * Rng(1).normal((300,))
    unit = sized(Rng(2).normal((300, 1, 6, 7)), truth)
    even, logs = evened(unit)
    assert torch.allclose(even.std((1, 2, 3)), torch.ones(300, dtype=even.dtype), atol=1e-6)
    assert torch.allclose(sized(even, logs), unit)
    law = Sizes.of(unit, None, 300)
    drawn = law.draw(20_000, None, Rng(3))
    assert drawn.mean().item() == pytest.approx(logs.mean().item(), abs=0.1)
    assert drawn.std().item() == pytest.approx(logs.std().item(), rel=0.03)
    normal = logs.mean() + logs.std() * Rng(4).normal((20_000,))
    apart = [stats.ks_2samp(part.numpy(), logs.numpy()).statistic for part in (drawn, normal)]
    assert apart[0] < 0.7 * apart[1]  # two humps, not one
    means = torch.stack([law.draw(50, None, Rng(k)).mean() for k in range(200)])
    assert means.std() < 0.5 * logs.std() / 50**0.5  # stratified
    assert law.told(logs).std().item() == pytest.approx(1, abs=1e-5)
    hours = torch.where(truth > 0, 23.0, 11.0)
    daily = Sizes.of(unit, hours, 300)
    late, noon = (daily.draw(2000, torch.full((2000,), hour), Rng(5)) for hour in (1.0, 13.0))
    assert late.mean() > noon.mean() + 2
    again = Sizes.taken(daily.tensors())
    assert torch.equal(again.draw(5, hours[:5], Rng(6)), daily.draw(5, hours[:5], Rng(6)))


def law(white: float) -> Base:
    """Of 60 fields of 20 cells that go together, about a mean that follows a number."""
    told = Rng(0).normal((60, 1))
    fields = told @ Rng(1).normal((1, 20)) + Rng(2).normal((60, 3)) @ Rng(3).normal((3, 20))
    return Base.of(fields + 0.1 * Rng(4).normal((60, 20)), told, white, 1.0)


def test_base_is_the_gaussian_law_that_it_says() -> None:
    base, told = law(0.3), torch.full((4000, 1), 0.5)
    covariance = 0.7 * (base.patterns.mT * base.variances) @ base.patterns + 0.3 * torch.eye(20, dtype=torch.float64)
    mean = torch.tensor([1.0, 0.5], dtype=torch.float64) @ base.slope
    drawn = base.draw(4000, told, Rng(5))
    assert (drawn.mean(0) - mean).abs().max() < 0.3
    assert (drawn.mT.cov() - covariance).norm() < 0.1 * covariance.norm()
    exact = GaussianDenoiser(mean, covariance)
    x = 2 * Rng(6).normal((5, 20))
    assert torch.allclose(base.denoised(x, 0.7, told[:5]), exact(x, torch.tensor(0.7)))
    normal = torch.distributions.MultivariateNormal(mean, covariance)
    surprise = -normal.log_prob(x).mean().item() / 20 - 0.5 * math.log(2 * math.pi)
    assert base.surprise(x, told[:5]) == pytest.approx(surprise)
    again = Base.taken(base.tensors())
    assert torch.equal(again.draw(3, told[:3], Rng(7)), base.draw(3, told[:3], Rng(7)))


def test_start_is_where_the_net_is_no_longer_better_than_the_law() -> None:
    whole = law(0.5)
    fields, told = whole.draw(400, Rng(0).normal((400, 1)), Rng(8)), None
    back = torch.arange(400) % 2 == 0
    right = Base.of(fields, told, 0.5, 0.0)

    def worse(x: Tensor, sigma: Tensor) -> Tensor:
        return 3 * x

    def better_below_one(x: Tensor, sigma: Tensor) -> Tensor:
        return fields[back] if float(sigma) < 1 else right.denoised(x, float(sigma), told) + 1

    assert chosen_base(fields, back, told, worse, Rng(0)).start == 0
    found = chosen_base(fields, back, told, better_below_one, Rng(0))
    assert 0.7 < found.start < 1
    assert found.white == SHARES[0]  # many fields of few cells
    assert steps_from(20.0, 0.02, 18) == 18
    assert steps_from(0.0, 0.02, 18) == 0


def test_gaussian_law_has_the_mean_and_covariance_of_the_fields() -> None:
    fields = in_time(stack(), 48, 12).train
    drawn = eof_gaussian(fields, 20_000, Rng(1))
    assert (drawn.mean(0) - fields.mean(0)).abs().max() < 0.06
    found, given = (part.flatten(1).mT.cov(correction=0) for part in (drawn, fields))
    assert (found - given).abs().max() < 0.05 * given.diagonal().max()


def test_chance_is_the_error_of_as_many_fields_of_the_law_itself() -> None:
    """The mean of 250 errors; false alarms below 1e-4."""
    sample = in_time(stack(), 32, 4)
    lags = axis_lags(sample.shape)
    law = variogram(eof_gaussian(sample.train, 20_000, Rng(1)), lags)
    errors = [(part.mean(0) / law.mean(0) - 1).abs().mean().item() for part in law.split(80)]
    assert np.mean(errors) == pytest.approx(chance(law[:1000]) * (1000 / 80) ** 0.5, rel=0.2)
    found = Judge.of(sample, Rng(2))(sample.held)
    interval = found.variogram_interval
    assert found.variogram == pytest.approx(interval.value)
    assert interval.low < interval.value < interval.high


def test_a_map_of_the_places_can_be_told_and_another_grid_is_refused(tmp_path: Path) -> None:
    sample = in_time(stack(), 32, 4)
    height = replace(stack().select([0]), name="height", unit="m")
    told = with_condition(sample, height)
    assert told.beside is not None
    assert torch.equal(told.beside, torch.from_numpy(height.values[0]))
    other = replace(told, held=told.held + 1).digests()
    assert [name for name, of in told.digests().items() if other[name] != of] == ["held"]
    assert set(sample.digests()) == {"train", "held"}
    made = trained(told, 2, 4, Context(Rng(0)))
    assert made.beside is not None
    assert made.beside.shape == (5, 10, 12)
    made.save(tmp_path / "weights.safetensors")
    loaded(tmp_path / "weights.safetensors", told, 4)
    with pytest.raises(DataError, match="as weights"):
        loaded(tmp_path / "weights.safetensors", sample, 4)
    with pytest.raises(ShapeError, match="another grid"):
        with_condition(sample, height.window(slice(0, 9), slice(0, 12)))
    with pytest.raises(ShapeError, match="24 layers"):
        with_condition(sample, stack().select(np.arange(24)))
    holed = height.stored.copy()
    holed[0, 3, 3] = np.nan
    with pytest.raises(DataError, match="1 gaps"):
        with_condition(sample, replace(height, stored=holed))
    with pytest.raises(DataError, match="same everywhere"):
        with_condition(sample, replace(height, stored=np.ones_like(holed)))
    with pytest.raises(DataError, match="classes"):
        with_condition(
            sample, replace(height, kind=Kind.CATEGORICAL, stored=np.ones(holed.shape, np.int16), nodata=None)
        )
    with pytest.raises(OptionError, match="no places"):
        with_condition(in_tiles(load_dem(), 24), height)


def test_fields_that_do_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 100_000)
    with pytest.raises(MemoryBudgetError, match=r"10 x 12 cells .* every="):
        in_time(stack(), 48, 12)
    with pytest.raises(MemoryBudgetError, match=r"8 x 8 cells .* tile="):
        in_tiles(load_dem(), 8)


def test_many_fields_are_denoised_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, sizes, denoised = in_time(stack(), 32, 4), [], generator._denoised

    def counted(net: Preconditioned, beside: Tensor | None, told: Tensor | None, x: Tensor, sigma: Tensor) -> Tensor:
        sizes.append(len(x))
        return denoised(net, beside, told, x, sigma)

    monkeypatch.setattr(generator, "_denoised", counted)
    monkeypatch.setattr(generator, "REPAIR", 64)
    whole = trained(sample, 2, 4, Context(Rng(0)))
    monkeypatch.setattr(generator, "AT_ONCE", 16)
    before = len(sizes)
    parts = trained(sample, 2, 4, Context(Rng(0)))
    assert max(sizes[before:]) == 16 < max(sizes[:before])
    assert whole.base is not None
    assert parts.base is not None
    assert (parts.base.start, parts.base.white) == (whole.base.start, whole.base.white)


@pytest.mark.slow
def test_what_cannot_be_negative_is_not(tmp_path: Path) -> None:
    raster = stack()
    rain = replace(
        raster, name="rain", unit="mm", kind=Kind.NON_NEGATIVE, stored=np.maximum(raster.stored - 279.5, 0.0)
    )
    write_raster(rain, tmp_path / "rain.nc")
    write_raster(raster.select([5]), tmp_path / "height.nc")
    study = Study(data=tmp_path / "rain.nc", n=60, steps=20, width=4, hour=6.0, condition=tmp_path / "height.nc")
    outcome = study(Context(Rng(0)))
    outcome.files["generated.nc"](tmp_path / "generated.nc")
    made = read_raster(tmp_path / "generated.nc")
    assert set(outcome.data) == {"train", "held", "condition"}
    assert made.kind is Kind.NON_NEGATIVE
    assert made.values.min() == 0
    sample = in_time(raster, 32, 4)
    assert sample.possible(sample.train - 400).min() < -100


def test_more_data_of_the_same_law_help_a_learner_and_noise_does_not() -> None:
    whole = in_time(stack(160), 48, 12)
    few = whole.blocks < 4
    sample = replace(whole, train=whole.train[few], dense=whole.train[few], blocks=whole.blocks[few])
    more = downstream(sample, whole.train[~few], Rng(0))
    assert more.high < 1
    noise = 280 + 3 * Rng(1).normal((400, 10, 12))
    assert downstream(sample, noise, Rng(0)).low > more.high


@pytest.mark.slow
def test_study_end_to_end_on_a_file(tmp_path: Path) -> None:
    write_raster(stack(), tmp_path / "t2m.nc")
    study = Study(data=tmp_path / "t2m.nc", n=60, steps=40, width=8, hour=6.0)
    outcome = study(Context(Rng(0)))
    assert outcome.scores["n"] == 60
    for name in (
        "frechet",
        "frechet_floor",
        "frechet_gaussian",
        "variogram_error",
        "memorisation_p",
        "downstream_ratio",
    ):
        assert np.isfinite(outcome.scores[name])
    for name in ("generated.nc", "generated.tif", "weights.safetensors"):
        outcome.files[name](tmp_path / name)
    made = read_raster(tmp_path / "generated.tif")
    assert not made.grid.difference(stack().grid)
    assert (made.stored.shape, made.unit) == ((60, 10, 12), "K")
    for picture in outcome.pictures.values():
        picture()
    sample = in_time(stack(), 32, 4)
    kept = loaded(tmp_path / "weights.safetensors", sample, 8)
    again = trained(sample, 40, 8, Context(Rng(0)).child("training"))
    hour = torch.full((3,), 6.0)
    assert torch.equal(*(g.draw(3, (10, 12), hour, Rng(5)) for g in (kept, again)))


def test_what_cannot_be_generated_is_refused(tmp_path: Path) -> None:
    raster = stack()
    holes = raster.stored.copy()
    holes[3, 2, 2] = np.nan
    with pytest.raises(DataError, match="gap-filling"):
        in_time(replace(raster, stored=holes), 48, 12)
    with pytest.raises(DataError, match="classes"):
        in_time(
            replace(raster, kind=Kind.CATEGORICAL, stored=np.ones(raster.stored.shape, np.int16), nodata=None), 48, 12
        )
    with pytest.raises(DataError, match="directions"):
        in_time(replace(raster, kind=Kind.CIRCULAR, unit="degree"), 48, 12)
    with pytest.raises(DataError, match="at least 60"):
        in_time(raster.select(np.arange(100)), 48.0, 12.0)
    with pytest.raises(DataError, match="block=288 is too long: 1 blocks to learn from and 1 held out"):
        in_time(raster, 288, 12)
    with pytest.raises(DataError, match="no cell of t2m changes over 144 layers"):
        in_time(replace(raster, stored=np.broadcast_to(raster.stored[:1], raster.stored.shape)), 48, 12)
    with pytest.raises(OptionError, match="two gaps"):
        in_time(raster, 24, 12)
    with pytest.raises(ShapeError, match="smaller tile="):
        in_tiles(raster.select([0]), 5000)
    with pytest.raises(DataError, match="no law to learn"):
        in_time(replace(raster, stored=np.ones_like(raster.stored)), 48, 12)
    with pytest.raises(OptionError, match="data=FILE"):
        Study(cells=(10, 10))
    with pytest.raises(OptionError, match="give one of them"):
        Study(weights=SHIPPED, fresh=True)
    with pytest.raises(DataError, match="24 x 24 cells; these have 20 x 20"):
        loaded(SHIPPED, in_tiles(load_dem(), 20), 16)
    with pytest.raises(OptionError, match="n=5"):
        Study(n=5)
    with pytest.raises(OptionError, match="width"):
        Study(width=6)
    with pytest.raises(OptionError, match="hour"):
        Study(hour=24.0)
    with pytest.raises(OptionError, match="hour= needs"):
        Study(hour=6.0)(Context())
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match="as weights"):
        loaded(tmp_path / "bad.safetensors", in_tiles(load_dem(), 24), 16)
