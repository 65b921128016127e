"""A domain that exists for the length of a test: one study that answers at once and can be told to go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import posteriori.domains

STUDY = '''
"""A study that is quick."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import ClassVar, Literal

import pandas as pd
import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError
from posteriori.core.space import Space
from posteriori.core.run import Context
from posteriori.domains.study import Outcome


@dataclass(frozen=True)
class Study:
    """Weigh an apple on a noisy balance.

    The mean of n readings has the standard error s / sqrt(n).
    """

    readings: int = 100
    """How often the balance is read."""

    noise: float = 2.0
    """Standard deviation of one reading [g]."""

    law: Literal["normal", "student"] = "normal"
    """Law of the noise."""

    limits: tuple[float, ...] = (0.0, 300.0)
    """Range of the balance [g]."""

    tray: float | None = None
    """Mass of the tray [g], where there is one."""

    quick: bool = False
    """Ten readings only."""

    unit: ClassVar[str] = "g"

    fault: str = ""
    """What goes wrong: gate, data, defect or write."""

    def __call__(self, context: Context) -> Outcome:
        n = 10 if self.quick else self.readings
        if self.fault == "data":
            raise DataError("the apple is missing; put one on the balance.")
        if self.fault == "defect":
            raise ZeroDivisionError
        blocks = []
        for block in context.progress(range(3), "reading", 3):
            draw = lambda: {"drawn": 150 + self.noise * context.rng.child(block).normal((n,))}
            blocks.append(context.store.once(f"block-{block}", draw)["drawn"])
            if os.environ.get("PAUSE_AT") == str(block):
                print("paused", flush=True)
                time.sleep(60)
        drawn = torch.cat(blocks)
        mean, error = float(drawn.mean()), float(drawn.std()) / len(drawn) ** 0.5
        gate = Gate(0, 1) if self.fault == "gate" else Gate(140, 160)
        return Outcome(
            scores={"mean_g": mean, "n": len(drawn), "lost": float("nan"), "blocks": [1, 2]},
            report=Report("Balance", (Figure("mean_g", mean, error, "g", gate), Figure("n", len(drawn)))),
            pictures={"Readings, one a dot, and <their> mean": self.picture},
            posterior=Draws(Space("apple", {"fruit": ["apple"]}, "g"), drawn[:, None]),
            tables={"readings": pd.DataFrame({"number": range(len(drawn)), "mass [g]": drawn.numpy()})},
            files={"note.txt": self.note},
            data={"apple.csv": "ab12"},
            references=("Newton (1687), Principia.",),
        )

    def picture(self):
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas()
        canvas.add_subplot().plot(range(5))
        return canvas

    def note(self, path):
        if self.fault == "write":
            raise OSError(28, "No space left on device")
        path.write_text("weighed")
'''

RUN = "import sys, posteriori.domains as d; d.__path__.append({!r}); from posteriori.app.cli import main; main()"


@pytest.fixture(scope="session")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of domains with the one study ``fruit/apple-mass``."""
    root = tmp_path_factory.mktemp("orchard")
    folder = root / "fruit" / "studies"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "apple_mass.py").write_text(STUDY)
    (folder / "_private.py").write_text("class Study: pass\n")
    (folder / "helper.py").write_text("x = 1\n")
    return root


@pytest.fixture
def fruit(orchard: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes the domain ``fruit`` importable in this process."""
    monkeypatch.setattr(posteriori.domains, "__path__", [*posteriori.domains.__path__, str(orchard)])
    yield
    for name in [name for name in sys.modules if name.startswith("posteriori.domains.fruit")]:
        del sys.modules[name]


@pytest.fixture
def command(orchard: Path) -> Callable[..., list[str]]:
    """The command line that runs ``posteriori WORDS`` in another process that knows the domain."""

    def build(*words: object) -> list[str]:
        return [sys.executable, "-c", RUN.format(str(orchard)), *map(str, words)]

    return build


@pytest.fixture
def call(command: Callable[..., list[str]], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``posteriori WORDS`` in an empty folder."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"COLUMNS": "200"}
        return subprocess.run(
            command(*words), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    return run


def scores(folder: Path) -> dict[str, object]:
    """The scores that a run wrote."""
    found: dict[str, object] = json.loads((folder / "scores.json").read_text())
    return found
