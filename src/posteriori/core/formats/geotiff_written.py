"""Cloud-optimised GeoTIFF: tiled, compressed without loss, with overviews; written whole or window by window."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from posteriori.core import optional
from posteriori.core.errors import DataError, StoreError
from posteriori.core.formats.geotiff import ENVIRONMENT, OURS
from posteriori.core.map_grid import MapGrid
from posteriori.core.raster import Kind, Raster
from posteriori.core.store import renamed

BLOCK = 256
Put = Callable[[slice, slice, "np.ndarray[Any, Any]"], None]


def write_geotiff(raster: Raster, path: Path) -> None:
    """A raster as a cloud-optimised GeoTIFF, its layers as bands; whole or not at all.

    Raises:
        DataError: a grid that is not even, or a dtype that GeoTIFF has not. StoreError: the file cannot be written.
    """
    with windows(raster, raster.grid, path) as put:
        put(slice(None), slice(None), raster.stored)


@contextmanager
def windows(like: Raster, grid: MapGrid, path: Path) -> Iterator[Put]:
    """A GeoTIFF on ``grid`` that is else as ``like``; ``put(rows, columns, stored)`` writes a window of it.

    Windows go to a tiled file beside ``path``; from that the cloud-optimised one with its overviews is made at the end,
    in memory that does not depend on the size. Cells that nobody wrote are gaps where there is a nodata number.

    Raises:
        DataError: as ``write_geotiff``. StoreError: the file cannot be written.
    """
    rasterio = optional.require("rasterio", "geography")
    with rasterio.Env():
        profile = _profile(like, grid, rasterio)
    with renamed(path) as temporary:
        tiles = temporary.with_suffix(".tiles")
        try:
            with warnings.catch_warnings(), rasterio.Env(**ENVIRONMENT):
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                with rasterio.open(tiles, "w", **profile) as target:
                    _describe(target, like, grid)

                    def put(rows: slice, columns: slice, stored: np.ndarray[Any, Any]) -> None:
                        (top, bottom, _), (left, right, _) = rows.indices(grid.shape[0]), columns.indices(grid.shape[1])
                        window = rasterio.windows.Window(left, top, right - left, bottom - top)
                        target.write(stored, window=window)

                    yield put
                optional.require("rasterio.shutil", "geography").copy(
                    tiles, temporary, driver="COG", **_cog(like, grid)
                )
        except rasterio.errors.RasterioError as problem:
            raise StoreError(f"cannot write {path}: {problem}; what stood there before is untouched.") from problem
        finally:
            tiles.unlink(missing_ok=True)


def _profile(like: Raster, grid: MapGrid, rasterio: Any) -> dict[str, Any]:
    dtype = like.stored.dtype
    if dtype.name not in rasterio.dtypes.dtype_rev or dtype.kind not in "fiu" or dtype == np.float16:
        raise DataError(f"GeoTIFF has no {dtype}; store {like.name} in another dtype.")
    if grid.transform is None:
        raise DataError(
            f"the axes of {like.name} are not even, which GeoTIFF cannot say; use regrid.onto(…) or NetCDF."
        )
    if like.nodata is not None and dtype.kind != "f" and abs(int(like.nodata)) > 2**53:
        raise DataError(f"GeoTIFF keeps nodata numbers to 53 bits, not {like.nodata}; choose another number or NetCDF.")
    rows, columns = grid.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "count": len(like.layers.labels),
        "dtype": dtype.name,
        "transform": rasterio.Affine(*grid.transform),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
        "sparse_ok": True,
        "nodata": like.nodata,
    }
    if grid.crs is not None:
        try:
            profile["crs"] = rasterio.crs.CRS.from_wkt(grid.crs)
        except rasterio.errors.CRSError as problem:
            raise DataError(f"GDAL cannot read the coordinate system of {like.name}: {problem}.") from problem
    return profile


def _cog(like: Raster, grid: MapGrid) -> dict[str, Any]:
    averaged = "nearest" if like.kind.classes or like.kind is Kind.CIRCULAR else "average"
    return {
        "compress": "deflate",
        "level": 6,
        "predictor": "yes" if like.stored.dtype.itemsize > 1 else "no",
        "blocksize": BLOCK,
        "overview_resampling": averaged,
        "bigtiff": "if_safer",
        "num_threads": 1,
    }


def _describe(target: Any, like: Raster, grid: MapGrid) -> None:
    bands = len(like.layers.labels)
    target.scales, target.offsets = (like.scale,) * bands, (like.offset,) * bands
    target.units = (like.unit,) * bands
    text = [like.name] if bands == 1 else [f"{like.name} {label}" for label in _spoken(like)]
    for number, words in enumerate(text, 1):
        target.set_band_description(number, words)
    target.update_tags(**{OURS: json.dumps(_beside(like, grid), ensure_ascii=False)})
    if like.palette is not None and bands == 1 and like.stored.dtype in (np.uint8, np.uint16):
        target.write_colormap(1, dict(like.palette))


def _beside(like: Raster, grid: MapGrid) -> dict[str, Any]:
    """What GeoTIFF has no place for, or keeps in another way than it was given."""
    layers = like.layers
    return {
        "name": like.name,
        "kind": str(like.kind),
        "unit": like.unit,
        "crs": grid.crs,
        "transform": grid.transform,
        "layers": {
            "dim": layers.dim,
            "labels": layers.labels.tolist(),
            "dtype": layers.labels.dtype.str,
            "unit": layers.unit,
            "calendar": layers.calendar,
        },
        "attributes": {k: _plain(v) for k, v in like.attributes.items()},
        "palette": like.palette and {str(k): list(v) for k, v in like.palette.items()},
    }


def _spoken(like: Raster) -> list[str]:
    """Labels as QGIS shows them: times as dates."""
    try:
        return [str(moment) for moment in like.times.astype("datetime64[s]")] if like.layers.timed else _text(like)
    except DataError:
        return _text(like)


def _text(like: Raster) -> list[str]:
    return [str(label) for label in like.layers.labels.tolist()]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
