"""Where the cells of a raster lie: a coordinate system, an affine transform, and the axes as a file stored them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posteriori.core import optional, units
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.space import COORDINATE_TOLERANCE, Space

Floats = NDArray[np.float64]
Transform = tuple[float, float, float, float, float, float]
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,'
    'AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
"""Longitude and latitude on the WGS 84 ellipsoid (EPSG:4326)."""
WKT = re.compile(r"\s*[A-Za-z]\w*\s*[\[(]")
"""How every coordinate system in WKT begins: a keyword and a bracket."""


@dataclass(frozen=True, eq=False)
class Axis:
    """The centres of the cells along one axis as a file stores them, with its own name and unit."""

    name: str
    centres: NDArray[Any]
    unit: str = ""


@dataclass(frozen=True, eq=False)
class MapGrid:
    """``shape`` (rows, columns) of cells on a map.

    Args:
        shape: rows and columns.
        transform: ``(a, b, c, d, e, f)`` with ``x = a column + b row + c`` and ``y = d column + e row + f`` for the
            corners of cells, in the unit of ``crs``; None where the axes are not even.
        crs: the coordinate reference system as WKT, kept letter by letter; "EPSG:32633" or a PROJ string becomes
            WKT; None where it is not known.
        y, x: the axes as stored, where the file has them.

    Raises:
        ShapeError: an axis of another length, or neither transform nor axes.
        DataError: a transform without area, or a coordinate system that nobody knows.
    """

    shape: tuple[int, int]
    transform: Transform | None = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    crs: str | None = None
    y: Axis | None = None
    x: Axis | None = None

    def __post_init__(self) -> None:
        for axis, cells in ((self.y, self.shape[0]), (self.x, self.shape[1])):
            if axis is not None and axis.centres.shape != (cells,):
                raise ShapeError(f"axis {axis.name!r} has {axis.centres.shape} centres for {cells} cells.")
        if self.transform is None and (self.y is None or self.x is None):
            raise ShapeError("a grid needs a transform or both axes.")
        if self.transform is not None:
            a, b, c, d, e, f = (float(number) for number in self.transform)
            object.__setattr__(self, "transform", (a, b, c, d, e, f))
            if not np.isfinite(self.transform).all() or a * e - b * d == 0:
                raise DataError(f"the transform {self.transform} is not finite or has cells without area.")
        if self.crs is not None and not WKT.match(self.crs):
            object.__setattr__(self, "crs", as_wkt(self.crs))

    @staticmethod
    def of_axes(y: Axis, x: Axis, crs: str | None) -> MapGrid:
        """The grid with these axes; its transform follows where both are even.

        Raises:
            DataError: an axis that is not finite or turns back.
        """
        unit = crs_unit(crs)
        north, east = (_positions(axis, unit) for axis in (y, x))
        steps = [_step(centres) for centres in (north, east)]
        shape = (len(north), len(east))
        if any(step is None for step in steps):
            return MapGrid(shape, None, crs, y, x)
        down, right = (step or 0.0 for step in steps)
        down, right = down or -abs(right) or -1.0, right or abs(down) or 1.0
        transform = (right, 0.0, float(east[0]) - right / 2, 0.0, down, float(north[0]) - down / 2)
        return MapGrid(shape, transform, crs, y, x)

    @property
    def rotated(self) -> bool:
        """Whether rows or columns do not run along the axes of the map."""
        return self.transform is not None and (self.transform[1] != 0 or self.transform[3] != 0)

    @cached_property
    def centres(self) -> tuple[Floats, Floats]:
        """Centres of the rows (y) and of the columns (x), in the unit of the coordinate system.

        Raises:
            ShapeError: the grid is rotated, so that there are no such axes.
        """
        if self.rotated:
            raise ShapeError("a rotated grid has no axes y and x; bring it onto a grid along them: regrid.onto(…).")
        if self.y is not None and self.x is not None:
            unit = crs_unit(self.crs)
            return _positions(self.y, unit), _positions(self.x, unit)
        assert self.transform is not None
        a, _, c, _, e, f = self.transform
        rows, columns = self.shape
        return _along(f, e, rows), _along(c, a, columns)

    @property
    def geographic(self) -> bool:
        """Whether the axes are longitude and latitude in degrees."""
        return self.crs is not None and crs_unit(self.crs) == "degree"

    def space(self, name: str, unit: str) -> Space:
        """One field on this grid, dims ("y", "x"); a rotated grid is labelled by rows and columns."""
        if self.rotated:
            return Space(name, {"y": self.shape[0], "x": self.shape[1]}, unit)
        y, x = self.centres
        return Space(name, {"y": y, "x": x}, unit)

    def window(self, rows: slice, columns: slice) -> MapGrid:
        """The part of the grid in these rows and columns (steps of one)."""
        (top, bottom, _), (left, right, _) = rows.indices(self.shape[0]), columns.indices(self.shape[1])
        transform = self.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a, b, c + a * left + b * top, d, e, f + d * left + e * top)
        return MapGrid(
            (bottom - top, right - left), transform, self.crs, _cut(self.y, top, bottom), _cut(self.x, left, right)
        )

    def same(self, other: MapGrid) -> bool:
        """Whether the cells of both are the same places, to a thousandth of a cell."""
        return not self.difference(other)

    def difference(self, other: MapGrid) -> str:
        """What keeps the cells of both from being the same places; empty when nothing does."""
        if self.shape != other.shape:
            return f"{self.shape} rows and columns against {other.shape}"
        if not same_crs(self.crs, other.crs):
            return f"coordinate system {crs_name(self.crs)} against {crs_name(other.crs)}"
        if self.transform is None or other.transform is None:
            mine, its = self.centres, other.centres
            near = all(
                np.allclose(p, q, rtol=0, atol=COORDINATE_TOLERANCE * float(np.abs(np.diff(p)).min(initial=np.inf)))
                for p, q in zip(mine, its, strict=True)
                if len(p) > 1
            )
            return "" if near else "other centres of cells"
        a, b, _, d, e, _ = self.transform
        away = np.subtract(self.transform, other.transform)
        rows, columns = self.shape
        shift = np.abs(away[[0, 3]]) * columns + np.abs(away[[1, 4]]) * rows + np.abs(away[[2, 5]])
        cell = np.array([np.hypot(a, b), np.hypot(d, e)])
        return (
            ""
            if (shift <= COORDINATE_TOLERANCE * cell).all()
            else f"transform {self.transform} against {other.transform}"
        )


def crs_unit(crs: str | None) -> str:
    """ "degree" of a geographic coordinate system, else the unit of its map, "m" for most; "" where none is known."""
    if crs is None:
        return ""
    if crs == WGS84:
        return "degree"
    found = parsed(crs)
    return (
        "degree"
        if found.is_geographic
        else {"metre": "m"}.get(found.axis_info[0].unit_name, found.axis_info[0].unit_name)
    )


def crs_name(crs: str | None) -> str:
    """How one speaks of a coordinate system: its authority's code or its name."""
    if crs is None:
        return "none"
    found = parsed(crs)
    code = found.to_authority()
    return ":".join(code) if code else str(found.name)


