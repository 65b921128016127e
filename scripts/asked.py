"""A figure that the project promises, and the runs that measure it.

``figures_<domain>.py`` holds ``ASKED``, a list of ``Asked``; ``figures.py`` finds it and prints it beside what is
measured. Several figures of one run share it: ``scores`` runs a study once for the same words.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Measured = float | Mapping[str, float]


@dataclass(frozen=True)
class Asked:
    """``text`` says what is promised; ``measure`` gives the figure, or several by name, each in [``low``, ``high``]."""

    text: str
    low: float
    high: float
    measure: Callable[[], Measured]

    def holds(self, measured: Measured) -> bool:
        """Whether every figure measured lies in the range asked for."""
        values = list(measured.values()) if isinstance(measured, Mapping) else [measured]
        return bool(values) and all(self.low <= value <= self.high for value in values)

    @property
    def range(self) -> str:
        """The range in few characters."""
        if self.low == -math.inf:
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if self.high == math.inf else f"{self.low:g} to {self.high:g}"


def spelled(measured: Measured) -> str:
    """The figures, each with its name where there are several."""
    if isinstance(measured, Mapping):
        return ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
    return f"{measured:.4g}"


@cache
def scores(*words: str) -> Mapping[str, Any]:
    """The scores of ``posteriori run WORDS``; a gate that fails is no error here, bad input is."""
    posteriori = Path(sys.executable).with_name("posteriori")
    with tempfile.TemporaryDirectory(prefix="posteriori-") as place:
        command = [str(posteriori), "run", *words, "--json", "--out", str(Path(place) / "run")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{' '.join(words)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def score(name: str, *words: str) -> Callable[[], float]:
    """What measures the one score ``name`` of ``posteriori run WORDS``."""
    return lambda: float(scores(*words)[name])
