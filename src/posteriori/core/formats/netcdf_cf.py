"""Rasters in NetCDF after the CF conventions: one variable on two axes of a map, its numbers as they are stored."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from posteriori.core import optional
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.map_grid import WGS84, Axis, MapGrid
from posteriori.core.raster import Kind, Layers, Raster, representable

FORM = {"x": ("longitude", "projection_x_coordinate"), "y": ("latitude", "projection_y_coordinate")}
NAMES = {"x": ("x", "lon", "longitude", "easting"), "y": ("y", "lat", "latitude", "northing")}
DIRECTION = {"x": r"degrees?[ _]?(e|east)", "y": r"degrees?[ _]?(n|north)"}
OWN = ("_FillValue", "missing_value", "scale_factor", "add_offset", "units", "grid_mapping", "coordinates", "kind")


def read_netcdf(path: Path, variable: str | None = None, at: Mapping[str, Any] | None = None) -> Raster:
    """One variable of a NetCDF file (3 or 4) as a raster.

    Args:
        variable: its name; not needed where only one lies on a map.
        at: a label for each further dim, ``{"level": 500}``.

    Raises:
        DataError: no such file or variable, several, a dim without a choice, numbers that are none.
    """
    with opened(path) as dataset:
        return decoded(dataset, path, variable, at)


@contextmanager
def opened(path: Path) -> Iterator[xr.Dataset]:
    """The file, undecoded; errors of any reader become one that names the file."""
    try:
        with path.open("rb") as file:
            engine = "scipy" if file.read(3) == b"CDF" else "h5netcdf"
        with xr.open_dataset(path, engine=engine, decode_cf=False, cache=False) as dataset:
            yield dataset
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, IndexError, ValueError) as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(f"cannot read {path}: {problem}; give a whole NetCDF file.") from problem


def decoded(dataset: xr.Dataset, path: Path, variable: str | None, at: Mapping[str, Any] | None) -> Raster:
    """The raster that a variable of an undecoded dataset is."""
    name = chosen(dataset, variable, path)
    array = dataset[name]
    y, x = _map_dims(dataset, array)
    array = _selected(dataset, array, (y, x), at or {}, path)
    layer = next((str(d) for d in array.dims if d not in (y, x)), None)
    array = array.transpose(*([layer] if layer else []), y, x)
    stored = native(np.asarray(array.values))
    attributes = array.attrs
    return Raster(
        name=name,
        stored=stored if layer else stored[None],
        grid=_grid(dataset, array, y, x),
        unit=str(attributes.get("units", "1")),
        kind=kind_of(name, attributes),
        nodata=_nodata(attributes, stored.dtype),
        scale=_number(attributes, "scale_factor", 1.0),
        offset=_number(attributes, "add_offset", 0.0),
        layers=_layers(dataset, array, layer),
        attributes={k: str(v) for k, v in attributes.items() if k not in OWN},
    )


def chosen(dataset: xr.Dataset, variable: str | None, path: Path) -> str:
    """The name of the variable asked for, or of the only one on a map.

    Raises:
        DataError: it is not there, or there is not exactly one.
    """
    if variable is not None:
        if variable not in dataset.variables:
            raise DataError(
                f"{path.name} holds {', '.join(map(str, dataset.data_vars)) or 'nothing'}, not {variable!r}."
            )
        return variable
    beside = {str(v.attrs.get(k)) for v in dataset.variables.values() for k in ("bounds", "grid_mapping")}
    beside |= {n for v in dataset.variables.values() for n in str(v.attrs.get("coordinates", "")).split()}
    fitting = [
        str(n)
        for n, v in dataset.data_vars.items()
        if n not in beside
        and v.ndim >= 2
        and v.dtype.kind in "fiub"
        and not {"bnds", "bound", "n2", "nv"} & set(v.dims)
    ]
    if len(fitting) != 1:
        raise DataError(
            f"{path.name} holds {len(fitting)} variables on a map ({', '.join(fitting) or 'none'}); "
            "name one: variable=…."
        )
    return fitting[0]


def native(stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same numbers in this machine's byte order; truth values as 0 and 1."""
    if stored.dtype.kind == "b":
        return stored.astype(np.uint8)
    return np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))


def kind_of(name: str, attributes: Mapping[str, Any]) -> Kind:
    """What the attributes say of the kind: ``kind`` itself, flags, directions, amounts of rain; else continuous."""
    told = str(attributes.get("kind", ""))
    if told in list(Kind):
        return Kind(told)
    if "flag_values" in attributes or "flag_meanings" in attributes:
        return Kind.CATEGORICAL
    text = f"{attributes.get('standard_name', '')} {attributes.get('long_name', '')} {name}".lower()
    if re.search(r"(from|to)_direction|wind direction|\baspect\b", text):
        return Kind.CIRCULAR
    if re.search(r"precipitation|rainfall|snowfall|\brain\b", text):
        return Kind.NON_NEGATIVE
    return Kind.CONTINUOUS


def _map_dims(dataset: xr.Dataset, array: xr.DataArray) -> tuple[str, str]:
    """The names of the dims that run along y and x: told by their coordinates, else the last two."""
    dims = [str(d) for d in array.dims]
    if len(dims) < 2:
        raise ShapeError(f"{array.name} has the dims {tuple(dims)}; a raster needs rows and columns.")
    found = {way: next((d for d in dims if _runs(dataset, d, way)), None) for way in ("y", "x")}
    y, x = found["y"], found["x"]
    if y is None or x is None:
        return dims[-2], dims[-1]
    return y, x


