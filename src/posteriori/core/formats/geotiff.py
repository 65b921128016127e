"""Rasters in GeoTIFF, read and written bit for bit; ESRI grids, GIF and PNG are read the same way."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from posteriori.core import memory, optional
from posteriori.core.errors import DataError, PosterioriError
from posteriori.core.formats.cf import WINDOWS, kind_of, palette_of
from posteriori.core.map_grid import WGS84, MapGrid
from posteriori.core.raster import Kind, Layers, Raster, representable

ENVIRONMENT = {"GDAL_PAM_ENABLED": False, "GDAL_CACHEMAX": 64}
"""No side-car files; blocks kept by GDAL [MB]."""
EXACT = 1e-9
"""A transform within this share of a cell of the file's is the same, written before GDAL rounded it."""
DRIVER = ("TIFFTAG_SOFTWARE", "OVR_RESAMPLING_ALG")
OURS = "POSTERIORI"
"""The tag, in JSON, that says what GeoTIFF has no place for."""


def read_geotiff(path: Path) -> Raster:
    """All bands of a GeoTIFF as the layers of one raster.

    Raises:
        DataError: no such file, one that GDAL cannot read, or bands of several scales, units or nodata numbers.
    """
    with opened(path) as source:
        size = source.count * source.height * source.width * np.dtype(source.dtypes[0]).itemsize
        memory.require(2 * size, f"reading {source.shape} cells of {path.name}", WINDOWS)
        return described(source, path, source.read(), grid_of(source))


def window(source: Any, path: Path, rows: slice, columns: slice) -> Raster:
    """The part of an opened file in these rows and columns; errors as ``read_geotiff``."""
    whole = grid_of(source)
    (top, bottom, _), (left, right, _) = rows.indices(source.height), columns.indices(source.width)
    stored = source.read(window=((top, bottom), (left, right)))
    return described(source, path, stored, whole.window(rows, columns))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as rasterio opens it; errors of GDAL, and tags that it skips, become one error that names the file."""
    rasterio = optional.require("rasterio", "geography")
    try:
        with warnings.catch_warnings(), rasterio.Env(**ENVIRONMENT), _complaints() as heard:
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                if heard:
                    raise DataError(f"{path} is damaged: {heard[0]}; give a whole raster file.")
                yield source
    except PosterioriError:
        raise
    except (rasterio.errors.RasterioError, OSError, ValueError) as problem:
        told = str(problem.__cause__ or problem).rstrip(".")
        raise DataError(f"cannot read {path}: {told}; give a whole raster file.") from problem


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What GDAL says of tags that it skips, which rasterio only logs: a cut file would lose its system in silence."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "IO error" in text or "tag ignored" in text:
                heard.append(text)

    logger, listener = logging.getLogger("rasterio._env"), Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)


def described(source: Any, path: Path, stored: np.ndarray[Any, Any], grid: MapGrid) -> Raster:
    """``stored`` (band, y, x) on ``grid`` with all that the opened file says of it.

    Raises:
        DataError: the bands differ in scale, offset, unit or nodata number.
    """
    each = {
        "scales": source.scales,
        "offsets": source.offsets,
        "nodata numbers": source.nodatavals,
        "units": source.units,
    }
    for what, found in each.items():
        if len({repr(one) for one in found}) > 1:
            raise DataError(f"the bands of {path.name} have the {what} {found}; split the file by bands.")
    tags = {k: v for k, v in source.tags().items() if k not in ("AREA_OR_POINT", OURS, *DRIVER)}
    ours = ours_of(source)
    palette = palette_of(ours.get("palette")) or _palette(source)
    name = ours.get("name") or (source.descriptions[0] if source.count == 1 else None) or path.stem
    kind = kind_of(name, tags | ours)
    return Raster(
        name=name,
        stored=stored,
        grid=grid,
        unit=ours.get("unit") or source.units[0] or "1",
        kind=Kind.CATEGORICAL if palette is not None and "kind" not in ours else kind,
        nodata=_nodata(source, stored.dtype),
        scale=float(source.scales[0]),
        offset=float(source.offsets[0]),
        layers=layers_of(source),
        attributes=tags | ours.get("attributes", {}),
        palette=palette,
    )


def ours_of(source: Any) -> dict[str, Any]:
    """What this package wrote beside GeoTIFF's own keys; empty for a file of another hand."""
    try:
        found = json.loads(source.tags().get(OURS, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def grid_of(source: Any) -> MapGrid:
    """Where the cells lie; what was written beside GeoTIFF's own keys counts while both agree."""
    ours = ours_of(source)
    transform: Any = tuple(source.transform)[:6]
    told = tuple(ours.get("transform") or ())
    if len(told) == 6 and np.abs(np.subtract(told, transform)).max() <= EXACT * np.abs(transform).max():
        transform = told
    crs, kept = _crs(source.crs), ours.get("crs")
    if kept and (crs is None or _alike(_parsed(kept), source.crs)):
        crs = kept
    return MapGrid((source.height, source.width), transform, crs)


def layers_of(source: Any) -> Layers:
    """What the bands are: the layers that were written, else bands by their description or number."""
    about = ours_of(source).get("layers")
    if about and len(about["labels"]) == source.count:
        return Layers(about["dim"], np.array(about["labels"], about["dtype"]), about["unit"], about["calendar"])
    if source.count == 1:
        return Layers()
    return Layers("band", np.array([text or str(i + 1) for i, text in enumerate(source.descriptions)]))


def _parsed(crs: str) -> Any:
    return optional.require("rasterio", "geography").crs.CRS.from_wkt(crs)


def _alike(one: Any, other: Any) -> bool:
    """Whether two systems of rasterio are one; GDAL renames the datum of those that have no code."""
    return bool(one == other or one.to_proj4() == other.to_proj4())


def _crs(found: Any) -> str | None:
    if not found:
        return None
    return WGS84 if found.to_epsg() == 4326 else str(found.to_wkt())


def _nodata(source: Any, dtype: np.dtype[Any]) -> float | int | None:
    nodata = source.nodata
    if nodata is None or dtype.kind == "f":
        return None if nodata is None else float(nodata)
    return int(nodata) if representable(nodata, dtype) else None


def _palette(source: Any) -> dict[int, tuple[int, int, int, int]] | None:
    if source.count != 1:
        return None
    try:
        return {int(k): (v[0], v[1], v[2], v[3]) for k, v in source.colormap(1).items()}
    except ValueError:
        return None
