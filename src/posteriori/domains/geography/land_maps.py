"""Maps of land classes in time with what drives their change, read and checked."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError, OptionError
from posteriori.core.raster import Kind, Layers, Raster, representable
from posteriori.domains.geography.raster import named, read_raster
from posteriori.domains.geography.regrid import Resampling, onto, require_same_grid

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
FEWEST_CELLS = 8
"""Rows and columns that a map needs at least."""


@dataclass(frozen=True, eq=False)
class Driver:
    """What may draw or hold off change: ``values`` (map or 1, y, x), one layer for each map or one for all.

    A driver of two numbers is a set of places (roads, parks), of which distance and density count.
    """

    name: str
    values: Floats

    @property
    def places(self) -> bool:
        """Whether it has two values only."""
        return len(np.unique(self.values)) <= 2

    def at(self, time: int) -> Floats:
        """The layer that belongs to the map ``time``, (y, x)."""
        return self.values[time if len(self.values) > 1 else 0]


@dataclass(frozen=True, eq=False)
class LandMaps:
    """Classes in time.

    Attributes:
        raster: the last map, as stored.
        classes: the stored numbers of the classes, rising.
        codes: positions in ``classes`` (map, y, x), -1 where some map has a gap.
        years: of the maps, rising.
        drivers: what change is learnt from beside the maps.
        open: where change is possible (y, x): known, not excluded, not protected.
    """

    raster: Raster
    classes: tuple[int, ...]
    codes: Codes
    years: tuple[float, ...]
    drivers: tuple[Driver, ...]
    open: Mask

    @property
    def known(self) -> Mask:
        """Where every map has a class, (y, x)."""
        known: Mask = self.codes[0] >= 0
        return known

    def name(self, code: int) -> str:
        """How one speaks of a class."""
        return f"class {self.classes[code]}"

    def members(self, maps: Codes) -> Raster:
        """Maps of positions in ``classes`` (member, y, x) as layers, in the numbers of the maps given."""
        numbers, gap = np.array(self.classes), self.raster.nodata
        if gap is None or not representable(gap, np.dtype(np.int32)):
            gap = int(np.setdiff1d(np.arange(-1, 256), numbers)[-1])
        stored = np.where(maps < 0, gap, numbers[maps.clip(0)]).astype(np.int32)
        layers = Layers("member", np.arange(len(maps)))
        return Raster("land", stored, self.raster.grid, "1", Kind.CATEGORICAL, gap, layers=layers)


def read_land(
    data: Sequence[str],
    drivers: Sequence[str] = (),
    excluded: Path | None = None,
    protected: Path | None = None,
    years: Sequence[float] = (),
    regrid: bool = False,
) -> LandMaps:
    """Maps of classes in the files or patterns ``data``, in order of time, with drivers and closed cells.

    A raster in a file of several is named behind a colon: ``"pie.rda:lu_pie_1985"``.

    Args:
        data: files or patterns such as ``"urban.*.gif"``, at least two maps.
        drivers: files or patterns; a pattern of as many files as maps gives each map its own layer.
        excluded, protected: rasters; cells with the highest number of the file never change.
        years: of the maps; none for the last numbers in the names of the files.
        regrid: bring every raster onto the grid of the first map, classes from the nearest cell.

    Raises:
        DataError: no classes, fewer than two maps, nothing open. ShapeError: rasters on other grids.
    """
    layers = _layers(data)
    if len(layers) < 2:
        raise DataError(f"{len(layers)} map; change needs two maps at least: data=FIRST,SECOND or a pattern.")
    first = layers[0][1]
    layers = [(name, _placed(layer, first, regrid)) for name, layer in layers]
    for name, layer in layers:
        if (layer.stored.dtype.kind == "f" and (layer.values % 1 > 0).any()) or len(layer.classes) > 60:
            raise DataError(
                f"{name} holds no classes but {len(layer.classes)} different numbers; give maps of classes."
            )
    if min(first.grid.shape) < FEWEST_CELLS:
        raise DataError(f"maps of {first.grid.shape} cells; a neighbourhood needs {FEWEST_CELLS} along each side.")
    found = tuple(Driver(_driver_name(text), _driver(text, first, len(layers), regrid)) for text in drivers)
    seen = np.all([layer.observed[0] for _, layer in layers], axis=0)
    for driver in found:
        seen &= ~np.isnan(driver.values).any(0)
    every = np.unique(np.concatenate([layer.stored[0][seen] for _, layer in layers])).astype(np.int64)
    codes = np.stack([np.where(seen, np.searchsorted(every, layer.stored[0]), -1) for _, layer in layers])
    closed = [_closed(path, first, regrid) for path in (excluded, protected) if path is not None]
    free = seen & ~np.any([np.zeros_like(seen), *closed], axis=0)
    if not free.any():
        raise DataError("no cell may change: gaps, exclusion and protection leave none open.")
    filled = tuple(Driver(d.name, np.where(seen, d.values, np.nanmin(d.values))) for d in found)
    last = replace(layers[-1][1], kind=Kind.CATEGORICAL)
    when = _years(years, [name for name, _ in layers])
    return LandMaps(last, tuple(every.tolist()), codes.astype(np.int64), when, filled, free)


def _layers(data: Sequence[str]) -> list[tuple[str, Raster]]:
    """Single layers by the name of their file, or of their variable in it."""
    found: list[tuple[str, Raster]] = []
    for text in data:
        place, variable = _parted(text)
        pattern = glob.has_magic(place) and not Path(place).exists()
        for file in named(place) if pattern else [Path(place)]:
            raster = read_raster(file, variable)
            name = file.name if pattern or variable is None else variable
            found += [(name, raster.select([at])) for at in range(len(raster.stored))]
    return found


def _parted(text: str) -> tuple[str, str | None]:
    """File or pattern, and the variable behind a colon."""
    place, _, variable = text.rpartition(":")
    if place and not Path(text).exists() and (glob.has_magic(place) or Path(place).exists()):
        return place, variable
    return text, None


def _placed(layer: Raster, first: Raster, regrid: bool) -> Raster:
    if regrid and not first.grid.same(layer.grid):
        layer = onto(layer, first.grid, Resampling.NEAREST)
    require_same_grid(first, layer)
    return layer


def _driver(text: str, first: Raster, maps: int, regrid: bool) -> Floats:
    layers = [_placed(layer, first, regrid).values[0] for _, layer in _layers([text])]
    if len(layers) not in (1, maps):
        raise DataError(f"{text} gives {len(layers)} layers for {maps} maps; give one, or one for each map.")
    if len(np.unique(layers[0][~np.isnan(layers[0])])) < 2:
        raise DataError(f"{text} has one value only and tells nothing; leave it out.")
    return np.stack(layers)


def _driver_name(text: str) -> str:
    place, variable = _parted(text)
    return variable or Path(place).stem


def _closed(path: Path, first: Raster, regrid: bool) -> Mask:
    raster = _placed(_layers([str(path)])[0][1], first, regrid)
    values = raster.stored[0]
    top = values[raster.observed[0]].max()
    closed: Mask = raster.observed[0] & (values == top) & (top != 0)
    if closed.all() or not closed.any():
        raise DataError(f"{path} closes {'every cell' if closed.all() else 'nothing'}; its highest number is {top}.")
    return closed


def _years(given: Sequence[float], names: Sequence[str]) -> tuple[float, ...]:
    """Times of the maps: given, or the last whole number in each name, or 0, 1, 2 …"""
    if given:
        if len(given) != len(names) or not np.isfinite(given).all() or (np.diff(given) <= 0).any():
            raise OptionError(f"years={list(given)} for {len(names)} maps; give one for each, rising.")
        return tuple(given)
    numbers = [re.findall(r"\d+", name) for name in names]
    if all(numbers):
        read = [float(found[-1]) for found in numbers]
        if (np.diff(read) > 0).all():
            return tuple(read)
    return tuple(float(at) for at in range(len(names)))
