"""How not to keep constraints: springs of some stiffness, and throwing away what does not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kstest
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.infer import infer
from posteriori.core.operator import Operator, TorchOperator
from posteriori.core.random import Rng
from posteriori.core.target import Boltzmann
from posteriori.core.weights import chain_ess
from posteriori.domains.molecules.constraints import CentreTrap, Free, Scattered, cases
from posteriori.inference.hmc import HMC
from posteriori.physics.fixed_distances import FixedDistances
from posteriori.physics.surfaces import Torus

CHAINS = 100
AT_ONCE = 100_000


class Springs(TorchOperator):
    """A potential and ½ k Σ c² of constraints c: (*batch, *shape) → (*batch,).

    Args:
        inner: the potential.
        constraint: from the same Space.
        stiffness: k.
    """

    def __init__(self, inner: Operator, constraint: Operator, stiffness: float) -> None:
        super().__init__()
        self.inner, self.constraint, self.stiffness = inner, constraint, stiffness
        self.domain, self.codomain = inner.domain, inner.codomain

    def forward(self, m: Tensor) -> Tensor:
        """The energy."""
        energy: Tensor = self.inner(m)
        return energy + self.stiffness * self.constraint.codomain.flat(self.constraint(m)).square().sum(-1) / 2

    @staticmethod
    def example() -> Springs:
        """A triatomic held by springs."""
        bonds = FixedDistances.example()
        return Springs(CentreTrap(bonds.domain), bonds, 10.0)


@dataclass(frozen=True)
class Bad:
    """What one such way gives for a point on a torus.

    Attributes:
        strength: stiffness [kT], or the largest |constraint| that is let through.
        residual: root mean square of the constraint.
        from_area: largest distance of the poloidal angle's distribution function from that of rigid motion, by area.
        from_stiff: the same from that of infinitely stiff springs.
        cost: gradients for each effective sample of the angle, or draws for each accepted one.
        values: the angles [rad].
    """

    strength: float
    residual: float
    from_area: float
    from_stiff: float
    cost: float
    values: NDArray[np.float64]


def softly(stiffness: float, draws: int, rng: Rng) -> Bad:
    """A spring of ``stiffness`` instead of the constraint, by HMC."""
    torus = Torus()
    target = Boltzmann(Springs(Free(torus.domain), torus, stiffness), 1.0)
    method = HMC(draws=draws, warmup=200, chains=CHAINS, steps=24, start=Scattered(torus.domain, 1.0))
    found = infer(target, method, seed=rng.entropy % 2**31)
    assert isinstance(found, Draws)
    x = found.values
    by_chain = x.reshape(CHAINS, -1, 3).transpose(0, 1)
    effective = float(chain_ess(torch.atan2(by_chain[..., 2], by_chain[..., :2].norm(dim=-1) - torus.large).cos()))
    return _judged(stiffness, x, len(x) * (method.steps + 1) / 2 / effective)


def rejecting(tolerance: float, draws: int, rng: Rng) -> Bad:
    """Uniform points of a box around the torus, of which those stay that keep the constraint within ``tolerance``."""
    torus = Torus()
    reach = torus.large + 2 * torus.small
    half = torch.tensor([reach, reach, 2 * torus.small], dtype=torch.float64)
    kept = []
    for _ in range(max(1, draws // AT_ONCE)):
        x = half * (2 * rng.uniform((min(draws, AT_ONCE), 3)) - 1)
        kept.append(x[torus(x)[:, 0].abs() < tolerance])
    x = torch.cat(kept)
    return _judged(tolerance, x, draws / max(len(x), 1))


def _judged(strength: float, x: Tensor, cost: float) -> Bad:
    known = cases()
    angle = known["torus"].of(x).numpy()
    away = [float(kstest(angle, known[name].below).statistic) for name in ("torus", "torus_stiff")]
    return Bad(strength, float(Torus()(x).square().mean().sqrt()), away[0], away[1], cost, angle)
