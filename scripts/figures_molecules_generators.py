"""What generators in the plane promise: both effective sizes, free energies and log Z against quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable

from asked import Asked, scores

INF = math.inf
SEEDS = range(5)
WELL, SURFACE = "molecules/double-well", "molecules/mueller-brown"


def each(name: str) -> Callable[[], dict[str, float]]:
    """The score ``name`` of both toys with every seed."""
    return lambda: {
        f"{study.partition('/')[2]} {seed}": float(scores(study, "--seed", str(seed))[name])
        for study in (WELL, SURFACE)
        for seed in SEEDS
    }


def alone() -> dict[str, float]:
    """Forward ESS of the Müller-Brown flow without its net."""
    return {f"seed {seed}": float(scores(SURFACE, "--seed", str(seed))["ess_forward_alone"]) for seed in SEEDS}


def plain(name: str) -> Callable[[], float]:
    """The score ``name`` of a flow of the Müller-Brown surface that learnt by short runs and reverse KL alone."""
    return lambda: float(scores(SURFACE, "plain=yes", "train=no", "--seed", "0")["plain"][name])


def umbrella() -> float:
    """How far umbrella sampling's free energy of the double well lies from the exact one, in its standard errors."""
    return float(scores(WELL, "umbrella=yes", "--quick", "--seed", "0")["umbrella.z"])


ASKED = [
    Asked("Generators in the plane: reverse effective share", 0.95, 1, each("ess_reverse")),
    Asked("The same: forward effective share 1/∫p²/q, by quadrature", 0.95, 1, each("ess_forward")),
    Asked("The same: error of the free-energy difference [kT]", 0, 0.01, each("delta_f_error_kT")),
    Asked("The same: error of log Z", 0, 0.002, each("log_z_error")),
    Asked("The same: CPU time, training counted [s]", 0, 120, each("cpu_seconds")),
    Asked("Müller-Brown: forward share of the flow without its net", 0, 0.5, alone),
    Asked("Müller-Brown: reverse share after plain training", 0, 1, plain("ess_reverse")),
    Asked("Müller-Brown: forward share after plain training, no net", 0, 0.5, plain("ess_forward_alone")),
    Asked("Double well by umbrella sampling and MBAR: distance [s.e.]", -3, 3, umbrella),
]
