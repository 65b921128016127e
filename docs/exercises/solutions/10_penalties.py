"""Penalties 1, k² and k⁴ at a step: each is a low-pass filter, and one of them overshoots."""

from __future__ import annotations

from math import cos, exp, pi, sqrt

import numpy as np
import torch

import posteriori as po
from posteriori.core.algebra import Identity
from posteriori.inference.exact import Exact
from posteriori.learn.smoothness import Roughness

# A line of 400 cells of 1 m; each is measured, with an error of one..
line = po.Space("m", {"x": 0.5 + np.arange(400.0)})
x = torch.from_numpy(line.labels("x"))
REACH = 10.0  # [m], where the penalty equals the misfit: λ k^2p = 1 at k = 1 / REACH
TINY = 1e-6  # keeps the laws proper where only slopes or bends cost


def answer(order: int, data: torch.Tensor) -> torch.Tensor:
    """Posterior mean under λ ∫ |dᵖm/dxᵖ|², whose filter is 1 / (1 + (k · REACH)^2p)."""
    strengths = {0: 1.0} if order == 0 else {0: TINY, order: REACH ** (2 * order)}
    prior = Roughness(line, strengths).requires_grad_(False)
    return po.infer(po.Inverse(Identity(line), prior, data, 1.0), Exact()).center()


# A harmonic that fits the line (its slope is zero at both ends) is only made smaller: that is the filter.
for n in (10, 40, 80):
    k = n * pi / 400
    wave = torch.cos(k * x)
    measured = [float((answer(p, wave) * wave).sum() / wave.square().sum()) for p in (0, 1, 2)]
    expected = [1 / (1 + (k * REACH) ** (2 * p)) for p in (0, 1, 2)]
    print(f"wavelength {2 * pi / k:3.0f} m: kept", *(f"{m:.3f} ({e:.3f})" for m, e in zip(measured, expected)))

step = (x > 200).double()
for order in (0, 1, 2):
    found = answer(order, step)
    print(f"penalty k^{2 * order}: the top of a step of one is {float(found.max()):.4f}")

# Far from the ends the k⁴ answer is 1 - ½ e^(-a) cos a with a = x / (√2 REACH), largest at a = 3π/4.
print(f"closed form {0.5 * exp(-3 * pi / 4) * cos(pi / 4):.4f}, at {0.75 * pi * sqrt(2) * REACH:.0f} m from the step")
print(f"overshoot of k⁴ at a step of one = {float(answer(2, step).max()) - 1:.4f}")
