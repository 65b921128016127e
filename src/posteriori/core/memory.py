"""An estimate before the work: refuse what would not fit and name the cheaper option."""

from __future__ import annotations

from pathlib import Path

from posteriori.core.errors import MemoryBudgetError

SHARE = 0.8
"""The share of available memory that one piece of work may ask for."""


def available() -> int:
    """Bytes that can be had without swapping."""
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 8 * 2**30


def require(need: float, what: str, cheaper: str = "take fewer cells, float32, or a matrix-free method") -> None:
    """Go on only when ``need`` bytes fit.

    Raises:
        MemoryBudgetError: they do not; the message names the cheaper option.
    """
    have = available()
    if need > SHARE * have:
        raise MemoryBudgetError(
            f"{what} needs {need / 2**30:.1f} GiB and {have / 2**30:.1f} GiB are available: {cheaper}."
        )
