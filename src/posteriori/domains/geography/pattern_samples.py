"""What patterns are sought in: fields in time, daily courses of detectors, patches of change, and a made-up example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from posteriori.core.errors import DataError
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.core.raster import Raster
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.land_maps import Codes, Floats, LandMaps

FEWEST = 24
"""Samples that clusters are sought in at least."""
DAY = 86400.0
KINDS = 4
"""Weather regimes of the made-up pollution."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Things to be told apart.

    Attributes:
        name, unit: of the values.
        values: (sample, *shape), no gaps.
        shape: (y, x) of fields, (time,) of courses, () for rows of named features.
        block: label (sample,) of what is resampled together.
        at: where each sample belongs along a line of time, (sample,), in ``at_name``.
        entity: which detector (patch, field) each is.
        names: of the values, where ``shape`` is ().
        groups: labels that are known otherwise, by name: planted regimes, classical types.
        grid: of fields, or of the map that ``place`` lies on.
        place: label (y, x) of the sample in each cell, -1 for none.
    """

    name: str
    unit: str
    values: Floats
    shape: tuple[int, ...]
    block: Codes
    at: Floats
    at_name: str
    entity: Codes
    names: tuple[str, ...] = ()
    groups: Mapping[str, Codes] = field(default_factory=dict)
    grid: MapGrid | None = None
    place: Codes | None = None

    def __post_init__(self) -> None:
        if len(self.values) < FEWEST:
            raise DataError(f"{self.name}: {len(self.values)} samples; clusters need {FEWEST} at least.")
        if not np.isfinite(self.values).all():
            raise DataError(f"{self.name} has values that are not finite; fill its gaps first.")
        if (self.values == self.values[0]).all():
            raise DataError(f"{self.name} is the same in every sample; there is nothing to tell apart.")

    @property
    def rows(self) -> Floats:
        """(sample, number)."""
        return self.values.reshape(len(self.values), -1)


def fields_of(raster: Raster, block: int) -> Samples:
    """The layers of a raster, cells that are observed always; ``block`` successive layers go together.

    Raises:
        DataError: classes, or gaps that come and go.
    """
    if raster.kind.classes:
        raise DataError(f"{raster.name} holds classes; give two maps of classes, or fields in time.")
    values, always = raster.values, raster.observed.all(0)
    if (raster.observed.any(0) & ~always).any():
        raise DataError(f"{raster.name} has gaps that come and go; fill them: posteriori run geography/gap-filling.")
    values = np.where(always, values, 0.0)
    count = len(values)
    if raster.layers.timed:
        at, unit = (raster.times - raster.times[0]) / np.timedelta64(1, "h"), "hour"
    else:
        at, unit = np.arange(count, dtype=np.float64), "layer"
    every = np.arange(count)
    return Samples(
        raster.name, raster.unit, values, raster.grid.shape, every // block, at, unit, every, grid=raster.grid
    )


def courses_of(path: Path, per_day: int) -> Samples:
    """Daily courses of the columns of a table (time, detector), ``per_day`` rows a day, averaged to the hour.

    A course with a zero, which marks a gap, keeps its other values: gaps are filled along the day.

    Raises:
        DataError: no table of numbers, or no whole day.
    """
    try:
        table = pd.read_csv(path)
        numbers = table.to_numpy(np.float64)
    except (ValueError, OSError, pd.errors.ParserError) as problem:
        raise DataError(f"cannot read {path} as a table of numbers: {problem}.") from problem
    days = len(numbers) // per_day
    if days < 1 or per_day % 24:
        raise DataError(f"{path.name} has {len(numbers)} rows; a day of {per_day} (whole hours) is needed.")
    gap = ~np.isfinite(numbers) | (numbers == 0)
    filled = pd.DataFrame(np.where(gap, np.nan, numbers)).interpolate(limit_direction="both").to_numpy()
    if np.isnan(filled).any():
        raise DataError(f"{path.name} has a column without any value; leave it out.")
    hourly = filled[: days * per_day].reshape(days, 24, per_day // 24, -1).mean(2)
    courses = hourly.transpose(2, 0, 1).reshape(-1, 24)
    detector, day = np.divmod(np.arange(len(courses)), days)
    return Samples(path.stem, "", courses, (24,), detector, day.astype(np.float64), "day", detector)


def patches_of(land: LandMaps) -> Samples:
    """Patches of new land of the class that gains most, with size, nearness to old land and shape.

    The classical type of each: infill, where more than half of its rim is old land of the class; edge expansion; and
    outlying, where none is.

    Reference: Wilson et al. (2003), development of a geospatial model to quantify, describe and map urban growth.
    """
    rows, types, years, places = [], [], [], []
    gains = [np.bincount(now[(now != old) & (now >= 0)], minlength=len(land.classes)) for old, now in _steps(land)]
    code = int(np.sum(gains, axis=0).argmax())
    place, count = np.full(land.codes[0].shape, -1), 0
    for at, (old, now) in enumerate(_steps(land)):
        before, new = old == code, (now == code) & (old != code) & (old >= 0)
        labels, found = ndimage.label(new, np.ones((3, 3)))
        far = ndimage.distance_transform_edt(~before)
        around = ndimage.gaussian_filter(before.astype(np.float64), 6.0)
        for patch in range(1, found + 1):
            here = labels == patch
            rim = ndimage.binary_dilation(here, np.ones((3, 3))) & ~here
            touch = float(before[rim].mean())
            size = int(here.sum())
            edge = sum(int((here ^ np.roll(here, 1, axis)).sum()) for axis in (0, 1))
            shape = edge / (4 * np.sqrt(size))
            rows.append(
                [np.log(size), np.log1p(far[here].min() - 1), touch, np.log(shape), np.log(around[here].mean() + 1e-3)]
            )
            types.append(0 if touch > 0.5 else 1 if touch > 0 else 2)
            years.append(land.years[at + 1])
            places.append(np.argwhere(here).mean(0))
            place[here] = count
            count += 1
    if count < FEWEST:
        raise DataError(f"{count} patches of new {land.name(code)}; clusters need {FEWEST} at least.")
    block = np.floor(np.array(places) / 40).astype(np.int64)
    names = (
        "log size [cells]",
        "log distance to old land [cells]",
        "share of rim on old land",
        "log shape index",
        "log density of old land around",
    )
    return Samples(
        f"patches of {land.name(code)}",
        "1",
        np.array(rows),
        (),
        block[:, 0] * 10_000 + block[:, 1],
        np.array(years),
        "year",
        np.arange(count),
        names,
        {"infill, edge, outlying": np.array(types)},
        land.raster.grid,
        place,
    )


def _steps(land: LandMaps) -> list[tuple[Codes, Codes]]:
    return list(zip(land.codes[:-1], land.codes[1:], strict=True))


def polluted(rng: Rng, count: int = 360, noise: float = 0.35, planted: bool = True) -> Samples:
    """Made-up pollution over valleys of the shipped elevation model, one field a day, regimes that last some days.

    Regimes: pooled in the valleys; blown from the sources by a west wind; by a north wind; washed out. Without
    ``planted`` regimes the same mean, and noise of the same scales alone.
    """
    dem = load_dem().window(slice(60, 204), slice(100, 292))
    height = ndimage.zoom(ndimage.gaussian_filter(dem.values[0], 4.0), 1 / 8, order=1)[:18, :24]
    low = (height.max() - height) / np.ptp(height)
    draw = rng.numpy
    sources = np.zeros(height.shape)
    sources[draw.integers(3, 15, 6), draw.integers(3, 21, 6)] = 1.0
    spots = ndimage.gaussian_filter(sources, 1.0)
    spots /= spots.max()
    kernels = [np.eye(1), _plume(0, 1), _plume(1, 0)]
    pooled = low**2 + 0.5 * spots
    west, north = (ndimage.convolve(spots, kernel, mode="constant") for kernel in kernels[1:])
    shapes = np.stack([pooled, west / west.max(), north / north.max(), 0.15 * spots + 0.1])
    shapes = shapes / shapes.std((1, 2)).mean()
    regime = np.zeros(count, np.int64)
    for at in range(1, count):
        regime[at] = regime[at - 1] if draw.random() < 0.75 else draw.integers(KINDS)
    mean = shapes[regime] if planted else np.broadcast_to(shapes.mean(0), (count, *height.shape))
    strength = np.exp(0.15 * draw.standard_normal(count))[:, None, None]
    smooth = ndimage.gaussian_filter(draw.standard_normal((count, *height.shape)), (1.0, 2.0, 2.0), mode="wrap")
    values = 30.0 + 12.0 * (strength * mean + noise * smooth / smooth.std() + 0.1 * draw.standard_normal(mean.shape))
    every = np.arange(count)
    groups = {"planted": regime} if planted else {}
    return Samples(
        "pollution",
        "ug m-3",
        values,
        height.shape,
        every // 10,
        every.astype(np.float64),
        "day",
        every,
        groups=groups,
        grid=MapGrid(height.shape),
    )


def _plume(down: int, along: int) -> NDArray[np.float64]:
    """What one source does to cells downwind, up to eight cells away."""
    y, x = np.mgrid[-8:9, -8:9].astype(np.float64)
    ahead, aside = down * y + along * x, along * y - down * x
    return np.where(ahead >= 0, np.exp(-ahead / 4 - 0.5 * (aside / (0.7 + 0.15 * ahead.clip(0))) ** 2), 0.0)
