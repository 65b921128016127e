"""Tables of stations along one line: distance, height, and what was read there or is to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posteriori.core import units
from posteriori.core.errors import DataError, UnitError
from posteriori.core.formats.csv import CsvTable, read_csv

Floats = NDArray[np.float64]
RANGES = {"height": (-500.0, 9000.0), "anomaly": (-900.0, 900.0)}
"""Where land [m] and anomalies on it [mGal] lie."""
POSITIVE = ("sigma", "cost")
PLACE = {"x": "m", "height": "m"}


@dataclass(frozen=True)
class LineStations:
    """Stations in the order of the file, one number each in every array.

    Attributes:
        x: along the line [m].
        height: upwards [m].
        columns: what else the table gives, by name.
        line: of the file, to name a station by.
        name: of the table.
    """

    x: Floats
    height: Floats
    columns: Mapping[str, Floats]
    line: NDArray[np.int64]
    name: str

    def __len__(self) -> int:
        return len(self.x)

    def part(self, index: NDArray[np.int64]) -> LineStations:
        """The stations at ``index``, in its order."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return replace(self, x=self.x[index], height=self.height[index], columns=columns, line=self.line[index])

    def with_column(self, name: str, instead: float | None, option: str) -> LineStations:
        """The same, with ``instead`` in the column ``name`` for every station where the table lacks it.

        Raises:
            DataError: neither is there.
        """
        if name in self.columns:
            return self
        if instead is None:
            raise DataError(f"{self.name} has no column {name}; add it with its unit, or give {option}=.")
        return replace(self, columns={**self.columns, name: np.full(len(self), instead)})


def read_line(path: Path, needed: Mapping[str, str], optional: Mapping[str, str]) -> LineStations:
    """Stations along a line from a CSV file with the columns x and height, those ``needed`` and the ``optional`` ones.

    ``needed`` and ``optional`` say in which unit each column is wanted; "" takes any, as for costs. Other columns are
    ignored.

    Raises:
        DataError: a column is missing, a number cannot be right, or two stations share one place; by its line.
        UnitError: a unit is missing or of another kind.
    """
    table = read_csv(path)
    wanted = PLACE | dict(needed) | {name: unit for name, unit in optional.items() if name in table.units}
    missing = [name for name in wanted if name not in table.units]
    if missing:
        asked = ", ".join(f"{name} [{unit}]" if unit else name for name, unit in (PLACE | dict(needed)).items())
        raise DataError(f"{path.name} has the columns {', '.join(table.units)}; needed are {asked}.")
    found = {name: _column(table, name, unit) for name, unit in wanted.items()}
    x, height = found.pop("x"), found.pop("height")
    _refuse_twice(table, x, height)
    lines = np.array([row.number for row in table.rows], dtype=np.int64)
    return LineStations(x, height, found, lines, path.name)


def _column(table: CsvTable, name: str, unit: str) -> Floats:
    given = table.units[name]
    if unit and not given:
        raise UnitError(f"{table.name} gives no unit for {name}; write the header as {name} [{unit}].")
    scale = units.factor(given, unit) if unit else 1.0
    values = np.array([scale * row.value(name) for row in table.rows])
    low, high = RANGES.get(name, (-np.inf, np.inf))
    for row, value in zip(table.rows, values.tolist(), strict=True):
        if not low <= value <= high:
            hint = "Is it in another unit" if name == "height" else "Is it an anomaly, less normal gravity"
            raise row.error(f"{name} = {value:g} {unit} lies outside {low:g} to {high:g} ({hint}?)")
        if name in POSITIVE and not value > 0:
            raise row.error(f"{name} = {value:g} must be above zero")
    return values


def _refuse_twice(table: CsvTable, x: Floats, height: Floats) -> None:
    first: dict[tuple[float, float], int] = {}
    for row, place in zip(table.rows, zip(x.tolist(), height.tolist(), strict=True), strict=True):
        if place in first:
            raise row.error(
                f"x = {place[0]:g} m, height = {place[1]:g} m stands in line {first[place]} already; keep one, or "
                "their mean with the error of the mean"
            )
        first[place] = row.number
