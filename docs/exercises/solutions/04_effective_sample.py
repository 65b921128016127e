"""How many data a least-squares fit with weights 1/σ² really uses."""

from __future__ import annotations

import numpy as np

from posteriori.domains.nuclei import data

sigma = data.measured(2020)["sigma"].to_numpy()


def effective(weights: np.ndarray) -> float:
    """Kish's effective sample size, (Σ w)² / Σ w²."""
    return float(weights.sum() ** 2 / (weights**2).sum())


quoted = effective(1 / np.maximum(sigma, 1e-6) ** 2)
print(f"{len(sigma)} measured masses, sigma from {sigma.min():.4g} to {sigma.max():.0f} keV")
for model in (0.0, 1.0, 10.0, 100.0, 300.0):
    print(f"model error {model:5.0f} keV: effective sample {effective(1 / (sigma**2 + model**2 + 1e-12)):7.1f}")
print(f"effective sample of 1/sigma² = {quoted:.2f}")
