"""A generator that competes with the chains: an equivariant flow fitted to their rows, its rows weighed exactly."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import UnanswerableError
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Target
from posteriori.domains.molecules.particles import Cluster
from posteriori.inference.augmented import Augmented
from posteriori.inference.compiled_hmc import CompiledHMC
from posteriori.inference.importance import Importance
from posteriori.learn.flow.equivariant import EquivariantFlow
from posteriori.physics.centred import Centred

WIDTH = 0.5
"""Spread of the auxiliary positions about the particles, as a share of the spread of a coordinate."""
ROWS, BATCH, RATE = 20_000, 256, 2e-3
TAIL = 0.5
"""Share of the training over which the learning rate falls to zero."""


@dataclass(frozen=True)
class WeighedFlow:
    """Rows of a flow of positions and auxiliary ones, with exact weights; the auxiliary ones are dropped.

    Args:
        flow: fitted before.
        width: standard deviation of the auxiliary positions.
        draws: rows.
    """

    flow: EquivariantFlow
    width: float
    draws: int = 1000

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weighted rows of ``target``.

        Raises:
            UnanswerableError: the target is not of the positions that the flow makes, or every weight is zero.
        """
        if not isinstance(target, Boltzmann):
            raise UnanswerableError("a flow of particles answers Boltzmann targets of centred positions.")
        joint = Importance(self.flow, self.draws, defensive=0.0, smooth=False)(Augmented(target, self.width), context)
        return Draws(
            target.space,
            joint.values[:, 0],
            joint.log_weights,
            log_evidence=joint.log_evidence,
            stats=joint.stats,
        )


@dataclass(frozen=True)
class Trained:
    """A generator, and the CPU seconds that it took: rows of HMC to learn from, and the fit."""

    method: WeighedFlow
    seconds: float


def train(cluster: Cluster, temperature: float, seconds: float, context: Context) -> Trained:
    """Fit an equivariant flow by likelihood to rows of HMC, in single precision, for ``seconds`` of CPU time."""
    started = time.process_time()
    target = cluster.target(temperature)
    rows = CompiledHMC(draws=ROWS // 40, chains=40, between=10)(target, context.child("rows")).values
    size = float(rows.std())
    with context.rng.child("weights"):
        flow = EquivariantFlow(Centred(cluster.potential.domain), size=size).float()
    width = WIDTH * size
    _fit(flow, rows.float(), width, started + seconds, context)
    return Trained(WeighedFlow(flow.double(), width), time.process_time() - started)


def _fit(flow: EquivariantFlow, rows: Tensor, width: float, until: float, context: Context) -> None:
    rng = context.rng.child("fit")
    parameters = [p for p in flow.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    began = time.process_time()
    while (now := time.process_time()) < until:
        left = (until - now) / (until - began)
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, left / TAIL)
        x = rows[rng.integers(len(rows), (BATCH,))]
        joint = torch.stack([x, x + width * rng.normal(x.shape, x)], 1)
        loss = -flow.log_prob(joint).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimiser.step()
