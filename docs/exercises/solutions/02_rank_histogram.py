"""Which of four forecasts is which, from where the truths fall in them."""

from __future__ import annotations

import torch

import posteriori as po
from posteriori.audit.uniformity import pit_gaussian, rank_histogram, ranks, uniformity

# Truths N(0, 1), and four forecasters who say N(mean, spread²) of each.
rng = po.Rng(0)
truth = rng.child("truth").normal((2000,))
forecasts = {"A": (0.0, 0.5), "B": (0.0, 1.0), "C": (0.4, 1.0), "D": (0.0, 2.0)}

spread = {}
for name, (mean, std) in forecasts.items():
    draws = mean + std * rng.child(name).normal((19, 2000))
    histogram = rank_histogram(ranks(draws, truth, rng.child("ties")), 19, bins=10)
    test = uniformity(pit_gaussian(torch.tensor(mean), torch.tensor(std), truth))
    spread[name] = test.spread_z
    bars = " ".join(f"{int(count):4d}" for count in histogram.counts)
    print(f"{name}: {bars}   mean z {test.mean_z:+.2f}, spread z {test.spread_z:.2f}, p = {test.p_value:.1g}")

# ∪ (A): truths fall outside too often, the forecast is too narrow; flat (B): calibrated; sloping (C): biased high, so
# that truths rank low; ∩ (D): too wide.
print(f"spread of z of the over-confident forecast = {spread['A']:.2f}")
