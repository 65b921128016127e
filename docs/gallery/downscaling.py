"""A coarse line made fine again: block averages as data, two hundred truths at once.

A sensor reports means over six cells. The fine values are not determined by them, but with a law of how smooth the
field is they are known better than the block means tell, and the posterior says how much better. Data with a leading
dim are problems that are solved together, so that the gain can be measured instead of claimed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import posteriori as po
from posteriori.core.algebra import BlockAverage
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

fine = po.Space("temperature", {"x": 60}, unit="kelvin")
where = torch.arange(60, dtype=torch.float64)[:, None]
prior = GaussianProcess(fine, where, Matern([8.0], amplitude=2.0))
coarse = BlockAverage(fine, {"x": 6})

# Two hundred truths from the prior, each seen through the sensor with an error of 0.1 K.
blank = torch.zeros(coarse.codomain.shape, dtype=torch.float64)
truth, target = po.Inverse(coarse, prior, blank, 0.1).simulate(200, po.Rng(1))
posterior = po.infer(target, Exact())

# The alternative that needs no inference: every cell takes its block's value.
steps = target.data.repeat_interleave(6, dim=-1)
fine_error = (posterior.center() - truth).square().mean().sqrt()
step_error = (steps - truth).square().mean().sqrt()

low, high = posterior.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
held = ((low <= truth) & (truth <= high)).double().mean()

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.fill_between(where[:, 0], low[0], high[0], color="C0", alpha=0.25, lw=0, label="90 % interval")
axes.plot(where, posterior.center()[0], color="C0", label="posterior mean")
axes.step(where, steps[0], where="mid", color="C1", label="what the sensor says")
axes.plot(where, truth[0], color="black", lw=1, label="truth")
axes.set(xlabel="cell", ylabel="temperature, less the mean [K]", xlim=(0, 59))
axes.legend(frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "downscaling.png", dpi=150)

print(f"the 90 % intervals hold {held:.3f} of 12000 true values")
print(f"rms error, as a share of the block means' own = {fine_error / step_error:.3f}")
