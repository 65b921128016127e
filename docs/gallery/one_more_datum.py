"""Every posterior is a prior: data that come one by one give what all of them at once give.

Six sensors report in turn. Each report is one ``infer`` with the last answer as the prior; nothing is refitted, and the
covariance that the earlier data left is what the next one works on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import posteriori as po
from posteriori.core.operator import Selection
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

x = np.linspace(0, 10, 101)
space = po.Space("level", {"x": x}, unit="m")
prior = GaussianProcess(space, torch.from_numpy(x)[:, None], Matern([1.5]))
sensors = Selection.along(space, "x", x[[10, 80, 45, 60, 25, 95]])
blank = torch.zeros(6, dtype=torch.float64)
truth, simulated = po.Inverse(sensors, prior, blank, 0.05).simulate(1, po.Rng(8))
data = simulated.data[0]

belief, spread = prior, []
figure, axes = plt.subplots(2, 3, figsize=(9, 4.6), layout="constrained", sharex=True, sharey=True)
for ax, label, datum in zip(axes.flat, sensors.codomain.labels("x"), data):
    one = sensors.select("x", [label])
    belief = po.infer(po.Inverse(one, belief, datum[None], 0.05), Exact())
    spread.append(float(belief.std().mean()))
    ax.fill_between(x, *belief.interval(0.9).values, color="C0", alpha=0.25, lw=0)
    ax.plot(x, belief.mean(), color="C0")
    ax.plot(x, truth[0], color="black", lw=1)
    ax.axvline(label, color="C3", lw=1)
    ax.set_title(f"standard deviation {spread[-1]:.2f} m", loc="left", fontsize=10)
axes[1, 1].set_xlabel("x; red: the sensor that has just reported")
axes[0, 0].set(ylabel="level [m]", xlim=(0, 10))

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "one_more_datum.png", dpi=150)

together = po.infer(simulated.given(data), Exact())
apart = max(
    float((together.center() - belief.center()).abs().max()), float((together.spread() - belief.spread()).abs().max())
)
print(f"mean standard deviation after six reports [m] {spread[-1]:.4f}")
print(f"one by one less all at once, at most [m] = {apart:.9f}")
