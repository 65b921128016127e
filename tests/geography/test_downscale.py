"""Down-scaling: block means kept, interpolation, the exact posterior where the law is known, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.core.algebra import BlockAverage
from posteriori.core.errors import DataError, OptionError, ShapeError, UnitError
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.geography.blocks import block_means, coarser, whole_blocks
from posteriori.domains.geography.downscaling import Downscaler, bilinear, interpolated
from posteriori.domains.geography.raster import WGS84, MapGrid, read_raster, write_raster
from posteriori.domains.geography.studies.downscale import Study
from posteriori.learn.ensemble_covariance import localised

GRID = MapGrid((8, 12), (0.25, 0.0, -10.0, 0.0, -0.25, 58.0), WGS84)


def fields(n: int, positive: bool = False) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Smooth random fields."""
    axes = [torch.arange(k, dtype=torch.float64) for k in GRID.shape]
    roots = [
        torch.linalg.cholesky((-0.5 * (a[:, None] - a).square() / 6).exp() + 1e-6 * torch.eye(len(a))) for a in axes
    ]
    x = roots[0] @ Rng(1).normal((n, *GRID.shape)) @ roots[1].mT
    return (x.exp() - 0.5).clamp_min(0).numpy() if positive else x.numpy()


def raster(n: int = 260, positive: bool = False) -> Raster:
    layers = Layers.at(np.datetime64("2020-01-01T00:00:00") + np.arange(n) * np.timedelta64(1, "h"))
    kind = Kind.NON_NEGATIVE if positive else Kind.CONTINUOUS
    return Raster("r", fields(n, positive), GRID, "mm", kind, nodata=float("nan"), layers=layers)


def blocks() -> BlockAverage:
    return BlockAverage(Space("r", {"y": 8, "x": 12}), {"y": 4, "x": 4})


def test_bilinear_interpolation_keeps_planes() -> None:
    y, x = torch.meshgrid(torch.arange(8.0).double(), torch.arange(12.0).double(), indexing="ij")
    plane = (2 * y - 3 * x + 1)[None]
    assert torch.allclose(bilinear(blocks()(plane), blocks()), plane, atol=1e-12)


def test_interpolation_is_dressed_with_its_errors_on_the_history() -> None:
    history = torch.from_numpy(fields(50))
    found = interpolated(blocks(), history, None, torch.arange(50), history, None)
    mean, std = found["bilinear"]
    assert set(found) == {"bilinear"}
    assert torch.allclose((history - mean).mean(0), torch.zeros(8, 12, dtype=torch.float64), atol=1e-12)
    assert torch.allclose((history - mean).std(0), std)


def test_the_law_is_the_textbook_one_and_its_means_are_exact() -> None:
    history = torch.from_numpy(fields(80))
    operator, prior = blocks(), localised(blocks().domain, history)
    truth = history[:3]
    law = Downscaler(operator, prior).law(operator(truth))
    h, k = operator.rows(history[0]), prior.covariance.dense()
    gain = k @ h.mT @ torch.linalg.inv(h @ k @ h.mT)
    mean = prior.location.flatten() + (truth - prior.location).flatten(1) @ h.mT @ gain.mT
    assert torch.allclose(law.center().flatten(1), mean, atol=1e-5)
    assert torch.allclose(law.spread()[0].flatten().square(), (k - gain @ h @ k).diagonal(), atol=1e-5)
    assert torch.allclose(operator(law.center()), operator(truth), atol=1e-12)


@pytest.mark.parametrize("positive", [False, True])
def test_every_member_keeps_every_block_mean(positive: bool) -> None:
    history = torch.from_numpy(fields(80, positive))
    operator = blocks()
    model = Downscaler(operator, localised(operator.domain, history), 1.3, positive)
    members = model.members(operator(history[:4]), 30, Rng(2))
    assert torch.allclose(operator(members), operator(history[:4]).expand(30, 4, 2, 3), atol=1e-10)
    assert float(members.std(0).mean()) > 0
    assert not positive or float(members.min()) >= 0


def test_blocks_keep_their_place_on_the_map() -> None:
    part = whole_blocks(raster(2).window(slice(0, 7), slice(0, 10)), 3)
    assert part.grid.shape == (6, 9)
    coarse = coarser(part.grid, 3)
    assert coarse.shape == (2, 3)
    assert np.allclose(coarse.centres[0], part.grid.centres[0].reshape(-1, 3).mean(1))
    assert np.allclose(block_means(part.values, 3)[0, 0, 0], part.values[0, :3, :3].mean())
    with pytest.raises(ShapeError, match="no block"):
        whole_blocks(part, 8)


