"""Rain to forecast: radar frames as block means, and made-up rain whose motion and law are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError, OptionError
from posteriori.core.map_grid import MapGrid, as_wkt
from posteriori.core.random import Rng
from posteriori.core.raster import Layers, Raster
from posteriori.domains.geography.steps import periodic_noise

Floats = NDArray[np.float64]
START = np.datetime64("2021-06-01T00:00:00")
SIDE = 64
FRAMES = 96
FLOW = (0.9, 1.7)
"""Motion of the made-up rain [cells per frame] along (y, x)."""
MEMORY = 0.97
"""Correlation of one frame of made-up rain with the next, along the motion."""
LENGTH, SLOPE = 8.0, 2.8
"""Of the amplitude of made-up fields [cells], as in ``periodic_noise``."""
SPREAD, MIDDLE = 1.2, -1.0
"""Of the logarithm of made-up rain [mm]."""
LEAST = 0.3
"""Made-up rain [mm] below which none is counted; it is taken off what remains."""


@dataclass(frozen=True, eq=False)
class Rain:
    """Frames at even times.

    Attributes:
        fields: (frame, y, x) [mm], zero where unknown.
        known: (frame, y, x).
        grid: where the cells lie.
        times: (frame,).
        cell: length of a cell [km].
        minutes: between frames.
    """

    fields: Floats
    known: NDArray[np.bool_]
    grid: MapGrid
    times: NDArray[np.datetime64]
    cell: float
    minutes: float


def rain_of(raster: Raster, block: int) -> Rain:
    """Block means of ``block`` x ``block`` cells; negative cells and gaps do not count.

    Raises:
        DataError: no times, uneven ones, classes, a unit that is no depth of rain, or no rain at all.
        OptionError: blocks that do not divide the grid, or leave fewer than 32 cells a side.
    """
    if not raster.layers.timed or len(raster.times) < 24:
        raise DataError(f"{raster.name} has {len(raster.stored)} layer(s); a nowcast needs 24 frames with times.")
    steps = np.unique(np.diff(raster.times) / np.timedelta64(1, "m"))
    if len(steps) != 1 or not steps[0] > 0:
        raise DataError(f"frames lie {steps.min():g} to {steps.max():g} minutes apart; give frames at even times.")
    if raster.kind.classes or raster.unit.replace(" ", "") not in ("kgm-2", "mm", "kgm**-2", "kg/m2", "kg/m**2"):
        raise DataError(f"{raster.name} [{raster.unit}] is no depth of rain a frame; give one in mm or kg m-2.")
    raster = raster.hidden(raster.values < 0) if (raster.values < 0).any() else raster
    height, width = raster.grid.shape
    if block < 1 or height % block or width % block or min(height, width) < 32 * block:
        raise OptionError(f"blocks of {block} cells do not fit {height} x {width} with 32 blocks or more a side.")
    parts = (len(raster.stored), height // block, block, width // block, block)
    counts = raster.observed.reshape(parts).sum((2, 4))
    sums = np.nan_to_num(raster.values).reshape(parts).sum((2, 4))
    if not sums.any():
        raise DataError(f"{raster.name} has no rain in any frame.")
    grid = coarse(raster.grid, block)
    return Rain(sums / np.maximum(counts, 1), counts > 0, grid, raster.times, cell_km(grid), float(steps[0]))


def coarse(grid: MapGrid, block: int) -> MapGrid:
    """The grid of blocks of ``block`` x ``block`` cells.

    Raises:
        DataError: cells that are rotated or uneven.
    """
    a, x0, e, y0 = _even(grid)
    shape = (grid.shape[0] // block, grid.shape[1] // block)
    return MapGrid(shape, (a * block, 0.0, x0, 0.0, e * block, y0), grid.crs)


def cell_km(grid: MapGrid) -> float:
    """Mean length of a cell [km]."""
    a, _, e, y0 = _even(grid)
    size = float(np.sqrt(abs(a * e)))
    if grid.geographic:
        middle = y0 + 0.5 * e * grid.shape[0]
        return float(size * 111.2 * np.sqrt(np.cos(np.deg2rad(middle))))
    return size / 1000 if size >= 50 else size


@dataclass(frozen=True, eq=False)
class MadeUpRain:
    """Rain by a Gaussian field that is carried along and slowly replaced: its forecast law is known.

    The logarithm at p is ρ times that at p - d a frame before plus fresh noise of the same spectrum, periodic; rain is
    what exceeds ``LEAST``.
    """

    side: int = SIDE

    def scores(self, frames: int, rng: Rng) -> Floats:
        """Standard normal fields, (frame, y, x)."""
        fields = [self._fresh(1, rng.child(0))[0]]
        for at in range(1, frames):
            fresh = self._fresh(1, rng.child(at))[0]
            fields.append(MEMORY * self._moved(fields[-1], 1) + np.sqrt(1 - MEMORY**2) * fresh)
        return np.stack(fields)

    def ahead(self, scores: Floats, frames: int, members: int, rng: Rng) -> Floats:
        """Members (member, y, x) [mm] of the exact law ``frames`` after a field of scores."""
        kept = MEMORY**frames
        return self.rain(kept * self._moved(scores, frames) + np.sqrt(1 - kept**2) * self._fresh(members, rng))

    @staticmethod
    def rain(scores: Floats) -> Floats:
        """Rain [mm] of scores."""
        return np.maximum(np.exp(MIDDLE + SPREAD * scores) - LEAST, 0.0)

    def _fresh(self, n: int, rng: Rng) -> Floats:
        return periodic_noise(n, (self.side, self.side), LENGTH, SLOPE, rng)

    def _moved(self, field: Floats, frames: float) -> Floats:
        """A field carried along, exactly."""
        ky, kx = np.fft.fftfreq(self.side)[:, None], np.fft.rfftfreq(self.side)[None]
        phase = np.exp(-2j * np.pi * frames * (ky * FLOW[0] + kx * FLOW[1]))
        return np.asarray(np.fft.irfft2(np.fft.rfft2(field) * phase, field.shape))


def made_up(rng: Rng) -> tuple[Raster, Floats]:
    """Made-up frames as a raster of 2 km cells each 10 minutes, and the scores they come from."""
    scores = MadeUpRain().scores(FRAMES, rng)
    grid = MapGrid((SIDE, SIDE), (2000.0, 0.0, 0.0, 0.0, -2000.0, 0.0), as_wkt("EPSG:32633"))
    layers = Layers.at(START + np.arange(FRAMES) * np.timedelta64(10, "m"))
    return Raster("rain", MadeUpRain.rain(scores), grid, "mm", nodata=float("nan"), layers=layers), scores


def _even(grid: MapGrid) -> tuple[float, float, float, float]:
    """Width of a cell, west, height of a cell, north."""
    if grid.rotated or grid.transform is None:
        raise DataError(
            "rain on rotated or uneven cells cannot be averaged over blocks; put it on a grid by regrid.onto."
        )
    a, _, x0, _, e, y0 = grid.transform
    return a, x0, e, y0
