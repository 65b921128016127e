"""Run a finished run again and compare: the same scores, the same arrays."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posteriori.app.folder import digests
from posteriori.app.record import Record
from posteriori.app.runner import BESIDE, Job, run
from posteriori.core.errors import StoreError
from posteriori.core.run import Progress, silent


def verify(folder: Path, progress: Progress = silent) -> list[str]:
    """What differs when the run of ``folder`` is made again, one difference a line; none where all is the same.

    Scores, arrays and tables are compared exactly, durations not at all; files changed since they were written differ.
    Raises ``StoreError`` where ``folder`` is no run folder.
    """
    was, scores = Record.load(folder), _scores(folder)
    job = Job.of(was.study, was.options, was.seed, was.device, was.workers)
    with tempfile.TemporaryDirectory(prefix="posteriori-") as place:
        again = run(job, Path(place) / "again", progress)
    found = [
        *_differences("data read", was.data, again.record.data),
        *_differences("score", scores, again.scores),
        *_differences("result", was.results, again.record.results),
        *_differences("stored file", was.results, digests(folder, skip=BESIDE)),
    ]
    return [*found, *_differences("version", was.versions, again.record.versions)] if found else []


def _scores(folder: Path) -> dict[str, Any]:
    try:
        scores: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        if not isinstance(scores, dict):
            raise ValueError("no names of scores")
        return scores
    except (OSError, ValueError) as problem:
        raise StoreError(f"{folder / 'scores.json'} cannot be read ({problem}); run the study again.") from None


def _differences(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**before, **now} if not name.rpartition(".")[2].endswith("seconds")]
    return [
        f"{what} {name}: {_shown(before, name)} was recorded, {_shown(now, name)} now"
        for name in names
        if before.get(name, ...) != now.get(name, ...)
    ]


def _shown(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "nothing"
