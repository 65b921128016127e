"""What alanine dipeptide promises: effective shares, cost, free energies against replica exchange (ff14SB, 300 K)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from asked import Asked, scores
from posteriori.core.random import Rng
from posteriori.domains.molecules.alanine import shipped
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics
from posteriori.physics.openmm_system import OpenMMSystem

INF = math.inf
SEEDS = (0, 1)
CALLS = 20000


def of_seeds(name: str, factor: float = 1.0) -> Callable[[], dict[str, float]]:
    """The score ``name`` of a generator made anew from each seed, molecular mechanics included."""

    def measure() -> dict[str, float]:
        runs = {seed: scores("molecules/alanine", "retrain=true", "--seed", str(seed)) for seed in SEEDS}
        return {f"seed {seed}": factor * float(found[name]) for seed, found in runs.items()}

    return measure


def disagreement() -> float:
    """Largest relative difference of compiled energies from OpenMM's over disturbed frames."""
    molecule = shipped()
    x = molecule.frame + 0.005 * Rng(1).normal((200, 22, 3))
    ours = MolecularMechanics(ForceField.of_xml(molecule.system))(x)
    theirs = OpenMMSystem(molecule.system)(x)
    return float(((ours - theirs) / theirs.abs().clamp_min(1.0)).abs().max())


def speed() -> dict[str, float]:
    """Energies with gradients in a CPU second of one thread: compiled, and through OpenMM's Reference platform."""
    molecule = shipped()
    x = molecule.frame + 0.005 * Rng(1).normal((CALLS, 22, 3))
    ours, theirs = MolecularMechanics(ForceField.of_xml(molecule.system)), OpenMMSystem(molecule.system)
    rates = {}
    for name, potential, n in (("compiled", ours, CALLS), ("OpenMM", theirs, CALLS // 10)):
        potential.vjp(x[:10], torch.ones(10, dtype=torch.float64))
        start = time.process_time()
        potential.vjp(x[:n], torch.ones(n, dtype=torch.float64))
        rates[name] = n / (time.process_time() - start)
    return rates


ASKED = [
    Asked("Alanine dipeptide in vacuum, raw effective share, 2 seeds", 0.30, 1.0, of_seeds("ess_reverse")),
    Asked("The same after correction", 0.60, 1.0, of_seeds("ess_corrected")),
    Asked("The same, forward, on replicas no generator made", 0.30, 1.0, of_seeds("ess_forward")),
    Asked("CPU minutes, molecular dynamics and training included", -INF, 60.0, of_seeds("cpu_seconds", 1 / 60)),
    Asked("Surface against replica exchange + MBAR, RMSE [kT]", -INF, 0.1, of_seeds("surface_rmse_kT")),
    Asked("Basin free energy against the same [kT]", -INF, 0.2, of_seeds("delta_f_error_kT")),
    Asked("Compiled force field against OpenMM, relative", -INF, 1e-6, disagreement),
    Asked("Compiled energies with gradients per CPU s", 20 * 14_600, INF, lambda: speed()["compiled"]),
    Asked("OpenMM's through OpenMMSystem", 0.0, INF, lambda: speed()["OpenMM"]),
]
