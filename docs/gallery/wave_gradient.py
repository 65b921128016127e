"""Which cells made the waves arrive wrong: one gradient by the adjoint of the wave equation.

Two shots cross a section that holds a slow lens; the model does not know of it. The residuals, run back in time from
the receivers, meet the waves of the shots where the model is wrong: that product is the gradient of the misfit in every
cell, for the price of some four runs. The dot test says whether it is the transpose that it claims to be.
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
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.wavelets import ricker

# 70 × 70 nodes of 10 m; shots at the left edge, receivers at the right one; 0.6 s of a 15 Hz wavelet.
nodes = 10.0 * np.arange(70)
space = po.Space("velocity", {"z": nodes, "x": nodes}, unit="m/s", support=Positive())
shots, receivers = [[200.0, 20.0], [500.0, 20.0]], [[z, 670.0] for z in nodes]
times = 1e-3 * torch.arange(600, dtype=torch.float64)
waves = Acoustic(space, Survey.shots(shots, receivers, ricker(15.0, times)), dt=1e-3)

# The truth has a lens, 10 % slow, that the model lacks.
model = torch.full(space.shape, 2000.0, dtype=torch.float64)
z, x = torch.meshgrid(torch.from_numpy(nodes), torch.from_numpy(nodes), indexing="ij")
lens = torch.exp(-(((z - 350) / 80) ** 2) - ((x - 350) / 80) ** 2)
observed, (predicted, back) = waves(model - 200 * lens), waves.pull(model)
residual = predicted - observed
gradient = back(residual)  # of ½ ‖residual‖² in each velocity, from what the forward run kept

# ⟨J v, r⟩ and ⟨v, Jᵀ r⟩ are one number if the adjoint is right.
v, r = po.Rng(0).normal(space.shape), po.Rng(1).normal(waves.codomain.shape)
there, here = (waves.jvp(model, v) * r).sum(), (v * waves.vjp(model, r)).sum()

figure = Figure(figsize=(11, 3.6), layout="constrained")
axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.2])
for panel, traces, title in zip(axes, (observed[0], residual[0]), ("observed, upper shot", "predicted less observed")):
    limit = float(observed[0].abs().quantile(0.995))
    panel.imshow(traces.mT.numpy(), cmap="gray", vmin=-limit, vmax=limit, aspect="auto", extent=(0, 690, 0.6, 0))
    panel.set(title=title, xlabel="depth of receiver [m]", ylabel="time [s]")
limit = float(gradient[5:-5, 10:-10].abs().max())
draw_section(axes[2], gradient / limit, nodes, nodes, Colours("gradient, scaled", -1, 1, centred=True))
axes[2].contour(nodes, nodes, lens, levels=[0.5], colors="black")
axes[2].plot(*np.array(shots).T[::-1], "k*", clip_on=False)
axes[2].set(title="gradient; outline: the lens", aspect="equal")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "wave_gradient.png", dpi=150)

share = float((gradient * lens).sum() / (gradient.norm() * lens.norm()))
print(f"the gradient points along the lens: a cosine of {share:.2f}")
print(f"dot test, relative difference = {float(abs(there - here) / abs(there)):.1e}")
