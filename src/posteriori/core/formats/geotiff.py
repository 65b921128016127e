"""Rasters in GeoTIFF, and in whatever else GDAL opens: ESRI grids, GIF, PNG."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from posteriori.core import optional
from posteriori.core.errors import DataError
from posteriori.core.formats.netcdf_cf import kind_of
from posteriori.core.map_grid import MapGrid
from posteriori.core.raster import Kind, Layers, Raster, representable

TAGS = ("name", "kind", "layer_dim", "layer_unit", "layer_calendar")


def read_geotiff(path: Path) -> Raster:
    """All bands of a GeoTIFF as the layers of one raster.

    Raises:
        DataError: no such file, one that GDAL cannot read, or bands of several scales, units or nodata numbers.
    """
    with opened(path) as source:
        return described(source, source.read(), path)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as rasterio opens it; errors of GDAL become one that names the file."""
    rasterio = optional.require("rasterio", "geography")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                yield source
    except (rasterio.errors.RasterioError, OSError, ValueError) as problem:
        if isinstance(problem, DataError):
            raise
        raise DataError(f"cannot read {path}: {problem}; give a whole raster file.") from problem


def described(source: Any, stored: np.ndarray[Any, Any], path: Path) -> Raster:
    """``stored`` (band, y, x) with all that the opened file says of it."""
    for what, each in (("scales", source.scales), ("offsets", source.offsets), ("nodata numbers", source.nodatavals)):
        if len({repr(one) for one in each}) > 1:
            raise DataError(f"the bands of {path.name} have the {what} {each}; split the file by bands.")
    tags = source.tags()
    a, b, c, d, e, f = tuple(source.transform)[:6]
    grid = MapGrid(stored.shape[1:], (a, b, c, d, e, f), source.crs.to_wkt() if source.crs else None)
    palette = _palette(source)
    name = tags.get("name") or (source.descriptions[0] if source.count == 1 else None) or path.stem
    unit = source.units[0] or "1"
    kind = kind_of(name, tags)
    if palette is not None and "kind" not in tags:
        kind = Kind.CATEGORICAL
    nodata = source.nodata
    if nodata is not None and stored.dtype.kind != "f":
        nodata = int(nodata) if representable(nodata, stored.dtype) else None
    return Raster(
        name=name,
        stored=stored,
        grid=grid,
        unit=unit,
        kind=kind,
        nodata=nodata,
        scale=float(source.scales[0]),
        offset=float(source.offsets[0]),
        layers=_layers(source, tags),
        attributes={k: v for k, v in tags.items() if k not in TAGS},
        palette=palette,
    )


def _layers(source: Any, tags: dict[str, str]) -> Layers:
    if "layer_dim" in tags:
        labels = np.array(source.descriptions)
        if tags.get("layer_unit"):
            numbers = [float(text) for text in source.descriptions]
            whole = all("." not in text and "e" not in text.lower() for text in source.descriptions)
            labels = np.array([int(t) for t in source.descriptions]) if whole else np.array(numbers)
        return Layers(tags["layer_dim"], labels, tags.get("layer_unit", ""), tags.get("layer_calendar", "standard"))
    if source.count == 1:
        return Layers()
    named = [text or str(i + 1) for i, text in enumerate(source.descriptions)]
    return Layers("band", np.array(named))


def _palette(source: Any) -> dict[int, tuple[int, int, int, int]] | None:
    if source.count != 1:
        return None
    try:
        return {int(k): tuple(v) for k, v in source.colormap(1).items()}
    except ValueError:
        return None
