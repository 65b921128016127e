"""A write that fails or is interrupted leaves what stood there before, and says so."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import xarray as xr

import posteriori as po
from posteriori import Draws, Rng, Space
from posteriori.core import store as stores
from posteriori.core.errors import StoreError
from posteriori.core.store import Store, renamed, writable

SPACE = Space("m", {"x": 3})


def _draws(seed: int) -> Draws:
    return Draws(SPACE, Rng(seed).normal((10, 3)))


@pytest.fixture
def no_folder(tmp_path: Path) -> Path:
    """A path that nobody can write, not even root: below a regular file."""
    (tmp_path / "file").write_text("not a folder")
    return tmp_path / "file" / "results"


def test_a_folder_that_cannot_be_written_is_said_before_the_work(no_folder: Path) -> None:
    for act in (
        lambda: writable(no_folder),
        lambda: Store(no_folder).save("x", {"a": torch.ones(1)}),
        lambda: _draws(0).save(no_folder / "run.nc"),
        lambda: writable(Path("/proc/results")),
    ):
        with pytest.raises(StoreError, match="choose a folder that can be written"):
            act()
    assert writable(Path(no_folder.parent.parent / "new" / "deep")).is_dir()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every flush to the disk fails, as on a full one."""

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(stores.os, "fsync", fail)
        yield


def test_a_full_disk_leaves_the_older_version(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    _draws(0).save(tmp_path / "run.nc")
    Store(tmp_path).save("task", {"x": torch.ones(2)})
    request.getfixturevalue("full_disk")
    with pytest.raises(StoreError, match=r"No space left.*untouched"):
        _draws(1).save(tmp_path / "run.nc")
    with pytest.raises(StoreError, match=r"No space left.*untouched"):
        Store(tmp_path).save("task", {"x": torch.zeros(2)})
    loaded = po.load(tmp_path / "run.nc")
    assert isinstance(loaded, Draws)
    assert torch.equal(loaded.values, _draws(0).values)
    found = Store(tmp_path).load("task")
    assert found is not None
    assert found[0]["x"].tolist() == [1.0, 1.0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.nc", "task.safetensors"]


def test_a_disk_that_fills_while_the_file_is_written_is_a_store_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tree: xr.DataTree, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(StoreError, match="No space left"):
        _draws(0).save(tmp_path / "run.nc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interrupted_write_leaves_the_older_version_and_no_rest(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")

    def write() -> None:
        with renamed(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.txt"]


def test_a_finished_write_takes_the_place_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.txt"
    with renamed(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["result.txt"]


def test_tensors_and_facts_come_back_bit_for_bit(tmp_path: Path) -> None:
    kept = {
        "a": Rng(0).normal((3, 2)),
        "b": torch.tensor([torch.nan, -torch.inf]),
        "n": torch.arange(3),
        "e": torch.ones(0),
    }
    Store(tmp_path).child("part", 1).save("x", kept, {"epoch": 3, "note": "ü"})
    found = Store(tmp_path / "part" / "1").load("x")
    assert found is not None
    assert found[1] == {"epoch": 3, "note": "ü"}
    for key, tensor in kept.items():
        assert found[0][key].numpy().tobytes() == tensor.numpy().tobytes()
    assert Store(tmp_path).load("nothing") is None


def test_once_makes_a_thing_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"x": torch.tensor([float(len(calls))])}

    found = [Store(tmp_path).once("x", make)["x"].item() for _ in range(3)]
    assert found == [1.0, 1.0, 1.0]
    assert len(calls) == 1


def test_damaged_checkpoints_are_refused_with_the_next_step(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("x", {"a": Rng(0).normal((50,))}, {"k": 1})
    path = tmp_path / "x.safetensors"
    whole = path.read_bytes()
    for cut in (0, 4, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match="delete it and start that part again"):
            store.load("x")
