"""The heat bath: every spin anew given its neighbours, the two halves of a checkerboard in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from posteriori.core.draws import Draws
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Target
from posteriori.inference.cluster import require_counts
from posteriori.inference.lattice_walk import Length, draws_of, hot, ising
from posteriori.physics.ising import Ising
from posteriori.physics.ising_kernels import heat_bath


@dataclass(frozen=True)
class HeatBath:
    """Draws of an Ising model by local moves; exact as the draws grow, slow at the critical point.

    There, a chain forgets in about L^2.17 sweeps; :class:`~posteriori.inference.cluster.Wolff` does not slow down.

    Args:
        draws: kept rows of each chain.
        warmup: sweeps before them.
        chains: independent walkers, from random spins.
        between: sweeps from one kept row to the next.

    Reference: Creutz, Jacobs & Rebbi (1979), Experiments with a gauge-invariant Ising system, Phys. Rev. Lett. 42,
    1390.
    """

    draws: int = 1000
    warmup: int = 1000
    chains: int = 4
    between: int = 5

    references: ClassVar[tuple[str, ...]] = (
        "Creutz, Jacobs & Rebbi (1979), Experiments with a gauge-invariant Ising system, Phys. Rev. Lett. 42, 1390.",
    )

    def __post_init__(self) -> None:
        require_counts(self, self.draws, self.warmup, self.chains, self.between)

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains, chain after chain.

        Raises:
            UnanswerableError: the target is no ``Boltzmann(Ising(…), K)``.
        """
        model, coupling = ising(target, "HeatBath")
        spins = hot(self.chains, model.domain.shape, context.rng.child("start"))
        heat_bath(spins, coupling, self.warmup, context.rng.child("warmup").numpy)
        return draws_of(model, spins, coupling, heat_bath, Length(self.draws, self.between), context)

    @staticmethod
    def example() -> tuple[HeatBath, Boltzmann]:
        """A ring whose states can be enumerated."""
        return HeatBath(400, 50), Boltzmann(Ising((8,)), 0.3)
