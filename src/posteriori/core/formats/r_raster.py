"""Rasters that R saved (.rda, .rdata, .rds): objects of the package raster, found by their names in R."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
from collections.abc import Callable, Iterator, Mapping
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from posteriori.core import memory, optional
from posteriori.core.errors import DataError, MemoryBudgetError
from posteriori.core.map_grid import MapGrid
from posteriori.core.raster import Kind, Raster, Stored

ENDINGS = (".rda", ".rdata", ".rds")
NA = -(2**31)
"""What R stores for a missing whole number."""
CORNERS = ("xmin", "xmax", "ymin", "ymax")
PACKED: Mapping[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""How to open what R packed, by the first two bytes."""


def read_r(path: Path, variable: str | None = None) -> Raster:
    """A RasterLayer of the R package raster; ``variable`` is its name in R, ``"sibuyan$maps$ef_001"`` or its end.

    Raises:
        DataError: a damaged file, no such layer, several, or one whose cells are not in the file.
        MemoryBudgetError: its objects, unpacked, would not fit in memory.
    """
    root, what = _parsed(path), path.name
    try:
        layers = [(name, found) for name, found in _tree(path, root) if _text(found, "class") == "RasterLayer"]
        name, layer = _meant(path, layers, variable)
        what = f"{name} in {path.name}"
        return _raster(name.rpartition("$")[2], layer)
    except DataError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as problem:
        raise DataError(
            f"{what} holds no whole RasterLayer ({problem!r}); save it anew, or write a GeoTIFF."
        ) from problem


def _meant(path: Path, layers: list[tuple[str, Any]], variable: str | None) -> tuple[str, Any]:
    """The layer of that name, else the only one whose name ends so."""
    if not layers:
        raise DataError(f"{path.name} holds no RasterLayer of R's package raster; save one, or write a GeoTIFF.")
    ending = [each for each in layers if variable is None or f"${each[0]}".endswith(f"${variable}")]
    meant = [each for each in ending if each[0] == variable] or ending
    if len(meant) != 1:
        what = "several layers" if variable is None else f"{len(meant) or 'no'} layers named {variable!r}"
        raise DataError(f"{path.name} holds {what} of {', '.join(name for name, _ in layers)}; name one: variable=…")
    return meant[0]


def _parsed(path: Path) -> Any:
    """The object that all others in the file hang from."""
    parser = optional.require("rdata.parser", "geography")
    try:
        memory.require(3 * _unpacked(path), f"reading {path.name}", "save fewer objects, or write a GeoTIFF")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return parser.parse_file(path, extension=".rds" if path.suffix.lower() == ".rds" else ".rda").object
    except MemoryBudgetError:
        raise
    except Exception as problem:  # a damaged file fails in the parser, with several unrelated classes
        raise DataError(f"cannot read {path}: {problem!r}; give a whole file that R saved.") from problem


def _unpacked(path: Path) -> int:
    """Bytes of the file once unpacked, which needs little memory."""
    with path.open("rb") as file:
        start = file.read(2)
    opened: BinaryIO
    with PACKED[start](path) if start in PACKED else path.open("rb") as opened:
        return opened.seek(0, SEEK_END)


def _tree(path: Path, root: Any) -> Iterator[tuple[str, Any]]:
    """All objects in the file that are no lists, with their names in R."""
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
