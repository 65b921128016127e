"""What survey design promises: k designed stations do what 1.5 k regular ones do."""

from __future__ import annotations

import math

from asked import Asked, score, scores

INF = math.inf
DESIGN = ("geophysics/design",)


def paired() -> dict[str, float]:
    """Mean square error of k designed stations below that of 1.5 k regular ones [%]."""
    found = scores(*DESIGN)
    return {name: float(value) for name, value in found.items() if name.startswith("paired.gain_of_")}


ASKED = [
    Asked("Regular stations that match one designed, median of 90 cases", 1.5, INF, score("ratio.median", *DESIGN)),
    Asked("The same, share of the cases at 1.5 or more", 0.9, 1.0, score("ratio.share_of_1.5", *DESIGN)),
    Asked("k designed against 1.5 k regular, simulated: gain [%]", -3, INF, paired),
    Asked("Regular shots that match one designed, median", 1.5, INF, score("shots.ratio.median", *DESIGN)),
]
