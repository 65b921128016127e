"""What gravity and magnetics promise; ``bench/gravity.py`` measures most of it, beside SimPEG in one run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from asked import Asked, score

BENCH = Path(__file__).resolve().parents[1] / "bench" / "gravity.py"
INF = math.inf
KINDS = ("gravity", "magnetics")


@cache
def bench() -> dict[str, float]:
    """The figures of one run of the benchmark."""
    done = subprocess.run([sys.executable, str(BENCH), "--large", "--json"], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def both(*names: str) -> Callable[[], dict[str, float]]:
    """Figures of gravity and of magnetics by name."""
    return lambda: {f"{kind}.{name}": bench()[f"{kind}.{name}"] for kind in KINDS for name in names}


def large(*names: str) -> Callable[[], dict[str, float]]:
    """Figures of 4.2 million cells by name."""
    return lambda: {name: bench()[f"large.{name}"] for name in names}


ASKED = [
    Asked("131k cells × 4,096 stations, f32: one product [ms]", -INF, 5, both("f32.forward_ms", "f32.adjoint_ms")),
    Asked("131k cells × 4,096 stations, f64: one product [ms]", -INF, 5, both("f64.forward_ms", "f64.adjoint_ms")),
    Asked("131k cells × 4,096 stations, f32: peak memory [MiB]", -INF, 5, both("f32.peak_mib")),
    Asked("131k cells × 4,096 stations, f64: peak memory [MiB]", -INF, 10, both("f64.peak_mib")),
    Asked("Difference from SimPEG, f64, share of the largest datum", -INF, 1e-10, both("difference")),
    Asked("Dot test, f64", -INF, 1e-12, both("f64.dot_test")),
    Asked("SimPEG's dense product over ours [×]", 10, INF, both("ratio.product")),
    Asked("SimPEG's matrix-free product over ours [×]", 1000, INF, both("ratio.matrix_free")),
    Asked("4.2 M cells × 65,536 stations: one product [ms]", -INF, 1000, large("forward_ms", "adjoint_ms")),
    Asked("4.2 M cells × 65,536 stations: peak memory [MiB]", -INF, 256, large("estimate_mib", "peak_mib")),
    Asked("4.2 M cells, f32, from exact sums in f64", -INF, 1e-6, large("f32.difference")),
    Asked("magnetics: 90 % coverage, held-out blocks", 0.8, 1.0, score("coverage90", "geophysics/magnetics")),
    Asked("magnetics: 90 % coverage, simulated", 0.88, 0.92, score("simulated.coverage90", "geophysics/magnetics")),
]
