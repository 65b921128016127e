"""Chains of springs: the Gaussian chain, with its law of fine positions given coarse ones, and a stiffening one."""

from __future__ import annotations

from math import log, pi
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.physics.beads import Beads
from posteriori.physics.pair_potential import positions


class SpringChain(TorchOperator):
    """U = Σ bonds (stiffness r² / 2 + quartic r⁴ / 4) in kT, (*batch, particle, axis) → (*batch,).

    The Gaussian chain where ``quartic`` is zero, a polymer that stiffens as it is pulled where it is not.

    Args:
        monomers, dimensions: how many particles, and in how many dimensions.
        stiffness: of each spring [kT per squared length].
        quartic: [kT per length⁴], zero or above.
        bonds: pairs that are joined; neighbours in a row without.

    Raises:
        OptionError: a stiffness that is not positive, or particles that no bonds join.

    Reference: Doi & Edwards (1986), The theory of polymer dynamics, Oxford, chapter 2.
    """

    references: ClassVar[tuple[str, ...]] = ("Doi & Edwards (1986), The theory of polymer dynamics, Oxford.",)

    def __init__(
        self,
        monomers: int,
        dimensions: int = 3,
        stiffness: float = 3.0,
        quartic: float = 0.0,
        bonds: list[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < stiffness < float("inf") or not 0 <= quartic < float("inf"):
            raise OptionError(f"stiffness={stiffness:g} must be positive, quartic={quartic:g} zero or positive.")
        self.domain, self.codomain = positions(monomers, dimensions), Space("energy")
        self.stiffness, self.quartic = stiffness, quartic
        pairs = [(i, i + 1) for i in range(monomers - 1)] if bonds is None else bonds
        _require_joined(monomers, pairs)
        differ = torch.zeros(len(pairs), monomers, dtype=torch.float64)
        for row, (i, j) in enumerate(pairs):
            differ[row, i], differ[row, j] = -1.0, 1.0
        self.register_buffer("differ", differ)
        self.differ: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """U of each chain."""
        squared = (self.differ.to(m) @ m).square().sum(-1)
        return (self.stiffness / 2 * squared + self.quartic / 4 * squared.square()).sum(-1)

    def given(self, beads: Beads) -> GivenBeads:
        """The exact law of the inner vectors given the beads.

        Raises:
            OptionError: a chain that is not Gaussian.
        """
        if self.quartic:
            raise OptionError(f"quartic={self.quartic:g}: only the Gaussian chain (quartic=0) has a closed form.")
        k = self.stiffness * self.differ.mT @ self.differ
        precision = beads.basis.mT @ k @ beads.basis
        slope = -torch.linalg.solve(precision, beads.basis.mT @ k @ beads.back)
        return GivenBeads(slope, torch.linalg.inv(precision))

    @staticmethod
    def example() -> SpringChain:
        """Four monomers that stiffen a little."""
        return SpringChain(4, quartic=0.5)


class GivenBeads(NamedTuple):
    """u ~ N(slope Y, covariance), the same and independent along every axis.

    Attributes:
        slope: (inner, bead).
        covariance: (inner, inner).
    """

    slope: Tensor
    covariance: Tensor

    def log_prob(self, inner: Tensor, coarse: Tensor) -> Tensor:
        """Log density of inner vectors (*batch, inner, axis) given beads (*batch, bead, axis), (*batch,)."""
        root = torch.linalg.cholesky(self.covariance)
        white = torch.linalg.solve_triangular(root, inner - self.slope @ coarse, upper=False)
        constant = inner.shape[-1] * (root.diagonal().log().sum() + 0.5 * len(root) * log(2 * pi))
        return -0.5 * white.square().sum((-2, -1)) - constant

    def sample(self, coarse: Tensor, rng: Rng) -> Tensor:
        """One draw of the inner vectors for each row of beads."""
        root = torch.linalg.cholesky(self.covariance)
        white = rng.normal((*coarse.shape[:-2], len(root), coarse.shape[-1]))
        return self.slope @ coarse + root @ white

    def divergence(self, slope: Tensor, covariance: Tensor, coarse: Tensor) -> Tensor:
        """KL [nat] from this law to another N(slope Y, covariance), for each row of beads, (*batch,)."""
        gap = (self.slope - slope) @ coarse
        axes = coarse.shape[-1]
        inverse = torch.linalg.inv(covariance)
        ratio = inverse @ self.covariance
        spread = 0.5 * axes * (ratio.diagonal().sum() - len(ratio) - torch.linalg.slogdet(ratio)[1])
        return spread + 0.5 * (gap * (inverse @ gap)).sum((-2, -1))


def _require_joined(monomers: int, pairs: list[tuple[int, int]]) -> None:
    joined = {0}
    for _ in range(monomers):
        joined |= {b for pair in pairs for a, b in (pair, pair[::-1]) if a in joined}
    lost = sorted(set(range(monomers)) - joined)
    if lost or any(not (0 <= i < monomers and 0 <= j < monomers) or i == j for i, j in pairs):
        raise OptionError(
            f"bonds {pairs[:6]} do not join all of {monomers} particles (first apart: {lost[:1]}): a disconnected "
            "chain has no law of its shape; add the missing bonds."
        )
