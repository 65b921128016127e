"""A run is one folder, whole or not there at all, and can be made again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import posteriori as po
from posteriori.app.folder import digests, written_whole
from posteriori.app.record import Record
from posteriori.app.runner import Job, checkpoints, plain, run
from posteriori.app.verification import verify
from posteriori.core.errors import DataError, OptionError, PosterioriError, StoreError
from posteriori.domains.study import Outcome

pytestmark = pytest.mark.usefixtures("fruit")


def apple(**given: str) -> Job:
    return Job.of("fruit/apple-mass", given)


def test_the_folder_holds_what_was_asked_and_found(tmp_path: Path) -> None:
    run(apple(readings="20"), tmp_path / "new" / "out")
    folder = tmp_path / "new" / "out"
    names = ["audit.json", "config.json", "note.txt", "readings.csv", "report.html", "run.nc", "scores.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["n"] == 60
    assert scores["lost"] is None
    assert scores["seconds"] > 0
    assert scores["mean_g"] == pytest.approx(pd.read_csv(folder / "readings.csv")["mass [g]"].mean(), rel=1e-12)
    record = Record.load(folder)
    assert record.command == "posteriori run fruit/apple-mass readings=20"
    assert record.options["noise"] == "2.0"
    assert record.data == {"apple.csv": "ab12"}
    assert record.versions["torch"]
    assert record.references == ("Newton (1687), Principia.",)
    assert json.loads((folder / "audit.json").read_text())["passed"]
    assert float(po.load(folder / "run.nc").mean().sel(fruit="apple")) == pytest.approx(scores["mean_g"], rel=1e-12)
    assert {"note.txt", "readings.csv", "run.nc:/posterior/apple"} <= set(record.results)
    stored = po.load(folder / "run.nc")
    assert stored.run is not None
    assert stored.run.method == record.command
    assert po.cite(stored) == "Newton (1687), Principia."


def test_only_the_folder_is_left_behind(tmp_path: Path) -> None:
    run(apple(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_same_seed_gives_the_same_arrays_and_another_seed_others(tmp_path: Path) -> None:
    results = [
        run(Job.of("fruit/apple-mass", {}, seed), tmp_path / str(number)).record.results["readings.csv"]
        for number, seed in enumerate((0, 0, 1))
    ]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("fault", ["data", "defect", "write"])
def test_what_fails_leaves_no_folder(tmp_path: Path, fault: str) -> None:
    with pytest.raises((DataError, ZeroDivisionError, StoreError)):
        run(apple(fault=fault), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_what_fails_leaves_no_empty_folders_above(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run(apple(fault="data"), tmp_path / "runs" / "fruit" / "out")
    assert list(tmp_path.iterdir()) == []
    run(apple(), tmp_path / "runs" / "fruit" / "good")
    with pytest.raises(DataError):
        run(apple(fault="data"), tmp_path / "runs" / "fruit" / "out")
    assert [path.name for path in (tmp_path / "runs" / "fruit").iterdir()] == ["good"]


def test_a_folder_in_use_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("keep")
    with pytest.raises(StoreError, match="holds something already"):
        run(apple(fault="defect"), tmp_path / "out")
    assert (tmp_path / "out" / "precious.txt").read_text() == "keep"


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere/out"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("keep")
    with pytest.raises(StoreError, match="choose another --out"):
        run(apple(fault="defect"), tmp_path / place)


def test_an_interrupted_run_resumes_to_the_same_result(tmp_path: Path) -> None:
    whole = run(apple(), tmp_path / "whole").record.results

    def cut(steps: object, label: str, total: int | None = None) -> object:
        yield 0
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(apple(), tmp_path / "cut", cut)  # type: ignore[arg-type]
    kept = checkpoints(apple(), tmp_path / "cut")
    assert len(list(kept.glob("block-*"))) == 2
    assert not (tmp_path / "cut").exists()
    assert run(apple(), tmp_path / "cut").record.results == whole
    assert not kept.exists()


def test_a_run_repeats(tmp_path: Path) -> None:
    run(apple(readings="20", noise="1.5"), tmp_path / "out")
    assert verify(tmp_path / "out") == []


def test_verify_names_a_changed_score_and_a_changed_table(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run(apple(), folder)
    scores = json.loads((folder / "scores.json").read_text())
    (folder / "scores.json").write_text(json.dumps(scores | {"n": 7, "seconds": 1e9}))
    (folder / "readings.csv").write_text("tampered")
    found = verify(folder)
    assert [line.split(":")[0] for line in found] == ["score n", "stored file readings.csv"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"study": 1}', '{"references": []}'])
def test_verify_refuses_what_is_no_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(StoreError):
        verify(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"options": {"reedings": "3"}}, "there is no option 'reedings'; did you mean readings"),
        ("config.json", {"options": 3}, "cannot be read"),
        ("config.json", {"options": {"readings": 3}}, "cannot be read"),
        ("config.json", {"results": None}, "cannot be read"),
        ("scores.json", None, "cannot be read"),
    ],
)
def test_verify_refuses_a_run_that_was_tampered_with_or_made_by_another_version(
    tmp_path: Path, file: str, change: dict[str, object] | None, message: str
) -> None:
    folder = tmp_path / "out"
    run(apple(), folder)
    stored = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps([] if change is None else stored | change))
    with pytest.raises(PosterioriError, match=message):
        verify(folder)


def test_arrays_are_hashed_apart_from_attributes(tmp_path: Path) -> None:
    import h5py

    for name, value, date in (("a", 1.0, "today"), ("b", 1.0, "tomorrow"), ("c", 2.0, "today")):
        (tmp_path / name).mkdir()
        with h5py.File(tmp_path / name / "run.nc", "w") as file:
            file.attrs["date"] = date
            file["posterior/mass"] = [value]
            file["posterior/nucleus"] = ["208Pb"]
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert sorted(a) == ["run.nc:/posterior/mass", "run.nc:/posterior/nucleus"]
    assert a == b
    assert a["run.nc:/posterior/mass"] != c["run.nc:/posterior/mass"]


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    def write_half() -> None:
        with written_whole(tmp_path / "out") as draft:
            (draft / "half").touch()
            assert not (tmp_path / "out").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_scores_become_plain_json() -> None:
    import numpy as np

    given = {"a": np.int64(3), "b": np.float32(0.5), "c": [float("inf"), None, True], "d": {"e": "text"}}
    assert plain(given) == {"a": 3, "b": 0.5, "c": [None, None, True], "d": {"e": "text"}}


def test_an_outcome_refuses_scores_and_names_that_cannot_be_written() -> None:
    from posteriori.audit.report import Report

    report = Report("empty", ())
    with pytest.raises(DataError, match=re.escape("score a.b[1] is a set")):
        Outcome({"a": {"b": [1, {2}]}}, report)
    with pytest.raises(DataError, match="cannot name a file"):
        Outcome({}, report, tables={"../up": pd.DataFrame()})


def test_unknown_options_are_refused_with_what_there_is() -> None:
    with pytest.raises(OptionError, match="did you mean normal"):
        apple(law="norml")
