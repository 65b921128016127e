"""Coordinate reference systems as attributes of a CF grid mapping, there and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from posteriori.core import optional
from posteriori.core.errors import DataError
from posteriori.core.map_grid import WGS84, parsed

WGS84_MAPPING = {
    "grid_mapping_name": "latitude_longitude",
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
    "longitude_of_prime_meridian": 0.0,
}


def crs_of(mapping: Mapping[str, Any]) -> str | None:
    """The WKT that a grid mapping holds or describes; None where it says nothing of a coordinate system.

    Raises:
        DataError: a mapping that nobody can read.
    """
    for key in ("crs_wkt", "spatial_ref"):
        if mapping.get(key):
            return str(mapping[key])
    if not mapping.get("grid_mapping_name"):
        return None
    return _wkt(tuple(sorted((k, _plain(v)) for k, v in mapping.items() if not k.startswith("_"))))


def mapping_of(crs: str) -> dict[str, Any]:
    """Attributes that say what ``crs`` is, to readers of CF, of GDAL and of xarray; the WKT itself is among them."""
    described = WGS84_MAPPING if crs == WGS84 else _described(crs)
    return dict(described) | {"crs_wkt": crs, "spatial_ref": crs}


@lru_cache(maxsize=64)
def _described(crs: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        described = parsed(crs).to_cf()
    return {k: v for k, v in described.items() if isinstance(v, str | int | float | list | tuple)}


@lru_cache(maxsize=64)
def _wkt(items: tuple[tuple[str, Any], ...]) -> str:
    pyproj = optional.require("pyproj", "geography")
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in items}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return str(pyproj.CRS.from_cf(given).to_wkt())
        except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the grid mapping {given['grid_mapping_name']!r} cannot be read: {error}; give it crs_wkt."
            ) from error


def _plain(value: Any) -> Any:
    found = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return tuple(found) if isinstance(found, list) else found
