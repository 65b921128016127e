"""Rasters that R saved (.rda, .rdata, .rds): objects of the package raster, found by their names in R."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from posteriori.core import optional
from posteriori.core.errors import DataError
from posteriori.core.map_grid import MapGrid
from posteriori.core.raster import Kind, Raster, Stored

ENDINGS = (".rda", ".rdata", ".rds")
NA = -(2**31)
"""What R stores for a missing whole number."""
CORNERS = ("xmin", "xmax", "ymin", "ymax")


def read_r(path: Path, variable: str | None = None) -> Raster:
    """A RasterLayer of the R package raster; ``variable`` is its name in R, ``"sibuyan$maps$ef_001"`` or its end.

    Raises:
        DataError: a damaged file, no such layer, several, or one whose cells are not in the file.
    """
    layers = {name: found for name, found in _tree(path) if _text(found, "class") == "RasterLayer"}
    if not layers:
        raise DataError(f"{path.name} holds no RasterLayer of R's package raster; save one, or write a GeoTIFF.")
    meant = [name for name in layers if variable is None or f"${name}".endswith(f"${variable}")]
    if len(meant) != 1:
        what = "several layers" if variable is None else f"{len(meant) or 'no'} layers named {variable!r}"
        raise DataError(f"{path.name} holds {what} of {', '.join(layers)}; name one: variable=…")
    try:
        return _raster(meant[0].rpartition("$")[2], layers[meant[0]])
    except (AttributeError, IndexError, KeyError, TypeError) as problem:
        raise DataError(
            f"{meant[0]} in {path.name} is no whole RasterLayer ({problem!r}); save it anew, or write a GeoTIFF."
        ) from problem


def _tree(path: Path) -> Iterator[tuple[str, Any]]:
    """All objects in the file that are no lists, with their names in R."""
    parser = optional.require("rdata.parser", "geography")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            root = parser.parse_file(path, extension=".rds" if path.suffix.lower() == ".rds" else ".rda").object
    except Exception as problem:  # a damaged file fails in the parser, with several unrelated classes
        raise DataError(f"cannot read {path}: {problem!r}; give a whole file that R saved.") from problem
    if path.suffix.lower() == ".rds":
        yield from _below(path.stem, root)
    else:
        for name, found in _pairs(root):
            yield from _below(name, found)


def _below(name: str, found: Any) -> Iterator[tuple[str, Any]]:
    if found.info.type.name != "VEC":
        yield name, found
        return
    names = _slots(found).get("names")
    told = [text.value.decode() for text in names.value] if names is not None else map(str, range(len(found.value)))
    for each, inner in zip(told, found.value, strict=True):
        yield from _below(f"{name}${each}", inner)


def _pairs(chain: Any) -> Iterator[tuple[str, Any]]:
    """Tags and values of one of R's linked lists."""
    while chain is not None and chain.info.type.name == "LIST":
        tag = chain.tag
        yield (tag.referenced_object or tag).value.value.decode(), chain.value[0]
        chain = chain.value[1]


def _slots(found: Any) -> dict[str, Any]:
    return dict(_pairs(found.attributes))


def _text(found: Any, slot: str) -> str | None:
    """The text in a slot, None for R's NA or no such slot."""
    values = _slots(found).get(slot)
    if values is None or values.info.type.name != "STR" or not values.value or values.value[0].value is None:
        return None
    return str(values.value[0].value.decode())


def _raster(name: str, layer: Any) -> Raster:
    slots = _slots(layer)
    data = _slots(slots["data"])
    if slots["rotated"].value[0]:
        raise DataError(f"{name} is a rotated layer of R, which is not read; write it as a GeoTIFF.")
    if not data["inmemory"].value[0]:
        raise DataError(f"the cells of {name} are not in the file but in {_text(slots['file'], 'name')}; give that.")
    shape = (int(slots["nrows"].value[0]), int(slots["ncols"].value[0]))
    stored, nodata = _cells(data["values"].value)
    if stored.size != shape[0] * shape[1]:
        raise DataError(f"{name} has {stored.size} values for {shape} cells; save it anew, or write a GeoTIFF.")
    palette = _palette(_slots(slots["legend"])["colortable"])
    return Raster(
        name,
        stored.reshape(1, *shape),
        _grid(shape, _slots(slots["extent"]), slots["crs"]),
        _text(slots["data"], "unit") or "1",
        Kind.CATEGORICAL if palette or data["isfactor"].value[0] else Kind.CONTINUOUS,
        nodata,
        palette=palette,
    )


def _cells(values: Any) -> tuple[Stored, float | int]:
    """Cells as R stores them, and the number of a gap."""
    if values.dtype.kind == "f":
        return np.asarray(values, np.float64), float("nan")
    return np.ma.filled(np.ma.asarray(values).astype(np.int32), NA), NA


def _grid(shape: tuple[int, int], extent: Mapping[str, Any], crs: Any) -> MapGrid:
    west, east, south, north = (float(extent[corner].value[0]) for corner in CORNERS)
    rows, columns = shape
    transform = ((east - west) / columns, 0.0, west, 0.0, (south - north) / rows, north)
    return MapGrid(shape, transform, _text(crs, "comment") or _text(crs, "projargs"))


def _palette(table: Any) -> dict[int, tuple[int, int, int, int]] | None:
    """Colours "#RRGGBB" of the classes 0, 1, 2 …, where there are any."""
    if table.info.type.name != "STR" or not table.value:
        return None
    colours = [bytes.fromhex(text.value.decode().lstrip("#")) for text in table.value]
    return {at: (each[0], each[1], each[2], each[3] if len(each) > 3 else 255) for at, each in enumerate(colours)}
