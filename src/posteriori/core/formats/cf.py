"""A variable of an undecoded CF dataset as a raster: which dims are the map, what its numbers mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from posteriori.core import memory
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.formats.cf_crs import crs_of
from posteriori.core.map_grid import WGS84, Axis, MapGrid
from posteriori.core.raster import Kind, Layers, Raster, representable

FORM = {"x": ("longitude", "projection_x_coordinate"), "y": ("latitude", "projection_y_coordinate")}
NAMES = {"x": ("x", "lon", "longitude", "easting"), "y": ("y", "lat", "latitude", "northing")}
DIRECTION = {"x": r"degrees?[ _]?(e|east)", "y": r"degrees?[ _]?(n|north)"}
TAKEN = frozenset(
    [
        "_FillValue",
        "missing_value",
        "scale_factor",
        "add_offset",
        "units",
        "grid_mapping",
        "coordinates",
        "kind",
        "palette",
        "_Unsigned",
        "cell_measures",
        "ancillary_variables",
    ]
)
WHOLE = slice(None)
WINDOWS = "read it by windows"
"""What is cheaper than to read a large raster whole."""


def decoded(
    dataset: xr.Dataset,
    source: str,
    variable: str | None = None,
    at: Mapping[str, Any] | None = None,
    rows: slice = WHOLE,
    columns: slice = WHOLE,
) -> Raster:
    """The raster that ``variable`` of an undecoded dataset is, or its part in these rows and columns.

    Args:
        source: what the dataset is called in messages.
        variable: its name; not needed where only one lies on a map.
        at: a label for each further dim.

    Raises:
        DataError: no such variable, several, a dim without a choice, numbers that are none.
    """
    name = chosen(dataset, variable, source)
    array = dataset[name]
    y, x = _map_dims(dataset, array)
    array = _selected(dataset, array, (y, x), at or {}, source)
    layer = next((str(d) for d in array.dims if d not in (y, x)), None)
    grid = _grid(dataset, array, y, x).window(rows, columns)
    array = array.transpose(*([layer] if layer else []), y, x)
    about = array.attrs
    part = array.isel({y: rows, x: columns})
    memory.require(2 * part.nbytes, f"reading {part.shape} cells of {name}", WINDOWS)
    stored = native(np.asarray(part.values))
    if str(about.get("_Unsigned", "")).lower() == "true":
        stored = stored.view(stored.dtype.str.replace("i", "u"))
    return Raster(
        name=name,
        stored=stored if layer else stored[None],
        grid=grid,
        unit=str(about.get("units", "1")),
        kind=kind_of(name, about),
        nodata=_nodata(about, stored.dtype),
        scale=_number(about, "scale_factor", 1.0),
        offset=_number(about, "add_offset", 0.0),
        layers=_layers(dataset, array, layer),
        attributes={k: v for k, v in about.items() if k not in TAKEN},
        palette=palette_of(about.get("palette")),
    )


def chosen(dataset: xr.Dataset, variable: str | None, source: str) -> str:
    """The name of the variable asked for, or of the only one on a map.

    Raises:
        DataError: it is not there, or there is not exactly one.
    """
    if variable is not None:
        if variable not in dataset.variables:
            raise DataError(f"{source} holds {', '.join(map(str, dataset.data_vars)) or 'nothing'}, not {variable!r}.")
        return variable
    beside = {str(v.attrs.get(k)) for v in dataset.variables.values() for k in ("bounds", "grid_mapping")}
    beside |= {n for v in dataset.variables.values() for n in str(v.attrs.get("coordinates", "")).split()}
    ends = {"bnds", "bound", "bounds", "n2", "nv"}
    fitting = [
        str(n)
        for n, v in dataset.data_vars.items()
        if n not in beside and v.ndim >= 2 and v.dtype.kind in "fiub" and not ends & set(map(str, v.dims))
    ]
    if len(fitting) != 1:
        raise DataError(
            f"{source} holds {len(fitting)} variables on a map ({', '.join(fitting) or 'none'}); name one: variable=…."
        )
    return fitting[0]


def grid_of(dataset: xr.Dataset, source: str, variable: str | None = None) -> MapGrid:
    """Where the cells of ``variable`` lie; errors as ``decoded``."""
    array = dataset[chosen(dataset, variable, source)]
    return _grid(dataset, array, *_map_dims(dataset, array))


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


def palette_of(given: Any) -> dict[int, tuple[int, int, int, int]] | None:
    """The colours of classes from ``{"1": [r, g, b, a]}`` or its JSON; None where there are none to read."""
    try:
        found = json.loads(given) if isinstance(given, str) else given
        return {int(k): (int(r), int(g), int(b), int(a)) for k, (r, g, b, a) in found.items()}
    except (ValueError, TypeError, AttributeError):
        return None


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
    dataset: xr.Dataset, array: xr.DataArray, plane: tuple[str, str], at: Mapping[str, Any], source: str
) -> xr.DataArray:
    """One label along every dim but the map's and one more, which is time where there is time."""
    if unknown := set(at) - set(map(str, array.dims)):
        raise DataError(f"{array.name} in {source} has the dims {array.dims}, not {sorted(unknown)}.")
    for dim, label in at.items():
        labels = _labels(dataset, array, dim)
        hit = [i for i, each in enumerate(labels) if each == label]
        if len(hit) != 1:
            raise DataError(f"{dim!r} in {source} has the labels {labels[:12]}, not {label!r}.")
        array = array.isel({dim: hit[0]})
    rest = [str(d) for d in array.dims if d not in plane]
    timed = [d for d in rest if d == "time" or (d in dataset and " since " in str(dataset[d].attrs.get("units", "")))]
    long = [d for d in rest if array.sizes[d] > 1]
    layer = next(iter(timed or (long if len(long) == 1 else rest if len(rest) == 1 else [])), None)
    for dim in rest:
        if dim != layer and array.sizes[dim] == 1:
            array = array.isel({dim: 0})
        elif dim != layer:
            labels = _labels(dataset, array, dim)
            choice = f"at={{{dim!r}: {labels[0]!r}}}"
            raise DataError(f"{array.name} in {source} also runs along {dim!r} ({labels[:12]}); choose: {choice}.")
    return array


