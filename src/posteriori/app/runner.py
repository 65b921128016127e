"""Run a study into one folder that exists whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from posteriori.app import options
from posteriori.app.catalogue import Entry, find
from posteriori.app.folder import digests, place, written_whole
from posteriori.app.record import Record, command
from posteriori.app.report import Page
from posteriori.core.infer import require_device
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Context, Progress, Run, silent, versions
from posteriori.core.store import Store
from posteriori.core.tasks import workers
from posteriori.core.threads import THREADS, fixed_threads
from posteriori.domains.study import Outcome, Study

BESIDE = ("config.json", "scores.json", "audit.json", "report.html")  # what is said about the results
OPTIONAL = {"sklearn": "scikit-learn", "lightgbm": "lightgbm", "masstable": "masstable", "pandas": "pandas"}


@dataclass(frozen=True)
class Job:
    """A study with its options; the number of ``workers``, processes that share the work, changes no result."""

    entry: Entry
    study: Study
    seed: int = 0
    device: str = "cpu"
    workers: int = 1

    @staticmethod
    def of(name: str, given: Mapping[str, str], seed: int = 0, device: str = "cpu", processes: int = 1) -> Job:
        """The job of the study ``name`` with the options ``given`` as text; raises ``OptionError``."""
        entry = find(name)
        require_device(device)
        return Job(entry, options.build(entry.load(), given), seed, device, processes)

    @property
    def key(self) -> str:
        """What names this job's checkpoints: the same for the same study, options and seed."""
        facts = [self.entry.name, options.resolved(self.study), self.seed, self.device]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Finished:
    """A run that is done."""

    folder: Path
    record: Record
    scores: Mapping[str, Any]
    outcome: Outcome


def checkpoints(job: Job, folder: Path) -> Path:
    """Where ``job`` keeps what an interrupted run has finished: a hidden folder beside ``folder``."""
    return folder.parent / f".checkpoints-{job.key}"


def run(job: Job, folder: Path, progress: Progress = silent) -> Finished:
    """Run ``job`` and write ``folder``: config, posterior, scores, audit, tables, files and report, all or nothing.

    What an interrupted run had finished stays in its checkpoints, and the same job resumes from there.

    Raises ``StoreError``, before any work, where ``folder`` cannot be written or holds something.
    """
    with place(folder):
        store = checkpoints(job, folder)
        finished = _answer(job, folder, progress, Store(store))
        shutil.rmtree(store, ignore_errors=True)
    return finished


def _answer(job: Job, folder: Path, progress: Progress, store: Store | None) -> Finished:
    started, wall, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
    with workers(job.workers) as pool, fixed_threads():
        outcome = job.study(Context(Rng(job.seed), job.device, pool, progress, store))
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    made = None if outcome.posterior is None else outcome.posterior.run
    resolved = options.resolved(job.study)
    record = Record(
        study=job.entry.name,
        command=command(job.entry, resolved, job.seed),
        options=resolved,
        seed=job.seed,
        device=job.device,
        workers=job.workers,
        threads=THREADS,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
        versions=_versions(),
        data={**({} if made is None else made.hashes), **outcome.data},
        references=tuple(dict.fromkeys([*(() if made is None else made.references), *outcome.references])),
        results={},
    )
    if outcome.posterior is not None and made is None:
        outcome = replace(outcome, posterior=_stamped(outcome.posterior, record))
    scores = {"seconds": seconds["wall"], **outcome.scores}
    return _write(folder, outcome, {name: plain(score) for name, score in scores.items()}, record, job.entry.about)


def _stamped(posterior: Posterior, record: Record) -> Posterior:
    """``posterior`` with how the study made it, where no single method did."""
    made = Run(
        method=record.command,
        seed=record.seed,
        device=record.device,
        threads=record.threads,
        versions=dict(record.versions),
        hashes=dict(record.data),
        wall_seconds=record.seconds["wall"],
        cpu_seconds=record.seconds["cpu"],
        references=record.references,
    )
    return posterior.made_by(made, posterior.observed)


def _write(folder: Path, outcome: Outcome, scores: Mapping[str, Any], record: Record, about: str) -> Finished:
    with written_whole(folder) as draft:
        if outcome.posterior is not None:
            outcome.posterior.save(draft / "run.nc")
        for name, frame in outcome.tables.items():
            frame.to_csv(draft / f"{name}.csv", index=False)
        for name, write in outcome.files.items():
            write(draft / name)
        record = replace(record, results=digests(draft))
        record.save(draft)
        _save_json(draft / "scores.json", scores)
        _save_json(draft / "audit.json", outcome.report.json())
        page = Page(record, about, outcome.report, scores, outcome.pictures, outcome.tables)
        (draft / "report.html").write_text(page.html(), encoding="utf-8")
    return Finished(folder, record, scores, outcome)


def plain(score: Any) -> Any:
    """``score`` as JSON knows it; a number that is not finite becomes null."""
    if isinstance(score, Mapping):
        return {str(key): plain(part) for key, part in score.items()}
    if isinstance(score, list | tuple):
        return [plain(part) for part in score]
    if isinstance(score, bool | str | None):
        return score
    if isinstance(score, numbers.Integral):
        return int(score)
    return float(score) if math.isfinite(score) else None


def _save_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    """What the numbers depend on: the core, and the optional packages that this run loaded."""
    return versions() | {name: metadata.version(name) for module, name in OPTIONAL.items() if module in sys.modules}
