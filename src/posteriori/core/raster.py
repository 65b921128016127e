"""Rasters: stored numbers on a map, kept bit for bit, with what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posteriori.core import units
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.map_grid import MapGrid
from posteriori.core.space import Space
from posteriori.core.times import elapsed, moments, unit_hours

Floats = NDArray[np.float64]
Stored = NDArray[Any]
EPOCH = "seconds since 1970-01-01"


class Kind(StrEnum):
    """What sort of quantity a raster holds, which says how it may be averaged and drawn."""

    CONTINUOUS = "continuous"
    NON_NEGATIVE = "non-negative"
    CIRCULAR = "circular"
    CATEGORICAL = "categorical"
    ORDINAL = "ordinal"

    @property
    def classes(self) -> bool:
        """Whether values are classes, which are never averaged."""
        return self in (Kind.CATEGORICAL, Kind.ORDINAL)


@dataclass(frozen=True, eq=False)
class Layers:
    """What the first axis of a raster runs over.

    Args:
        dim: its name, "time" or "band" mostly; "" for a raster of one layer whose file has no such axis.
        labels: one for each layer, as stored: numbers in ``unit``, or names.
        unit: of the labels, "hours since 2019-03-01" for times.
        calendar: of times.
    """

    dim: str = ""
    labels: NDArray[Any] = field(default_factory=lambda: np.zeros(1, np.int64))
    unit: str = ""
    calendar: str = "standard"

    @staticmethod
    def at(times: NDArray[np.datetime64]) -> Layers:
        """Layers at these times, to the second."""
        return Layers("time", np.asarray(times).astype("datetime64[s]").astype(np.int64), EPOCH)

    @property
    def timed(self) -> bool:
        """Whether the labels are times."""
        return " since " in self.unit

    @cached_property
    def times(self) -> NDArray[np.datetime64]:
        """The times, datetime64 (layer,).

        Raises:
            DataError: the labels are no times, or their calendar has days that never were.
        """
        if not self.timed:
            raise DataError(f"the layers {self.dim!r} are no times (unit {self.unit!r}); give Layers.at(times).")
        return moments(self.labels, self.unit, self.calendar)

    @cached_property
    def hours(self) -> NDArray[np.float64]:
        """Hours since the midnight that the unit names, (layer,); unlike ``times`` in every calendar.

        Raises:
            DataError: the labels are no times.
        """
        return elapsed(self.labels, self.unit, self.calendar)

    def after(self, hours: float) -> Layers:
        """One layer so many hours after the last, in the same unit and calendar."""
        return replace(self, labels=self.labels[-1:] + np.array([hours / unit_hours(self.unit, self.calendar)]))

    def same(self, other: Layers) -> bool:
        """Whether both run over the same labels, in one unit."""
        mine, its = (self.dim, self.unit, self.calendar), (other.dim, other.unit, other.calendar)
        return mine == its and np.array_equal(self.labels, other.labels)

    def select(self, index: Any) -> Layers:
        """Some of the layers."""
        return replace(self, labels=self.labels[index])


@dataclass(frozen=True, eq=False)
class Raster:
    """Layers of cells on one map, ``stored`` (layer, y, x) in the dtype of their file.

    A cell is a gap where it is ``nodata`` or NaN; elsewhere its value is ``scale · stored + offset`` in ``unit``.

    Args:
        name: of the quantity.
        stored: numbers as they stand in the file.
        grid: where the cells lie.
        unit: as the file writes it; "1" for pure numbers.
        kind: what sort of quantity it is.
        nodata: the stored number of a gap.
        scale, offset: from stored numbers to values.
        layers: what the first axis runs over.
        attributes: what else the file says, such as its long name.
        palette: colour (red, green, blue, alpha) of each class, where the file has one.

    Raises:
        ShapeError: stored numbers of another shape than grid and layers.
        DataError: stored numbers that are no numbers, infinite values, a scale of zero, a nodata number that no cell
            can hold.
    """

    name: str
    stored: Stored
    grid: MapGrid
    unit: str = "1"
    kind: Kind = Kind.CONTINUOUS
    nodata: float | int | None = None
    scale: float = 1.0
    offset: float = 0.0
    layers: Layers = field(default_factory=Layers)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    palette: Mapping[int, tuple[int, int, int, int]] | None = None

    def __post_init__(self) -> None:
        expected = (len(self.layers.labels), *self.grid.shape)
        if self.stored.shape != expected:
            raise ShapeError(f"{self.name} is {self.stored.shape}; its layers and its grid are {expected}.")
        if self.stored.size == 0:
            raise DataError(f"{self.name} has no cells: {self.stored.shape}.")
        if self.stored.dtype.kind not in "fiu":
            raise DataError(f"{self.name} holds {self.stored.dtype}; a raster needs real numbers.")
        if not (np.isfinite([self.scale, self.offset]).all() and self.scale != 0):
            raise DataError(
                f"{self.name} has scale {self.scale} and offset {self.offset}; give finite ones, scale not 0."
            )
        if self.nodata is not None and not representable(self.nodata, self.stored.dtype):
            raise DataError(
                f"{self.name} ({self.stored.dtype}) cannot hold the nodata number {self.nodata}; give None."
            )
        infinite = self.stored.dtype.kind == "f" and any(np.isinf(layer).any() for layer in self.stored)
        where = np.argwhere(np.isinf(self.stored) & self.observed).tolist() if infinite else []
        if where:
            raise DataError(
                f"{self.name} is infinite at layer, row, column {tuple(where[0])} ({len(where)} such cells); "
                "declare them as nodata or mend them."
            )

    @cached_property
    def observed(self) -> NDArray[np.bool_]:
        """Where there is a value, (layer, y, x)."""
        return observed(self.stored, self.nodata)

    @cached_property
    def values(self) -> Floats:
        """Values in ``unit``, float64 (layer, y, x), NaN in gaps."""
        values = self.stored.astype(np.float64)
        if (self.scale, self.offset) != (1.0, 0.0):
            values = values * self.scale + self.offset
        values[~self.observed] = np.nan
        return values

    @property
    def space(self) -> Space:
        """One layer as a field, dims ("y", "x"); layers are problems in front of it. No mask: a gap is not a hole."""
        return self.grid.space(self.name, readable_unit(self.unit))

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Times of the layers, datetime64 (layer,)."""
        return self.layers.times

    @property
    def classes(self) -> NDArray[Any]:
        """The different stored numbers of observed cells, rising: the classes of a categorical raster."""
        return np.unique(self.stored[self.observed])

    def select(self, index: Any) -> Raster:
        """Some layers: a slice, a list of positions or a mask."""
        return replace(self, stored=self.stored[index], layers=self.layers.select(index))

    def window(self, rows: slice, columns: slice) -> Raster:
        """The part in these rows and columns."""
        return replace(self, stored=self.stored[:, rows, columns], grid=self.grid.window(rows, columns))

    def hidden(self, where: NDArray[np.bool_]) -> Raster:
        """This raster with gaps where ``where`` (layer, y, x) or (y, x) is True; other cells keep every bit.

        Raises:
            ShapeError: a mask of another shape. DataError: whole numbers without a nodata number.
        """
        if where.shape not in (self.stored.shape, self.stored.shape[1:]):
            raise ShapeError(f"a mask {where.shape} does not fit {self.name} {self.stored.shape}.")
        nodata = self.nodata
        if nodata is None and self.stored.dtype.kind != "f":
            raise DataError(
                f"{self.name} ({self.stored.dtype}) has no nodata number for gaps; give it one that is free."
            )
        gap = self.stored.dtype.type(np.nan if nodata is None else nodata)
        return replace(self, stored=np.where(where, gap, self.stored), nodata=np.nan if nodata is None else nodata)

    def in_unit(self, unit: str) -> Raster:
        """The same stored numbers read in another unit: only scale and offset change, also from degrees Celsius to K.

        Raises:
            UnitError: the unit measures something else.
        """
        factor, shift = units.line(readable_unit(self.unit), readable_unit(unit))
        return replace(self, unit=unit, scale=self.scale * factor, offset=self.offset * factor + shift)

    def replaced(self, values: Floats) -> Raster:
        """This raster with its gaps filled from ``values`` [unit] (layer, y, x); observed cells keep every bit.

        A gap where ``values`` is NaN stays a gap. No filled cell is ever stored as the number of a gap.

        Raises:
            ShapeError: values of another shape.
            DataError: infinite values, values that the stored dtype cannot hold, negative ones of a quantity that
                has none, or a class that the raster does not have.
        """
        values = np.asarray(values, np.float64)
        if values.shape != self.stored.shape:
            raise ShapeError(f"{values.shape} values cannot fill {self.name} {self.stored.shape}.")
        fill = ~self.observed & ~np.isnan(values)
        stored = self.stored.copy()
        stored[fill] = self._encoded(values[fill])
        return replace(self, stored=stored)

    def clipped(self, values: Floats) -> Floats:
        """Values [unit] cut to what this raster can hold: none below zero of a quantity that has none, none beyond its
        dtype; what :meth:`replaced` then takes."""
        low, high = 0.0 if self.kind is Kind.NON_NEGATIVE else -np.inf, np.inf
        if self.stored.dtype.kind != "f":
            limits = np.iinfo(self.stored.dtype)
            ends = sorted(self.scale * end + self.offset for end in (limits.min, limits.max))
            low, high = max(low, ends[0]), ends[1]
        return np.clip(values, low, high)

    def derived(self, name: str, values: Floats, unit: str | None = None, kind: Kind = Kind.CONTINUOUS) -> Raster:
        """Another quantity on the same grid and layers, as float64 with NaN in gaps: a spread, a probability."""
        stored, gap = np.asarray(values, np.float64), float("nan")
        return Raster(name, stored, self.grid, unit or self.unit, kind, gap, layers=self.layers)

    def _encoded(self, values: Floats) -> Stored:
        """Values as stored numbers, never the number of a gap."""
        if not np.isfinite(values).all():
            raise DataError(f"{int((~np.isfinite(values)).sum())} values for gaps of {self.name} are infinite.")
        if self.kind is Kind.NON_NEGATIVE and (values < 0).any():
            raise DataError(f"{self.name} cannot be negative, {values.min():g} is; cut the values at zero.")
        codes = values if (self.scale, self.offset) == (1.0, 0.0) else (values - self.offset) / self.scale
        dtype = self.stored.dtype
        if self.kind.classes:
            unseen = np.setdiff1d(codes, self.classes)
            if len(unseen):
                raise DataError(f"{self.name} has no class {unseen[0]:g} (its classes: {self.classes.tolist()[:20]}).")
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                encoded = codes.astype(dtype)
            lost = np.isinf(encoded)
        else:
            whole = np.rint(codes)
            limits = np.iinfo(dtype)
            lost = (whole < limits.min) | (whole > limits.max)
            encoded = np.where(lost, 0, whole).astype(dtype)
        if lost.any():
            raise DataError(
                f"{float(values[lost][0]):g} {self.unit} does not fit {dtype} with scale {self.scale:g} and offset "
                f"{self.offset:g}; write raster.derived(…) in floating point."
            )
        return _away_from(encoded, self.nodata)


