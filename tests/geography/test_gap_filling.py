"""Gap filling: the reference and kriging against what they should be, the study on made-up and bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core import memory
from posteriori.core.errors import DataError, LeakError, MemoryBudgetError, OptionError, ShapeError
from posteriori.core.map_grid import WGS84, MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.geography.gap_filling import Model, Past, fold, foretell
from posteriori.domains.geography.gap_filling_data import ask, cut, drawn_mask, tiles_of_the_dem
from posteriori.domains.geography.gap_filling_peers import Peers, interpolated
from posteriori.domains.geography.kriging import exponential_process, fitted
from posteriori.domains.geography.raster import read_raster, write_raster
from posteriori.domains.geography.studies.gap_filling import Study
from posteriori.inference.local_amplitude import LocalAmplitude
from posteriori.learn.place_kernel import positions
from posteriori.learn.scale_covariance import Correlations, Scales

SHAPE = (7, 9)
SPACE = Space("t2m", {"y": SHAPE[0], "x": SHAPE[1]}, "K")


def weather(n: int, start: int = 0, seed: int = 0) -> Raster:
    """Hourly smooth random fields about 280 K with a memory of some hours."""
    rng = np.random.default_rng(seed)
    points = positions(SPACE).numpy()
    gap = np.linalg.norm(points[:, None] - points, axis=-1)
    root = np.linalg.cholesky(np.exp(-gap / 4) + 1e-9 * np.eye(len(points)))
    fields, now = [], rng.normal(size=len(points))
    for _ in range(n):
        now = 0.6 * now + 0.8 * rng.normal(size=len(points))
        fields.append(280 + 2 * root @ now)
    times = np.datetime64("2020-01-01") + np.arange(start, start + n) * np.timedelta64(1, "h")
    stored = np.stack(fields).reshape(n, *SHAPE).astype(np.float32)
    grid = MapGrid(SHAPE, (0.5, 0.0, -10.0, 0.0, -0.5, 58.0), WGS84)
    return Raster("t2m", stored, grid, "K", layers=Layers.at(times), nodata=float("nan"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A history of 240 hours and twelve later fields, one of them with a gap of its own."""
    folder = tmp_path_factory.mktemp("weather")
    whole = weather(360)
    gappy = np.zeros((12, *SHAPE), bool)
    gappy[3, 2:4, 3:5] = True
    write_raster(whole.select(slice(0, 240)), folder / "history.nc")
    write_raster(whole.select(slice(288, 360, 6)).hidden(gappy), folder / "data.nc")
    return folder / "history.nc", folder / "data.nc"


def quick(files: tuple[Path, Path], **options: object) -> Study:
    """A small run."""
    small = {"quick": True, "folds": 3, "members": 39, **options}
    return Study(history=files[0], data=files[1], **small)  # type: ignore[arg-type]


