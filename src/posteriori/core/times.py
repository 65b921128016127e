"""Times that files keep as numbers since a date, after the CF conventions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError

MICROSECONDS = {"week": 604_800_000_000, "day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000}
MICROSECONDS |= {"second": 1_000_000, "millisecond": 1_000, "microsecond": 1}
SHORT = {"d": "day", "h": "hour", "hr": "hour", "min": "minute", "s": "second", "sec": "second", "ms": "millisecond"}
DAYS = {"360_day": 360.0, "noleap": 365.0, "365_day": 365.0, "all_leap": 366.0, "366_day": 366.0}
"""Of a year, in calendars that are not those of everyday life."""
EVERYDAY = ("standard", "gregorian", "proleptic_gregorian")
REFORM = np.datetime64("1582-10-15", "D")
UNIT = re.compile(
    r"\s*(\w+)\s+since\s+(-?\d{1,4})-(\d{1,2})-(\d{1,2})"
    r"(?:(?:T|\s+)(\d{1,2})(?::(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?)?)?"
    r"\s*(?:Z|UTC|GMT|([+-])(\d{1,2}):?(\d{2})?)?\s*",
    re.IGNORECASE,
)
LARGEST = 2.0**62
"""Microseconds from the date on that are counted without loss of a bit."""


def moments(numbers: NDArray[Any], unit: str, calendar: str = "standard") -> NDArray[np.datetime64]:
    """``numbers`` such as hours since a date as datetime64 to the microsecond, same shape.

    A zone after the date, "+02:00", is taken off: all times are UTC. Calendars are those of everyday life; dates before
    15 October 1582 are Julian in "standard" and "gregorian".

    Raises:
        DataError: a unit without a date or without a fixed length, another calendar, a number that is not finite or too
            far from the date.

    Reference: CF conventions 1.11, section 4.4; Fliegel & Van Flandern (1968), CACM 11, 657, for the Julian day.
    """
    name, found = _read(unit)
    if name not in MICROSECONDS:
        raise _no_time(unit)
    if calendar.lower() not in EVERYDAY:
        raise DataError(f"the calendar {calendar!r} has days that never were; use the numbers themselves [{unit}].")
    if numbers.dtype.kind not in "fiu" or not np.isfinite(numbers).all():
        raise DataError(f"times in [{unit}] hold {numbers.dtype} or are not finite; mend the axis of times.")
    year, month, day = (int(found[i]) for i in (2, 3, 4))
    if (np.abs(numbers.astype(np.float64)) * MICROSECONDS[name] > LARGEST).any():
        raise DataError(f"times in [{unit}] reach {np.abs(numbers).max():g}, beyond what is counted; mend the axis.")
    clock = _clock(found) * 1e6
    start = _day(year, month, day, julian=calendar.lower() != "proleptic_gregorian").astype("datetime64[us]")
    real = numbers.dtype.kind == "f"
    scaled = numbers.astype(np.float64 if real else np.int64) * MICROSECONDS[name]
    steps = (np.rint(scaled) if real else scaled).astype("timedelta64[us]")
    return np.asarray(start + np.timedelta64(round(clock), "us") + steps)


def year_hours(calendar: str) -> float:
    """Hours of a year, the mean one where years differ."""
    return 24 * DAYS.get(calendar.lower(), 365.2425)


def unit_hours(unit: str, calendar: str = "standard") -> float:
    """Hours in one ``unit``, such as "days since 1970-01-01"; a month is a twelfth of the calendar's year.

    Raises:
        DataError: no unit of time with a date.
    """
    name, _ = _read(unit)
    long = {"month": year_hours(calendar) / 12, "year": year_hours(calendar)}
    return long[name] if name in long else MICROSECONDS[name] / 3.6e9


def elapsed(numbers: NDArray[Any], unit: str, calendar: str = "standard") -> NDArray[np.float64]:
    """Hours from midnight UTC of the date that ``unit`` names, same shape, in whatever calendar; to the microsecond.

    Raises:
        DataError: no unit of time with a date, or a number that is not finite.
    """
    name, found = _read(unit)
    microseconds = MICROSECONDS.get(name) or 3.6e9 * unit_hours(unit, calendar)
    if numbers.dtype.kind not in "fiu" or not np.isfinite(numbers).all():
        raise DataError(f"times in [{unit}] hold {numbers.dtype} or are not finite; mend the axis of times.")
    return np.asarray((np.rint(numbers.astype(np.float64) * microseconds) + np.rint(1e6 * _clock(found))) / 3.6e9)


def _read(unit: str) -> tuple[str, re.Match[str]]:
    """What is counted, in full and in the singular, and all that the unit says."""
    found = UNIT.fullmatch(unit)
    name = found[1].lower() if found else ""
    name = SHORT.get(name, name.removesuffix("s"))
    if found is None or name not in (*MICROSECONDS, "month", "year"):
        raise _no_time(unit)
    return name, found


def _no_time(unit: str) -> DataError:
    return DataError(f"[{unit}] is no time; write 'days since 1970-01-01' with weeks, days, hours, minutes or seconds.")


def _clock(found: re.Match[str]) -> float:
    """Seconds from midnight UTC of the date to the time of day after it."""
    zone = (-1 if found[8] == "-" else 1) * (int(found[9] or 0) * 60 + int(found[10] or 0))
    return int(found[5] or 0) * 3600 + (int(found[6] or 0) - zone) * 60 + float(found[7] or 0)


def _day(year: int, month: int, day: int, julian: bool) -> np.datetime64:
    """A date as a day of the Gregorian calendar; before its reform it may be written in the Julian one."""
    try:
        written = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "D")
    except ValueError as error:
        raise DataError(f"{year}-{month}-{day} is no date: {error}.") from error
    if not julian or written >= REFORM:
        return written
    a = (14 - month) // 12
    y, m = year + 4800 - a, month + 12 * a - 3
    number = day + (153 * m + 2) // 5 + 365 * y + y // 4 - 32083
    return np.datetime64(number - 2_440_588, "D")
