"""What rare events and committors promise: p = 1e-8 with its interval, a committor to 0.01 and its rate to 3 %."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from asked import Asked, score
from posteriori import Rng
from posteriori.core.run import Context
from posteriori.domains.molecules.studies.committor import Study

INF = math.inf
SEEDS = range(5)
TAIL = ("molecules/rare-event", "repeats=200")
WELL = ("molecules/rare-event", "case=well")
BRANCHES = ("molecules/rare-event", "case=four-branch", "level=2")


@cache
def committor(temperature: float, seed: int) -> dict[str, float]:
    """Scores of a committor from 1,600 rows of each hot chain, as the study has by default, and three networks."""
    found = Study(temperature=temperature, members=3, shots=500)(Context(Rng(seed)))
    return {name: value for name, value in found.scores.items() if isinstance(value, float)}


def five(name: str, temperature: float) -> Callable[[], dict[str, float]]:
    """What measures the score ``name`` for each seed."""
    return lambda: {f"seed {seed}": committor(temperature, seed)[name] for seed in SEEDS}


ASKED = [
    Asked("p = 1e-8 in 100 dimensions: relative standard error", 0.0, 0.1, score("relative_error", *TAIL)),
    Asked("The same, distance from the exact p [s.e.]", -2, 2, score("z.cross-entropy", *TAIL)),
    Asked("The same, 95 % intervals of 200 repeats that cover", 0.93, 0.97, score("coverage", *TAIL)),
    Asked("The same, calls of plain sampling over calls", 1000, INF, score("fewer_calls", *TAIL)),
    Asked("Four branches at p = 7.6e-7: relative standard error", 0.0, 0.1, score("relative_error", *BRANCHES)),
    Asked("The population of a 10 kT well: distance from quadrature [s.e.]", -2, 2, score("z.tempered", *WELL)),
    *(
        Asked(f"Müller-Brown committor at kT = {t:g}, RMSE, five seeds", 0.0, 0.01, five("committor_rmse", t))
        for t in (15.0, 10.0)
    ),
    *(
        Asked(f"Müller-Brown rate at kT = {t:g}, relative error, five seeds", 0.0, 0.03, five("rate_error", t))
        for t in (15.0, 10.0)
    ),
]
