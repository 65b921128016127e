"""No failure in ten trials: what Laplace's Gaussian at the mode misses of a skewed posterior.

Ten parts were tested and none failed. The unknown is the log-odds of a failure; the likelihood is flat towards minus
infinity, so that the posterior has a long tail there. Laplace takes the curvature at the mode for the whole law; HMC
walks through the tail. A fine grid gives the truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import posteriori as po
from posteriori.core.algebra import Dense
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.noise import Bernoulli
from posteriori.inference.hmc import HMC
from posteriori.inference.laplace import Laplace

odds = po.Space("log_odds", {"part": ["failure"]})
prior = po.Gaussian(odds, torch.zeros(1).double(), DiagonalCovariance(torch.tensor([9.0], dtype=torch.float64)))
same_for_all = Dense(odds, po.Space("failed", {"trial": 10}), torch.ones(10, 1).double())
target = po.Inverse(same_for_all, prior, torch.zeros(10).double(), Bernoulli())

laplace = po.infer(target, Laplace())
hmc = po.infer(target, HMC(draws=500, warmup=300, chains=32, steps=16, accept=0.9), seed=0)

# The truth on a grid.
axis = torch.linspace(-18, 4, 4001, dtype=torch.float64)
density = torch.exp(-target.energy(axis[:, None]))
density /= torch.trapezoid(density, axis)
mean = torch.trapezoid(axis * density, axis)
true_sd = torch.trapezoid((axis - mean).square() * density, axis).sqrt()
chance = torch.trapezoid(torch.sigmoid(axis) * density, axis)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.hist(hmc.values[:, 0].numpy(), bins=60, density=True, color="C0", alpha=0.4, label="HMC")
axes.plot(axis, torch.exp(laplace.log_prob(axis[:, None])), color="C1", label="Laplace")
axes.plot(axis, density, color="black", lw=1, label="quadrature")
axes.set(xlabel="log-odds of a failure", ylabel="density", xlim=(-13, 2))
axes.legend(frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "laplace_or_hmc.png", dpi=150)

# `map` of a plain function carries the draws along: the chance that the next part fails.
next_one = hmc.map(torch.sigmoid, space=po.Space("chance", odds.coords))
print(f"chance that the next part fails: HMC {next_one.mean().item():.4f}, quadrature {float(chance):.4f}")
print(f"standard deviation: HMC / truth {hmc.std().item() / float(true_sd):.3f}")
print(f"standard deviation: Laplace / truth = {laplace.std().item() / float(true_sd):.4f}")
