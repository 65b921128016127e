"""The φ⁴ field on a ring or a torus: a real number at each site, a lattice field theory with two phases."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.ising import DIMS


class Phi4(TorchOperator):
    """S(φ) = Σ over sites [½ Σ over axes (φ_next - φ)² + ½ mass φ² + strength φ⁴], (*batch, *shape) → (*batch,).

    All in lattice units; ``Boltzmann(Phi4(…), 1.0)`` is the field theory. Without ``strength`` the field is free and
    Gaussian, and everything is known of it.

    Args:
        shape: sites of the ring (n,) or of the torus (rows, columns), at least 3 along each axis.
        mass: squared mass; negative for two wells, which ``strength`` must then close.
        strength: of the interaction, 0 or more.

    Raises:
        OptionError: a shape that is no ring or torus, or an energy without a lower bound.

    Reference: Montvay & Münster (1994), Quantum Fields on a Lattice, Cambridge University Press, chapter 2.
    """

    def __init__(self, shape: Sequence[int], mass: float = -1.0, strength: float = 0.5) -> None:
        if len(shape) not in DIMS or min(shape) < 3:
            raise OptionError(f"a lattice of {tuple(shape)} sites: give one or two axes of at least 3 sites each.")
        if strength < 0 or (strength == 0 and mass <= 0):
            raise OptionError(
                f"mass={mass:g}, strength={strength:g}: the energy falls without end; give a positive strength, or no "
                "strength and a positive mass."
            )
        super().__init__()
        self.mass, self.strength = mass, strength
        self.domain = Space("field", dict(zip(DIMS[len(shape)], shape, strict=True)))
        self.codomain = Space("action")

    def forward(self, m: Tensor) -> Tensor:
        """S of each field."""
        axes = tuple(range(-len(self.domain.shape), 0))
        slopes = torch.stack([(m.roll(1, axis) - m).square() for axis in axes]).sum(0)
        square = m.square()
        return (0.5 * slopes + 0.5 * self.mass * square + self.strength * square.square()).sum(axes)

    @property
    def free_log_z(self) -> float:
        """log ∫ exp(-S) of the free field, n/2 log 2π - ½ Σ log(k̂² + mass).

        Raises:
            UnanswerableError: the field interacts.
        """
        return self.domain.size / 2 * log(2 * pi) - 0.5 * float(self._modes().log().sum())

    @property
    def free_covariance(self) -> Tensor:
        """⟨φ_0 φ_x⟩ of the free field, float64, the shape of the lattice.

        Raises:
            UnanswerableError: the field interacts.
        """
        return torch.fft.ifftn(1 / self._modes()).real

    def identities(self, m: Tensor) -> Tensor:
        """φ ∂S/∂φ, averaged over sites, (*batch,): its mean is 1 in any lattice field theory (Dyson-Schwinger)."""
        axes = tuple(range(-len(self.domain.shape), 0))
        return (m * self.vjp(m, torch.ones_like(m.sum(axes)))).mean(axes)

    def _modes(self) -> Tensor:
        """k̂² + mass of every wave number."""
        if self.strength:
            raise UnanswerableError(f"with strength={self.strength:g} the field interacts and has no closed form.")
        waves = [4 * (pi * torch.arange(n, dtype=torch.float64) / n).sin().square() for n in self.domain.shape]
        square = waves[0] if len(waves) == 1 else waves[0][:, None] + waves[1]
        return square + self.mass

    @staticmethod
    def example() -> Phi4:
        """Three by four sites near the transition."""
        return Phi4((3, 4))
