"""Windows: whatever their order, the whole comes out bit for bit; a write that fails leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil

from posteriori.core import memory
from posteriori.core.errors import DataError, MemoryBudgetError, ShapeError, StoreError
from posteriori.core.map_grid import MapGrid, as_wkt
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.domains.geography.raster import read_raster, write_raster
from posteriori.domains.geography.windows import window_reader, window_writer

GRID = MapGrid((300, 500), (30.0, 0, 4e5, 0, -30.0, 5e6), as_wkt("EPSG:32633"))
LAYERS = Layers("time", np.array([1, 2]), "days since 2020-01-01")


@pytest.fixture(scope="module")
def whole() -> Raster:
    """Two layers with gaps."""
    stored = np.random.default_rng(0).integers(-1, 1000, (2, *GRID.shape)).astype(np.int16)
    return Raster("v", stored, GRID, "K", Kind.CONTINUOUS, -1, 0.1, 200.0, LAYERS)


@pytest.mark.parametrize("ending", [".tif", ".zarr"])
@pytest.mark.parametrize("order", [1, -1])
def test_windows_in_any_order_give_the_whole(ending: str, order: int, whole: Raster, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    first = whole.window(slice(0, 1), slice(0, 1))
    with window_writer(path, first, GRID) as write:
        for top, left in list(product(range(0, 300, 128), range(0, 500, 200)))[::order]:
            rows, columns = slice(top, top + 128), slice(left, left + 200)
            write(rows, columns, whole.window(rows, columns))
        assert not path.exists()
    found = read_raster(path)
    assert found.stored.tobytes() == whole.stored.tobytes()
    assert (found.grid.transform, found.grid.crs, found.nodata) == (GRID.transform, GRID.crs, -1)
    assert found.layers.same(LAYERS)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".tif", ".nc", ".zarr"])
def test_a_window_read_is_the_window_of_the_whole(ending: str, whole: Raster, tmp_path: Path) -> None:
    path = write_raster(whole, tmp_path / f"r{ending}")
    rows, columns = slice(70, 141), slice(-33, None)
    with window_reader(path) as file:
        assert file.grid.same(GRID)
        assert file.layers.same(LAYERS)
        part = file.read(rows, columns)
    expected = whole.window(rows, columns)
    assert part.stored.tobytes() == expected.stored.tobytes()
    assert part.grid.transform == expected.grid.transform
    assert (part.scale, part.offset, part.nodata, part.unit) == (0.1, 200.0, -1, "K")


@pytest.mark.parametrize("ending", [".tif", ".zarr"])
def test_cells_that_nobody_wrote_are_gaps(ending: str, whole: Raster, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    with window_writer(path, whole.window(slice(0, 1), slice(0, 1)), GRID) as write:
        write(slice(0, 10), slice(0, 10), whole.window(slice(0, 10), slice(0, 10)))
    found = read_raster(path)
    assert not found.observed[:, 10:].any()
    assert (found.stored[:, :10, :10] == whole.stored[:, :10, :10]).all()


@pytest.mark.parametrize("ending", [".tif", ".zarr"])
def test_windows_that_do_not_fit_are_refused_and_nothing_is_left(ending: str, whole: Raster, tmp_path: Path) -> None:
    path, at = tmp_path / f"w{ending}", slice(0, 10)
    part = whole.window(at, at)
    bad = [
        (replace(part, stored=part.stored.astype(np.int32)), at, DataError, "stored as"),
        (replace(part, scale=1.0), at, DataError, "stored as"),
        (part, slice(10, 20), ShapeError, "does not lie at rows"),
        (part, slice(0, 11), ShapeError, "does not lie at rows"),
        (part.select([0]), at, ShapeError, "1 layers, the file 2"),
    ]
    for window, rows, error, message in bad:
        with pytest.raises(error, match=message), window_writer(path, part, GRID) as write:
            write(rows, at, window)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".tif", ".zarr"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_an_interrupted_write_leaves_no_rest(
    ending: str, error: type[BaseException], whole: Raster, tmp_path: Path
) -> None:
    part = whole.window(slice(0, 10), slice(0, 10))
    expected = StoreError if error is OSError else error

    def begun() -> None:
        with window_writer(tmp_path / f"w{ending}", part, GRID) as write:
            write(slice(0, 10), slice(0, 10), part)
            raise error

    with pytest.raises(expected):
        begun()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".tif", ".nc", ".zarr"])
def test_a_folder_that_cannot_be_written_is_said(ending: str, whole: Raster, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="choose a folder that can be written"):
        write_raster(whole, tmp_path / "file" / f"r{ending}")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_stood_there_stays_when_a_write_fails(
    whole: Raster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.tif").write_text("old")

    def full(source: Path, target: Path, **options: object) -> None:
        target.write_bytes(b"half")
        raise rasterio.errors.RasterioIOError("No space left on device")

    monkeypatch.setattr(rasterio.shutil, "copy", full)
    with pytest.raises(StoreError, match=r"No space left.*untouched"):
        write_raster(whole, tmp_path / "old.tif")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("old.tif", "old")]
    write_raster(whole, tmp_path / "there.zarr")
    with pytest.raises(StoreError, match="exists; delete it"):
        write_raster(whole, tmp_path / "there.zarr")
    assert (read_raster(tmp_path / "there.zarr").stored == whole.stored).all()


@pytest.mark.parametrize("ending", [".tif", ".nc", ".zarr"])
def test_a_raster_that_does_not_fit_in_memory_is_read_by_windows(
    ending: str, whole: Raster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_raster(whole, tmp_path / f"r{ending}")
    monkeypatch.setattr(memory, "available", lambda: 100_000)
    with pytest.raises(MemoryBudgetError, match="read it by windows"):
        read_raster(path)
    with window_reader(path) as file:
        assert file.read(slice(0, 10), slice(0, 10)).stored.shape == (2, 10, 10)


@pytest.mark.parametrize("ending", [".tif", ".nc", ".zarr"])
def test_windows_are_of_the_variable_asked_for(ending: str, whole: Raster, tmp_path: Path) -> None:
    path = write_raster(whole, tmp_path / f"r{ending}")
    with window_reader(path, "v") as file:
        assert file.read(slice(0, 2), slice(0, 3)).stored.shape == (2, 2, 3)
    with pytest.raises(DataError, match="not 'w'"), window_reader(path, "w"):
        pass


def test_a_store_is_known_by_what_is_in_it(whole: Raster, tmp_path: Path) -> None:
    path = write_raster(whole, tmp_path / "r.zarr").rename(tmp_path / "store")
    with window_reader(path) as file:
        assert file.read(slice(0, 2), slice(0, 3)).stored.shape == read_raster(path).stored[:, :2, :3].shape
    with pytest.raises(DataError, match="is a folder"), window_reader(tmp_path):
        pass


def test_other_endings_are_refused(whole: Raster, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"), window_reader(tmp_path / "a.tif"):
        pass
    (tmp_path / "empty.tif").touch()
    with pytest.raises(DataError, match="is empty"), window_reader(tmp_path / "empty.tif"):
        pass
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    with pytest.raises(DataError, match="windows are read from"), window_reader(tmp_path / "a.npy"):
        pass
    with pytest.raises(DataError, match="windows are written to"), window_writer(tmp_path / "a.nc", whole, GRID):
        pass
