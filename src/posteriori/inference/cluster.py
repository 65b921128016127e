"""Cluster moves of Ising spins: whole regions turn over at once, so that chains stay quick at the critical point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Target
from posteriori.inference.lattice_walk import Length, draws_of, ising, settled
from posteriori.physics.ising import Ising
from posteriori.physics.ising_kernels import swendsen_wang, wolff


@dataclass(frozen=True)
class SwendsenWang:
    """Draws of an Ising model: equal neighbours are bound with probability 1 - exp(-2K), clusters take new signs.

    Exact as the draws grow; neighbouring draws are nearly independent far from the critical point and correlate over
    about L^0.2 sweeps at it.

    Args:
        draws: kept rows of each chain.
        warmup: sweeps before them.
        chains: independent walkers, from random spins.
        between: sweeps from one kept row to the next.

    Reference: Swendsen & Wang (1987), Nonuniversal critical dynamics in Monte Carlo simulations, Phys. Rev. Lett. 58,
    86.
    """

    draws: int = 1000
    warmup: int = 200
    chains: int = 4
    between: int = 1

    references: ClassVar[tuple[str, ...]] = (
        "Swendsen & Wang (1987), Nonuniversal critical dynamics in Monte Carlo simulations, Phys. Rev. Lett. 58, 86.",
    )

    def __post_init__(self) -> None:
        require_counts(self, self.draws, self.warmup, self.chains, self.between)

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains, chain after chain.

        Raises:
            UnanswerableError: the target is no ``Boltzmann(Ising(…), K)``.
        """
        model, coupling = ising(target, "SwendsenWang")
        spins = settled(self.chains, model.domain.shape, coupling, self.warmup, context.rng.child("start"))
        return draws_of(model, spins, coupling, swendsen_wang, Length(self.draws, self.between), context)

    @staticmethod
    def example() -> tuple[SwendsenWang, Boltzmann]:
        """A lattice whose states can be enumerated."""
        return SwendsenWang(400, 50), Boltzmann(Ising((3, 4)), 0.3)


@dataclass(frozen=True)
class Wolff:
    """Draws of an Ising model: a cluster grown from a random site is turned over, every time.

    Exact as the draws grow. A move costs as much as its cluster has sites: few when it is hot, most of the lattice when
    it is cold. ``between`` counts clusters.

    Args:
        draws: kept rows of each chain.
        warmup: sweeps of :class:`SwendsenWang` before them; from random spins, single clusters would begin tiny.
        chains: independent walkers, from random spins.
        between: clusters from one kept row to the next.

    Reference: Wolff (1989), Collective Monte Carlo updating for spin systems, Phys. Rev. Lett. 62, 361.
    """

    draws: int = 1000
    warmup: int = 200
    chains: int = 4
    between: int = 5

    references: ClassVar[tuple[str, ...]] = (
        "Wolff (1989), Collective Monte Carlo updating for spin systems, Phys. Rev. Lett. 62, 361.",
    )

    def __post_init__(self) -> None:
        require_counts(self, self.draws, self.warmup, self.chains, self.between)

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains, chain after chain.

        Raises:
            UnanswerableError: the target is no ``Boltzmann(Ising(…), K)``.
        """
        model, coupling = ising(target, "Wolff")
        spins = settled(self.chains, model.domain.shape, coupling, self.warmup, context.rng.child("start"))
        return draws_of(model, spins, coupling, wolff, Length(self.draws, self.between), context)

    @staticmethod
    def example() -> tuple[Wolff, Boltzmann]:
        """A lattice whose states can be enumerated."""
        return Wolff(400, 50), Boltzmann(Ising((3, 4)), 0.3)


def require_counts(method: object, draws: int, warmup: int, chains: int, between: int) -> None:
    """Refuse fewer than one draw, chain or move; ``OptionError``."""
    if min(draws, chains, between) < 1 or warmup < 0:
        raise OptionError(f"{method}: draws, chains and between are at least 1, warmup at least 0.")
