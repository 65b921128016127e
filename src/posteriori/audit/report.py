"""A report: measured figures, each with its standard error and, where one is set, its gate."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from posteriori.core.errors import DataError, OptionError


@dataclass(frozen=True)
class Gate:
    """The closed range in which a figure passes."""

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise OptionError(f"gate [{self.low}, {self.high}] is empty; give low <= high, neither of them NaN.")

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the gate, its ends included."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f">= {self.low:g}" if self.low > -math.inf else "any"
        return f"<= {self.high:g}" if self.low == -math.inf else f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Figure:
    """One measured figure; ``standard_error`` is None where none can be given (a count, a p-value, one case)."""

    name: str
    value: float
    standard_error: float | None = None
    unit: str = ""
    gate: Gate | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            raise DataError(f"figure {self.name!r} is NaN; a figure must be a number: mask the cases that have none.")
        error = self.standard_error
        if error is not None and not error >= 0:
            raise DataError(f"figure {self.name!r} has the standard error {error}; give a number >= 0, or None.")

    @property
    def passed(self) -> bool | None:
        """Whether the gate holds; None without a gate."""
        return None if self.gate is None else self.gate.holds(self.value)

    @property
    def verdict(self) -> str:
        """The outcome in a word, empty without a gate."""
        return "" if self.passed is None else "pass" if self.passed else "FAIL"

    @property
    def measured(self) -> str:
        """Value ± standard error, rounded to two digits of the error (six of the value where the error is tiny)."""
        if self.standard_error is None or not math.isfinite(self.value):
            return f"{self.value:.4g}" if abs(self.value) < 1e4 else f"{self.value:.0f}"
        places = _decimals(max(self.standard_error, 1e-4 * abs(self.value)))
        return f"{self.value:.{places}f} ± {self.standard_error:.{places}f}"


@dataclass(frozen=True)
class Report:
    """An audit: figures with gates; ``a + b`` has the figures of both."""

    title: str
    figures: tuple[Figure, ...] = ()

    def __post_init__(self) -> None:
        names = [figure.name for figure in self.figures]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"report {self.title!r} has two figures named {twice[0]!r}; use report.under(prefix).")

    @property
    def passed(self) -> bool:
        """Whether every gate holds; a report without gates passes."""
        return all(figure.passed is not False for figure in self.figures)

    @property
    def failed(self) -> tuple[Figure, ...]:
        """The figures outside their gates."""
        return tuple(figure for figure in self.figures if figure.passed is False)

    def __iter__(self) -> Iterator[Figure]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def __contains__(self, name: str) -> bool:
        return any(figure.name == name for figure in self.figures)

    def __getitem__(self, name: str) -> Figure:
        for figure in self.figures:
            if figure.name == name:
                return figure
        offered = ", ".join(figure.name for figure in self.figures)
        raise OptionError(f"report {self.title!r} has no figure {name!r}; it has {offered or 'none'}.")

    def __add__(self, other: Report) -> Report:
        return replace(self, figures=self.figures + other.figures)

    def under(self, prefix: str) -> Report:
        """The same figures with names ``prefix.name``, to join reports of several quantities."""
        return replace(self, figures=tuple(replace(f, name=f"{prefix}.{f.name}") for f in self.figures))

    def gated(self, gates: Mapping[str, Gate]) -> Report:
        """The same figures under the given gates; a gate for a figure that is not there is refused."""
        for name in gates:
            self[name]
        return replace(self, figures=tuple(replace(f, gate=gates.get(f.name, f.gate)) for f in self.figures))

    def text(self) -> str:
        """An aligned table for a terminal, one figure a line."""
        rows = [(f.name, f"{f.measured} {f.unit}".strip(), _limits(f), f.verdict, f.note) for f in self.figures]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, *(f"  {line}" for line in lines)])

    def json(self) -> dict[str, Any]:
        """A dictionary of plain values; an infinite number becomes the string "inf" or "-inf"."""
        return {"title": self.title, "passed": self.passed, "figures": [_plain(figure) for figure in self.figures]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Report:
        """The report that ``json`` wrote."""
        return cls(stored["title"], tuple(_figure(entry) for entry in stored["figures"]))

    def html(self) -> str:
        """A table fragment, every text escaped."""
        head = "".join(f"<th>{title}</th>" for title in ("figure", "measured", "gate", "verdict", "note"))
        return (
            f'<table class="report"><caption>{html.escape(self.title)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(_html_row(figure) for figure in self.figures)}</tbody></table>"
        )


def _decimals(error: float) -> int:
    if error == 0 or not math.isfinite(error):
        return 4
    return max(0, 1 - math.floor(math.log10(error)))


def _limits(figure: Figure) -> str:
    return "" if figure.gate is None else str(figure.gate)


def _html_row(figure: Figure) -> str:
    cells = (figure.name, f"{figure.measured} {figure.unit}".strip(), _limits(figure), figure.verdict, figure.note)
    return f'<tr class="{figure.verdict.lower()}">' + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>"


def _plain(figure: Figure) -> dict[str, Any]:
    gate = None if figure.gate is None else {"low": _number(figure.gate.low), "high": _number(figure.gate.high)}
    return {
        "name": figure.name,
        "value": _number(figure.value),
        "standard_error": None if figure.standard_error is None else _number(figure.standard_error),
        "unit": figure.unit,
        "gate": gate,
        "passed": figure.passed,
        "note": figure.note,
    }


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _figure(entry: Mapping[str, Any]) -> Figure:
    gate, error = entry["gate"], entry["standard_error"]
    return Figure(
        entry["name"],
        float(entry["value"]),
        None if error is None else float(error),
        entry["unit"],
        None if gate is None else Gate(float(gate["low"]), float(gate["high"])),
        entry["note"],
    )
