"""What gravity at stations promises: the Bushveld's stations, held out in blocks of 30 km.

The comparison with harmonica and SimPEG takes longer and prints its own lines: ``scripts/compare_gravity.py``.
"""

from __future__ import annotations

import math

from asked import Asked, score

INF = math.inf
BUSHVELD = ("geophysics/gravity",)

ASKED = [
    Asked("Bushveld, held-out blocks: RMSE [mGal]", -INF, 8.0, score("rmse", *BUSHVELD)),
    Asked("Bushveld, held-out blocks: 90 % coverage", 0.87, 0.93, score("coverage90", *BUSHVELD)),
]
