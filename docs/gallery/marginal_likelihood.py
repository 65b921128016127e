"""How smooth, how large, how noisy? Three numbers of a Gaussian process from the evidence.

Learnt numbers are parameters of the prior and of the noise that own them. ``MarginalLikelihood`` maximises the
probability of the data with the unknown integrated out, which punishes a law too stiff to reach the data and one so
loose that it could have reached anything.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import posteriori as po
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.inference.exact import Exact
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

x = np.linspace(0, 10, 201)
space = po.Space("field", {"x": x})
at = torch.from_numpy(x)[:, None]
measured = Selection.along(space, "x", x[::2])
blank = torch.zeros(measured.codomain.shape, dtype=torch.float64)

# The truth: length 1, amplitude 2, and errors of 0.5 of which only 0.3 are quoted.
truth, simulated = po.Inverse(measured, GaussianProcess(space, at, Matern([1.0], 2.0)), blank, 0.5).simulate(
    1, po.Rng(4)
)
data = simulated.data[0]

# What is believed at first is wrong in all three; `excess` is the model error to be learnt beside the quoted 0.3.
prior = GaussianProcess(space, at, Matern([3.0], amplitude=1.0))
target = po.Inverse(measured, prior, data, Normal(0.3, excess=0.1))
fitted = MarginalLikelihood(Exact()).fit(target)
posterior = po.infer(fitted, Exact())
number = {name: value.item() for name, value in fitted.prior.covariance.kernel.numbers.values().items()}
excess = float(fitted.noise.log_excess.detach().exp())
print(f"amplitude {number['amplitude']:.2f} (truth 2), excess {excess:.2f} (truth 0.40)")

# The evidence against the length, the other numbers as fitted.
lengths = np.geomspace(0.2, 5, 30)
evidence = []
for length in lengths:
    fitted.prior.covariance.kernel.numbers.set({"length_0": length})
    evidence.append(float(Exact().log_evidence(fitted).detach()))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", width_ratios=(1, 1.6))
left.semilogx(lengths, evidence, color="C0")
left.set_xticks([0.3, 1, 3], ["0.3", "1", "3"])
left.set_xticks([], minor=True)
left.axvline(1.0, color="black", lw=1)
left.set(xlabel="length", ylabel="log-evidence [nat]", ylim=(max(evidence) - 30, max(evidence) + 3))
right.fill_between(x, *posterior.interval(0.9).values, color="C0", alpha=0.25, lw=0, label="90 % interval")
right.plot(x, truth[0], color="black", lw=1, label="truth")
right.plot(x[::2], data, ".", color="C3", ms=3, label="data")
right.set(xlabel="x", ylabel="field", xlim=(0, 10))
right.legend(ncols=3, frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "marginal_likelihood.png", dpi=150)

print(f"fitted length = {number['length_0']:.3f}")
