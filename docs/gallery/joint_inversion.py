"""Gravity and three boreholes on one density profile: a joint inversion is a Stack.

Gravity sees every cell, but blurred; a borehole sees one cell, but sharply. ``Stack`` joins the two operators on one
unknown, whatever their units, and the posterior weighs them by their errors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import posteriori as po
from posteriori.core.algebra import Dense, Stack
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

# Fifty horizontal line masses of 200 m × 200 m, 1 km deep; stations at the surface every 400 m.
x, depth, side = np.arange(0.1, 10.0, 0.2), 1.0, 200.0
density = po.Space("density_contrast", {"x": x}, unit="kg/m^3")
stations = po.Space("gravity", {"station": np.arange(0.0, 10.1, 0.4)}, unit="mgal")

# g = 2 G m' h / (dx² + h²) of an infinite line of mass m' per metre, in mGal; downward pull is positive.
G, MGAL, KM = 6.67430e-11, 1e5, 1e3
gap = (x - stations.labels("station")[:, None]) * KM
pull = 2 * G * side**2 * depth * KM / (gap**2 + (depth * KM) ** 2) * MGAL
gravity = Dense(density, stations, torch.from_numpy(pull))
boreholes = Selection.along(density, "x", x[[9, 24, 38]])
both = Stack(gravity=gravity, borehole=boreholes)

prior = GaussianProcess(density, torch.from_numpy(x)[:, None], Matern([0.8], amplitude=200.0))
sigma = {"gravity": 0.3, "borehole": 10.0}  # [mGal], [kg/m³]
errors = torch.cat([torch.full((gravity.codomain.size,), sigma["gravity"]), torch.full((3,), sigma["borehole"])])
blank = torch.zeros(both.codomain.shape, dtype=torch.float64)
truth, question = po.Inverse(both, prior, blank, Normal(errors.double())).simulate(1, po.Rng(5))

# The same data, part by part and together.
parts = both.codomain.split(question.data[0])
answers = {
    "gravity alone": po.infer(po.Inverse(gravity, prior, parts["gravity"], sigma["gravity"]), Exact()),
    "boreholes alone": po.infer(po.Inverse(boreholes, prior, parts["borehole"], sigma["borehole"]), Exact()),
    "both": po.infer(question.given(question.data[0]), Exact()),
}

figure, axes = plt.subplots(3, 1, figsize=(7, 6.5), layout="constrained", sharex=True, sharey=True)
for ax, (name, posterior) in zip(axes, answers.items()):
    ax.fill_between(x, *posterior.interval(0.9).values, color="C0", alpha=0.25, lw=0)
    ax.plot(x, posterior.mean(), color="C0")
    ax.plot(x, truth[0], color="black", lw=1)
    ax.set_title(f"{name}: standard deviation {float(posterior.std().mean()):.0f} kg/m³ on average", loc="left")
axes[1].set_ylabel("density contrast [kg/m³]; band: 90 %, black: truth")
axes[2].set(xlabel="x [km]", xlim=(0, 10))

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "joint_inversion.png", dpi=150)

print(f"standard deviation with both data [kg/m³] = {float(answers['both'].std().mean()):.2f}")
