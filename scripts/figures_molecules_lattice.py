"""What lattices promise: log Z of the exact torus, and the critical point from learnt coarse spins."""

from __future__ import annotations

import math
from collections.abc import Callable

from asked import Asked, scores

INF = math.inf
SEEDS = range(5)
SMALL, LARGE = ("molecules/ising", "size=8", "generator=no"), ("molecules/ising",)
BLOCKS = ("molecules/renormalisation",)


def seeds(name: str, *words: str) -> Callable[[], dict[str, float]]:
    """What measures the score ``name`` of ``posteriori run WORDS`` with each seed."""
    return lambda: {f"seed {seed}": float(scores(*words, "--seed", str(seed))[name]) for seed in SEEDS}


def pooled(name: str, *words: str) -> Callable[[], float]:
    """The distance of the mean over the seeds from the exact value, in standard errors of that mean."""
    return lambda: sum(seeds(name, *words)().values()) / math.sqrt(len(SEEDS))


def both(what: str) -> Callable[[], dict[str, float]]:
    """The score ``what`` of both kinds of learnt coarse variables."""
    return lambda: {
        f"{kind} {seed}": value
        for kind in ("information", "bottleneck")
        for seed, value in seeds(f"{kind}.{what}", *BLOCKS)().items()
    }


ASKED = [
    Asked("Ising, L = 8, Tc: error of log Z per site", 0, 1e-4, seeds("log_z_error", *SMALL)),
    Asked("Ising, L = 16, Tc: error of log Z per site", 0, 1e-4, seeds("log_z_error", *LARGE)),
    Asked("The same by the learnt generator, in its standard errors", -3, 3, seeds("generator.log_z.z", *LARGE)),
    Asked("Ising, L = 16, Tc: energy, pooled [s.e.]", -2, 2, pooled("energy_per_site.z", *LARGE)),
    Asked("Ising, L = 16, Tc: relative error of the heat capacity", 0, 0.02, seeds("heat_capacity_error", *LARGE)),
    Asked("Generator, L = 16: reverse effective share", 0.5, 1, seeds("ess_reverse", *LARGE)),
    Asked("Generator, L = 16: forward effective share", 0.5, 1, seeds("ess_forward", *LARGE)),
    Asked("Generator, L = 16: CPU for one log Z, in integration's", 0, INF, seeds("generator.cost_of_log_z", *LARGE)),
    Asked("Learnt coarse variables: relative error of Tc", 0, 0.005, both("temperature_error")),
    Asked("Learnt coarse variables: relative error of nu", 0, 0.05, both("nu_error")),
    Asked("Learnt coarse spins: I(H; E), share of the best possible", 0.95, 1, both("share_of_optimum")),
    Asked("Chain: relative error of the decimated coupling", 0, 0.01, seeds("chain_error", *BLOCKS)),
]