def observed(stored: Stored, nodata: float | int | None) -> NDArray[np.bool_]:
    """Where stored numbers are values: neither NaN nor ``nodata``."""
    seen = np.ones(stored.shape, bool) if stored.dtype.kind != "f" else ~np.isnan(stored)
    if nodata is not None and not np.isnan(nodata):
        seen &= stored != stored.dtype.type(nodata)
    return seen


def representable(number: float | int, dtype: np.dtype[Any]) -> bool:
    """Whether a nodata number can stand in a cell of ``dtype``; single precision may round it."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(np.isfinite(number) and number == int(number) and limits.min <= int(number) <= limits.max)


def readable_unit(unit: str) -> str:
    """A unit of CF or of a GeoTIFF as pint reads it: "kg m-2" as "kg m**-2", "degree Celsius" as "degC"."""
    text = unit.strip()
    if re.fullmatch(r"(deg(rees?)?[ _]?c(elsius)?|celsius|°c)", text, re.IGNORECASE):
        return "degC"
    if re.fullmatch(r"degrees?[ _]?(north|east|south|west|[nesw])?", text, re.IGNORECASE):
        return "degree"
    if text in ("", "1", "-", "none", "None", "unitless", "dimensionless", "ids"):
        return "1"
    return re.sub(r"(?<=[A-Za-z])(-?\d+)\b", r"**\1", text)


def _away_from(encoded: Stored, nodata: float | int | None) -> Stored:
    """The same numbers, those equal to ``nodata`` moved to the neighbour that is not."""
    if nodata is None or np.isnan(nodata):
        return encoded
    gap = encoded.dtype.type(nodata)
    hit = encoded == gap
    if hit.any():
        if encoded.dtype.kind == "f":
            beside = np.nextafter(gap, encoded.dtype.type(0) if gap != 0 else encoded.dtype.type(1))
        else:
            beside = gap - 1 if gap > 0 or gap == np.iinfo(encoded.dtype).max else gap + 1
        encoded[hit] = beside
    return encoded
