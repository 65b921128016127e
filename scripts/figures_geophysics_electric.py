"""What electrics and diffusive electromagnetics promise."""

from __future__ import annotations

import math

import compare_electric as compare
from asked import Asked, score

INF = math.inf
SOUNDING = ("geophysics/magnetotellurics",)
SECTION = ("geophysics/resistivity",)

ASKED = [
    Asked("magnetotellurics against SimPEG, largest relative difference", 0, 1e-6, compare.magnetotellurics),
    Asked("resistivity against SimPEG, largest relative difference", 0, 0.01, compare.currents),
    Asked("resistivity over two layers, largest relative error by contrast", 0, 0.01, compare.layers),
    Asked(
        "diffusion: order in space",
        3.5,
        INF,
        lambda: compare.order(compare.heat_kernel(14, 320), compare.heat_kernel(28, 320)),
    ),
    Asked(
        "diffusion: order in time",
        1.8,
        INF,
        lambda: compare.order(compare.heat_kernel(56, 10), compare.heat_kernel(56, 20)),
    ),
    Asked("magnetotellurics: coverage of 90 % intervals, simulated", 0.86, 0.94, score("coverage90", *SOUNDING)),
    Asked("resistivity: coverage of 90 % intervals, simulated", 0.86, 0.94, score("coverage90", *SECTION)),
]