def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two coordinate systems are one, whatever way they are written."""
    if one == other:
        return True
    if one is None or other is None:
        return False
    return bool(parsed(one).equals(parsed(other), ignore_axis_order=True))


def as_wkt(crs: str) -> str:
    """A coordinate system as WKT from "EPSG:32633" or a PROJ string; WKT stays as it is.

    Raises:
        DataError: nobody knows it.
    """
    if crs.upper() == "EPSG:4326":
        return WGS84
    found = parsed(crs)
    return crs if WKT.match(crs) else str(found.to_wkt())


@lru_cache(maxsize=64)
def parsed(crs: str) -> Any:
    """A coordinate system as pyproj knows it.

    Raises:
        DataError: nobody knows it.
    """
    pyproj = optional.require("pyproj", "geography")
    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise DataError(
            f"{crs[:60]!r} is no coordinate system: {error}; give WKT or a code like EPSG:32633."
        ) from error


def _positions(axis: Axis, unit: str) -> Floats:
    """The centres in the unit of the coordinate system, checked to rise or fall throughout."""
    if axis.centres.dtype.kind not in "fiu":
        raise DataError(f"the axis {axis.name!r} holds {axis.centres.dtype}, not positions.")
    centres = axis.centres.astype(np.float64)
    steps = np.diff(centres)
    if not (np.isfinite(centres).all() and ((steps > 0).all() or (steps < 0).all())):
        raise DataError(f"the axis {axis.name!r} is not finite or turns back; sort it.")
    if axis.unit and unit and unit != "degree" and not axis.unit.lower().startswith("degree"):
        centres = centres * units.factor(axis.unit, unit)
    return centres


def _along(start: float, step: float, cells: int) -> Floats:
    return np.asarray(start + step * (np.arange(cells) + 0.5), np.float64)


def _step(centres: Floats) -> float | None:
    """The step of even centres; 0 for a single one, None where they are not even."""
    if len(centres) == 1:
        return 0.0
    step = float(centres[-1] - centres[0]) / (len(centres) - 1)
    away = np.abs(centres - (centres[0] + step * np.arange(len(centres)))).max()
    return step if away <= COORDINATE_TOLERANCE * abs(step) else None


def _cut(axis: Axis | None, start: int, stop: int) -> Axis | None:
    return None if axis is None else replace(axis, centres=axis.centres[start:stop])