@pytest.mark.parametrize("positive", [False, True])
def test_the_study_beats_interpolation_and_keeps_means(tmp_path: Path, positive: bool) -> None:
    path = tmp_path / "r.nc"
    write_raster(raster(positive=positive), path)
    outcome = Study(data=path, gap=5, folds=3, fields=40, members=39)(Context(Rng(0)))
    assert outcome.scores["block_means"] < 1e-9  # type: ignore[operator]
    assert outcome.scores["crps_over_bilinear"] < 1  # type: ignore[operator]
    if positive:
        assert outcome.scores["least_value"] >= 0  # type: ignore[operator]
        return
    outcome.files["sharpened.nc"](tmp_path / "fine.nc")
    assert read_raster(tmp_path / "fine.nc", "r_mean").grid.same(GRID)
    for picture in outcome.pictures.values():
        picture()


def test_tiles_are_written_on_a_grid_of_no_place_and_fields_left_out_are_counted(tmp_path: Path) -> None:
    outcome = Study(fields=9, members=19)(Context(Rng(0)))
    outcome.files["sharpened.nc"](tmp_path / "tiles.nc")
    written = read_raster(tmp_path / "tiles.nc", "elevation_mean")
    assert written.grid.crs is None
    assert written.layers.dim == "tile"
    assert len(np.unique(written.layers.labels)) == 9
    figure = outcome.report["fields"]
    assert figure.value == 9
    assert "given were left out" in figure.note


def test_too_few_days_and_a_history_of_one_value_are_refused_before_the_work(tmp_path: Path) -> None:
    write_raster(raster(100), tmp_path / "r.nc")
    with pytest.raises(DataError, match=r"3 fields to judge lie in 2 block"):
        Study(data=tmp_path / "r.nc", gap=5, folds=3, fields=3)(Context(Rng(0)))
    flat = raster(100)
    flat.stored[:] = 1.5
    write_raster(flat, tmp_path / "flat.nc")
    with pytest.raises(DataError, match=r"1.5 mm everywhere"):
        Study(data=tmp_path / "flat.nc", gap=5, folds=3)(Context(Rng(0)))


def test_coarse_fields_are_sharpened_onto_the_grid_of_the_history(tmp_path: Path) -> None:
    fine = raster(100)
    write_raster(fine, tmp_path / "fine.nc")
    layers, means = Layers.at(fine.times[:5]), block_means(fine.values, 4)[:5]
    coarse = Raster("r", means, coarser(GRID, 4), "mm", layers=layers, nodata=float("nan"))
    write_raster(coarse, tmp_path / "coarse.nc")
    outcome = Study(history=tmp_path / "fine.nc", data=tmp_path / "coarse.nc", gap=5, folds=3)(Context(Rng(0)))
    assert outcome.scores["block_means"] < 1e-9  # type: ignore[operator]
    assert "crps" not in outcome.scores
    write_raster(coarse.in_unit("m"), tmp_path / "metres.nc")
    other = Study(history=tmp_path / "fine.nc", data=tmp_path / "metres.nc", gap=5, folds=3)(Context(Rng(0)))
    assert other.scores["block_means"] < 1e-9  # type: ignore[operator]
    assert other.scores["spread_factor"] == outcome.scores["spread_factor"]
    means, given = other.posterior.mean().values, outcome.posterior.mean().values  # type: ignore[union-attr]
    np.testing.assert_allclose(means, given, rtol=1e-9)


def test_coarse_fields_that_do_not_belong_to_the_history_are_refused(tmp_path: Path) -> None:
    fine = raster(100)
    write_raster(fine, tmp_path / "fine.nc")
    coarse = Raster("r", block_means(fine.values, 4)[:1], coarser(GRID, 4), "K", nodata=float("nan"))
    write_raster(coarse, tmp_path / "coarse.nc")
    paths = {"history": tmp_path / "fine.nc", "data": tmp_path / "coarse.nc"}
    with pytest.raises(UnitError):
        Study(**paths)(Context(Rng(0)))
    with pytest.raises(ShapeError, match="factor="):
        Study(**paths, factor=2)(Context(Rng(0)))
    with pytest.raises(OptionError, match="leave fit="):
        Study(**paths, fit="0:50")(Context(Rng(0)))


def test_gaps_and_options_out_of_range_are_refused(tmp_path: Path) -> None:
    gappy = raster(100)
    gappy.stored[3, 2, 2] = np.nan
    write_raster(gappy, tmp_path / "gappy.nc")
    with pytest.raises(DataError, match="1 gaps"):
        Study(data=tmp_path / "gappy.nc")(Context(Rng(0)))
    for options, words in (
        ({"factor": 1}, "factor=1"),
        ({"members": 5}, "members=5"),
        ({"folds": 1}, "folds=1"),
        ({"fields": 2}, "fields=2"),
    ):
        with pytest.raises(OptionError, match=words):
            Study(**options)
    with pytest.raises(OptionError, match="history="):
        Study(history=tmp_path / "gappy.nc")
