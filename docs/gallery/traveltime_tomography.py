"""Velocity between two boreholes from first arrivals: rays bend, so the physics is solved and not straightened.

Eight shots in one well, ten receivers in the other. The eikonal equation gives the times and their exact derivative;
Gauss-Newton steps find the mode, and the curvature there gives every node a standard deviation, without a large matrix.
The unknown is the logarithm of the velocity, so that no velocity becomes negative.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import posteriori as po
from posteriori.core.support import Positive
from posteriori.domains.geophysics.pictures import draw_section
from posteriori.domains.picture import Colours
from posteriori.inference.low_rank_laplace import LowRankLaplace
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.decades import PowerOfTen
from posteriori.physics.eikonal import Eikonal

# 60 m between two wells of 100 m, nodes every 4 m; points are rows (depth, distance).
z, x = 4.0 * np.arange(26), 4.0 * np.arange(16)
velocity = po.Space("velocity", {"z": z, "x": x}, unit="m/s", support=Positive())
shots = torch.stack([torch.linspace(5, 95, 8), torch.full((8,), 0.0)], 1).double()
receivers = torch.stack([torch.linspace(2, 98, 10), torch.full((10,), 60.0)], 1).double()
times = Eikonal(velocity, shots, receivers) @ PowerOfTen(velocity)

# About 2000 m/s, give or take 20 %, alike over 20 m; picks with an error of 0.2 ms.
prior = Smoothness(times.domain, 0.08, {"z": 12.0, "x": 20.0}, mean=np.log10(2000.0), order=3).requires_grad_(False)
blank = torch.zeros(times.codomain.shape, dtype=torch.float64)
truth, question = po.Inverse(times, prior, blank, 2e-4).simulate(1, po.Rng(4))
target = question.given(question.data[0])

posterior = po.infer(target, LowRankLaplace(rank=40, tolerance=0.01))
mean, spread = posterior.center(), posterior.spread()
held = float((((truth[0] - mean) / spread).abs() < 1.645).double().mean())

figure = Figure(figsize=(10, 4.4), layout="constrained")
axes = figure.subplots(1, 3, sharey=True)
colours = Colours("velocity [m/s]", *(10 ** truth[0].quantile(torch.tensor([0.01, 0.99]).double())).tolist())
draw_section(axes[0], 10 ** truth[0], z, x, colours)
draw_section(axes[1], 10**mean, z, x, colours)
draw_section(axes[2], 100 * np.log(10) * spread, z, x, Colours("standard deviation [%]", 0))
for panel, title in zip(axes, ("truth", "mode", "what is left open")):
    panel.plot(shots[:, 1], shots[:, 0], "*", color="C3", clip_on=False)
    panel.plot(receivers[:, 1], receivers[:, 0], "<", color="black", ms=4, clip_on=False)
    panel.set(title=title, ylim=(100, 0))

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "traveltime_tomography.png", dpi=150)

residual = (times(mean) - target.data).square().mean().sqrt() / 2e-4
print(f"residuals are {float(residual):.2f} errors of a pick; the 90 % intervals hold {held:.2f} of the nodes")
share = (mean - truth[0]).norm() / (prior.location - truth[0]).norm()
print(f"rms error of log velocity, as a share of the prior's = {float(share):.3f}")
