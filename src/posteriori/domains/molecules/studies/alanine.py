"""Alanine dipeptide: a generator over internal coordinates, weighed, corrected and held against replica exchange."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.molecules.alanine import require_alanine, shipped
from posteriori.domains.molecules.alanine_generator import Training
from posteriori.domains.molecules.alanine_sampling import Sampling
from posteriori.domains.molecules.alanine_study import Asked, found, outcome
from posteriori.domains.molecules.topologies import read_molecule
from posteriori.domains.molecules.trajectories import read_trajectory
from posteriori.domains.study import Outcome

HOTTEST = 1000.0
MOST = 2_000_000


@dataclass(frozen=True)
class Study:
    """Draw alanine dipeptide (Amber ff14SB) from a flow, weigh every draw, and map its free energies over (φ, ψ).

    The flow was trained by likelihood on flattened replica exchange at 300 K in vacuum; its weights ship, and
    ``retrain=true`` makes others, molecular mechanics included. L-alanine with trans amides is meant throughout.
    """

    solvent: Literal["vacuum", "obc1"] = "vacuum"
    """Vacuum, or OBC1 implicit solvent through OpenMM: then the vacuum draws are reweighted and corrected."""
    temperature: float = 300.0
    """Temperature [K]; the shipped weights are those of 300 K, which draws at others are reweighted from."""
    system: str | None = None
    """Your own alanine dipeptide: two files, prmtop,inpcrd or top,gro or xml,pdb, separated by a comma."""
    trajectory: Path | None = None
    """Your own frames (XTC, DCD, PDB) for the forward check, in the place of replicas."""
    retrain: bool = False
    """Sample replicas and train anew (some 2 CPU-min) instead of loading the shipped weights."""
    frames: int = 5000
    """Frames of each of the 32 replicas to train on."""
    steps: int = 450
    """Gradient steps of the training, 1,024 frames each."""
    draws: int = 10000
    """Draws that are weighed."""
    surface_draws: int = 800_000
    """Draws that the surface is made of, half of them flat over (φ, ψ)."""
    particles: int = 1000
    """Particles of the correction."""
    quick: bool = False
    """A tenth of the surface's draws and a quarter of the others; gates may fail."""

    def __call__(self, context: Context) -> Outcome:
        """Train or load, draw, weigh, correct, compare."""
        if not (isfinite(self.temperature) and 0 < self.temperature <= HOTTEST):
            raise OptionError(f"temperature={self.temperature:g} K: above 0, at most {HOTTEST:g}.")
        least = {"frames": 200, "steps": 10, "draws": 1000, "surface_draws": 2000, "particles": 100}
        for name, low in least.items():
            if not low <= getattr(self, name) <= MOST:
                raise OptionError(f"{name}={getattr(self, name)}: {low:,} to {MOST:,}.")
        implicit = self.solvent == "obc1"
        if implicit and self.retrain:
            raise OptionError(
                "retrain=true needs the compiled force field, which knows no implicit solvent; leave retrain=false: "
                "draws of the vacuum are reweighted and corrected."
            )
        molecule = read_molecule(self.system, implicit) if self.system else shipped(implicit)
        require_alanine(molecule)
        if self.trajectory is not None:
            read_trajectory(self.trajectory, molecule)  # a broken one is refused before the work
        less, few = (4, 10) if self.quick else (1, 1)
        asked = Asked(
            molecule,
            implicit,
            self.retrain,
            Sampling(temperature=self.temperature, rows=self.frames),
            Training(steps=self.steps),
            max(1000, self.draws // less),
            max(2000, self.surface_draws // few),
            max(100, self.particles // less),
            self.trajectory,
        )
        return outcome(found(asked, context), context.rng.child("files"))
