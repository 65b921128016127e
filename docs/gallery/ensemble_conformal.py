"""A deep ensemble on a line, and what conformal repair makes of its intervals.

Nets that differ by their initial weights disagree where they were not told; how much they disagree follows from their
architecture, not from a stated prior. Held against simulated problems whose truth is known, the spread can be repaired
by one factor, after which the intervals hold as often as they say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import posteriori as po
from posteriori.audit.repeats import credible
from posteriori.core.operator import Selection
from posteriori.inference.conformal import Conformal
from posteriori.inference.ensemble import DeepEnsemble
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan

# A smooth field on forty cells, of which only the middle was measured.
x = np.linspace(-1, 1, 40)
space = po.Space("field", {"x": x})
at = torch.from_numpy(x)[:, None]
prior = GaussianProcess(space, at, Matern([0.4]))
measured = Selection.along(space, "x", x[np.abs(x) < 0.6])
blank = torch.zeros(measured.codomain.shape, dtype=torch.float64)
question = po.Inverse(measured, prior, blank, 0.1)

# Four small nets, each blind to one of two folds of the data.
plan = Plan(epochs=150, batch=24, rate=2e-2)
ensemble = DeepEnsemble(at, Layers(16), members=4, plan=plan, folds=2)
repaired = Conformal(ensemble, level=0.9).fit(question.simulate, seed=0, problems=40)

# Coverage before and after, over sixty truths that neither has seen.
before, after = (credible(method, question, problems=60, rng=po.Rng(7)) for method in (ensemble, repaired))
for name, report in (("before", before), ("after", after)):
    print(f"90 % intervals {name} repair hold {report['coverage90'].measured} of the truths")

truth, problem = question.simulate(1, po.Rng(2))
posterior = po.infer(problem.given(problem.data[0]), repaired)
inner = po.infer(problem.given(problem.data[0]), ensemble)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.fill_between(x, *posterior.interval(0.9).values, color="C2", alpha=0.25, lw=0, label="repaired, 90 %")
axes.fill_between(x, *inner.interval(0.9).values, color="C0", alpha=0.45, lw=0, label="the ensemble's own, 90 %")
axes.plot(x, truth[0], color="black", lw=1, label="truth")
axes.plot(measured.codomain.labels("x"), problem.data[0], ".", color="C3", label="data")
axes.set(xlabel="x", ylabel="field", xlim=(-1, 1))
axes.legend(ncols=2, frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "ensemble_conformal.png", dpi=150)

print(f"factor on every deviation {repaired.factor:.2f}")
print(f"coverage of repaired 90 % intervals = {after['coverage90'].value:.3f}")
