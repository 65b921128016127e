"""What constraints promise: kept to 1e-10, counted rightly, the same by two ways."""

from __future__ import annotations

import math

from asked import Asked, score, scores

INF = math.inf
CONSTRAINTS = ("molecules/constraints",)


def marginals() -> dict[str, float]:
    """Kolmogorov and Smirnov's p of each marginal against its exact law, 100,000 rows each."""
    found = scores(*CONSTRAINTS)
    return {name: float(value) for name, value in found.items() if name.startswith("ks_p.")}


def water() -> dict[str, float]:
    """Rigid water by RATTLE less the same by quaternions, in standard errors."""
    found = scores(*CONSTRAINTS)
    return {name: float(value) for name, value in found.items() if name.startswith("water.") and name.endswith(".z")}


ASKED = [
    Asked("Largest |constraint| of any row of six cases", -INF, 1e-10, score("constraint_error", *CONSTRAINTS)),
    Asked(
        "Rigid water: largest |constraint| of any row [nm]", -INF, 1e-10, score("water.constraint_error", *CONSTRAINTS)
    ),
    Asked("Log area element of projection against autograd", -INF, 1e-10, score("jacobian_error", *CONSTRAINTS)),
    Asked("Marginals against exact laws: p (false alarm 1e-3 for all six)", 1e-3 / 6, 1, marginals),
    Asked("Rigid water two ways [standard errors]", -3.9, 3.9, water),
]
