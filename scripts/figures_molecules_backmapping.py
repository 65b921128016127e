"""What back-mapping promises: the closed form of a Gaussian chain, rigid bonds of alanine, fewer fine-scale calls."""

from __future__ import annotations

import math

from asked import Asked, score

INF = math.inf
BACKMAPPING = ("molecules/backmapping",)

ASKED = [
    Asked("Gaussian chain: KL of fine given coarse [nat]", -INF, 0.01, score("chain.kl", *BACKMAPPING)),
    Asked("Gaussian chain: largest error of a bead", -INF, 1e-10, score("chain.coarse_error", *BACKMAPPING)),
    Asked("Alanine: bonds off by more than 1e-10 nm", -INF, 0, score("alanine.bond_violations", *BACKMAPPING)),
    Asked("Alanine: weighted ESS, share of the draws", 0.1, 1, score("alanine.ess_reverse", *BACKMAPPING)),
    Asked("Hybrid loop: closure error", -INF, 0.02, score("loop.closure_error", *BACKMAPPING)),
    Asked("Hybrid loop: direct calls / back-mapped at 2 %", 10, INF, score("loop.calls_ratio", *BACKMAPPING)),
]
