"""When are importance weights to be trusted? k̂ against what theory says of it.

The target is a standard normal; the proposal is a normal of standard deviation s. For s < 1 the weights have a Pareto
tail of shape k = 1 - s²: below s = 0.71 their variance is infinite, and below s = 0.55 (k = 0.7) no practical number of
draws helps. The effective sample size, made of the same weights, can look harmless; k̂ tells. A tenth of the draws from
the prior bounds the weights and cures it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import posteriori as po
from posteriori.core.algebra import Identity
from posteriori.core.covariance import DiagonalCovariance
from posteriori.inference.importance import Importance

line = po.Space("m", {"x": 1})


def normal(s: float) -> po.Gaussian:
    """N(0, s²)."""
    return po.Gaussian(line, torch.zeros(1).double(), DiagonalCovariance(torch.tensor([s * s], dtype=torch.float64)))


# A prior N(0, 2) and a datum 0 with the same variance: their product is N(0, 1).
target = po.Inverse(Identity(line), normal(2**0.5), torch.zeros(1).double(), 2**0.5)


def judged(s: float, seed: int, defensive: float = 0.0) -> tuple[float, float]:
    """k̂ and the effective share of 4000 weighted draws from N(0, s²), a share ``defensive`` from the prior instead."""
    posterior = po.infer(target, Importance(normal(s), draws=4000, defensive=defensive, smooth=False), seed=seed)
    return float(posterior.pareto_k()), float(posterior.ess()) / 4000


widths = [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
found = torch.tensor([[judged(s, seed)[0] for seed in range(10)] for s in widths])
safe = torch.tensor([judged(s, 0, defensive=0.1)[0] for s in widths])

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.errorbar(widths, found.mean(1), found.std(1), fmt="o", color="C0", capsize=3, label="k̂, ten seeds")
axes.plot(widths, [1 - s * s for s in widths], color="black", lw=1, label="1 - s²")
axes.plot(widths, safe, "s", color="C2", ms=5, label="k̂ with a tenth of the draws from the prior")
axes.axhspan(0.7, 1.1, color="C3", alpha=0.15, lw=0)
axes.text(0.89, 0.95, "not to be trusted", color="C3", ha="right")
axes.set(xlabel="standard deviation s of the proposal", ylabel="shape of the tail of the weights", ylim=(-1.7, 1.1))
axes.legend(frameon=False, loc="center left")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "importance_khat.png", dpi=150)

k, share = judged(0.7, seed=0)
print(f"s = 0.7, seed 0: the effective sample is {100 * share:.0f} % of the draws, yet k̂ is {k:.2f}")
print(f"k̂ at s = 0.5, mean of ten seeds = {float(found[widths.index(0.5)].mean()):.3f}")
