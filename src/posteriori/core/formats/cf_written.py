"""Rasters as a CF dataset whose numbers are those stored, ready for NetCDF and Zarr."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.formats.cf_crs import mapping_of
from posteriori.core.map_grid import MapGrid, crs_unit
from posteriori.core.raster import Layers, Raster

MAPPING = "spatial_ref"


def encoded(rasters: Sequence[Raster]) -> xr.Dataset:
    """Variables, axes and grid mapping, all as they are to be stored; decode with xarray to see values.

    Raises:
        DataError: two rasters of one name, or one of half precision.
        ShapeError: rasters on several grids or with several axes of one name.
    """
    first = rasters[0]
    names = [raster.name for raster in rasters]
    if len(set(names)) != len(names):
        raise DataError(f"rasters in one file need different names, not {names}.")
    y, x = axis_names(first.grid)
    variables: dict[str, xr.Variable] = _grid_variables(first.grid, y, x)
    labelled: dict[str, Layers] = {}
    for raster in rasters:
        if difference := first.grid.difference(raster.grid):
            raise ShapeError(f"{raster.name} lies on another grid than {first.name}: {difference}; write two files.")
        labels = _layer_variable(raster.layers)
        dim = raster.layers.dim
        if labels is not None and dim in labelled and not labelled[dim].same(raster.layers):
            raise ShapeError(f"{raster.name} and {first.name} have other labels along {dim!r}; write two files.")
        if labels is not None:
            variables[dim], labelled[dim] = labels, raster.layers
        dims = (dim, y, x) if dim else (y, x)
        stored = raster.stored if dim else raster.stored[0]
        variables[raster.name] = xr.Variable(dims, stored, attributes(raster))
    return xr.Dataset(variables, attrs={"Conventions": "CF-1.11"})


def attributes(raster: Raster) -> dict[str, Any]:
    """What stands beside the numbers of a raster."""
    if raster.stored.dtype == np.float16:
        raise DataError(f"{raster.name} is float16, which few readers know; store it as float32.")
    about: dict[str, Any] = dict(raster.attributes) | {"units": raster.unit, "kind": str(raster.kind)}
    if raster.nodata is not None:
        about["_FillValue"] = raster.stored.dtype.type(raster.nodata)
    if (raster.scale, raster.offset) != (1.0, 0.0):
        about |= {"scale_factor": raster.scale, "add_offset": raster.offset}
    if raster.palette is not None:
        about["palette"] = json.dumps({str(k): list(v) for k, v in raster.palette.items()})
    return about | {"grid_mapping": MAPPING}


def axis_names(grid: MapGrid) -> tuple[str, str]:
    """What the axes of a grid are called in a file: as they were, else after what they are."""
    if grid.y is not None and grid.x is not None:
        return grid.y.name, grid.x.name
    return ("latitude", "longitude") if grid.geographic and not grid.rotated else ("y", "x")


def _grid_variables(grid: MapGrid, y: str, x: str) -> dict[str, xr.Variable]:
    about = mapping_of(grid.crs) if grid.crs is not None else {}
    if grid.transform is not None:
        a, b, c, d, e, f = grid.transform
        about["GeoTransform"] = " ".join(repr(float(number)) for number in (c, a, b, f, d, e))
    variables = {MAPPING: xr.Variable((), np.int32(0), about)}
    if grid.rotated:
        return variables
    geographic, unit = grid.geographic, crs_unit(grid.crs) or "1"
    for name, axis, centres, way in ((y, grid.y, grid.centres[0], "y"), (x, grid.x, grid.centres[1], "x")):
        degrees = "degrees_north" if way == "y" else "degrees_east"
        form = ("latitude" if way == "y" else "longitude") if geographic else f"projection_{way}_coordinate"
        beside = {"units": (degrees if geographic else unit) if axis is None else axis.unit, "axis": way.upper()}
        if grid.crs is not None:
            beside["standard_name"] = form
        variables[name] = xr.Variable((name,), centres if axis is None else axis.centres, beside)
    return variables


def _layer_variable(layers: Layers) -> xr.Variable | None:
    if not layers.dim:
        return None
    about: dict[str, Any] = {}
    labels = layers.labels
    if labels.dtype.kind in "US":
        about["names"] = json.dumps(labels.tolist(), ensure_ascii=False)
        labels = np.arange(1, len(labels) + 1)
    if layers.unit:
        about["units"] = layers.unit
    if layers.timed:
        about |= {"calendar": layers.calendar, "standard_name": "time", "axis": "T"}
    return xr.Variable((layers.dim,), labels, about)
