"""What clusters of particles promise: effective samples per CPU second of the best sampler, and the exact virial."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from asked import Asked, scores

INF = math.inf
SEEDS = (0, 1, 2, 3, 4)
ENOUGH = "effective=200000"


def runs(study: str) -> list[dict[str, float]]:
    """A million effective samples of ``study``, a fifth in one run for each seed."""
    return [dict(scores(study, ENOUGH, "--seed", str(seed))) for seed in SEEDS]


def slowest(study: str) -> Callable[[], dict[str, float]]:
    """Effective samples per CPU second of the slowest figure, by seed."""
    return lambda: {f"seed {i}": float(run["ess_per_cpu_second"]) for i, run in zip(SEEDS, runs(study), strict=True)}


def virial(study: str, degrees: int) -> Callable[[], float]:
    """Standard errors of the mean virial of all seeds from the degrees of freedom."""

    def measure() -> float:
        found = runs(study)
        errors = [abs((run["virial"] - degrees) / run["virial_z"]) for run in found]
        away = sum(run["virial"] - degrees for run in found)
        return away / math.hypot(*errors)

    return measure


def away(study: str, energy: float) -> Callable[[], float]:
    """Mean energy of all seeds, from a known one [kT]."""
    return lambda: mean([run["mean_energy"] for run in runs(study)]) - energy


def ahead(study: str) -> Callable[[], float]:
    """Effective samples per CPU second of the sampler that the pilots took, over those of replica exchange alone."""

    def measure() -> float:
        found = runs(study)
        if any(run["sampler"] == "replica-exchange" for run in found):
            return 0.0
        other = scores(study, "effective=20000", "sampler=replica-exchange", "--seed", "0")
        return mean([run["ess_per_cpu_second"] for run in found]) / float(other["ess_per_cpu_second"])

    return measure


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


ASKED = [
    Asked("DW4: effective samples per CPU s, slowest figure, 5 x 200,000", 1e4, INF, slowest("molecules/dw4")),
    Asked("DW4: virial off 6, all seeds [standard errors]", -2, 2, virial("molecules/dw4", 6)),
    Asked("DW4: mean energy off -22.532 ± 0.009 [kT]", -0.02, 0.02, away("molecules/dw4", -22.532)),
    Asked("DW4: the chosen sampler's rate over the other's", 1, INF, ahead("molecules/dw4")),
    Asked("LJ13: effective samples per CPU s, slowest figure, 5 x 200,000", 1e3, INF, slowest("molecules/lj13")),
    Asked("LJ13: virial off 36, all seeds [standard errors]", -2, 2, virial("molecules/lj13", 36)),
    Asked("LJ13: mean energy off -42.91 ± 0.05 [kT]", -0.1, 0.1, away("molecules/lj13", -42.91)),
    Asked("LJ13: the chosen sampler's rate over the other's", 1, INF, ahead("molecules/lj13")),
]
