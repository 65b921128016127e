"""Tasks give the same arrays wherever they run, and are not done twice."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from posteriori import Rng
from posteriori.core.errors import OptionError, StoreError
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.core.tasks import run_tasks, workers

PAYLOAD = torch.linspace(0, 1, 1000, dtype=torch.float64)
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """``jobs`` as a module of this process and of those that it spawns."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=":")
    spec = importlib.util.spec_from_file_location("jobs", HERE / "jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "jobs", module)
    spec.loader.exec_module(module)
    return


def test_tasks_have_their_own_streams_and_come_in_order() -> None:
    found = run_tasks(sys.modules["jobs"].draw, PAYLOAD, ["b", "a", 3], Context(Rng(1)))
    other = run_tasks(sys.modules["jobs"].draw, PAYLOAD, [3, "b"], Context(Rng(1)))
    assert torch.equal(found[2]["x"], other[0]["x"])
    assert torch.equal(found[0]["x"], Rng(1).child("b").normal((1000,)))
    assert not torch.equal(found[0]["x"], found[1]["x"])


@pytest.mark.slow
def test_two_workers_give_the_arrays_of_this_process_and_its_errors() -> None:
    alone = run_tasks(sys.modules["jobs"].draw, PAYLOAD, range(7), Context(Rng(0)))
    with workers(2) as executor:
        found = run_tasks(sys.modules["jobs"].draw, PAYLOAD, range(7), Context(Rng(0), executor=executor))
        for a, b in zip(alone, found, strict=True):
            assert all(torch.equal(a[key], b[key]) for key in a)
        with pytest.raises(ArithmeticError, match="this task has failed"):
            run_tasks(sys.modules["jobs"].fail, PAYLOAD, [0], Context(executor=executor))


def test_what_another_process_cannot_find_is_refused_early() -> None:
    with pytest.raises(OptionError, match="cannot be found by another process"):
        run_tasks(lambda payload, context: {}, None, [0], Context())

    def inner(payload: object, context: Context) -> dict[str, torch.Tensor]:
        return {}

    with pytest.raises(OptionError, match="function of a module"):
        run_tasks(inner, None, [0], Context())


def test_no_workers_cannot_work() -> None:
    with pytest.raises(OptionError, match="0 workers"), workers(0):
        pass


def test_finished_tasks_are_read_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_tasks(sys.modules["jobs"].draw, PAYLOAD, range(4), Context(Rng(0)))
    run_tasks(sys.modules["jobs"].draw, PAYLOAD, [1, 3], Context(Rng(0), store=Store(tmp_path)))
    done: list[object] = []

    def progress(steps: object, label: str, total: int | None = None) -> Iterator[object]:
        for step in steps:  # type: ignore[attr-defined]
            done.append(step[0])
            yield step

    context = Context(Rng(0), store=Store(tmp_path), progress=progress)  # type: ignore[arg-type]
    found = run_tasks(sys.modules["jobs"].draw, PAYLOAD, range(4), context)
    assert done == [0, 2]
    assert all(torch.equal(a[k], b[k]) for a, b in zip(whole, found, strict=True) for k in a)


def test_results_of_another_seed_are_not_taken_for_ones_own(tmp_path: Path) -> None:
    run_tasks(sys.modules["jobs"].draw, PAYLOAD, [1], Context(Rng(0), store=Store(tmp_path)))
    with pytest.raises(StoreError, match="choose another folder"):
        run_tasks(sys.modules["jobs"].draw, PAYLOAD, [1], Context(Rng(1), store=Store(tmp_path)))
