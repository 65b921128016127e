"""What annealing and learnt densities promise: log Z of three laws from U and its gradient alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from asked import Asked, scores

INF = math.inf
SEEDS = (0, 1, 2, 3, 4)
LAWS = {"gmm40": 0.002, "manywell": 0.010, "funnel": 0.002}


def runs(law: str) -> list[dict[str, float]]:
    """Twenty estimates of 2,000 rows for each seed, each seed learning anew."""
    words = ("molecules/manywell", f"target={law}", "compare=no")
    return [dict(scores(*words, "--seed", str(seed))) for seed in SEEDS]


def each(name: str, law: str) -> Callable[[], dict[str, float]]:
    """The score ``name`` of every seed."""
    return lambda: {f"seed {seed}": float(run[name]) for seed, run in zip(SEEDS, runs(law), strict=True)}


def of_law(law: str, high: float) -> list[Asked]:
    """What is promised for one law."""
    return [
        Asked(f"{law}: mean |log Z error| over 20 estimates of 2,000 rows", 0, high, each("log_z_error", law)),
        Asked(f"{law}: mean error in its standard errors", -5, 5, each("log_z_bias.z", law)),
        Asked(f"{law}: reverse effective share", 0.5, 1, each("ess_reverse", law)),
        Asked(f"{law}: forward effective share, by exact rows", 0.5, 1.01, each("ess_forward", law)),
        Asked(f"{law}: Pareto k of all rows", -INF, 0.7, each("pareto_k", law)),
        Asked(f"{law}: largest error of a region's population", 0, 0.05, each("population_error", law)),
        Asked(f"{law}: energy calls, learning and one estimate", 0, INF, each("energy_calls", law)),
        Asked(f"{law}: CPU seconds, learning and twenty estimates", 0, INF, each("cpu_seconds", law)),
    ]


ASKED = [
    *(row for law, high in LAWS.items() for row in of_law(law, high)),
    Asked("manywell: largest population error of 65,536 modes", 0, 0.05, each("worst_mode_error", "manywell")),
]
