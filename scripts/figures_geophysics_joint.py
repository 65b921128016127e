"""What joint inversion of seismics and gravity promises, measured: ``make figures ONLY=geophysics_joint``."""

from __future__ import annotations

from math import inf as INF

from asked import Asked, score

JOINT = ("geophysics/joint",)
TIGHT = ("geophysics/joint", "scatter=0.1")

ASKED = [
    Asked("error at depth, link scatters 30 %: lower than the better single by", 0.2, INF, score("gain", *JOINT)),
    Asked("the same, single inversions told the true strength of the link", 0.2, INF, score("gain.told", *JOINT)),
    Asked("velocity at depth, link scatters 30 %: gain", 0.2, INF, score("gain.velocity", *JOINT)),
    Asked("density at depth, link scatters 30 %: gain", 0.2, INF, score("gain.density", *JOINT)),
    Asked("error at depth, link scatters 10 %: gain", 0.2, INF, score("gain", *TIGHT)),
    Asked("velocity at depth, link scatters 10 %: gain", 0.2, INF, score("gain.velocity", *TIGHT)),
    Asked("density at depth, link scatters 10 %: gain", 0.2, INF, score("gain.density", *TIGHT)),
    Asked(
        "no link at all: error at depth above the single inversions' by", -INF, 0.05, score("false_link_loss", *JOINT)
    ),
    Asked("coverage of 90 % intervals, joint", 0.87, 0.93, score("coverage90", *JOINT)),
    Asked("coverage of 90 % intervals at depth, joint", 0.87, 0.93, score("coverage90_deep", *JOINT)),
    Asked("coverage of 90 % intervals, joint, no link", 0.87, 0.93, score("coverage90.false_link", *JOINT)),
]
