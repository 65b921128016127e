"""Weights of several models: by evidence, by stacking their predictive densities, by pseudo-BMA."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.random import Rng

GAP = 1e-6
"""Stacking ends when no weights could score better by more than this, in mean log density."""
ROUNDS = 20000


def evidence_weights(log_evidence: Tensor, log_prior: Tensor | None = None) -> Tensor:
    """Posterior probabilities (model, *problem) of models from their log-evidences; without prior all begin equal.

    Reference: Hoeting, Madigan, Raftery & Volinsky (1999), Bayesian model averaging, Statistical Science 14, 382.
    """
    _refuse_bad(log_evidence)
    total = log_evidence.double()
    if log_prior is not None:
        total = total + log_prior.double().reshape(-1, *(1,) * (total.ndim - 1))
    return torch.softmax(total, 0)


def stacking_weights(log_density: Tensor) -> Tensor:
    """Weights (model,) on the simplex that maximise Σ_i log Σ_k w_k p_k(i), from held-out densities (model, case).

    The sum is concave. Sequential quadratic steps come near, expectation-maximisation never leaves the simplex; it ends
    when the largest derivative, which bounds what is left to gain, is within 1e-6 of its value at the maximum.

    Reference: Yao, Vehtari, Simpson & Gelman (2018), Using stacking to average Bayesian predictive distributions,
    Bayesian Analysis 13, 917.
    """
    _refuse_bad(log_density)
    if log_density.ndim != 2:
        raise DataError(f"densities {tuple(log_density.shape)} should be (model, case).")
    scaled = log_density.double() - log_density.double().amax(0)
    if bool((scaled.isnan()).any()):
        raise DataError("a case has density zero under every model; its datum or noise is wrong.")
    p = scaled.exp().numpy(force=True)
    k = len(p)
    w = np.full(k, 1 / k)
    found = minimize(
        lambda v: -np.log(np.maximum(v @ p, 1e-300)).mean(),
        w,
        jac=lambda v: -(p / np.maximum(v @ p, 1e-300)).mean(1),
        bounds=[(0.0, 1.0)] * k,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-12},
    )
    if np.isfinite(found.x).all():
        near = np.clip(found.x, 0.0, None) + 1e-9
        near /= near.sum()
        if np.log(np.maximum(near @ p, 1e-300)).mean() > np.log(w @ p).mean():
            w = near
    for _ in range(ROUNDS):
        slope = (p / (w @ p)).mean(1)
        if slope.max() - 1 < GAP:
            break
        w = w * slope
    w = np.where(w < 1e-7, 0.0, w)
    return torch.from_numpy(w / w.sum())


def pseudo_bma_weights(log_density: Tensor, rng: Rng, replicates: int = 1000) -> Tensor:
    """Weights (model,) ∝ exp(Σ_i log p_k(i)), averaged over Bayesian-bootstrap weights of the cases: pseudo-BMA+.

    Reference: Yao, Vehtari, Simpson & Gelman (2018), Bayesian Analysis 13, 917, section 3.4.
    """
    _refuse_bad(log_density)
    cases = log_density.shape[1]
    share = -(1 - rng.uniform((replicates, cases))).log()
    share = cases * share / share.sum(1, keepdim=True)
    return torch.softmax(share @ log_density.double().cpu().mT, 1).mean(0)


def _refuse_bad(log_density: Tensor) -> None:
    bad = torch.isnan(log_density) | (log_density == torch.inf)
    if bool(bad.any()):
        first = tuple(int(i) for i in bad.nonzero()[0])
        raise DataError(f"log density {first} is {float(log_density[first])}; a model's answer is broken there.")
