"""A small full-waveform inversion: a lens from the whole records of five shots, by descent along adjoint gradients.

The unknown is not the velocity but white numbers, from which a smooth prior makes it: the penalty is then half their
sum of squares, and the prior's root smooths and scales the gradient, so that L-BFGS needs few steps towards the mode.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import posteriori as po
from posteriori.core.support import Positive
from posteriori.domains.geophysics.pictures import draw_section
from posteriori.domains.picture import Colours
from posteriori.inference.lbfgs import minimise
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.wavelets import ricker

# 600 m by 600 m, nodes every 15 m; shots along the left edge, receivers along the right one and the top.
nodes = 15.0 * np.arange(41)
space = po.Space("velocity", {"z": nodes, "x": nodes}, unit="m/s", support=Positive())
shots = [[z, 30.0] for z in (60.0, 180.0, 300.0, 420.0, 540.0)]
receivers = [[z, 570.0] for z in nodes[::2]] + [[15.0, x] for x in nodes[::2]]
times = 2e-3 * torch.arange(260, dtype=torch.float64)
waves = Acoustic(space, Survey.shots(shots, receivers, ricker(12.0, times)), dt=2e-3)

# The start knows how velocity grows with depth, the truth has a slow lens and a fast one besides.
start = torch.from_numpy(np.broadcast_to(1800 + 0.8 * nodes[:, None], space.shape).copy())
z, x = torch.meshgrid(torch.from_numpy(nodes), torch.from_numpy(nodes), indexing="ij")
truth = start - 250 * torch.exp(-(((z - 220) / 70) ** 2) - ((x - 350) / 90) ** 2)
truth += 200 * torch.exp(-(((z - 430) / 60) ** 2) - ((x - 260) / 80) ** 2)
clean = waves(truth)
sigma = 0.05 * float(clean.square().mean().sqrt())
observed = clean + sigma * po.Rng(1).normal(clean.shape)
prior = Smoothness(space, 100.0, 60.0, mean=start, order=3).requires_grad_(False)
target = po.Inverse(waves, prior, observed, sigma)


def energy(white: Tensor) -> tuple[Tensor, Tensor]:
    """Energy and gradient of the white numbers (…, n)."""
    with torch.enable_grad():
        white = white.detach().requires_grad_()
        value = target.misfit(prior.decode(white.reshape(space.shape))) + 0.5 * white.square().sum(-1)
        return value.detach(), torch.autograd.grad(value, white)[0]


descent = minimise(energy, torch.zeros(space.size).double(), steps=30)
found = prior.decode(descent.x.reshape(space.shape))

figure = Figure(figsize=(8, 7), layout="constrained")
axes = figure.subplots(2, 2)
colours = Colours("velocity [m/s]", 1750, 2400)
for panel, model, title in zip(axes.flat, (truth, start, found), ("truth", "start", "after 30 steps")):
    draw_section(panel, model, nodes, nodes, colours)
    panel.plot(*np.array(shots).T[::-1], "*", color="C3")
    panel.plot(*np.array(receivers).T[::-1], ".", color="black", ms=3)
    panel.set_title(title)
for model, look, label in ((truth, "black", "truth"), (start, "0.6", "start"), (found, "C0", "after 30 steps")):
    axes[1, 1].plot(model[:, 20], nodes, color=look, label=label)
axes[1, 1].set(title="at x = 300 m", xlabel="velocity [m/s]", ylabel="depth [m]", ylim=(600, 0))
axes[1, 1].legend(frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "small_fwi.png", dpi=150)

rms = [float((model - truth).square().mean().sqrt()) for model in (start, found)]
residual = float((waves(found) - observed).square().mean().sqrt()) / sigma
print(f"residuals are {residual:.3f} errors; rms error of the velocity {rms[0]:.0f} m/s before, {rms[1]:.0f} m/s after")
print(f"rms error, as a share of the start's = {rms[1] / rms[0]:.3f}")
