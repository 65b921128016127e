"""Density below a profile of gravity stations: what the data tell at each depth, and what they can never tell.

Forty stations look down on eight hundred cells. The prior is a smooth field that varies more at depth, where gravity
sees less of it; the posterior is exact. Its standard deviation says where the picture is the data's and where it is the
prior's, and a body that no station feels shows why more stations would not help.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import posteriori as po
from posteriori.domains.geophysics.illposed import silent_body
from posteriori.domains.geophysics.pictures import draw_section
from posteriori.domains.picture import Colours
from posteriori.inference.exact import Exact
from posteriori.inference.resolution import resolution
from posteriori.learn.depth import depth_scale
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.section_gravity import SectionGravity

# A section 8 km long and 2 km deep, and stations on the ground every 200 m, with errors of 0.05 mGal.
z, x = 50.0 + 100.0 * np.arange(20), 100.0 + 200.0 * np.arange(40)
section = po.Space("density", {"z": z, "x": x}, unit="kg/m^3")
gravity = SectionGravity(section, x)
scale = depth_scale(section, z0=200.0, power=1.0)
prior = Smoothness(section, 100.0, {"z": 400.0, "x": 800.0}, order=3, scale=scale).requires_grad_(False)

blank = torch.zeros(gravity.codomain.shape, dtype=torch.float64)
truth, question = po.Inverse(gravity, prior, blank, 0.05).simulate(1, po.Rng(3))
target = question.given(question.data[0])
posterior = po.infer(target, Exact())
left = posterior.spread() / prior.covariance.diagonal().sqrt().reshape(section.shape)

figure = Figure(figsize=(8, 9), layout="constrained")
top, *axes = figure.subplots(4, 1, sharex=True, height_ratios=[0.7, 1, 1, 1])
top.plot(x / 1000, target.data, "k.", label="data, ± 0.05 mGal")
top.plot(x / 1000, gravity(posterior.center()), color="C0", label="posterior mean")
top.set(ylabel="gravity [mGal]")
top.legend(frameon=False)
density = Colours("density contrast [kg/m³]", -200, 200, centred=True)
draw_section(axes[0], truth[0], z, x, density)
draw_section(axes[1], posterior.center(), z, x, density)
draw_section(axes[2], left, z, x, Colours("share of prior s.d.", 0, 1))
for panel, title in zip(axes, ("truth", "posterior mean", "what is left of the prior's standard deviation")):
    panel.set_title(title, loc="left", fontsize=10)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "gravity_section.png", dpi=150)

body = silent_body(section, z=1000.0, x=4000.0, high=700.0, wide=1400.0)
print(f"a silent body keeps {float(gravity(body).norm() / gravity(body.abs()).norm()):.1e} of its gravity")
for row in (0, 9, 19):
    print(f"left of the prior's standard deviation at {z[row]:4.0f} m: {left[row].mean():.2f}")
print(f"numbers of 800 that the data determine = {resolution(target).degrees:.2f}")
