"""Tables of gravity stations: positions in metres, heights, values in mGal, every doubt settled when they are read."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posteriori.core import units
from posteriori.core.errors import DataError, OptionError, UnitError
from posteriori.core.formats.csv import CsvTable, Row, columns_by_name, parse_csv, read_csv
from posteriori.core.optional import require
from posteriori.domains.geophysics.reductions import bouguer_plate, normal_gravity

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NAMES = {
    "longitude": ("longitude", "lon"),
    "latitude": ("latitude", "lat"),
    "easting": ("easting", "x"),
    "northing": ("northing", "y"),
    "height": ("height", "height_sea_level", "height_ellipsoidal", "elevation", "altitude"),
    "gravity": ("gravity", "observed_gravity", "absolute_gravity"),
    "disturbance": ("disturbance", "gravity_disturbance", "free_air", "free_air_anomaly"),
    "bouguer": ("bouguer", "bouguer_anomaly", "simple_bouguer", "complete_bouguer"),
}
"""Names under which a column is known, in any case, with a unit in brackets or as an ending (``height_m``)."""
KINDS = ("gravity", "disturbance", "bouguer")
HEIGHTS = (-500.0, 9000.0)
"""Where land lies [m]."""
LARGEST = {"gravity": (976_000.0, 984_500.0), "disturbance": (-600.0, 1000.0), "bouguer": (-900.0, 900.0)}
"""Where values lie on the Earth's land [mGal]."""
BETTER = 0.5
"""Another reading of the columns is the right one where it leaves less than this share of the scatter."""
EQUATORIAL = (-180.0, 360.0)
FEET = 0.3048


@dataclass(frozen=True)
class Stations:
    """Gravity stations, one number each in every array.

    Attributes:
        easting, northing: [m], a projection about the middle of the table where it gave angles.
        height: upwards from the zero of heights [m].
        value: [mGal], of ``kind``.
        kind: "gravity" (absolute), "disturbance" (less normal gravity at the station) or "bouguer" (less a plate too).
        line: of the file, to name a station by.
        latitude, longitude: [degrees]; None where the table gave metres.
        name: of the table.
        repeated: rows dropped, since an equal one stands above.
    """

    easting: Floats
    northing: Floats
    height: Floats
    value: Floats
    kind: str
    line: Integers
    latitude: Floats | None = None
    longitude: Floats | None = None
    name: str = "stations"
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.value)

    def part(self, index: NDArray[np.bool_] | Integers) -> Stations:
        """The stations at ``index``."""
        cut: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        cut |= {name: array[index] for name, array in cut.items() if isinstance(array, np.ndarray)}
        return replace(self, **cut)

    def within(self, west: float, east: float, south: float, north: float) -> Stations:
        """The stations between two meridians and two parallels [degrees], projected about their own middle.

        Raises:
            DataError: none lies there, or the table gave no angles.
        """
        if self.latitude is None or self.longitude is None:
            raise DataError(f"{self.name} has no longitude and latitude; cut it by easting and northing.")
        lon, lat = self.longitude, self.latitude
        inside = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
        if not inside.any():
            raise DataError(
                f"no station of {self.name} lies in {west:g} to {east:g} E, {south:g} to {north:g} N; they lie in "
                f"{lon.min():.2f} to {lon.max():.2f} E, {lat.min():.2f} to {lat.max():.2f} N."
            )
        cut = self.part(inside)
        assert cut.longitude is not None
        assert cut.latitude is not None
        easting, northing = projected(cut.longitude, cut.latitude)
        return replace(cut, easting=easting, northing=northing)


def read_stations(path: Path) -> Stations:
    """A table of stations from a CSV file, packed by xz or gzip or not.

    Columns, in any order, others ignored: ``longitude`` and ``latitude`` [degrees] or ``easting`` and ``northing`` [m];
    ``height [m]``; one of ``gravity [mGal]``, ``disturbance [mGal]`` and ``bouguer [mGal]``. Units stand in brackets or
    as an ending (``height_m``, ``gravity_mgal``), and are converted. Exact repetitions of a row are dropped and
    counted; two values at one position are two stations.

    Raises:
        DataError: the first row that cannot be used, by its line; longitude and latitude swapped, heights in feet.
        UnitError: a unit that is missing or of another kind.
    """
    return stations_of(read_csv(path))


def parse_stations(text: str, name: str = "table") -> Stations:
    """A table of stations in a text, as ``read_stations``."""
    return stations_of(parse_csv(text, name))


