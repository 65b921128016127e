"""Large rasters: clouds and mirrors by windows, what is known kept to the bit, scores that are right, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, MemoryBudgetError, OptionError
from posteriori.core.map_grid import MapGrid, as_wkt
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Raster
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.domains.geography.raster import read_raster, write_raster
from posteriori.domains.geography.studies.tiles import Study
from posteriori.domains.geography.tiles_net import clouded, patches, scale_of, untrained
from posteriori.domains.geography.tiles_scene import File, Mosaic, Scene, clouds, mirrored
from posteriori.domains.geography.tiles_scores import linear
from posteriori.learn.diffusion.tiling import Tiling, Window
from posteriori.learn.network import save_net

GRID = MapGrid((96, 130), (30.0, 0.0, 5e5, 0.0, -30.0, 4e6), as_wkt("EPSG:32633"))


def hills(nodata: int | None = -999) -> Raster:
    y, x = np.mgrid[:96, :130]
    stored = (400 + 90 * np.sin(x / 9) * np.cos(y / 7)).astype(np.int16)
    stored[10:20, 30:55] = -999
    return Raster("height", stored[None], GRID, "m", nodata=nodata)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_net(untrained().net, tmp_path_factory.mktemp("net") / "model.safetensors")


def test_clouds_agree_where_windows_overlap_and_hide_the_share() -> None:
    rng = Rng(2)
    whole = clouds(rng, Window(slice(0, 2000), slice(0, 1500)), 0.3)
    part = clouds(rng, Window(slice(731, 800), slice(400, 431)), 0.3)
    assert np.array_equal(whole[731:800, 400:431], part)
    assert abs(whole.mean() - 0.3) < 0.05
    assert not clouds(rng, Window(slice(0, 9), slice(0, 9)), 0.0).any()
    assert clouds(rng, Window(slice(0, 9), slice(0, 9)), 1.0).all()


def test_a_mirrored_line_has_no_jumps() -> None:
    at = mirrored(np.arange(40), 7)
    assert set(at) == set(range(7))
    assert np.abs(np.diff(at)).max() == 1
    assert np.array_equal(at[:7], np.arange(7))


def test_a_mosaic_is_one_map() -> None:
    mosaic = Mosaic(900)
    whole = mosaic.raster(Window(slice(0, 900), slice(0, 900)))
    part = mosaic.raster(Window(slice(340, 380), slice(150, 170)))
    assert np.array_equal(whole.stored[:, 340:380, 150:170], part.stored)
    assert mosaic.grid.window(slice(340, 380), slice(150, 170)).same(part.grid)


def test_scale_and_patches_are_those_of_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "hills.tif"
    write_raster(hills(), path)
    scene = Scene(File(path), Rng(1), 0.2)
    tiling = Tiling(GRID.shape, 64, 16, 4)
    known = scene.known(Window(slice(0, 96), slice(0, 130))).values
    scale = scale_of(scene, tiling)
    assert scale.mean == pytest.approx(np.nanmean(known))
    assert scale.std == pytest.approx(np.nanstd(known))
    found = patches(replace(scene, share=0.0), scale, 8, Rng(2))
    assert found.shape == (8, 1, 64, 64)
    assert float(torch.isfinite(found).float().flatten(1).mean(1).min()) >= 0.9
    with pytest.raises(DataError, match="only 0 of"):
        patches(replace(scene, share=0.95), scale, 8, Rng(2))


def test_training_masks_hide_some_fields_whole() -> None:
    """A quarter of 400, less 5 standard errors; small patches are also hidden by one cloud."""
    masks = clouded((400, 16, 16), Rng(4)).float().mean((1, 2))
    assert 0.14 < float((masks == 0).float().mean()) < 0.6
    assert float(masks.max()) == 1.0


def test_lines_are_exact_on_a_plane() -> None:
    y, x = np.mgrid[:40, :50].astype(float)
    plane = 3 + 0.5 * y - 0.2 * x
    gappy = plane.copy()
    gappy[10:20, 15:30] = np.nan
    np.testing.assert_allclose(linear(gappy), plane, atol=1e-9)


def test_a_file_is_filled_and_what_is_known_keeps_every_bit(tmp_path: Path, net: Path) -> None:
    path = tmp_path / "hills.tif"
    write_raster(hills(), path)
    study = Study(data=path, hide=0.2, members=2, window=64, overlap=16, steps=3, model=net)
    outcome = study(Context(Rng(0), store=Store(tmp_path / "store")))
    assert outcome.scores["order_cells_different"] == 0
    for name, write in outcome.files.items():
        write(tmp_path / name)
    filled, spread = read_raster(tmp_path / "filled.tif"), read_raster(tmp_path / "spread.tif")
    assert filled.observed.all()
    assert filled.grid.same(GRID)
    assert filled.stored.dtype == np.int16
    known = hills().observed  # behind the clouds too
    assert np.array_equal(filled.stored[known], hills().stored[known])
    assert (spread.values[known] == 0).all()
    assert (spread.values[~known] > 0).all()


def test_what_cannot_be_filled_is_refused(tmp_path: Path, net: Path) -> None:
    context = Context(Rng(0), store=Store(tmp_path / "store"))
    path = tmp_path / "classes.tif"
    write_raster(replace(hills(), kind=Kind.CATEGORICAL), path)
    with pytest.raises(DataError, match="classes"):
        Study(data=path, model=net)(context)
    path = tmp_path / "no-gaps.tif"
    write_raster(hills(None), path)
    with pytest.raises(DataError, match="no nodata number"):
        Study(data=path, model=net)(context)
    path = tmp_path / "flat.tif"
    write_raster(replace(hills(), stored=np.full((1, 96, 130), 7, np.int16)), path)
    with pytest.raises(DataError, match="nothing to learn"):
        Study(data=path, model=net, window=64, overlap=16)(context)
    with pytest.raises(OptionError, match="layers 0 to 0"):
        Study(data=path, layer=3, model=net)(context)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"hide": 1.2}, "hide"), ({"size": 10}, "size"), ({"overlap": 200}, "overlap"), ({"steps": 1}, "steps")],
)
def test_options_are_checked(options: dict[str, float], complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        Study(**options)  # type: ignore[arg-type]


def test_a_disk_that_is_too_small_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(MemoryBudgetError, match="fewer members"):
        Study(size=256, members=3)(Context(Rng(0), store=Store(tmp_path / "store")))