def _labels(dataset: xr.Dataset, array: xr.DataArray, dim: str) -> list[Any]:
    if dim not in dataset.variables:
        return list(range(array.sizes[dim]))
    names = dataset[dim].attrs.get("names")
    found: list[Any] = json.loads(names) if names else dataset[dim].values.tolist()
    return found


def _grid(dataset: xr.Dataset, array: xr.DataArray, y: str, x: str) -> MapGrid:
    """Degrees north and east without a grid mapping are WGS 84."""
    named = str(array.attrs.get("grid_mapping", "")).partition(":")[0].strip()
    mapping = dataset[named].attrs if named in dataset.variables else {}
    down, along = (
        Axis(d, native(dataset[d].values), str(dataset[d].attrs.get("units", ""))) if d in dataset.variables else None
        for d in (y, x)
    )
    crs = crs_of(mapping)
    if crs is None and down is not None and along is not None:
        degrees = [re.fullmatch(DIRECTION[w], axis.unit, re.IGNORECASE) for w, axis in (("y", down), ("x", along))]
        crs = WGS84 if all(degrees) else None
    shape = (array.sizes[y], array.sizes[x])
    told = str(mapping.get("GeoTransform", "")).split()
    if len(told) == 6:
        c, a, b, f, d, e = (float(number) for number in told)
        return MapGrid(shape, (a, b, c, d, e, f), crs, down, along)
    if down is None or along is None:
        return MapGrid(shape, crs=crs)
    return MapGrid.of_axes(down, along, crs)


def _nodata(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> float | int | None:
    for key in ("_FillValue", "missing_value"):
        given = np.atleast_1d(attributes.get(key, []))
        if len(given) != 1 or given.dtype.kind not in "fiu":
            continue
        number = given[0].item()
        if str(attributes.get("_Unsigned", "")).lower() == "true" and number < 0:
            number += 2 ** (8 * dtype.itemsize)
        if representable(number, dtype):
            return float(number) if dtype.kind == "f" else int(number)
    return None


def _number(attributes: Mapping[str, Any], key: str, without: float) -> float:
    try:
        return float(np.atleast_1d(attributes.get(key, without))[0])
    except (TypeError, ValueError, IndexError) as error:
        raise DataError(f"{key} is {attributes[key]!r}, not a number.") from error


def _layers(dataset: xr.Dataset, array: xr.DataArray, layer: str | None) -> Layers:
    if layer is not None:
        return (
            _labelled(layer, dataset[layer])
            if layer in dataset.variables
            else Layers(layer, np.arange(array.sizes[layer]))
        )
    for name in [*str(array.attrs.get("coordinates", "")).split(), *map(str, dataset.variables)]:
        if name in dataset.variables and dataset[name].ndim == 0 and dataset[name].attrs.get("standard_name") == "time":
            return _labelled("time", dataset[name])
    return Layers()


def _labelled(dim: str, variable: xr.DataArray) -> Layers:
    about, labels = variable.attrs, np.atleast_1d(variable.values)
    if "names" in about:
        labels = np.array(json.loads(about["names"]))
    elif labels.dtype.kind in "OSU":
        labels = labels.astype(str)
    else:
        labels = native(labels)
    return Layers(dim, labels, str(about.get("units", "")), str(about.get("calendar", "standard")))