def stations_of(table: CsvTable) -> Stations:
    """Stations from the rows of a table, as ``read_stations``."""
    columns = columns_by_name(table, NAMES)
    angles = "longitude" in columns
    first, second = ("longitude", "latitude") if angles else ("easting", "northing")
    kinds = [kind for kind in KINDS if kind in columns]
    if not {first, second, "height"} <= set(columns) or len(kinds) != 1:
        raise DataError(
            f"{table.name} has the columns {', '.join(table.units)}; needed are longitude and latitude (or easting "
            f"[m] and northing [m]), height [m], and exactly one of {', '.join(f'{kind} [mGal]' for kind in KINDS)}."
        )
    if kinds == ["gravity"] and not angles:
        raise DataError(
            f"{table.name} gives absolute gravity at easting and northing; its normal gravity needs longitude and "
            "latitude. Add them, or give disturbance [mGal] or bouguer [mGal]."
        )
    limits = {
        "longitude": EQUATORIAL,
        "latitude": (-90.0, 90.0),
        "height": HEIGHTS,
        kinds[0]: LARGEST[kinds[0]],
    }
    found = {n: _column(table, *columns[n], n, limits.get(n)) for n in (first, second, "height", kinds[0])}
    kept = np.unique(np.stack(list(found.values()), 1), axis=0, return_index=True)[1]
    kept.sort()
    a, b, height, value = (column[kept] for column in found.values())
    line = np.array([row.number for row in table.rows], dtype=np.int64)[kept]
    easting, northing = projected(a, b) if angles else (a, b)
    stations = Stations(
        easting,
        northing,
        height,
        value,
        kinds[0],
        line,
        b if angles else None,
        a if angles else None,
        table.name,
        len(table.rows) - len(kept),
    )
    if kinds[0] == "gravity":
        _refuse_other_readings(stations)
    return stations


def projected(longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
    """Easting and northing [m] about the middle of the points, Lambert's azimuthal equal-area projection of WGS84.

    Lengths are right to 0.1 % within 500 km of the middle.
    """
    pyproj = require("pyproj", "geophysics")
    centre = [0.5 * (float(a.min()) + float(a.max())) for a in (longitude, latitude)]
    projection = pyproj.Proj(proj="laea", lon_0=centre[0], lat_0=centre[1], ellps="WGS84")
    easting, northing = projection(longitude, latitude)
    return np.asarray(easting, np.float64), np.asarray(northing, np.float64)


def _column(table: CsvTable, head: str, unit: str, quantity: str, limits: tuple[float, float] | None) -> Floats:
    """The values of a column in the unit kept here, each within ``limits``."""
    degrees = quantity in ("longitude", "latitude")
    wanted = "deg" if degrees else "m" if quantity in ("easting", "northing", "height") else "mGal"
    if not unit and not degrees:
        raise UnitError(
            f"{table.name} gives {head} without a unit; write {head} [{wanted}] in its header, or the unit it is in."
        )
    scale = 1.0 if degrees and not unit else units.factor(unit, wanted)
    values = np.array([row.value(head) for row in table.rows]) * scale
    if limits is not None:
        outside = (values < limits[0]) | (values > limits[1])
        if outside.any():
            at = int(outside.argmax())
            raise _outside(table.rows[at], head, quantity, float(values[at]), wanted, limits)
    return values


def _outside(row: Row, head: str, quantity: str, value: float, unit: str, limits: tuple[float, float]) -> DataError:
    hint = {
        "latitude": "; are longitude and latitude swapped?",
        "longitude": "; are longitude and latitude swapped?",
        "height": "; is it in feet?",
        "gravity": "; absolute gravity is needed, or name the column disturbance or bouguer",
    }.get(quantity, "")
    return row.error(f"{head} = {value:g} {unit} lies outside {limits[0]:g} to {limits[1]:g}{hint}")


def _refuse_other_readings(stations: Stations) -> None:
    """Refuse absolute gravity that makes sense only with swapped angles or heights in feet."""
    assert stations.latitude is not None
    assert stations.longitude is not None

    def scatter(latitude: Floats, height: Floats) -> float:
        left = stations.value - normal_gravity(latitude, height) - bouguer_plate(height)
        return float(np.median(np.abs(left - np.median(left))))

    given = scatter(stations.latitude, stations.height)
    if len(stations) < 10 or given < 5.0:
        return
    if (np.abs(stations.longitude) <= 90).all() and scatter(stations.longitude, stations.height) < BETTER * given:
        raise DataError(
            f"{stations.name}: longitude and latitude are swapped (gravity follows the first); rename them."
        )
    if scatter(stations.latitude, FEET * stations.height) < BETTER * given:
        raise DataError(f"{stations.name}: heights look like feet (gravity falls too slowly); write height [ft].")


def within_degrees(text: str) -> tuple[float, float, float, float]:
    """``west/east/south/north`` [degrees] as four numbers.

    Raises:
        OptionError: the text is not of that form.
    """
    try:
        west, east, south, north = (float(part) for part in text.split("/"))
    except ValueError:
        raise OptionError(f"window={text!r}; give west/east/south/north in degrees, such as 25/32/-27/-23.") from None
    if not (west < east and south < north):
        raise OptionError(f"window={text!r} is empty; give west/east/south/north in degrees, such as 25/32/-27/-23.")
    return west, east, south, north
