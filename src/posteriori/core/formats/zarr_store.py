"""Rasters in Zarr (version 3 written, 2 and 3 read) after the CF conventions, window by window if need be."""

from __future__ import annotations

import base64
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from posteriori.core import optional
from posteriori.core.errors import DataError, PosterioriError, StoreError
from posteriori.core.formats.cf import decoded
from posteriori.core.formats.cf_written import encoded
from posteriori.core.formats.netcdf_cf import UNREADABLE
from posteriori.core.map_grid import MapGrid
from posteriori.core.raster import Raster

CHUNK = 256
Put = Callable[[str, slice, slice, "np.ndarray[Any, Any]"], None]


def read_zarr(path: Path, variable: str | None = None, at: Mapping[str, Any] | None = None) -> Raster:
    """One variable of a Zarr store as a raster; arguments and errors as ``read_netcdf``."""
    with opened(path) as dataset:
        return decoded(dataset, path.name, variable, at)


def write_zarr(rasters: Sequence[Raster], path: Path) -> None:
    """Rasters on one grid as variables of a new Zarr store, whole or not at all.

    Raises:
        DataError, ShapeError: rasters that cannot stand together. StoreError: the store exists or cannot be written.
    """
    with store(rasters, path) as put:
        for raster in rasters:
            put(raster.name, slice(None), slice(None), raster.stored)


@contextmanager
def store(rasters: Sequence[Raster], path: Path, grid: MapGrid | None = None) -> Iterator[Put]:
    """A new store for rasters like these on ``grid``, their own without; ``put(name, rows, columns, stored)`` fills it.

    The store takes its place when the block ends well; cells that nobody wrote are gaps where there is a nodata number.

    Raises:
        StoreError: the store exists or cannot be written.
    """
    zarr = optional.require("zarr", "geography")
    if path.exists():
        raise StoreError(f"{path} exists; delete it or choose another name.")
    whole = rasters[0].grid if grid is None else grid
    dataset = encoded([_empty(raster, whole) for raster in rasters])
    partial = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = dataset.drop_vars([raster.name for raster in rasters])
        beside.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        group = zarr.open_group(partial, mode="r+")
        arrays = {raster.name: _array(group, raster, dataset[raster.name]) for raster in rasters}

        def put(name: str, rows: slice, columns: slice, stored: np.ndarray[Any, Any]) -> None:
            array = arrays[name]
            array[(Ellipsis, rows, columns)] = stored if array.ndim == 3 else stored[0]

        yield put
        with warnings.catch_warnings():  # Zarr says that version 3 does not speak of this; xarray looks for it first
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(partial)
        partial.replace(path)
    except (OSError, ValueError, TypeError) as problem:
        if isinstance(problem, PosterioriError):
            raise
        raise StoreError(f"cannot write {path}: {problem}; choose a folder that can be written.") from problem
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def opened(path: Path) -> Iterator[xr.Dataset]:
    """The store, undecoded; errors of any reader become one that names it."""
    optional.require("zarr", "geography")
    try:
        with xr.open_dataset(path, engine="zarr", decode_cf=False, consolidated=False, cache=False) as dataset:
            yield dataset
    except PosterioriError:
        raise
    except UNREADABLE as problem:
        raise DataError(f"cannot read {path}: {problem}; give a whole Zarr store.") from problem


def _empty(raster: Raster, grid: MapGrid) -> Raster:
    """The raster on another grid, its cells one and the same number that takes no memory."""
    shape = (len(raster.layers.labels), *grid.shape)
    if raster.grid is grid:
        return raster
    return replace(raster, stored=np.broadcast_to(raster.stored.dtype.type(0), shape), grid=grid)


def _array(group: Any, raster: Raster, variable: xr.DataArray) -> Any:
    dtype = raster.stored.dtype
    about = {k: _plain(v) for k, v in variable.attrs.items()}
    if raster.nodata is not None:
        about["_FillValue"] = _fill_value(raster.nodata, dtype)
    without = np.nan if dtype.kind == "f" else 0
    chunks = [min(n, CHUNK) for n in variable.shape[-2:]]
    return group.create_array(
        raster.name,
        shape=variable.shape,
        dtype=dtype,
        chunks=(1, *chunks) if variable.ndim == 3 else tuple(chunks),
        fill_value=dtype.type(without if raster.nodata is None else raster.nodata),
        attributes=about,
        dimension_names=[str(d) for d in variable.dims],
    )


def _fill_value(nodata: float | int, dtype: np.dtype[Any]) -> int | str:
    """As xarray keeps it in Zarr 3: JSON has no NaN, so floats are their bytes in base 64."""
    if dtype.kind != "f":
        return int(nodata)
    return base64.standard_b64encode(struct.pack("<d", float(dtype.type(nodata)))).decode()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
