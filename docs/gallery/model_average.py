"""Three models of one curve, weighted by their evidence and mixed.

A straight line, a smooth field and a rough one explain the same twelve data. The evidence gives each its probability;
the mixture keeps what the models disagree on, which any single one of them would hide.
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
from posteriori.inference.model_weights import evidence_weights
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

x = np.linspace(0, 10, 101)
space = po.Space("field", {"x": x})
at = torch.from_numpy(x)[:, None]
measured = Selection.along(space, "x", x[5:65:5])
blank = torch.zeros(measured.codomain.shape, dtype=torch.float64)

line = torch.stack([torch.ones(101), (at[:, 0] - 5) / 5], -1).double()
models = {
    "line": GaussianProcess(space, at, Matern([1.0], amplitude=1e-3), basis=line),
    "smooth": GaussianProcess(space, at, Matern([2.0], nu=2.5)),
    "rough": GaussianProcess(space, at, Matern([2.0], nu=0.5)),
}
questions = {name: po.Inverse(measured, prior, blank, 0.3) for name, prior in models.items()}


def averaged(data: torch.Tensor) -> tuple[list[po.Gaussian], torch.Tensor]:
    """The answer of each model, and their probabilities, (model, *problem)."""
    answers = [po.infer(question.given(data), Exact()) for question in questions.values()]
    return answers, evidence_weights(torch.stack([answer.log_evidence for answer in answers]))


# Each model makes three hundred data sets in turn; how often is the one with the largest probability the true one?
right, stated = [], []
for k, question in enumerate(questions.values()):
    simulated = question.simulate(300, po.Rng(6).child(k))[1]
    weights = averaged(simulated.data)[1]
    right.append((weights.argmax(0) == k).double())
    stated.append(weights.amax(0))
hits, claim = torch.cat(right).mean(), torch.cat(stated).mean()
print(f"the most probable model claims {claim:.3f} on average")

# One data set of the smooth model.
truth, simulated = questions["smooth"].simulate(1, po.Rng(9))
answers, weights = averaged(simulated.data[0])
mixture = po.Mixture(answers, weights)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.fill_between(x, *mixture.interval(0.9).values, color="C0", alpha=0.25, lw=0, label="mixture, 90 %")
for color, name, answer, weight in zip(("C1", "C2", "C4"), models, answers, weights):
    axes.plot(x, answer.mean(), color=color, lw=1, label=f"{name}: {100 * float(weight):.0f} %")
axes.plot(x, truth[0], color="black", lw=1, label="truth")
axes.plot(x[5:65:5], simulated.data[0], ".", color="C3", label="data")
axes.set(xlabel="x", ylabel="field", xlim=(0, 10))
axes.legend(ncols=2, frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "model_average.png", dpi=150)

print(f"the most probable model is the true one = {hits:.3f}")
