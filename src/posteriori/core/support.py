"""Where the values of a Space may lie, and which summaries that makes meaningful."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Real:
    """Any real number."""


@dataclass(frozen=True)
class Positive:
    """Numbers above zero."""


@dataclass(frozen=True)
class Interval:
    """Numbers between ``low`` and ``high``."""

    low: float
    high: float


@dataclass(frozen=True)
class Circular:
    """Angles and times of day: ``period`` is the same place as 0."""

    period: float


@dataclass(frozen=True)
class Classes:
    """One of several names, coded 0, 1, 2, …; a mean has no meaning."""

    names: tuple[str, ...]


Support = Real | Positive | Interval | Circular | Classes
