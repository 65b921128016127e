"""Bars on standard error with the time left; nothing where it is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True)
class Bars:
    """Progress for a terminal: one bar for each loop under way."""

    display: Progress = field(default_factory=lambda: _display())

    def __call__(self, steps: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        """Hand the steps on, one by one, showing ``label`` and the time left."""
        bar = self.display.add_task(label, total=total)
        try:
            yield from self.display.track(steps, total=total, task_id=bar, update_period=0.2)
        finally:
            self.display.remove_task(bar)


def _display() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
