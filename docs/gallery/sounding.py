"""A magnetotelluric sounding: resistivity at every depth with its interval, held against the truth.

Natural currents of long periods reach deep, those of short ones do not: apparent resistivity and phase against period
are a blurred picture of resistivity against depth. The unknown is its logarithm, smooth over the logarithm of depth.
Forty soundings of truths drawn from the prior are inverted in one call, so that the intervals can be counted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import posteriori as po
from posteriori.core.support import Positive
from posteriori.inference.curvature import GaussNewton
from posteriori.inference.laplace import Laplace
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern
from posteriori.physics.decades import Log10, PowerOfTen
from posteriori.physics.magnetotellurics import Magnetotellurics

# Sixteen layers whose tops grow from the surface to 30 km, and 25 periods.
tops = np.concatenate([[0.0], np.geomspace(100.0, 3e4, 15)])
earth = po.Space("resistivity", {"z": tops}, unit="ohm m", support=Positive())
periods = torch.logspace(-2.5, 3, 25, dtype=torch.float64)
physics = Magnetotellurics(earth, periods)
sounding = Log10(physics.codomain) @ physics @ PowerOfTen(earth)  # logarithms in, logarithms and phases out

# About 100 ohm m, give or take a factor of four, alike over a factor of e in depth.
depth = torch.from_numpy(np.log(np.maximum(tops, 50.0)))[:, None]
prior = GaussianProcess(sounding.domain, depth, Matern([1.0], amplitude=0.6), torch.full((16,), 2.0).double())
sigma = torch.cat([torch.full((25,), 0.02), torch.full((25,), 1.4)]).double()  # 5 % and the same in degrees
blank = torch.zeros(50, dtype=torch.float64)
truth, target = po.Inverse(sounding, prior, blank, sigma).simulate(40, po.Rng(5))

posterior = po.infer(target, Laplace(GaussNewton(), tolerance=1e-6))
low, high = posterior.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
held = ((low <= truth) & (truth <= high)).double().mean()

edges = np.concatenate([[50.0], tops[1:], [1e5]])
figure = plt.figure(figsize=(9, 4.8), layout="constrained")
axes = figure.subplot_mosaic("as;ps")
fitted = sounding(posterior.center())[0]
for panel, name, part in (
    ("a", "log$_{10}$ apparent\nresistivity [ohm m]", slice(25)),
    ("p", "phase [degree]", slice(25, 50)),
):
    axes[panel].errorbar(periods, target.data[0, part], sigma[part], fmt="ko", ms=3, label="data")
    axes[panel].plot(periods, fitted[part], color="C0", label="of the mode")
    axes[panel].set(xscale="log", xlabel="period [s]", ylabel=name)
section = axes["s"]
ends = (side[0].repeat_interleave(2) for side in (low, high))
section.fill_betweenx(np.repeat(edges, 2)[1:-1], *ends, alpha=0.25, lw=0)
section.stairs(posterior.center()[0], edges, orientation="horizontal", color="C0", label="mode and 90 % interval")
section.stairs(truth[0], edges, orientation="horizontal", color="black", label="truth")
section.set(yscale="log", xlabel="log$_{10}$ resistivity [ohm m]", ylabel="depth [m]", xlim=(0.4, 3), ylim=(1e5, 50.0))
section.legend(frameon=False, loc="upper left")
axes["a"].legend(frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "sounding.png", dpi=150)

spread = (posterior.spread() / 0.6).mean(0)
print(f"left of the prior's standard deviation: {spread[5]:.2f} at 500 m, {spread[-1]:.2f} below 30 km")
print(f"true resistivities inside their 90 % intervals = {float(held):.3f}")
