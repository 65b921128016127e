"""Points and districts beside a raster: measurements at places, means over regions, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from posteriori.core import optional
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.map_grid import WGS84, as_wkt, crs_name, same_crs
from posteriori.domains.geography.grids import transformed

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Points:
    """Measurements at places.

    Args:
        name: of the quantity.
        ids: one for each point, all different.
        x, y: east and north in the unit of ``crs``, or degrees of longitude and latitude, (n,).
        values: (n,) in ``unit``.
        sd: standard deviation of the error of each value, (n,) in ``unit``, positive.
        unit: as pint reads it.
        crs: of x and y, as WKT; None where it is not known.

    Raises:
        ShapeError: columns of other lengths or double ids. DataError: a number that is not finite, an sd not positive.
    """

    name: str
    ids: NDArray[Any]
    x: Floats
    y: Floats
    values: Floats
    sd: Floats
    unit: str = "1"
    crs: str | None = None

    def __post_init__(self) -> None:
        if not self.ids.shape == self.x.shape == self.y.shape == self.values.shape == self.sd.shape:
            raise ShapeError(
                f"the columns of {self.name} have other lengths: {len(self.ids)} ids, {len(self.x)} places."
            )
        if len(self.ids) == 0 or len(set(self.ids.tolist())) != len(self.ids):
            raise ShapeError(f"{self.name} needs points, each with an id of its own; it has {len(self.ids)}.")
        for what, column in (("x", self.x), ("y", self.y), ("value", self.values), ("sd", self.sd)):
            bad = ~np.isfinite(column) | ((column <= 0) if what == "sd" else False)
            if bad.any():
                first = self.ids[int(np.argmax(bad))]
                raise DataError(f"{what} of point {first} of {self.name} is {column[bad][0]}; mend or drop the point.")

    def in_crs(self, crs: str | None) -> Points:
        """The same points in another coordinate system.

        Raises:
            DataError: one of the two is not known, or a point has no place there.
        """
        if self.crs is None or crs is None:
            raise DataError(f"{self.name} is in {crs_name(self.crs)}, asked for in {crs_name(crs)}: give both systems.")
        x, y = transformed(self.x, self.y, self.crs, crs)
        return replace(self, x=x, y=y, crs=crs)


@dataclass(frozen=True, eq=False)
class Districts:
    """Regions with one number each, which is the mean of a quantity over the region.

    Args:
        ids: one for each region, all different.
        shapes: polygons (shapely), (n,).
        values, sd, unit, crs: as of ``Points``.
    """

    name: str
    ids: NDArray[Any]
    shapes: NDArray[Any]
    values: Floats
    sd: Floats
    unit: str = "1"
    crs: str | None = None

    def __post_init__(self) -> None:
        middle = np.zeros(len(self.ids))
        Points(self.name, self.ids, middle, middle, self.values, self.sd, self.unit)
        if self.shapes.shape != self.ids.shape:
            raise ShapeError(f"{self.name} has {len(self.shapes)} shapes for {len(self.ids)} ids.")

    def in_crs(self, crs: str | None) -> Districts:
        """The same regions in another coordinate system, corner by corner.

        Raises:
            DataError: one of the two is not known.
        """
        if self.crs is None or crs is None:
            raise DataError(f"{self.name} is in {crs_name(self.crs)}, asked for in {crs_name(crs)}: give both systems.")
        given, shapely = self.crs, optional.require("shapely", "geography")

        def moved(corners: Floats) -> Floats:
            return np.stack(transformed(corners[:, 0], corners[:, 1], given, crs), axis=1)

        return replace(self, shapes=shapely.transform(self.shapes, moved), crs=crs)


def read_points(
    path: str | Path, value: str, sd: str | float, unit: str = "1", key: str | None = None, crs: str | None = None
) -> Points:
    """Points of a table: GeoPackage, GeoJSON or shapefile by GeoPandas, or CSV with columns longitude and latitude.

    Args:
        value: column of the values [unit]. sd: column of their standard deviations, or one number for all.
        key: column of ids; the number of the row without.
        crs: as WKT or "EPSG:…", where the file does not tell: of a CSV with columns x and y above all.

    Raises:
        DataError: no such file or column, rows that are no points, numbers that are none, or a file in another system.
    """
    path = Path(path)
    frame, system = _table(path)
    if system is None and "geometry" not in frame:
        lower = {str(c).lower(): str(c) for c in frame.columns}
        pair = next(
            (p for p in (("longitude", "latitude"), ("lon", "lat"), ("x", "y")) if p[0] in lower and p[1] in lower),
            None,
        )
        if pair is None:
            raise DataError(
                f"{path.name} has the columns {list(frame.columns)}; longitude and latitude (or x and y) are needed."
            )
        x, y = (_numbers(frame, lower[name], path) for name in pair)
        if pair[0] != "x" and crs is None:
            system = WGS84
    else:
        kinds = sorted(set(frame["geometry"].geom_type.astype(str)))
        if kinds != ["Point"]:
            raise DataError(f"{path.name} holds {', '.join(kinds)}; points are needed (regions: read_districts).")
        x, y = (np.asarray(getattr(frame["geometry"], axis), np.float64) for axis in ("x", "y"))
    if crs is not None and system is not None and not same_crs(system, as_wkt(crs)):
        raise DataError(f"{path.name} is in {crs_name(system)}, not {crs_name(crs)}; leave crs out, then in_crs(…).")
    system = as_wkt(crs) if system is None and crs is not None else system
    errors = _numbers(frame, sd, path) if isinstance(sd, str) else np.full(len(frame), float(sd))
    ids = _ids(frame, key, path)
    return Points(path.stem, ids, x, y, _numbers(frame, value, path), errors, unit, system)


def read_districts(
    path: str | Path, key: str, table: str | Path, value: str, sd: str | float, unit: str = "1"
) -> Districts:
    """Polygons of a vector file joined by ``key`` with the rows of a CSV table of their means.

    Regions that the table leaves out are left out; a row without a region is an error.

    Raises:
        DataError: no such file or column, a key that is double or unknown, shapes that are no polygons.
    """
    path, table = Path(path), Path(table)
    shapes, system = _table(path)
    rows, _ = _table(table)
    if "geometry" not in shapes:
        raise DataError(f"{path.name} holds no shapes; give a GeoPackage, GeoJSON or shapefile.")
    known, wanted = (pd.Index(_ids(frame, key, at)) for frame, at in ((shapes, path), (rows, table)))
    if unknown := [each for each in wanted if each not in known]:
        raise DataError(
            f"{table.name} speaks of {key} {unknown[0]!r} ({len(unknown)} such rows), which {path.name} lacks."
        )
    regions = np.asarray(shapes["geometry"].values[known.get_indexer(wanted)], object)
    kinds = sorted({str(shape.geom_type) for shape in regions})
    if not set(kinds) <= {"Polygon", "MultiPolygon"}:
        raise DataError(f"{path.name} holds {', '.join(kinds)}; polygons are needed (points: read_points).")
    errors = _numbers(rows, sd, table) if isinstance(sd, str) else np.full(len(rows), float(sd))
    return Districts(table.stem, wanted.to_numpy(), regions, _numbers(rows, value, table), errors, unit, system)


def _table(path: Path) -> tuple[pd.DataFrame, str | None]:
    """The rows of a vector file with its coordinate system, or of a CSV."""
    if not path.exists():
        raise DataError(f"there is no file {path}.")
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, comment="#"), None
        frame = optional.require("geopandas", "geography").read_file(path)
    except (OSError, ValueError, RuntimeError) as problem:
        raise DataError(f"cannot read {path}: {problem}; give CSV, GeoPackage, GeoJSON or a shapefile.") from problem
    if "geometry" not in frame or frame.crs is None:
        return frame, None
    return frame, WGS84 if frame.crs.to_epsg() == 4326 else str(frame.crs.to_wkt())


def _numbers(frame: pd.DataFrame, column: str, path: Path) -> Floats:
    if column not in frame:
        raise DataError(f"{path.name} has the columns {[str(c) for c in frame.columns]}, not {column!r}.")
    found = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise DataError(
            f"{column} in row {int(bad[0]) + 1} of {path.name} is {frame[column].iloc[bad[0]]!r}, no number."
        )
    return found


def _ids(frame: pd.DataFrame, key: str | None, path: Path) -> NDArray[Any]:
    if key is None:
        return np.arange(1, len(frame) + 1)
    if key not in frame:
        raise DataError(f"{path.name} has the columns {[str(c) for c in frame.columns]}, not {key!r}.")
    ids = frame[key].astype(str).to_numpy(object).astype(str)
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f"{key} {values[counts > 1][0]!r} stands {counts.max()} times in {path.name}; keys must differ."
        )
    return np.asarray(ids)
