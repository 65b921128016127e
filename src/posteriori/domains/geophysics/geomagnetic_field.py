"""The Earth's main field at a place and date, from the International Geomagnetic Reference Field."""

from __future__ import annotations

from datetime import date, datetime
from math import hypot

import numpy as np

from posteriori.core.errors import DataError
from posteriori.core.optional import require
from posteriori.physics.magnetics import Direction

IGRF = "Alken et al. (2021), International Geomagnetic Reference Field: the thirteenth generation, EPS 73, 49."
FIRST, LAST = 1900, 2030
"""Years that IGRF-14 speaks of; those after 2025 are predicted."""


def geomagnetic_field(longitude: float, latitude: float, height: float, day: str) -> tuple[Direction, float]:
    """Direction and strength [nT] of the main field.

    Args:
        longitude, latitude: geodetic [degrees].
        height: above the ellipsoid [m].
        day: such as 2015-07-01, or a year.

    Raises:
        DataError: a date that IGRF does not speak of, or a place that is none.
    """
    when = _day(day)
    if not (-180 <= longitude <= 360 and -90 <= latitude <= 90 and -20e3 <= height <= 600e3):
        raise DataError(
            f"longitude {longitude:g}°, latitude {latitude:g}°, height {height:g} m: give degrees and metres; "
            "projected coordinates need inclination=, declination= and strength= instead."
        )
    ppigrf = require("ppigrf", "geophysics")
    east, north, up = (float(np.squeeze(c)) for c in ppigrf.igrf(longitude, latitude, height / 1000, when))
    return Direction.of((east, north, -up)), hypot(east, north, up)


def _day(text: str) -> datetime:
    given = f"{text}-07-01" if text.isdigit() and len(text) == 4 else text
    try:
        found = date.fromisoformat(given)
    except ValueError:
        raise DataError(f"{text!r} is no date; give one such as 2015-07-01, or a year.") from None
    if not FIRST <= found.year < LAST:
        raise DataError(f"IGRF speaks of {FIRST} to {LAST}, not of {text}; give inclination, declination and strength.")
    return datetime(found.year, found.month, found.day)
