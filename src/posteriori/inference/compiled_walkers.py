"""Chains of one compiled density that stand somewhere and can move on."""

from __future__ import annotations

import numpy as np
import torch

from posteriori.core.errors import UnanswerableError
from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.weights import chain_ess
from posteriori.inference.adaptation import StepSize
from posteriori.inference.compiled_kernels import descend, walk
from posteriori.inference.compiled_target import Moving
from posteriori.physics.compiled import Floats

DESCENT = 500
"""Steps down the slope before chains start to move."""
FIRST_MOVE = 0.3
"""Largest move of a number in one step of that descent, as a share of the spread of the start."""
WORST = 0.01


def relaxed(one: Moving, start: Samples | None, chains: int, rng: Rng) -> Floats:
    """Where ``chains`` begin, (chain, n): draws of ``start`` (standard normal without) that have gone down the slope.

    Raises:
        UnanswerableError: a chain finds no place of finite energy.
    """
    values = rng.normal((chains, *one.space.shape)) if start is None else start.sample(chains, rng)
    x = one.numbers(one.space.check(values, "start"))
    u, g = one.energy(x)
    reach = FIRST_MOVE * max(float(x.std(0).mean()), 1e-3)
    descend(one.energy.function, one.energy.parameters, x, u, g, reach, DESCENT)
    broken = int((~np.isfinite(u)).sum())
    if broken:
        raise UnanswerableError(
            f"{broken} of {chains} chains find no start of finite energy; give start=…, a prior that reaches the "
            "target."
        )
    return x


class Walkers:
    """Chains at ``x`` (chain, n), each on its own.

    Attributes:
        step: leapfrog step. most: leapfrogs of a transition at most. accepted: each chain's mean acceptance of late.
    """

    def __init__(self, one: Moving, x: Floats, most: int, relabel: bool, rng: Rng) -> None:
        self.one, self.x, self.most, self.rng = one, x, most, rng
        self.block = one.energy.identical if relabel else 0
        self.u, self.g = one.energy(x)
        self.step = 0.1
        self.accepted = np.zeros(len(x))
        self._beta = np.full(len(x), one.beta)

    def rows(self, n: int, between: int) -> tuple[Floats, Floats]:
        """The next ``n`` rows of each chain, (chain, row, n), and their energies U (chain, row)."""
        chains, size = self.x.shape
        kept, energies = np.empty((chains, n, size)), np.empty((chains, n))
        energy = self.one.energy
        walk(
            energy.function,
            energy.parameters,
            self._beta,
            np.full(chains, self.step),
            self.most,
            between,
            self.one.axes,
            self.block,
            self.x,
            self.g,
            self.u,
            kept,
            energies,
            self.accepted,
            self.rng.numpy,
        )
        return kept, energies

    def adapt(self, transitions: int, accept: float, strict: bool) -> None:
        """Move, and learn the step from each transition; ``strict``: the chain in most trouble counts most."""
        learns = StepSize(torch.tensor(self.step, dtype=torch.float64), accept)
        for _ in range(transitions):
            self.step = float(learns.value)
            self.rows(1, 1)
            found = 1 / (1 / np.maximum(self.accepted, WORST)).mean() if strict else self.accepted.mean()
            learns.update(torch.tensor(found, dtype=torch.float64))
        learns.settle()
        self.step = float(learns.value)

    def tried(self, most: int, gradients: int) -> float:
        """Effective samples of U and of the squared distance from the mean, the fewer of both, in ``gradients``."""
        self.most = most
        rows = max(8, 4 * gradients // (3 * most))
        kept, energies = self.rows(rows, 1)
        away = np.square(kept - kept.mean((0, 1))).sum(-1)
        seen = torch.from_numpy(np.stack([energies, away], -1)).transpose(0, 1)
        return float(chain_ess(seen).min()) * gradients / (rows * most)