def test_study_scores_hidden_cells_fills_gaps_and_keeps_every_observed_bit(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    found = quick(files)(Context(Rng(0)))
    for name in ("crps", "rmse", "coverage90", "spread_skill"):
        assert found.scores[name] > 0
        assert found.scores["reference"][name] > 0
        assert found.scores["kriging"][name] > 0
    assert found.scores["crps"] < found.scores["nearest"]["crps"]
    assert found.scores["gaps_filled"] == 4
    assert found.scores["gaps_left"] == 0
    for name, write in found.files.items():
        write(tmp_path / name)
    data, filled = read_raster(files[1]), read_raster(tmp_path / "filled.nc", "t2m")
    assert filled.observed.all()
    assert np.array_equal(filled.stored[data.observed], data.stored[data.observed])
    assert filled.grid.same(data.grid)
    spread = read_raster(tmp_path / "filled.nc", "t2m_spread").values
    assert (spread[~data.observed] > 0).all()
    assert (spread[data.observed] == 0).all()
    for draw in found.pictures.values():
        assert draw().axes
    again = quick(files, model=tmp_path / "model.json")(Context(Rng(0)))
    assert again.scores["crps"] == pytest.approx(found.scores["crps"], rel=1e-9)


def test_what_is_never_negative_is_filled_without_negative_values(tmp_path: Path) -> None:
    whole = weather(300)
    dry = replace(whole, stored=np.maximum(whole.stored - 281, 0), unit="mm", kind=Kind.NON_NEGATIVE)
    gappy = np.zeros((10, *SHAPE), bool)
    gappy[:, 2:5, 3:6] = True
    write_raster(dry.select(slice(0, 240)), tmp_path / "past.nc")
    write_raster(dry.select(slice(288, 298)).hidden(gappy), tmp_path / "now.nc")
    found = quick((tmp_path / "past.nc", tmp_path / "now.nc"))(Context(Rng(0)))
    found.files["filled.nc"](tmp_path / "filled.nc")
    for name in ("t2m", "t2m_member_1"):
        assert read_raster(tmp_path / "filled.nc", name).values.min() == 0


def test_a_mask_from_a_file_hides_its_cells(files: tuple[Path, Path], tmp_path: Path) -> None:
    data = read_raster(files[1])
    hide = np.zeros(SHAPE, np.float32)
    hide[1:4, 2:6] = 1
    mask = replace(data.select(slice(0, 1)), name="mask", stored=hide[None], unit="1", layers=Layers())
    write_raster(mask, tmp_path / "mask.tif")
    found = quick(files, mask=str(tmp_path / "mask.tif"))(Context(Rng(0)))
    assert found.scores["cases"] == 12


def test_reference_is_the_localised_gaussian_in_closed_form() -> None:
    history = torch.from_numpy(weather(60).values)
    field, hide = torch.from_numpy(weather(1, seed=1).values[0]), torch.zeros(SHAPE, dtype=torch.bool)
    hide[2:5, 3:6] = True
    a = history.reshape(60, -1) - history.reshape(60, -1).mean(0)
    at = positions(SPACE)
    k = (a.mT @ a / 60) * torch.exp(-0.5 * torch.cdist(at, at).square() / (SHAPE[0] / 2) ** 2)
    noise = 1e-3 * a.square().mean()
    o, h = (~hide).flatten().nonzero()[:, 0], hide.flatten().nonzero()[:, 0]
    gain = k[h][:, o] @ torch.linalg.inv(k[o][:, o] + noise * torch.eye(len(o)))
    mean = history.reshape(60, -1).mean(0)
    peers = Peers.of(SPACE, history, torch.ones(SHAPE, dtype=torch.bool), torch.arange(60), 0)
    law = peers.laws(field[None], ~hide[None], hide, Rng(0))["reference"]
    torch.testing.assert_close(law.mean, mean[h] + gain @ (field.flatten()[o] - mean[o]), rtol=0, atol=1e-8)
    torch.testing.assert_close(law.std.square(), (k[h][:, h] - gain @ k[o][:, h]).diagonal() + noise, rtol=0, atol=1e-8)


def test_kriging_equals_gstools() -> None:
    """The same model in GSTools gives the same mean and variance; its fit of the variogram the same curve."""
    gstools = pytest.importorskip("gstools")
    field = torch.from_numpy(weather(1, seed=3).values[0]) - 280
    seen = drawn_mask(SHAPE, "random", 0.6, Rng(1))
    process = exponential_process(SPACE, field[None], seen[None], Rng(0))
    number = {name: float(value.detach()) for name, value in process.covariance.kernel.numbers.values().items()}
    model = gstools.Exponential(dim=2, var=number["amplitude"] ** 2, len_scale=number["length_0"])
    y, x = positions(SPACE).mT.numpy()
    o = seen.flatten().numpy()
    krige = gstools.krige.Simple(model, (y[o], x[o]), field.flatten().numpy()[o], mean=0.0)
    mean, variance = krige((y[~o], x[~o]), return_var=True)
    history = torch.zeros(2, *SHAPE, dtype=torch.float64)
    history[0] += 1e-3
    peers = Peers.of(SPACE, history - 5e-4, torch.ones(SHAPE, dtype=torch.bool), torch.arange(2), 0)
    law = peers.kriged(field[None], seen[None], (~seen).flatten().nonzero()[:, 0], Rng(0))
    np.testing.assert_allclose(law.mean.numpy(), mean, atol=1e-5)
    np.testing.assert_allclose(law.std.square().numpy(), variance, rtol=1e-4, atol=1e-6)


def test_a_variogram_is_found_again() -> None:
    """Of a large field with sill 4 and length 3: both within a third (false alarm below 1e-3 over seeds 0 … 99)."""
    at = torch.cartesian_prod(torch.arange(20.0), torch.arange(20.0)).double()
    root = torch.linalg.cholesky(4 * torch.exp(-torch.cdist(at, at) / 3) + 1e-9 * torch.eye(400))
    sills, lengths = zip(*[fitted(at, root @ Rng(seed).normal((400,))) for seed in range(8)], strict=True)
    assert 2.7 < np.median(sills) < 5.4
    assert 2.0 < np.median(lengths) < 4.0


def test_a_variogram_of_few_cells_is_fitted_without_a_warning() -> None:
    values = torch.from_numpy(weather(20).values.reshape(20, -1)) - 280
    few = [Rng(seed).permutation(63)[:4] for seed in range(20)]
    found = [fitted(positions(SPACE)[cells], field[cells]) for cells, field in zip(few, values, strict=True)]
    assert np.isfinite(found).all()


def test_peers_of_a_history_without_a_whole_window_take_absent_layers_for_the_mean() -> None:
    raster = weather(60)
    history, hide = torch.from_numpy(raster.values), drawn_mask(SHAPE, "block", 0.5, Rng(0))
    steps = torch.arange(60) + torch.arange(60) // 2
    peers = Peers.of(SPACE, history, torch.ones(SHAPE, dtype=torch.bool), steps, 1)
    laws = peers.laws(history[:3], (~hide).expand(3, *SHAPE), hide, Rng(0))
    assert all(bool(torch.isfinite(law.mean).all()) and law.std is not None for law in laws.values())


def test_linear_interpolation_gives_a_plane_back() -> None:
    plane = positions(SPACE) @ torch.tensor([2.0, -1.0], dtype=torch.float64)
    there = torch.tensor([2 * 9 + 4, 3 * 9 + 5])
    at = torch.tensor([i for i in range(63) if i not in there.tolist()])
    torch.testing.assert_close(interpolated("linear", SPACE, plane, at, there), plane[there])


def test_masks_hide_what_they_say() -> None:
    block = drawn_mask((16, 24), "block", 0.5, Rng(0))
    assert int(block.sum()) == 7 * 9
    share = torch.stack([drawn_mask((16, 24), "random", 0.3, Rng(0).child(i)) for i in range(50)]).double().mean()
    assert abs(float(share) - 0.3) < 4 * (0.21 / (50 * 384)) ** 0.5


def test_thinned_grids_keep_the_centres_of_their_cells() -> None:
    raster = weather(2)
    raster = replace(
        raster, stored=np.tile(raster.stored, (1, 2, 2)), grid=MapGrid((14, 18), raster.grid.transform, WGS84)
    )
    thin = cut(raster, (12, 16), 2)
    assert thin.stored.shape == (2, 6, 8)
    for whole, part in zip(raster.grid.centres, thin.grid.centres, strict=True):
        np.testing.assert_allclose(part, whole[: 2 * len(part) : 2], atol=1e-9)


def test_tiles_of_the_elevation_model_to_fill_lie_beyond_those_learnt_from() -> None:
    history, data = tiles_of_the_dem()
    columns = 403
    assert (history.layers.labels % columns).max() + 24 < (data.layers.labels % columns).min()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"share": 1.0}, OptionError),
        ({"members": 5}, OptionError),
        ({"draws": 0}, OptionError),
        ({"folds": 1}, OptionError),
        ({"gap": -1.0}, OptionError),
        ({"neighbours": 4}, OptionError),
        ({"exceeds": float("nan")}, OptionError),
        ({"mask": "circle"}, OptionError),
        ({"fit": "0-100"}, OptionError),
        ({"cells": (99, 2)}, OptionError),
        ({"every": 3}, OptionError),
        ({"fit": "0:20"}, DataError),
        ({"variable": "wind"}, DataError),
        ({"model": Path("/nowhere/model.json")}, DataError),
    ],
)
def test_bad_options_are_refused(files: tuple[Path, Path], options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        quick(files, **options)(Context(Rng(0)))


def test_files_that_do_not_belong_together_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    whole = weather(60)
    with pytest.raises(LeakError, match="in the history"):
        ask(whole, whole.select(slice(50, 60)), "", "", 0.0)
    with pytest.raises(ShapeError, match="different grids"):
        ask(whole, cut(weather(5, start=100), (6, 8), 1), "", "", 0.0)
    for kind in (Kind.CIRCULAR, Kind.CATEGORICAL):
        with pytest.raises(DataError, match=kind.value):
            ask(replace(whole, kind=kind), None, "", "", 0.0)
    missing = replace(whole, stored=np.full_like(whole.stored, np.nan))
    write_raster(missing, tmp_path / "missing.nc")
    with pytest.raises(DataError):
        Study(history=tmp_path / "missing.nc", quick=True)(Context(Rng(0)))
    other = tmp_path / "model.json"
    other.write_text(json.dumps({"scales": {"length": 1}}))
    with pytest.raises(DataError, match=r"model\.json"):
        quick(files, model=other)(Context(Rng(0)))


def test_what_cannot_be_scored_is_refused_before_anything_is_learnt(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Correlations, "of", lambda *_: pytest.fail("learnt before the input was checked"))
    data = read_raster(files[1])
    mask = replace(data.select(slice(0, 1)), name="mask", stored=np.eye(*SHAPE)[None], unit="1", layers=Layers())
    elsewhere = replace(mask, grid=replace(mask.grid, crs="EPSG:27700"))
    for name, raster in (("small", cut(mask, (6, 8), 1)), ("elsewhere", elsewhere)):
        write_raster(raster, tmp_path / f"{name}.tif")
        with pytest.raises(ShapeError, match="mask"):
            quick(files, mask=str(tmp_path / f"{name}.tif"))(Context(Rng(0)))
    with pytest.raises(OptionError, match="mask=foo"):
        quick(files, mask="foo")(Context(Rng(0)))
    write_raster(replace(data, stored=np.full_like(data.stored, np.nan)), tmp_path / "missing.nc")
    with pytest.raises(DataError):
        quick((files[0], tmp_path / "missing.nc"))(Context(Rng(0)))
    gap = np.zeros(SHAPE, bool)
    gap[2:4, 3:5] = True
    write_raster(data.hidden(np.broadcast_to(gap, data.stored.shape)), tmp_path / "gappy.nc")
    write_raster(replace(mask, stored=gap[None].astype(np.float32)), tmp_path / "gap.tif")
    with pytest.raises(DataError, match="scored"):
        quick((files[0], tmp_path / "gappy.nc"), mask=str(tmp_path / "gap.tif"))(Context(Rng(0)))


def test_a_grid_too_large_for_its_covariances_is_refused_before_anything_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Correlations, "of", lambda *_: pytest.fail("learnt before the memory was asked for"))
    monkeypatch.setattr(memory, "available", lambda: 2**21)
    write_raster(weather(240), tmp_path / "hourly.nc")
    with pytest.raises(MemoryBudgetError, match=r"3 layer.*neighbours=0"):
        Study(history=tmp_path / "hourly.nc", test="200:")(Context(Rng(0)))
    with pytest.raises(MemoryBudgetError, match=r"1 layer.*every=2"):
        Study(history=tmp_path / "hourly.nc", test="200:", neighbours=0, folds=20)(Context(Rng(0)))


