"""LJ13: thirteen Lennard-Jones particles in a trap; the best sampler, and the audit of anyone's rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.molecules.particles import lennard_jones_cluster
from posteriori.domains.molecules.particles_study import Asked, answered
from posteriori.domains.study import Outcome

MOST = 64
"""Particles at most."""


@dataclass(frozen=True)
class Study:
    """Sample LJ13 by whichever sampler a pilot finds best, and hold it against the exact virial.

    Effective samples count for the slowest of the energy, the radius of gyration, a labelled pair distance and the
    mean one; the warm-up is part of the CPU time, which is that of one thread.
    """

    particles: int = 13
    """Particles in space."""
    depth: float = 2.0
    """Coefficient of d⁻¹² - 2 d⁻⁶ for each unordered pair [kT]; the public LJ13 sets obey the virial with 2 alone."""
    temperature: float = 1.0
    """Temperature [kT of the potential]."""
    sampler: Literal["auto", "hmc", "replica-exchange"] = "auto"
    """Tuned HMC or replica exchange, both in compiled code; auto lets a pilot choose."""
    effective: float = 200_000
    """Effective samples of the slowest figure."""
    chains: int = 64
    """Independent chains."""
    training: float = 0.0
    """CPU seconds [s] to train an equivariant flow that competes with the chains; 0 leaves it out."""
    relabel: bool = True
    """Put the particles, which are alike, into a random order before each row of HMC: exact, and labels mix at once."""
    data: Path | None = None
    """Somebody's rows to audit: .npy, or .npz with x, particles × 3 numbers a row."""
    quick: bool = False
    """A tenth of the effective samples."""

    def __call__(self, context: Context) -> Outcome:
        """Choose, sample, check."""
        if not 2 <= self.particles <= MOST or not 0 < self.depth <= 100:
            raise OptionError(f"particles={self.particles}, depth={self.depth:g}: 2 to {MOST}, and up to 100 kT.")
        wanted = self.effective / 10 if self.quick else self.effective
        cluster = lennard_jones_cluster(self.particles, self.depth)
        asked = Asked(
            cluster, self.temperature, self.sampler, wanted, self.chains, self.data, self.training, self.relabel
        )
        return answered(asked, context)
