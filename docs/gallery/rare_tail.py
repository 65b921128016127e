"""How probable is what happens once in a hundred million times? Subset simulation on a tail that is known exactly.

The unknown is standard normal in a hundred dimensions; the event is that its length along one direction exceeds 5.612,
which has the probability 1e-8. Plain sampling would need ten thousand million rows for an error of ten per cent.
Walkers that climb through levels need some hundred thousand, whatever the dimension, and independent islands say how
far to believe the answer.
"""

from __future__ import annotations

import argparse
from math import log10, sqrt
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from scipy.stats import norm

import posteriori as po
from posteriori.core.algebra import Dense
from posteriori.core.covariance import DiagonalCovariance
from posteriori.inference.event_probability import event_probability
from posteriori.inference.subset_simulation import SubsetSimulation

n = 100
space = po.Space("load", {"part": n})
prior = po.Gaussian(space, torch.zeros(n).double(), DiagonalCovariance(torch.ones(n).double()))
sums = Dense(space, po.Space("sum", {"of": 1}), torch.full((1, n), 1 / sqrt(n)).double())
levels = [2.0, 3.0, 4.0, 5.0, float(norm.isf(1e-8))]
answers = [event_probability(po.infer(po.Conditioned(prior, sums > at), SubsetSimulation(), seed=0)) for at in levels]

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
line = torch.linspace(1.5, 6, 100)
axes.semilogy(line, norm.sf(line), color="black", lw=1, label="exact")
low, high = ([abs(a.p - end) for a, end in zip(answers, ends)] for ends in zip(*[(a.low, a.high) for a in answers]))
axes.errorbar(levels, [a.p for a in answers], [low, high], fmt="o", color="C0", capsize=3, label="95 % intervals")
for at, answer in zip(levels, answers):
    axes.annotate(f"{answer.calls:,} calls", (at, answer.p), (8, 4), textcoords="offset points", fontsize=8)
axes.set(xlabel="level that the sum has to exceed", ylabel="probability", xlim=(1.5, 6.6))
axes.legend(frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "rare_tail.png", dpi=150)

last = answers[-1]
print(f"p = {last.p:.3g}, 95 % interval {last.low:.3g} to {last.high:.3g}, {last.calls:,} calls")
print(f"log10 p, exactly -8 = {log10(last.p):.4f}")
