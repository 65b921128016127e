"""Where to measure next: by expected gain, by the largest error, at random."""

from __future__ import annotations

import numpy as np
import torch

import posteriori as po
from posteriori.core.algebra import Identity
from posteriori.core.operator import Selection
from posteriori.decide.goals import TotalVariance
from posteriori.decide.next_observation import next_observation
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern

# A field on a square of 12 × 12 sites; one site can be measured after the other, with an error of 0.1.
axis = np.arange(12.0)
plane = po.Space("field", {"y": axis, "x": axis})
where = torch.stack(torch.meshgrid(*(torch.from_numpy(axis),) * 2, indexing="ij"), -1).reshape(-1, 2)
prior = GaussianProcess(plane, where, Matern([2.5, 2.5]))
belief = po.Gaussian(plane, prior.location, prior.covariance)
west = Selection.along(plane, "x", axis[:4])  # what one wants to know
STEPS, SIGMA = 40, 0.1


def left(order: list[int]) -> np.ndarray:
    """Root mean variance in the west after each measurement of ``order``: no datum is needed to know it."""
    now, found = belief, []
    for cell in order:
        mask = torch.zeros(plane.size, dtype=torch.bool).index_fill(0, torch.tensor([cell]), True)
        one = Selection.where(plane, mask.reshape(plane.shape))
        now = po.infer(po.Inverse(one, now, torch.zeros(1, dtype=torch.float64), SIGMA), Exact())
        found.append(float(west(now.spread()).square().mean().sqrt()))
    return np.array(found)


ranking = next_observation(belief, Identity(plane), SIGMA, TotalVariance(west), count=STEPS)
by_gain = left(ranking.chosen.tolist())

largest, now = [], belief
for _ in range(STEPS):
    cell = int(now.spread().flatten().argmax())
    largest.append(cell)
    mask = torch.zeros(plane.size, dtype=torch.bool).index_fill(0, torch.tensor([cell]), True)
    one = Selection.where(plane, mask.reshape(plane.shape))
    now = po.infer(po.Inverse(one, now, torch.zeros(1, dtype=torch.float64), SIGMA), Exact())
by_error = left(largest)
at_random = np.mean([left(po.Rng(k).permutation(plane.size)[:STEPS].tolist()) for k in range(5)], axis=0)

goal = at_random[-1]
needed = {"gain": by_gain, "largest error": by_error, "random": at_random}
for name, curve in needed.items():
    print(f"by {name}: {int((curve > goal).sum()) + 1} measurements to an rms of {goal:.2f}")
print(f"measurements by gain, as a share of a random order's = {((by_gain > goal).sum() + 1) / STEPS:.3f}")
