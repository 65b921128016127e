"""Slowness along a borehole from travel times: a linear-Gaussian question, answered exactly.

A shot at the surface is heard by ten receivers in a borehole. Each travel time is the slowness summed along the ray, so
that the operator is a matrix of path lengths and the posterior has a closed form.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import posteriori as po
from posteriori.core.algebra import Dense
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

# Two Spaces say what the axes mean: forty cells of 5 m, and receivers every 20 m.
cells = np.arange(2.5, 200.0, 5.0)
slowness = po.Space("slowness", {"depth": cells}, unit="ms/m")
time = po.Space("travel_time", {"receiver": np.arange(20.0, 201.0, 20.0)}, unit="ms")

# Known physics: 5 m of path in every cell above the receiver.
paths = torch.from_numpy(np.where(cells < time.labels("receiver")[:, None], 5.0, 0.0))
rays = Dense(slowness, time, paths)

# What is plausible before the data: 0.5 ms/m, give or take 0.05, alike over some 25 m.
mean = torch.full(slowness.shape, 0.5, dtype=torch.float64)
prior = GaussianProcess(slowness, torch.from_numpy(cells)[:, None], Matern([25.0], amplitude=0.05), mean)

# A truth drawn from the prior, and times picked with an error of 0.2 ms.
blank = torch.zeros(time.shape, dtype=torch.float64)
truth, question = po.Inverse(rays, prior, blank, 0.2).simulate(1, po.Rng(3))
target = question.given(question.data[0])

posterior = po.infer(target, Exact())
mean, interval = posterior.mean(), posterior.interval(0.9)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.fill_between(cells, *interval.values, color="C0", alpha=0.25, lw=0, label="90 % interval")
axes.plot(cells, mean, color="C0", label="posterior mean")
axes.plot(cells, truth[0], color="black", lw=1, label="truth")
axes.plot(time.labels("receiver"), np.full(10, 0.36), "v", color="C3", label="receivers", clip_on=False)
axes.set(xlabel="depth [m], positive downwards", ylabel="slowness [ms/m]", xlim=(0, 200), ylim=(0.35, 0.72))
axes.legend(ncols=2, frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "linear_inversion.png", dpi=150)

# How much of the prior's standard deviation the data leave: a property of the geometry, whatever the times say.
left = float((posterior.std() / 0.05).mean())
print(f"share of the prior standard deviation that is left = {left:.4f}")