def test_a_model_with_other_than_whole_numbers_of_patterns_is_refused() -> None:
    stored = Model(Scales(), LocalAmplitude()).json()
    assert Model.of(stored) == Model(Scales(), LocalAmplitude())
    stored["scales"]["leading"] = 10.5
    with pytest.raises(DataError, match="whole numbers"):
        Model.of(stored)


def drifting(n: int) -> Raster:
    """Fields carried along by a column an hour: what the neighbours show lies in the gap an hour later."""
    raster = weather(n)
    stored = raster.stored - 280
    for now in range(1, n):
        carried = np.roll(stored[now - 1], 1, -1)
        stored[now] = np.where(np.arange(SHAPE[1]) == 0, stored[now], 0.97 * carried + 0.25 * stored[now])
    return replace(raster, stored=(280 + stored).astype(np.float32))


def test_neighbouring_layers_are_used_where_they_help_and_fill_what_they_show(tmp_path: Path) -> None:
    """Of weather that drifts the run keeps them; a model with neighbours fills a layer that is missing as a whole."""
    whole = drifting(380)
    write_raster(whole, tmp_path / "drift.nc")
    options = {"fit": "0:300", "test": "320::6", "mask": "block", "quick": True, "folds": 3, "members": 39}
    found = Study(history=tmp_path / "drift.nc", gap=12.0, **options)(Context(Rng(0)))
    assert found.scores["model"]["neighbours"] == 1
    assert {"reference", "kriging"} < set(found.scores)
    assert any(name.startswith("reference.") for name in found.scores)
    alone = Study(history=tmp_path / "drift.nc", gap=12.0, neighbours=0, **options)(Context(Rng(0)))
    assert found.scores["crps"] < 0.97 * alone.scores["crps"]
    found.files["model.json"](tmp_path / "model.json")
    missing = np.zeros((20, *SHAPE), bool)
    missing[8] = True
    write_raster(whole.select(slice(0, 300)), tmp_path / "past.nc")
    write_raster(whole.select(slice(340, 360)).hidden(missing), tmp_path / "now.nc")
    filled = quick((tmp_path / "past.nc", tmp_path / "now.nc"), model=tmp_path / "model.json", mask="block")(
        Context(Rng(0))
    )
    assert filled.scores["gaps_filled"] == SHAPE[0] * SHAPE[1]
    filled.files["filled.nc"](tmp_path / "filled.nc")
    written = read_raster(tmp_path / "filled.nc", "t2m").values[8]
    miss = written - whole.values[348]
    assert float(np.sqrt((miss**2).mean())) < 0.8 * float(whole.values.std())


