"""The Ising model on a ring or a torus: spins ±1 that like their neighbours' sign."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.core.support import Classes

DIMS = {1: ("site",), 2: ("row", "column")}


class Ising(TorchOperator):
    """U(s) = -Σ over bonds s s' in units of the coupling J, (*batch, *shape) → (*batch,); both ends wrap around.

    Spins are classes: 0 is down (s = -1), 1 is up (s = +1), so that no sampler moves between them.
    ``Boltzmann(Ising((16, 16)), K)`` is the model at the coupling K = J / kT. The energy is linear in each spin, and
    its derivative is that of this polynomial.

    Args:
        shape: sites of the ring (n,) or of the torus (rows, columns), at least 3 along each axis, so that no two sites
            share two bonds.

    Raises:
        OptionError: another number of axes, or fewer sites.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        if len(shape) not in DIMS or min(shape) < 3:
            raise OptionError(f"a lattice of {tuple(shape)} sites: give one or two axes of at least 3 sites each.")
        super().__init__()
        sites = dict(zip(DIMS[len(shape)], shape, strict=True))
        self.domain = Space("spin", sites, support=Classes(("down", "up")))
        self.codomain = Space("energy")

    def forward(self, m: Tensor) -> Tensor:
        """U of each configuration of classes."""
        s = 2 * m - 1
        axes = range(-len(self.domain.shape), 0)
        return -torch.stack([(s * s.roll(1, axis)).sum(tuple(axes)) for axis in axes]).sum(0)

    def codes(self, spins: Tensor) -> Tensor:
        """Classes, float64, of spins ±1 (*batch, *shape).

        Raises:
            DataError: a value that is neither; the message names the first.
        """
        wrong = (self.domain.check(spins, "spins").abs() != 1).nonzero()
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            raise DataError(f"spin {at} is {float(spins[at]):g}; every spin is -1 or +1 ({len(wrong)} are not).")
        return (spins.double() + 1) / 2

    @staticmethod
    def example() -> Ising:
        """Three times four sites."""
        return Ising((3, 4))
