"""A small Bayesian neural network as a question about its weights, answered by Laplace's method."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import TorchOperator
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.core.tasks import run_tasks
from posteriori.inference.curvature import GaussNewton, dense_jacobian
from posteriori.inference.laplace import Laplace
from posteriori.learn.members import Predictions, Rows
from posteriori.learn.network import Scaling


class NetValues(TorchOperator):
    """Values at rows ``x`` (m, f) of a net of one hidden layer of tanh, as a function of its weights.

    Weights are whitened: each has the prior N(0, 1), scaled inside by 1/√inputs and, at the output, by 1/√width.
    """

    def __init__(self, x: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("x", torch.cat([x, torch.ones_like(x[:, :1])], 1))
        self.x: Tensor
        self.width = width
        self.inputs = self.x.shape[1]
        self.domain = Space("weights", {"weight": self.inputs * width + width + 1})
        self.codomain = Space("value", {"row": len(x)})

    def forward(self, m: Tensor) -> Tensor:
        """(*batch, weights) → (*batch, m)."""
        hidden, out = m[..., : self.inputs * self.width], m[..., self.inputs * self.width :]
        enter = hidden.unflatten(-1, (self.inputs, self.width)) / sqrt(self.inputs)
        state = torch.tanh(self.x.to(m) @ enter)
        return (state @ out[..., :-1, None])[..., 0] / sqrt(self.width) + out[..., -1:]

    def at(self, x: Tensor) -> NetValues:
        """The same net at other rows."""
        return NetValues(x, self.width)


@dataclass(frozen=True)
class BayesianNet:
    """Posterior of the weights of a small net, N(mode, H⁻¹), and its predictions linearised about the mode.

    Inductive bias: a few smooth steps in feature space; what the weights leave free widens the prediction.

    Args:
        width: hidden units.
        gain: prior standard deviation of a weight before whitening.
        method: finds the mode and its curvature.

    Reference: MacKay (1992), A practical Bayesian framework for backpropagation networks, Neural Computation 4, 448;
    Immer, Korzepa & Bauer (2021), Improving predictions of Bayesian neural nets via local linearization,
    arXiv:2008.08400.
    """

    width: int = 8
    gain: float = 1.0
    method: Laplace = field(default_factory=lambda: Laplace(GaussNewton(), steps=400, tolerance=3.0))

    references: ClassVar[tuple[str, ...]] = (
        "MacKay (1992), A practical Bayesian framework for backpropagation networks, Neural Computation 4, 448.",
        "Immer, Korzepa & Bauer (2021), Improving predictions of Bayesian neural nets via local linearization, "
        "arXiv:2008.08400.",
    )

    def __call__(self, rows: Rows, context: Context) -> Predictions:
        """In one task a column."""
        parts = run_tasks(_column, (self, rows), list(range(rows.y.shape[1])), context, "Bayesian nets")
        return Predictions(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _column(payload: tuple[BayesianNet, Rows], context: Context) -> dict[str, Tensor]:
    net, rows = payload
    column = int(context.rng.key)
    shown = rows.weight[:, column] > 0
    y, variance = rows.y[shown, column], rows.variance[shown]
    unit = y.square().mean().sqrt().clamp_min(1e-300)
    scaling = Scaling.of(rows.x)
    values = NetValues(scaling(rows.x[shown]), net.width)
    n = values.domain.size
    start = context.rng.child("anchor").normal((n,)) * net.gain
    # a prior about random weights rather than zero, where all hidden units would be the same one
    prior = Gaussian(values.domain, start, DiagonalCovariance(torch.full((n,), net.gain**2, dtype=torch.float64)))
    target = Inverse(values, prior, y / unit, Normal(variance.sqrt() / unit))
    weights = net.method(target, context.child("weights"))
    asked = values.at(scaling(torch.cat([rows.x, rows.cells])))
    with torch.no_grad():
        mean = asked(weights.location) * unit
        bent = dense_jacobian(asked, weights.location)
        own = (bent @ weights.dense().root).square().sum(-1) * unit.square()
    m = len(rows.x)
    said = {"rows": mean[:m], "cells": mean[m:], "row_variance": own[:m], "cell_variance": own[m:]}
    return {name: value[None, None] for name, value in said.items()}
