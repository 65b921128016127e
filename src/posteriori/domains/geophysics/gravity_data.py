"""The gravity stations that a study works on: the shipped table of the Bushveld or the user's own, reduced."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError
from posteriori.domains.geophysics.reductions import CRUST, bouguer_plate, gravity_disturbance
from posteriori.domains.geophysics.stations import Stations, read_stations

Floats = NDArray[np.float64]
TABLE = Path(__file__).parent / "tables" / "bushveld_gravity.csv.xz"
BUSHVELD = (25.0, 32.0, -27.0, -23.0)
"""West, east, south, north [degrees]."""
CITATIONS = (
    "Gravity data of Southern Africa, NOAA National Centers for Environmental Information; public domain.",
    "Packaged by Fatiando a Terra (github.com/fatiando/data, southern-africa-gravity), CC-BY 4.0.",
)
FEWEST = 60
"""Stations below which neither folds nor covariances can be learnt."""


@dataclass(frozen=True)
class Survey:
    """Stations with their Bouguer anomaly.

    Attributes:
        stations: positions, heights and what was measured.
        bouguer: [mGal], with a plate of ``density`` [kg/m³] taken off (none where the table gave the anomaly itself).
        hashes: of the file.
        references: of the data.
    """

    stations: Stations
    bouguer: Floats
    density: float
    hashes: dict[str, str]
    references: tuple[str, ...]


def survey(
    path: Path | None, window: tuple[float, float, float, float] | None = None, density: float = CRUST
) -> Survey:
    """The stations of ``path`` (the Bushveld without), cut to ``window`` and reduced to the simple Bouguer anomaly.

    Raises:
        DataError: the file cannot be used, or too few stations are left.
    """
    stations = read_stations(path or TABLE)
    if window is not None:
        stations = stations.within(*window)
    if len(stations) < FEWEST:
        raise DataError(f"{stations.name} has {len(stations)} stations; {FEWEST} are needed to hold some of them out.")
    wide = max(float(np.ptp(stations.easting)), float(np.ptp(stations.northing)))
    if wide < 1.0:
        raise DataError(
            f"all stations of {stations.name} lie within {wide:.2g} m; name degrees longitude and latitude."
        )
    if np.ptp(stations.value) == 0:
        raise DataError(
            f"all values of {stations.name} are {stations.value[0]:g} mGal: there is nothing to learn from."
        )
    hashes = {(path or TABLE).name: hashlib.sha256((path or TABLE).read_bytes()).hexdigest()}
    return Survey(stations, bouguer(stations, density), density, hashes, CITATIONS if path is None else ())


def bouguer(stations: Stations, density: float = CRUST) -> Floats:
    """The simple Bouguer anomaly [mGal] of stations of any kind."""
    if stations.kind == "bouguer":
        return stations.value
    free_air = stations.value
    if stations.kind == "gravity":
        assert stations.latitude is not None
        free_air = gravity_disturbance(stations.value, stations.latitude, stations.height)
    return free_air - bouguer_plate(stations.height, density)
