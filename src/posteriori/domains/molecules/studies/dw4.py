"""DW4: four particles in the plane that like two distances; the best sampler, and the audit of anyone's rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.molecules.particles import double_well_cluster
from posteriori.domains.molecules.particles_study import Asked, answered
from posteriori.domains.study import Outcome

MOST = 32
"""Particles at most."""


@dataclass(frozen=True)
class Study:
    """Sample DW4 by whichever sampler a pilot finds best, and hold it against the exact virial.

    Effective samples count for the slowest of the energy, the radius of gyration, a labelled pair distance and the
    mean one; the warm-up is part of the CPU time, which is that of one thread.
    """

    particles: int = 4
    """Particles in the plane."""
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
    """Somebody's rows to audit: .npy, or .npz with x, particles × 2 numbers a row."""
    quick: bool = False
    """A tenth of the effective samples."""

    def __call__(self, context: Context) -> Outcome:
        """Choose, sample, check."""
        if not 2 <= self.particles <= MOST:
            raise OptionError(f"particles={self.particles}: 2 to {MOST}.")
        wanted = self.effective / 10 if self.quick else self.effective
        cluster = double_well_cluster(self.particles)
        asked = Asked(
            cluster, self.temperature, self.sampler, wanted, self.chains, self.data, self.training, self.relabel
        )
        return answered(asked, context)
