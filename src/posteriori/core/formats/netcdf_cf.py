"""Rasters in NetCDF after the CF conventions, read and written bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import xarray as xr

from posteriori.core.errors import DataError, PosterioriError, StoreError
from posteriori.core.formats.cf import decoded
from posteriori.core.formats.cf_written import encoded
from posteriori.core.raster import Raster
from posteriori.core.store import renamed

UNREADABLE = (OSError, KeyError, TypeError, RuntimeError, EOFError, IndexError, ValueError, AttributeError)


def read_netcdf(path: Path, variable: str | None = None, at: Mapping[str, Any] | None = None) -> Raster:
    """One variable of a NetCDF file (3 or 4) as a raster.

    Args:
        variable: its name; not needed where only one lies on a map.
        at: a label for each further dim, ``{"level": 500}``.

    Raises:
        DataError: no such file or variable, several, a dim without a choice, numbers that are none.
    """
    with opened(path) as dataset:
        return decoded(dataset, path.name, variable, at)


def write_netcdf(rasters: Sequence[Raster], path: Path) -> None:
    """Rasters on one grid as variables of a NetCDF-4 file, compressed without loss; whole or not at all.

    Raises:
        DataError, ShapeError: rasters that cannot stand in one file. StoreError: the file cannot be written.
    """
    dataset = encoded(rasters)
    packed = {"zlib": True, "complevel": 4, "shuffle": True}
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"_FillValue": None} for name, v in dataset.variables.items() if "_FillValue" not in v.attrs
    }
    for raster in rasters:
        chunks = tuple(min(n, 512) for n in raster.grid.shape)
        encoding.setdefault(raster.name, {}).update(
            packed | {"chunksizes": (1, *chunks) if raster.layers.dim else chunks}
        )
    with renamed(path) as temporary:
        try:
            dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
        except (ValueError, TypeError, RuntimeError) as problem:
            raise StoreError(f"cannot write {path}: {problem}; choose another format.") from problem


@contextmanager
def opened(path: Path) -> Iterator[xr.Dataset]:
    """The file, undecoded; errors of any reader become one that names the file."""
    try:
        with path.open("rb") as file:
            engine = "scipy" if file.read(3) == b"CDF" else "h5netcdf"
        if engine == "h5netcdf":
            h5py.File(path, "r").close()  # h5netcdf leaves a complaint behind when this fails inside it
        with xr.open_dataset(path, engine=engine, decode_cf=False, cache=False) as dataset:
            yield dataset
    except PosterioriError:
        raise
    except UNREADABLE as problem:
        raise DataError(f"cannot read {path}: {problem}; give a whole NetCDF file.") from problem