def _runs(dataset: xr.Dataset, dim: str, way: str) -> bool:
    about = dataset[dim].attrs if dim in dataset.variables else {}
    return (
        about.get("standard_name") in FORM[way]
        or about.get("axis") == way.upper()
        or re.fullmatch(DIRECTION[way], str(about.get("units", "")), re.IGNORECASE) is not None
        or dim.lower() in NAMES[way]
    )


def _selected(
    dataset: xr.Dataset, array: xr.DataArray, plane: tuple[str, str], at: Mapping[str, Any], path: Path
) -> xr.DataArray:
    """One label along every dim but the map's and one more, which is time where there is time."""
    if unknown := set(at) - set(map(str, array.dims)):
        raise DataError(f"{array.name} in {path.name} has the dims {array.dims}, not {sorted(unknown)}.")
    for dim, label in at.items():
        labels = dataset[dim].values if dim in dataset.variables else np.arange(array.sizes[dim])
        hit = np.flatnonzero(labels == label)
        if len(hit) != 1:
            raise DataError(f"{dim!r} in {path.name} has the labels {labels.tolist()[:12]}, not {label!r}.")
        array = array.isel({dim: int(hit[0])})
    rest = [str(d) for d in array.dims if d not in plane]
    timed = [
        d for d in rest if d == "time" or " since " in str(dataset[d].attrs.get("units", "") if d in dataset else "")
    ]
    layer = timed[0] if timed else rest[0] if len(rest) == 1 else None
    for dim in rest:
        if dim != layer and array.sizes[dim] == 1:
            array = array.isel({dim: 0})
        elif dim != layer:
            labels = dataset[dim].values if dim in dataset.variables else np.arange(array.sizes[dim])
            raise DataError(
                f"{array.name} in {path.name} also runs along {dim!r} ({labels.tolist()[:12]}); choose: "
                f"at={{{dim!r}: {labels.tolist()[0]!r}}}."
            )
    return array


def _grid(dataset: xr.Dataset, array: xr.DataArray, y: str, x: str) -> MapGrid:
    mapping = dataset[str(array.attrs["grid_mapping"])].attrs if array.attrs.get("grid_mapping") in dataset else {}
    crs = _crs(dataset, mapping, y, x)
    axes = [
        Axis(d, native(dataset[d].values), str(dataset[d].attrs.get("units", ""))) if d in dataset.variables else None
        for d in (y, x)
    ]
    shape = (array.sizes[y], array.sizes[x])
    told = str(mapping.get("GeoTransform", "")).split()
    if len(told) == 6:
        c, a, b, f, d, e = (float(n) for n in told)
        return MapGrid(shape, (a, b, c, d, e, f), crs, *axes)
    if axes[0] is None or axes[1] is None:
        return MapGrid(shape, crs=crs)
    return MapGrid.of_axes(axes[0], axes[1], crs)


def _crs(dataset: xr.Dataset, mapping: Mapping[str, Any], y: str, x: str) -> str | None:
    """What the grid mapping says; degrees north and east without one are WGS 84."""
    for key in ("crs_wkt", "spatial_ref"):
        if mapping.get(key):
            return str(mapping[key])
    if mapping.get("grid_mapping_name"):
        pyproj = optional.require("pyproj", "geography")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                return str(pyproj.CRS.from_cf({k: _plain(v) for k, v in mapping.items()}).to_wkt())
            except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"the grid mapping {mapping['grid_mapping_name']!r} cannot be read: {error}."
                ) from error
    degrees = [
        d in dataset.variables and re.fullmatch(DIRECTION[w], str(dataset[d].attrs.get("units", "")), re.IGNORECASE)
        for d, w in ((y, "y"), (x, "x"))
    ]
    return WGS84 if all(degrees) else None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _nodata(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> float | int | None:
    for key in ("_FillValue", "missing_value"):
        given = np.atleast_1d(attributes.get(key, []))
        if len(given) == 1 and given.dtype.kind in "fiu" and representable(given[0].item(), dtype):
            number = given[0].item()
            return float(number) if dtype.kind == "f" else int(number)
    return None


def _number(attributes: Mapping[str, Any], key: str, without: float) -> float:
    try:
        return float(np.atleast_1d(attributes.get(key, without))[0])
    except (TypeError, ValueError) as error:
        raise DataError(f"{key} is {attributes[key]!r}, not a number.") from error


def _layers(dataset: xr.Dataset, array: xr.DataArray, layer: str | None) -> Layers:
    if layer is not None:
        if layer not in dataset.variables:
            return Layers(layer, np.arange(array.sizes[layer]))
        return _labelled(layer, dataset[layer])
    for name in str(array.attrs.get("coordinates", "")).split() + [str(n) for n in dataset.variables]:
        if name in dataset.variables and dataset[name].ndim == 0 and dataset[name].attrs.get("standard_name") == "time":
            return _labelled("time", dataset[name])
    return Layers()


def _labelled(dim: str, variable: xr.DataArray) -> Layers:
    labels = np.atleast_1d(variable.values)
    about = variable.attrs
    return Layers(
        dim,
        labels.astype(str) if labels.dtype.kind in "OSU" else native(labels),
        str(about.get("units", "")),
        str(about.get("calendar", "standard")),
    )
