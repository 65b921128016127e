"""Chains of springs between beads: their exact tension, their fine energy, generators trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.infer import infer
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann
from posteriori.inference.hmc import HMC
from posteriori.learn.conditional_vae import Bound, ConditionalVAE
from posteriori.learn.fit import fit
from posteriori.learn.plan import Plan
from posteriori.physics.centred import Centred
from posteriori.physics.gaussian_chain import SpringChain

Floats = NDArray[np.float64]
FORCES = (0.5, 2.0, 4.0, 7.0, 10.0)
"""Pulls [kT per length] under which segments are sampled for training."""


@dataclass(frozen=True)
class Segment:
    """``bonds`` springs between two beads: the fine part of a chain, given the vector R from bead to bead.

    Fine vectors u (*batch, bonds - 1, 3) are displacements from the straight line.
    """

    bonds: int = 6
    stiffness: float = 3.0
    quartic: float = 10.0

    def chain(self) -> SpringChain:
        """The springs."""
        return SpringChain(self.bonds + 1, 3, self.stiffness, self.quartic)

    def vectors(self, u: Tensor, ends: Tensor) -> Tensor:
        """Bond vectors (*batch, bonds, 3); they add up to R (*batch, 1, 3)."""
        nought = torch.zeros_like(ends)
        return torch.cat([u, nought], -2) - torch.cat([nought, u], -2) + ends / self.bonds

    def energy(self, u: Tensor, ends: Tensor) -> Tensor:
        """U [kT], (*batch,)."""
        squared = self.vectors(u, ends).square().sum(-1)
        return (self.stiffness / 2 * squared + self.quartic / 4 * squared.square()).sum(-1)

    def tension(self, distance: Floats) -> Floats:
        """Exact slope [kT per length] of the free energy of a segment with its beads at ``distance``.

        The law f of the sum of bond vectors along one axis is a product in Fourier space, P(R) ∝ -f'(R) / R. It is
        tilted by the pull under which the segment has about that length, so that no digit is lost far out.
        """
        tilts = np.linspace(0.0, 40.0, 41)
        logs = np.log(self._transform(-1j * tilts).real)
        reach = self.bonds * np.gradient(logs, tilts)
        nearest = np.abs(distance[:, None] - reach).argmin(1)
        found = np.empty_like(distance)
        for k in np.unique(nearest):
            found[nearest == k] = self._tension(distance[nearest == k], tilts[k])
        return found

    def _transform(self, q: NDArray[Any]) -> NDArray[Any]:
        """E exp(i q x) of one bond's x, up to a factor."""
        r = np.linspace(0, 4.0, 601)[1:]
        weight = r**2 * np.exp(-self.stiffness / 2 * r**2 - self.quartic / 4 * r**4)
        at = q[:, None] * r + 1e-12
        found: NDArray[Any] = (weight * np.sin(at) / at).sum(1)
        return found

    def _tension(self, distance: Floats, tilt: float) -> Floats:
        q = np.linspace(-30.0, 30.0, 801)
        product = (self._transform(q - 1j * tilt) / self._transform(np.array([-1j * tilt])).real) ** self.bonds
        waves = product * np.exp(-1j * q * distance[:, None])
        f, f1, f2 = (((-1j * q) ** k * waves).sum(-1).real for k in range(3))
        slope, bend = f1 - tilt * f, f2 - 2 * tilt * f1 + tilt**2 * f
        found: Floats = 1 / distance - bend / slope
        return found


class Pulled(TorchOperator):
    """U - pull (x_last - x_first) of a chain pulled along x [kT per length], (*batch, n, 3) → (*batch,)."""

    def __init__(self, chain: SpringChain, pull: float) -> None:
        super().__init__()
        self.chain, self.pull_force = chain, pull
        self.domain, self.codomain = chain.domain, chain.codomain

    def forward(self, m: Tensor) -> Tensor:
        """The energy."""
        energy: Tensor = self.chain(m)
        return energy - self.pull_force * (m[..., -1, 0] - m[..., 0, 0])

    @staticmethod
    def example() -> Pulled:
        """Four monomers."""
        return Pulled(SpringChain.example(), 1.0)


@dataclass(frozen=True)
class Rows:
    """Fine vectors with the coarse ones they belong to, and the gradients of the fine energy that they took."""

    fine: Tensor
    coarse: Tensor
    calls: int


def segments(segment: Segment, draws: int, chains: int, rng: Rng) -> Rows:
    """Segments sampled by HMC under several pulls: u (row, bonds - 1, 3) and R (row, 1, 3)."""
    fine, ends, calls = [], [], 0
    for pull in FORCES:
        centre = Centred(segment.chain().domain)
        method = HMC(draws=draws, warmup=60, chains=chains, steps=12)
        found = infer(
            Boltzmann(Pulled(segment.chain(), pull) @ centre, 1.0), method, rng.child(str(pull)).entropy % 2**31
        )
        assert isinstance(found, Draws)
        x = centre(found.values)
        vector = x[:, -1:] - x[:, :1]
        steps = torch.arange(1, segment.bonds, dtype=torch.float64)[:, None] / segment.bonds
        fine.append(x[:, 1:-1] - x[:, :1] - steps * vector)
        ends.append(vector)
        calls += (draws + method.warmup) * chains * (method.steps + 1) // 2
    return Rows(torch.cat(fine), torch.cat(ends), calls)


def trained(rows: Rows, width: int, epochs: int, context: Context) -> ConditionalVAE:
    """A conditional auto-encoder of the fine vectors given the coarse ones."""
    outputs = rows.fine.shape[-2]
    with context.rng.child("weights"):
        net = ConditionalVAE(rows.coarse.shape[-2], outputs, outputs, width)
    plan = Plan(epochs=epochs, batch=500, rate=2e-2 if width == 0 else 5e-3, clip=10.0)
    fitted = fit(net, Bound(), (rows.fine, rows.coarse), plan, context.child("fit")).net
    assert isinstance(fitted, ConditionalVAE)
    return fitted
