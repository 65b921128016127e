"""What gravity at stations promises: the Bushveld's stations, held out in blocks of 30 km.

harmonica's equivalent sources reach 8.07 and SimPEG's smooth inversion 8.02 mGal on the same folds; that comparison
takes longer and prints its own lines: ``scripts/compare_gravity.py``.
"""

from __future__ import annotations

import math

from asked import Asked, score

INF = math.inf
BUSHVELD = ("geophysics/gravity",)

ASKED = [
    Asked("Bushveld, held-out blocks: RMSE [mGal], below SimPEG's 8.02", -INF, 8.02, score("rmse", *BUSHVELD)),
    Asked("Bushveld, held-out blocks: 90 % coverage", 0.87, 0.93, score("coverage90", *BUSHVELD)),
]
