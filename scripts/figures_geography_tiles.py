"""What large rasters promise: little memory, no seams, the same bits in any order. POSTERIORI_LARGE=1 adds 8192²."""

from __future__ import annotations

import os
from functools import partial
from math import inf

from asked import Asked, score, scores

SIZES = ("1024", "8192") if os.environ.get("POSTERIORI_LARGE") else ("1024",)
WORDS = {
    "1024": ("geography/tiles",),
    "8192": ("geography/tiles", "size=8192", "members=1", "window=512", "steps=8"),
}


def _per_member(size: str) -> float:
    found = scores(*WORDS[size])
    return float(found["cpu_seconds"]) / float(found["members"])


def _off(size: str) -> float:
    """How far the seam index is from 1, less two standard errors of it."""
    found = scores(*WORDS[size])
    return max(0.0, abs(float(found["seam_index"]) - 1) - 2 * float(found["seam_index_error"]))


ASKED = [
    asked
    for size in SIZES
    for asked in (
        Asked(f"{size}²: peak memory [MiB]", -inf, 1024, score("peak_memory_mib", *WORDS[size])),
        Asked(f"{size}²: cells that differ between orders", 0, 0, score("order_cells_different", *WORDS[size])),
        Asked(f"{size}²: seam index off 1, beyond its error", 0, 0.02, partial(_off, size)),
        Asked(f"{size}²: CPU s, one member", 0, inf, partial(_per_member, size)),
    )
]
ASKED += [
    Asked(
        "1024²: CRPS of hidden cells over that of linear interpolation", -inf, 1, score("crps_ratio", *WORDS["1024"])
    ),
    Asked("1024²: coverage of 90 % intervals", 0.87, 0.93, score("coverage90", *WORDS["1024"])),
]
