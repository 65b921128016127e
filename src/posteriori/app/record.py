"""How a run was made, enough to make it again: the ``config.json`` of its folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from posteriori.app.catalogue import Entry
from posteriori.core.errors import StoreError

FILE = "config.json"


@dataclass(frozen=True)
class Record:
    """``options`` are all of the study's, as text; ``data`` and ``results`` are hashes by name."""

    study: str
    command: str
    options: Mapping[str, str]
    seed: int
    device: str
    workers: int
    threads: int
    started: str
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    data: Mapping[str, str]
    references: tuple[str, ...]
    results: Mapping[str, str]

    def save(self, folder: Path) -> None:
        """Write the record into ``folder``."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Record:
        """The record in ``folder``; raises ``StoreError`` where there is none that can be read."""
        try:
            stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
            record = Record(**{**stored, "references": tuple(stored["references"])})
            if not all(isinstance(text, str) for text in {**record.options, **record.data, **record.results}.values()):
                raise ValueError("options and hashes must be texts")
            return record
        except FileNotFoundError:
            raise StoreError(f"{folder} is no run folder: it has no {FILE}; give a folder that a run wrote.") from None
        except (OSError, ValueError, TypeError, KeyError) as problem:
            raise StoreError(f"{folder / FILE} cannot be read ({problem}); run the study again.") from None


def command(entry: Entry, options: Mapping[str, str], seed: int) -> str:
    """The shortest command line that runs ``entry`` with ``options``."""
    defaults = {option.name: option.default for option in entry.options}
    words = [f"{name}={value}" for name, value in options.items() if value != defaults.get(name)]
    return shlex.join(["posteriori", "run", entry.name, *words, *(["--seed", str(seed)] if seed else [])])
