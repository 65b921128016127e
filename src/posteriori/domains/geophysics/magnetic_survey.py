"""Surveys of total-field anomalies: a user's table, or one simulated over a known body."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core import units
from posteriori.core.errors import DataError, UnitError
from posteriori.core.formats.csv import CsvTable, columns_by_name, read_csv
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.domains.geophysics.stations import projected
from posteriori.physics.magnetics import Magnetised, ScatteredMagnetics
from posteriori.physics.prism_mesh import borders, mesh

Floats = NDArray[np.float64]
COLUMNS = {
    "longitude": ("deg", -180.0, 360.0),
    "latitude": ("deg", -90.0, 90.0),
    "easting": ("m", -2e7, 2e7),
    "northing": ("m", -2e7, 2e7),
    "height": ("m", -1000.0, 20000.0),
    "anomaly": ("nT", -2e4, 2e4),
    "sigma": ("nT", 1e-6, 2e4),
}
"""Unit and range of each column; an absolute field of 20,000 nT or more is no anomaly."""
NAMES = {
    "longitude": ("longitude", "lon"),
    "latitude": ("latitude", "lat"),
    "easting": ("easting", "x"),
    "northing": ("northing", "y"),
    "height": ("height",),
    "anomaly": ("anomaly", "tmi", "tfa"),
    "sigma": ("sigma",),
}
FEWEST = 60
"""Stations below which none can be held out."""
CHECKED = 2500.0
"""Side [m] of the simulated survey."""


@dataclass(frozen=True)
class Survey:
    """Total-field anomalies at stations, one number each in every array.

    Attributes:
        easting, northing: [m], a projection about the middle of the table where it gave angles.
        height: upwards [m].
        anomaly: [nT].
        sigma: standard deviation of each anomaly [nT]; None where it is not known.
        middle: longitude and latitude [degrees] of the middle; None where the table gave metres.
        hashes: of the file.
        truth: the mean susceptibility of each cell of a mesh, where the survey was simulated.
    """

    easting: Floats
    northing: Floats
    height: Floats
    anomaly: Floats
    sigma: Floats | None = None
    middle: tuple[float, float] | None = None
    hashes: dict[str, str] | None = None
    truth: Callable[[Space], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.anomaly)

    def part(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Survey:
        """The stations at ``index``."""
        cut: dict[str, Any] = {
            f.name: v[index] for f in fields(self) if isinstance(v := getattr(self, f.name), np.ndarray)
        }
        return replace(self, **cut)


def read_survey(path: Path) -> Survey:
    """A table of stations from a CSV file.

    Columns, in any order, others ignored: ``longitude`` and ``latitude`` [degrees] or ``easting`` and ``northing`` [m],
    ``height [m]``, ``anomaly [nT]`` (the field less IGRF) and, where known, ``sigma [nT]``. Units stand in brackets or
    as an ending (``height_m``) and are converted. Exact repetitions of a row are dropped.

    Raises:
        DataError, UnitError: a column or unit that is missing, or the first value that cannot be.
    """
    table = read_csv(path)
    heads = columns_by_name(table, NAMES)
    angles = "longitude" in heads
    place = ("longitude", "latitude") if angles else ("easting", "northing")
    missing = [c for c in (*place, "height", "anomaly") if c not in heads]
    if missing:
        raise DataError(
            f"{table.name} has the columns {', '.join(table.units)} and lacks {', '.join(missing)}; needed are easting "
            "[m] and northing [m] (or longitude and latitude), height [m] and anomaly [nT]."
        )
    found = {name: _column(table, *heads[name], name) for name in (*place, "height", "anomaly")}
    sigma = _column(table, *heads["sigma"], "sigma") if "sigma" in heads else None
    first, second = found[place[0]], found[place[1]]
    middle = (0.5 * float(first.min() + first.max()), 0.5 * float(second.min() + second.max())) if angles else None
    easting, northing = projected(first, second) if angles else (first, second)
    # two values at one position are two measurements; the same value there twice is one row copied
    rows = np.stack([easting, northing, found["height"], found["anomaly"]], 1)
    _, kept = np.unique(rows, axis=0, return_index=True)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    whole = Survey(easting, northing, found["height"], found["anomaly"], sigma, middle, hashes)
    survey = whole.part(np.sort(kept))
    if len(survey) < FEWEST:
        raise DataError(f"{table.name} has {len(survey)} stations; {FEWEST} are needed to hold some of them out.")
    if min(np.ptp(easting), np.ptp(northing)) <= 0:
        raise DataError(f"all stations of {table.name} lie on one line; a volume needs stations on an area.")
    if (wide := max(np.ptp(easting), np.ptp(northing))) < 1.0:
        raise DataError(
            f"all stations of {table.name} lie within {wide:.2g} m; name degrees longitude and latitude in the header."
        )
    if np.ptp(survey.anomaly) == 0:
        raise DataError(f"all anomalies of {table.name} are {survey.anomaly[0]:g} nT: there is nothing to learn from.")
    return survey


def thinned(survey: Survey, most: int) -> Survey:
    """At most ``most`` stations: means over square blocks, each a station at the mean of its positions.

    Errors within a block are taken as alike, so that sigma is that of the mean of one station: lines are sampled far
    more closely than their errors change.
    """
    if len(survey) <= most:
        return survey
    area = np.ptp(survey.easting) * np.ptp(survey.northing)
    size = np.sqrt(area / most)
    while True:
        columns = np.floor((survey.easting - survey.easting.min()) / size).astype(np.int64)
        rows = np.floor((survey.northing - survey.northing.min()) / size).astype(np.int64)
        _, block = np.unique(np.stack([rows, columns], 1), axis=0, return_inverse=True)
        counts = np.bincount(block.reshape(-1))
        if len(counts) <= most:
            break
        size *= 1.05

    def mean(values: Floats) -> Floats:
        found: Floats = np.bincount(block.reshape(-1), values) / counts
        return found

    sigma = None if survey.sigma is None else mean(survey.sigma)
    moved: dict[str, Any] = {name: mean(getattr(survey, name)) for name in ("easting", "northing", "height", "anomaly")}
    return replace(survey, **moved, sigma=sigma)


def around(survey: Survey, cells: int, layers: int, depth: float | None) -> Space:
    """A mesh of cubes below the survey, one cell wider on each side, layers thicker by a seventh each.

    Its top lies below the lowest station: at zero where stations are above it, so that heights above ground serve.

    Args:
        cells: along the longer side.
        depth: of its bottom below the top [m]; half of the longer side without.
    """
    spans = [np.ptp(survey.easting), np.ptp(survey.northing)]
    size = max(spans) / (cells - 2)
    edges = []
    for at, span in ((survey.easting, spans[0]), (survey.northing, spans[1])):
        many = int(np.ceil(span / size)) + 2
        edges.append(0.5 * (at.min() + at.max()) + size * (np.arange(many + 1) - 0.5 * many))
    grown = np.cumsum((8 / 7) ** np.arange(layers))
    below = (depth or 0.5 * max(spans)) * np.append(0.0, grown / grown[-1])
    lowest = float(survey.height.min())
    top = 0.0 if 0 < lowest < 2 * size else -lowest + 0.25 * size
    return mesh("susceptibility", "1", z=top + below, y=edges[1], x=edges[0])


def simulated(magnetised: Magnetised, stations: int, noise: float, rng: Rng) -> Survey:
    """A flight over two known bodies: a dyke that dips west and a plug, at 60 to 100 m above ground.

    Lines run north-south with stations at random along them; independent errors of ``noise`` [nT] are added.
    """
    space = fine_mesh()
    u = rng.child("along").uniform((stations,)).numpy()
    lines = CHECKED * (np.arange(stations) % 21) / 20
    height = 80.0 + 20.0 * np.sin(lines / 300.0) * np.cos(u * CHECKED / 400.0)
    clean = ScatteredMagnetics(space, magnetised, lines, u * CHECKED, height)(two_bodies(space))
    errors = noise * rng.child("noise").normal((stations,))
    sigma = np.full(stations, noise)
    return Survey(lines, u * CHECKED, height, (clean + errors).numpy(), sigma, truth=two_bodies)


def fine_mesh() -> Space:
    """The mesh on which surveys are simulated, finer than any that is inverted for by default."""
    edges = np.linspace(-100.0, CHECKED + 100.0, 41)
    return mesh("susceptibility", "1", z=np.append(0.0, np.cumsum(25.0 * 1.1 ** np.arange(16))), y=edges, x=edges)


def two_bodies(space: Space) -> Tensor:
    """Mean susceptibility of each cell: a dyke of 0.03 that dips west from 90 to 420 m, a plug of 0.02 at 330 m."""
    points = []
    for dim in space.dims:
        edges = borders(space, dim)
        points.append((edges[:-1, None] + np.diff(edges)[:, None] * np.array([1, 3, 5]) / 6).ravel())
    z, y, x = np.meshgrid(*points, indexing="ij")
    dyke = np.exp(-(((x - (900.0 - 0.5 * z)) / 130.0) ** 4)) * np.exp(-(((y - 1300.0) / 700.0) ** 4))
    dyke *= 1 / (1 + np.exp((z - 420.0) / 50.0)) / (1 + np.exp((90.0 - z) / 25.0))
    away = (np.hypot(x - 1800.0, y - 900.0) / 260.0) ** 4 + ((z - 330.0) / 190.0) ** 4
    fine = torch.from_numpy(0.03 * dyke + 0.02 * np.exp(-away))
    nz, ny, nx = space.shape
    return fine.reshape(nz, 3, ny, 3, nx, 3).mean((1, 3, 5))


def _column(table: CsvTable, head: str, unit: str, name: str) -> Floats:
    wanted, low, high = COLUMNS[name]
    if not unit and wanted != "deg":
        raise UnitError(f"{table.name} gives {head} without a unit; write {head} [{wanted}], or the unit it is in.")
    values = np.array([row.value(head) for row in table.rows]) * (units.factor(unit, wanted) if unit else 1.0)
    outside = (values < low) | (values > high)
    if outside.any():
        at = int(outside.argmax())
        hint = "; subtract the main field (IGRF) first" if name == "anomaly" else ""
        raise table.rows[at].error(f"{head} = {values[at]:g} {wanted} lies outside {low:g} to {high:g}{hint}")
    return values
