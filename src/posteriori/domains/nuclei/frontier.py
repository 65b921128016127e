"""Held-out ends of isotopic chains: how a law does one to three nuclei beyond what it knows, inside one evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Target
from posteriori.domains.nuclei.chart import protons_neutrons
from posteriori.inference.exact import evidence_parts, linear_gaussian

FOLDS = 60
SHARE = 1 / 3  # of the chain ends that one fold holds out
DEPTHS = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)  # nuclei from an end, dealt at random
SHORTEST = 8  # a chain of fewer isotopes keeps its ends
SCALES = (0.1, 10.0)  # of a baseline's own covariance


def frontier_folds(known: Space, rng: Rng) -> list[np.ndarray]:
    """Names of the nuclei that each fold holds out: of a random third of the chain ends, the last one to three."""
    z, n = protons_neutrons(known)
    names = known.labels("nuclide")
    folds = []
    for k in range(FOLDS):
        stream = rng.child("frontier", k).numpy
        held: list[str] = []
        for element in np.unique(z):
            chain = names[z == element][np.argsort(n[z == element])]
            for end in (chain, chain[::-1]) if len(chain) >= SHORTEST else ():
                if stream.random() < SHARE:
                    held += list(end[-stream.choice(DEPTHS) :])
        folds.append(np.unique(held))
    return folds


@torch.no_grad()
def held_out(target: Target, folds: Sequence[np.ndarray]) -> list[tuple[Tensor, Tensor]]:
    """Error (k,) and covariance (k, k) of each fold's values [keV], predicted from all others, measurement errors in.

    With Q = S⁻¹ and the residual r, what fold I holds given the rest has covariance Q_II⁻¹ and error Q_II⁻¹ (Q r)_I.
    """
    inverse, prior = linear_gaussian(target, "held_out")
    s, residual = evidence_parts(inverse, prior)
    q = torch.cholesky_inverse(cholesky(s))
    pull = residual[0] @ q
    found = []
    for names in folds:
        index = inverse.operator.codomain.index("nuclide", names)
        covariance = torch.linalg.inv(q[index[:, None], index])
        found.append((covariance @ pull[index], covariance))
    return found


def within_scale(folds: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> float:
    """The factor on the baselines' own covariances that gives the pooled errors of the folds a mean z² of one.

    The spread between baselines counts in full; the own part shrinks, since an average errs less than its members.

    Args:
        folds: for each baseline, what :func:`held_out` gives.

    Reference: Gneiting & Ranjan (2013), Combining predictive distributions, Electron. J. Stat. 7, 1747.
    """
    errors = torch.stack([torch.cat([error for error, _ in member]) for member in folds])
    own = torch.stack([torch.cat([covariance.diagonal() for _, covariance in member]) for member in folds]).mean(0)
    between = errors.var(0, correction=0)

    def excess(scale: float) -> float:
        return float((errors.mean(0).square() / (scale * own + between)).mean()) - 1

    low, high = SCALES
    if excess(low) <= 0 or excess(high) >= 0:
        return low if excess(low) <= 0 else high
    return float(brentq(excess, low, high))
