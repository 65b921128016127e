"""Large rasters by windows: read one part, write one part, in memory that does not grow with the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.formats import cf, geotiff, geotiff_written, netcdf_cf, zarr_store
from posteriori.core.map_grid import MapGrid
from posteriori.core.raster import Layers, Raster
from posteriori.domains.geography.raster import GDAL, GEOTIFF, NETCDF, form, require_meant

Write = Callable[[slice, slice, Raster], None]
CORNER = slice(0, 1)


@dataclass(frozen=True)
class Windows:
    """An open raster file.

    Attributes:
        grid: of the whole.
        layers: of the whole.
        read: ``read(rows, columns)`` is the raster in that window.
    """

    grid: MapGrid
    layers: Layers
    read: Callable[[slice, slice], Raster]


@contextmanager
def window_reader(
    path: str | Path, variable: str | None = None, at: Mapping[str, Any] | None = None
) -> Iterator[Windows]:
    """A NetCDF, Zarr or GeoTIFF file of which only what is asked for is read; arguments as ``read_raster``.

    Raises:
        DataError: no such file or variable, or one that is no raster.
    """
    path = Path(path)
    suffix = form(path)
    if suffix in GDAL:
        with geotiff.opened(path) as source:
            read = partial(geotiff.window, source, path)
            require_meant(read(CORNER, CORNER), path, variable, at)
            yield Windows(geotiff.grid_of(source), geotiff.layers_of(source), read)
        return
    if suffix not in (*NETCDF, ".zarr"):
        raise DataError(f"windows are read from .nc, .zarr and .tif, not {path.name}.")
    with zarr_store.opened(path) if suffix == ".zarr" else netcdf_cf.opened(path) as dataset:
        read = partial(cf.decoded, dataset, path.name, variable, at)
        yield Windows(cf.grid_of(dataset, path.name, variable), read(CORNER, CORNER).layers, read)


@contextmanager
def window_writer(path: str | Path, like: Raster, grid: MapGrid) -> Iterator[Write]:
    """A new Zarr store or cloud-optimised GeoTIFF on ``grid``; ``write(rows, columns, window)`` puts a window in place.

    Windows may come in any order; the file appears when the block ends well and not at all otherwise. Cells that nobody
    wrote are gaps where ``like`` has a nodata number, else zero.

    Args:
        like: any raster of the dtype, scale, nodata number, unit, kind and layers that the file is to have, such as the
            first window.
        grid: where the cells of the whole lie.

    Raises:
        DataError: another ending, or a window stored in another way than ``like``.
        ShapeError: a window that does not lie where it is put. StoreError: the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in GEOTIFF:
        with geotiff_written.windows(like, grid, path) as put:

            def write(rows: slice, columns: slice, window: Raster) -> None:
                _require_fitting(like, grid, rows, columns, window)
                put(rows, columns, window.stored)

            yield write
    elif suffix == ".zarr":
        with zarr_store.store([like], path, grid) as keep:

            def write_chunk(rows: slice, columns: slice, window: Raster) -> None:
                _require_fitting(like, grid, rows, columns, window)
                keep(like.name, rows, columns, window.stored)

            yield write_chunk
    else:
        raise DataError(f"windows are written to .zarr and .tif, not {path.name}.")


def _require_fitting(like: Raster, grid: MapGrid, rows: slice, columns: slice, window: Raster) -> None:
    facts = [(r.stored.dtype.name, repr(r.nodata), r.scale, r.offset, r.unit) for r in (like, window)]
    if facts[0] != facts[1]:
        raise DataError(
            f"a window is stored as {facts[1]}, the file as {facts[0]}; make it with replaced(…) or derived(…)."
        )
    place = grid.window(rows, columns)
    if difference := place.difference(window.grid):
        raise ShapeError(f"a window does not lie at rows {rows} and columns {columns} of the file: {difference}.")
    if len(window.stored) != len(like.layers.labels):
        raise ShapeError(f"a window has {len(window.stored)} layers, the file {len(like.layers.labels)}.")
