"""Rasters of any file that a user has: read, joined and written; what is no raster is refused."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.formats.cf import native
from posteriori.core.formats.geotiff import read_geotiff
from posteriori.core.formats.geotiff_written import write_geotiff
from posteriori.core.formats.netcdf_cf import read_netcdf, write_netcdf
from posteriori.core.formats.r_raster import ENDINGS as R
from posteriori.core.formats.r_raster import read_r
from posteriori.core.formats.zarr_store import read_zarr, write_zarr
from posteriori.core.map_grid import WGS84, MapGrid
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.times import EVERYDAY

__all__ = ["WGS84", "Kind", "Layers", "MapGrid", "Raster", "read_mask", "read_raster", "write_raster", "write_rasters"]
NETCDF = (".nc", ".nc4", ".cdf")
GEOTIFF = (".tif", ".tiff")
GDAL = (*GEOTIFF, ".asc", ".gif", ".png")


def read_raster(
    path: str | Path, variable: str | None = None, at: Mapping[str, Any] | None = None, kind: Kind | None = None
) -> Raster:
    """The raster in a file, or in the files that a pattern such as ``"radar/*.nc"`` names, joined in order of time.

    Args:
        path: NetCDF, Zarr, GeoTIFF (or ESRI grid, GIF, PNG), layers that R saved, or a NumPy array (layer, y, x).
        variable: which one, where a file holds several; a file that holds one raster alone must hold this one.
        at: a label for each further dim, ``{"level": 500}``.
        kind: where the file does not tell.

    Raises:
        DataError: no such file or variable, an empty or truncated file, one that is no raster, or one of gaps alone.
        MemoryBudgetError: it would not fit in memory; windows.window_reader reads a part.
    """
    text = str(path)
    if glob.has_magic(text) and not Path(text).exists():
        raster = joined([_read(file, variable, at) for file in named(text)])
    else:
        raster = _read(Path(path), variable, at)
    if not raster.observed.any():
        raise DataError(
            f"{raster.name} in {path} has no value at all: every cell is a gap; give another file or variable."
        )
    return raster if kind is None else replace(raster, kind=kind)


def write_raster(raster: Raster, path: str | Path) -> Path:
    """A raster as NetCDF (.nc), Zarr (.zarr) or cloud-optimised GeoTIFF (.tif); the file appears whole or not at all.

    Observed cells, coordinate system, transform, nodata, scale, dtype, unit, kind and times come back bit for bit.

    Raises:
        DataError: an ending that is none of these, or a raster that the format cannot hold.
        StoreError: the file cannot be written, or the Zarr store exists.
    """
    if Path(path).suffix.lower() in GEOTIFF:
        write_geotiff(raster, Path(path))
        return Path(path)
    return write_rasters([raster], path)


def write_rasters(rasters: Sequence[Raster], path: str | Path) -> Path:
    """Several rasters on one grid as variables of one NetCDF file or Zarr store.

    Raises:
        DataError, ShapeError: rasters that cannot stand in one file. StoreError: as ``write_raster``.
    """
    path = Path(path)
    if path.suffix.lower() in NETCDF:
        write_netcdf(rasters, path)
    elif path.suffix.lower() == ".zarr":
        write_zarr(rasters, path)
    else:
        raise DataError(f"{path.name} ends in {path.suffix!r}; write .nc or .zarr, or one raster as .tif.")
    return path


def read_mask(path: str | Path, raster: Raster) -> NDArray[np.bool_]:
    """True where the mask file hides a cell of ``raster``, (layer, y, x); a mask of one layer serves all.

    Cells hidden are those whose number is not zero; a gap of the mask hides nothing. A mask without a coordinate
    system, such as a NumPy array, is taken to lie on the cells of the raster.

    Raises:
        ShapeError: another grid. DataError: nothing or everything is hidden.
    """
    mask = read_raster(path)
    if mask.stored.shape[1:] != raster.stored.shape[1:] or len(mask.stored) not in (1, len(raster.stored)):
        raise ShapeError(f"the mask {mask.stored.shape} does not fit {raster.name} {raster.stored.shape}.")
    placed = mask.grid.crs is not None and raster.grid.crs is not None
    if placed and (difference := raster.grid.difference(mask.grid)):
        raise ShapeError(f"the mask {path} does not lie on the grid of {raster.name}: {difference}; regrid.onto(…) it.")
    hidden = np.broadcast_to(mask.observed & (mask.stored != 0), raster.stored.shape)
    if hidden.all() or not hidden.any():
        raise DataError(f"the mask {path} hides {'every cell' if hidden.all() else 'nothing'}; hide a part.")
    return hidden


def joined(rasters: list[Raster]) -> Raster:
    """Rasters of one quantity and grid as layers of one, in order of time; each may count its times from its own date.

    Raises:
        ShapeError: other grids. DataError: other dtypes, scales or units, or layers that stand twice.
    """
    rasters = _on_one_clock(rasters)
    first = rasters[0]
    for other in rasters[1:]:
        if difference := first.grid.difference(other.grid):
            raise ShapeError(f"rasters named {first.name} cannot be joined: {difference}; regrid.onto(…) them first.")
        for what, mine, its in (
            ("dtype", first.stored.dtype, other.stored.dtype),
            ("nodata", repr(first.nodata), repr(other.nodata)),
            ("scale and offset", (first.scale, first.offset), (other.scale, other.offset)),
            ("unit", first.unit, other.unit),
            ("layers", (first.layers.unit, first.layers.calendar), (other.layers.unit, other.layers.calendar)),
        ):
            if mine != its:
                raise DataError(
                    f"rasters named {first.name} differ in {what}: {mine} and {its}; write them alike first."
                )
    labels = np.concatenate([r.layers.labels for r in rasters])
    stored = np.concatenate([r.stored for r in rasters])
    layers = replace(first.layers, labels=labels) if first.layers.dim else Layers("file", np.arange(len(stored)))
    order = np.argsort(layers.labels, kind="stable")
    layers = layers.select(order)
    twice = np.flatnonzero(layers.labels[1:] == layers.labels[:-1])
    if len(twice):
        raise DataError(
            f"{len(twice)} layer(s) of {first.name} stand twice in the files, such as {layers.dim} "
            f"{layers.times[twice[0]] if layers.timed else layers.labels[twice[0]]}; give files that do not overlap."
        )
    return replace(first, stored=stored[order], layers=layers)


def _on_one_clock(rasters: list[Raster]) -> list[Raster]:
    """The same with times in seconds from one date, where files of everyday calendars count from dates of their own."""
    layers = [raster.layers for raster in rasters]
    everyday = all(each.timed and each.calendar.lower() in EVERYDAY for each in layers)
    if len({each.unit for each in layers}) == 1 or not everyday:
        return rasters
    half = np.timedelta64(500, "ms")
    clocks = [replace(Layers.at(each.times + half), dim=layers[0].dim) for each in layers]
    return [replace(raster, layers=clock) for raster, clock in zip(rasters, clocks, strict=True)]


def named(pattern: str) -> list[Path]:
    """The files that a pattern names, in the order of their names.

    Raises:
        DataError: there is none.
    """
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    files = sorted(Path(*parts[:first]).glob("/".join(parts[first:])))
    if not files:
        raise DataError(f"no file is named {pattern}.")
    return files


def form(path: Path) -> str:
    """The ending after which a file is read, in small letters; ".zarr" of a Zarr store under any name.

    Raises:
        DataError: no such file, an empty one, or a folder that is no store.
    """
    if not path.exists():
        raise DataError(f"there is no file {path}.")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")
    suffix = path.suffix.lower()
    if not path.is_dir() or suffix == ".zarr":
        return suffix
    if not ((path / "zarr.json").exists() or (path / ".zgroup").exists()):
        raise DataError(f"{path} is a folder; name a file in it, or a pattern such as '{path}/*.nc'.")
    return ".zarr"


def require_meant(raster: Raster, path: Path, variable: str | None, at: Mapping[str, Any] | None) -> None:
    """Go on only when the one raster that a file holds is the one asked for.

    Raises:
        DataError: another variable, or a choice along dims that the file has not.
    """
    if variable not in (None, raster.name):
        raise DataError(f"{path.name} holds {raster.name!r} alone, not {variable!r}; leave variable out.")
    if at:
        raise DataError(
            f"{path.name} has no dims to choose along, not {', '.join(at)}; use raster.select(…) of layers."
        )


def _read(path: Path, variable: str | None, at: Mapping[str, Any] | None) -> Raster:
    suffix = form(path)
    if suffix == ".zarr":
        return read_zarr(path, variable, at)
    if suffix in NETCDF:
        return read_netcdf(path, variable, at)
    if suffix in (*GDAL, *R, ".npy"):
        raster = _read_one(path, suffix, variable)
        require_meant(raster, path, None if suffix in R else variable, at)
        return raster
    raise DataError(f"{path.name} ends in {suffix!r}; give one of {', '.join((*NETCDF, '.zarr', *GDAL, *R, '.npy'))}.")


def _read_one(path: Path, suffix: str, variable: str | None) -> Raster:
    if suffix in R:
        return read_r(path, variable)
    return read_geotiff(path) if suffix in GDAL else _read_npy(path)


def _read_npy(path: Path) -> Raster:
    """(y, x), (layer, y, x) or with a last axis of length one, as Sentinel's tools write."""
    try:
        stored = np.load(path, allow_pickle=False)
    except Exception as problem:  # a damaged header fails in numpy's parser, with several unrelated classes
        raise DataError(f"cannot read {path}: {problem}; give a whole .npy file of numbers.") from problem
    if stored.ndim in (3, 4) and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim not in (2, 3):
        raise ShapeError(f"{path.name} is {stored.shape}; a raster is (y, x) or (layer, y, x).")
    truth = stored.dtype.kind == "b"
    stored = native(stored if stored.ndim == 3 else stored[None])
    layers = Layers("layer", np.arange(len(stored))) if len(stored) > 1 else Layers()
    nodata = float("nan") if stored.dtype.kind == "f" else None
    kind = Kind.CATEGORICAL if truth else Kind.CONTINUOUS
    return Raster(path.stem, stored, MapGrid(stored.shape[1:]), "1", kind, nodata, layers=layers)
