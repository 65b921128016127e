"""What a study is: one question with options, answered on data and audited."""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from posteriori.audit.report import Report
from posteriori.core.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from posteriori.core.posterior import Posterior
    from posteriori.core.run import Context

Score = bool | int | float | str | None | Sequence["Score"] | Mapping[str, "Score"]


class Study(Protocol):
    """One question with options; a file ``domains/<domain>/studies/<name>.py`` offers it as its class ``Study``.

    The class is a frozen dataclass. Each field is an option of the command line: it has a type, a default and, on the
    line below it, a string that says what it does. The docstring opens the report. A field ``quick: bool = False``
    offers ``--quick``. Nothing else is needed: the file shows up as ``<domain>/<name>`` because it is there.
    """

    def __call__(self, context: Context) -> Outcome:
        """Answer the question; everything random comes from ``context.rng``."""


@dataclass(frozen=True)
class Outcome:
    """What a study found; the runner writes it to one folder and one report.

    ``scores``: what machines read (``--json``), plain values; one that is not finite is written as null.
    ``report``: the audit; a gate that fails fails the run.
    ``pictures``: caption → a function that draws it. ``tables``: name → frame, units in the column names; written as
    ``<name>.csv``. ``files``: file name → a function that writes it. ``data``: name → hash of what was read.
    ``references``: what to cite beside what the posterior's own Run lists.

    Raises ``DataError`` for a name that is no file name and for a score that is no plain value.
    """

    scores: Mapping[str, Score]
    report: Report
    pictures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    posterior: Posterior | None = None
    tables: Mapping[str, DataFrame] = field(default_factory=dict)
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    references: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in (*self.tables, *self.files):
            if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
                raise DataError(f"{name!r} cannot name a file; use letters, digits, '.', '_' and '-'.")
        for name, score in self.scores.items():
            _require_plain(name, score)


def _require_plain(name: str, score: object) -> None:
    if isinstance(score, Mapping):
        for key, value in score.items():
            _require_plain(f"{name}.{key}", value)
    elif isinstance(score, list | tuple):
        for position, value in enumerate(score):
            _require_plain(f"{name}[{position}]", value)
    elif not isinstance(score, str | numbers.Real | None):
        raise DataError(f"score {name} is a {type(score).__name__}; give a number, a text or a list of them.")