def test_a_model_with_neighbours_serves_fields_that_have_none(files: tuple[Path, Path], tmp_path: Path) -> None:
    stored = Model(Scales(), LocalAmplitude(members=39), reach=1).json()
    (tmp_path / "model.json").write_text(json.dumps(stored))
    found = quick(files, model=tmp_path / "model.json")(Context(Rng(0)))
    assert found.scores["model"]["neighbours"] == 0
    for wrong in (-1, 4, "1"):
        (tmp_path / "model.json").write_text(json.dumps({**stored, "neighbours": wrong}))
        with pytest.raises(DataError, match="neighbours"):
            quick(files, model=tmp_path / "model.json")(Context(Rng(0)))


def test_a_layer_with_nothing_to_fill_from_stays_a_gap_and_members_are_those_asked_for(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    data = read_raster(files[1])
    missing = np.zeros(data.stored.shape, bool)
    missing[3] = True
    write_raster(data.hidden(missing), tmp_path / "now.nc")
    (tmp_path / "model.json").write_text(json.dumps(Model(Scales(), LocalAmplitude(members=500)).json()))
    found = quick((files[0], tmp_path / "now.nc"), model=tmp_path / "model.json")(Context(Rng(0)))
    assert found.scores["members"] == 39
    assert found.scores["gaps_filled"] == 0
    assert found.scores["gaps_left"] == SHAPE[0] * SHAPE[1]
    found.files["filled.nc"](tmp_path / "filled.nc")
    filled = read_raster(tmp_path / "filled.nc", "t2m")
    assert np.array_equal(filled.observed, ~missing)


def test_fields_whose_observed_cells_tell_nothing_are_passed_over_when_a_law_is_tried() -> None:
    """Half the grid never changes, so that a mask that hides the other half leaves nothing to fill from."""
    raster = weather(60)
    history = torch.from_numpy(raster.values)
    history[:, :, 4:] = 280.0
    left = torch.zeros(2, *SHAPE, dtype=torch.bool)
    left[0, :, :4], left[1, :, 1] = True, True
    past = Past(SPACE, history, np.arange(60.0), torch.arange(60), 1)
    folds = fold(past, [(torch.arange(40), torch.arange(45, 60))], left, 10, Rng(0))
    for reach in (0, 1):
        told = foretell(folds, Scales(), reach)
        assert 0 < len(told.found) < 10
        assert {len(truth) for truth in told.truth} == {SHAPE[0]}


def test_one_file_is_cut_into_history_and_later_fields() -> None:
    asked = ask(weather(240), None, "", "", 12.0)
    assert len(asked.past) == 173
    assert asked.now.min() - asked.past.max() > 12


def test_a_history_in_any_order_is_learnt_from_in_order_of_time() -> None:
    whole = weather(60)
    mixed = whole.select(Rng(0).permutation(60).numpy())
    asked = ask(mixed, weather(5, start=100), "", "", 0.0)
    assert np.array_equal(np.diff(asked.past), np.ones(59))
    assert np.array_equal(asked.history.stored, whole.stored)
    alone = ask(mixed, None, "", "", 2.0)
    assert np.array_equal(alone.history.stored, whole.stored[:43])
    assert len(alone.picked) == 15
    assert alone.now.min() - alone.past.max() == 3


def test_neighbours_of_data_that_overlap_the_history_are_not_those_learnt_from() -> None:
    whole = weather(60)
    asked = ask(whole.select(slice(0, 40)), whole.select(slice(30, 60)), "", "10:", 0.0)
    assert np.array_equal(asked.fields.stored, whole.stored[40:])
    assert asked.neighbours(1)[1][:2].tolist() == [[-1, 10, 11], [10, 11, 12]]
    twice = whole.select([*range(40, 60), 59])
    assert ask(whole.select(slice(0, 40)), twice, "", "", 0.0).neighbours(1)[1].shape == (21, 1)


def test_a_history_of_one_moment_has_no_neighbours() -> None:
    whole = weather(40)
    moment = replace(whole, layers=Layers.at(np.repeat(whole.times[:1], 40)))
    assert ask(moment, weather(5, start=100), "", "", 0.0).neighbours(1)[1].shape == (5, 1)
