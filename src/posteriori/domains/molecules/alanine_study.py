"""What the study of alanine dipeptide does, step by step, and what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import degrees
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import RAW_WEIGHT, Draws, systematic
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.run import Context, references
from posteriori.core.weights import log_mean_exp, normalised, pareto_smooth
from posteriori.domains.molecules import alanine_coordinates as parts
from posteriori.domains.molecules import alanine_pictures as draw
from posteriori.domains.molecules.alanine import ZMATRIX
from posteriori.domains.molecules.alanine_correction import Correction, Weighed, forward_share, weighed
from posteriori.domains.molecules.alanine_generator import DEFENSIVE, Generator, Training, blank, trained
from posteriori.domains.molecules.alanine_reference import REFERENCE, TRAINED, Reference, surface_of
from posteriori.domains.molecules.alanine_sampling import Frames, Sampling, masses, sampled
from posteriori.domains.molecules.alanine_target import InternalBoltzmann
from posteriori.domains.molecules.ramachandran import Profile, Ramachandran
from posteriori.domains.molecules.topologies import Molecule
from posteriori.domains.molecules.trajectories import read_trajectory, write_trajectory
from posteriori.domains.study import Outcome
from posteriori.physics.internal_coordinates import InternalCoordinates
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics
from posteriori.physics.openmm_system import OpenMMSystem

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

BINS = 24
PROMISED = 0.1
"""Root mean square difference from the reference at most [kT]."""
BLOCKS = 25
"""Equal parts of the draws whose spread gives errors."""
FLAT = 0.5
"""Share of flat (φ, ψ) among the draws that the surface is made of."""
ROUGH = 0.05
"""Reference errors [kT] up to which bins are compared."""
JUDGED_BINS, JUDGED_ERROR = 20, 0.1
"""A reference with fewer such bins, or a rougher basin difference [kT], judges no one."""
MOST_FRAMES = 5000
"""Rows of the target that the forward check takes."""
ON_FILE = 500
"""Frames of the trajectory that is written."""
CHECK_ROWS, CHECK_HILLS = 500, 3000
"""Rows of each replica, and rounds of metadynamics, of the replicas that draws are checked on."""
SHOWN = {
    "C=O bond of the alanine [nm]": parts.bond(15),
    "N-H bond of the alanine [nm]": parts.bond(7),
    "N-CA-C angle [°]": parts.angle(14),
    "CA-C-N angle [°]": parts.angle(16),
    "first ω [°]": parts.torsion(1),
    "CB out of place: torsion about N-CA [°]": parts.torsion(10),
}


@dataclass(frozen=True)
class Asked:
    """What is asked of the study, options checked.

    Attributes:
        molecule: alanine dipeptide, with its forces.
        solvent: whether the forces hold an implicit solvent, which the compiled form cannot say.
        retrain: train anew.
        sampling: of the replicas, their temperature included.
        training: of the flows.
        draws, surface_draws, particles: how many rows are weighed, make the surface, and are corrected.
        trajectory: frames of the user's own for the forward check.
    """

    molecule: Molecule
    solvent: bool
    retrain: bool
    sampling: Sampling
    training: Training
    draws: int
    surface_draws: int
    particles: int
    trajectory: Path | None


@dataclass(frozen=True)
class Found:
    """Everything that came out, seconds included."""

    asked: Asked
    target: InternalBoltzmann
    generator: Generator
    raw: Weighed
    corrected: Weighed
    surface: Ramachandran
    profile: Profile
    reference: Reference | None
    rows: Tensor | None
    seconds: dict[str, float] = field(default_factory=dict)


def found(asked: Asked, context: Context) -> Found:
    """Train or load, draw, weigh, correct, compare."""
    molecule, clock, rng = asked.molecule, _Clock(), context.rng
    system = OpenMMSystem(molecule.system, "CPU" if asked.solvent else "Reference")
    system.check(molecule.frame, rng.child("forces"))
    potential: Operator = system if asked.solvent else MolecularMechanics(ForceField.of_xml(molecule.system))
    target = InternalBoltzmann(potential, InternalCoordinates(ZMATRIX), asked.sampling.temperature)
    clock.tick("start")
    generator, ours, seconds = _made(asked, context) if asked.retrain else (Generator.load(TRAINED), None, {})
    clock.tick("generator")
    with torch.no_grad():
        raw = weighed(generator, target, asked.draws, rng.child("draws"), DEFENSIVE)
        clock.tick("draws")
        corrected = Correction()(generator, target, asked.particles, rng.child("correction"), DEFENSIVE)
        clock.tick("correction")
        wide = weighed(generator, target, asked.surface_draws // BLOCKS * BLOCKS, rng.child("surface"), FLAT)
        clock.tick("surface")
    torsions = wide.rows[:, parts.SURFACE_COLUMNS]
    surface = Ramachandran.of(torsions, wide.log_weights, BLOCKS, BINS)
    profile = Profile.of(torsions[:, 0], wide.log_weights, BLOCKS, BINS)
    reference, rows = _compared(asked, ours, context)
    clock.tick("checks")
    return Found(asked, target, generator, raw, corrected, surface, profile, reference, rows, seconds | clock.seconds)


def outcome(found: Found, rng: Rng) -> Outcome:
    """Scores, gates, pictures and files; ``rng`` picks the frames on file."""
    report = Report(f"Alanine dipeptide, {found.asked.molecule.force_field}", tuple(_figures(found)))
    scores = {figure.name: figure.value for figure in report}
    scores |= {f"cpu_{name}_seconds": round(seconds, 2) for name, seconds in found.seconds.items()}
    asked = found.asked
    weights = normalised(found.corrected.log_weights)[:, None]
    posterior = Draws(
        found.target.space,
        found.raw.rows,
        pareto_smooth(found.raw.log_weights)[0],
        log_evidence=log_mean_exp(found.raw.log_weights)[0],
        stats={RAW_WEIGHT: found.raw.log_weights},
    )
    picked = found.corrected.rows[torch.unique(systematic(weights, min(ON_FILE, asked.particles), rng)[:, 0])]
    frames = found.target.internal(picked)
    return Outcome(
        scores={**scores, "force_field": asked.molecule.force_field, "temperature_K": asked.sampling.temperature},
        report=report,
        pictures=_pictures(found),
        posterior=posterior,
        tables={"surface": _table(found)},
        files={
            name: partial(_written, asked.molecule, frames) for name in ("alanine.xtc", "alanine.pdb", "alanine.dcd")
        },
        references=references(Correction(), found.generator, found.target.potential, found.target.internal),
    )


class _Clock:
    """CPU seconds of one step after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.process_time()

    def tick(self, name: str) -> None:
        now = time.process_time()
        self.seconds[name], self.last = now - self.last, now


def _replicas(asked: Asked, sampling: Sampling, context: Context) -> Frames:
    terms = ForceField.of_xml(asked.molecule.system)
    weights = masses(asked.molecule.system)
    return sampled(terms, asked.molecule.frame, weights, sampling, context.rng.child("replicas", sampling.rows))


def _made(asked: Asked, context: Context) -> tuple[Generator, Ramachandran, dict[str, float]]:
    """A generator of one's own, the surface of the replicas it was trained on, and what both took.

    It is kept among the checkpoints, so that an interrupted run does not train twice.
    """
    kept = None if context.store is None else context.store.load("generator")
    if kept is not None:
        tensors, facts = kept
        generator = blank()
        generator.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("surface.")})
        differences = facts["differences"]
        return generator, Ramachandran(tensors["surface.values"], tensors["surface.errors"], *differences), facts["cpu"]
    clock = _Clock()
    frames = _replicas(asked, asked.sampling, context)
    surface = surface_of(frames)
    clock.tick("replicas")
    generator, _ = trained(frames, asked.training, context.rng.child("training"), context.progress)
    clock.tick("training")
    if context.store is not None:
        state = {k: v.contiguous() for k, v in generator.state_dict().items()}
        state |= {"surface.values": surface.values.contiguous(), "surface.errors": surface.errors.contiguous()}
        differences = [surface.difference, surface.difference_error]
        context.store.save("generator", state, {"differences": differences, "cpu": clock.seconds})
    return generator, surface, clock.seconds


def _compared(asked: Asked, ours: Ramachandran | None, context: Context) -> tuple[Reference | None, Tensor | None]:
    """The surface to hold ours against, and rows of the target that the generator has not seen."""
    sampling = asked.sampling
    reference = Reference.read(REFERENCE)
    known = (asked.molecule.force_field, sampling.temperature) == (reference.force_field, reference.temperature)
    positions: Tensor | None = None
    found: Reference | None = reference if known else None
    if not asked.solvent:
        check = _replicas(asked, replace(sampling, rows=CHECK_ROWS, hills=CHECK_HILLS), context)
        positions = check.positions[:, :, 0].flatten(0, 1)
        if not known:
            surface = ours or surface_of(check)
            found = Reference(surface, asked.molecule.force_field, sampling.temperature, check.bias.numel())
    if asked.trajectory is not None:
        positions = read_trajectory(asked.trajectory, asked.molecule)
    if positions is None:
        return found, None
    every = -(-len(positions) // MOST_FRAMES)
    return found, InternalCoordinates(ZMATRIX).coordinates(positions[::every].double())


def _figures(found: Found) -> list[Figure]:
    raw, k = found.raw, float(pareto_smooth(found.raw.log_weights)[1])
    made = ("replicas", "training", "draws", "correction")
    figures = [
        Figure("ess_reverse", raw.share, gate=Gate(low=0.30), note=f"share of {len(raw.rows)} draws"),
        Figure("ess_corrected", found.corrected.share, gate=Gate(low=0.60), note="after sequential Monte Carlo"),
        Figure("pareto_k", k, gate=Gate(high=0.7)),
        Figure("correction_acceptance", found.corrected.accepted),
        Figure("correction_calls", found.corrected.calls, note="energies worked out by the correction"),
    ]
    if found.rows is not None:
        with torch.no_grad():
            share = forward_share(found.generator, found.target, found.rows)
        note = f"on {len(found.rows)} frames that no generator made"
        figures.append(Figure("ess_forward", share, gate=Gate(low=0.30), note=note))
    surface, reference = found.surface, found.reference
    figures.append(Figure("delta_f_kT", surface.difference, surface.difference_error, note="left- less right-handed φ"))
    if reference is not None:
        figures += _against(surface, reference.surface)
    seconds = sum(found.seconds.get(name, 0.0) for name in made)
    figures.append(Figure("cpu_seconds", seconds, unit="s", note="replicas, training, draws and correction"))
    effective = raw.share * len(raw.rows) / max(found.seconds["draws"], 1e-9)
    figures.append(Figure("effective_per_cpu_second", effective, note="draws alone, generator at hand"))
    return figures


def _against(surface: Ramachandran, reference: Ramachandran) -> list[Figure]:
    """Differences from the reference; gated where it is good enough to judge."""
    rmse, bins = surface.against(reference, ROUGH)
    judged = bins >= JUDGED_BINS and reference.difference_error <= JUDGED_ERROR
    off = abs(surface.difference - reference.difference)
    error = (surface.difference_error**2 + reference.difference_error**2) ** 0.5
    note = "" if judged else "the reference is too rough to judge by"
    figures = [
        Figure("surface_bins", bins, note=f"of {BINS**2}, with a reference error of at most {ROUGH} kT"),
        Figure("delta_f_error_kT", off, error, unit="kT", gate=Gate(high=0.2) if judged else None, note=note),
    ]
    if bins:
        own = surface.errors[reference.errors <= ROUGH].square().mean().sqrt()
        fine = bool(own <= PROMISED)
        gate = Gate(high=PROMISED) if judged and fine else None
        note = note or ("over these bins" if fine else "too few draws to judge by")
        figures.append(Figure("surface_rmse_kT", rmse, unit="kT", gate=gate, note=note))
    return figures


def _pictures(found: Found) -> dict[str, Callable[[], Picture]]:
    with torch.no_grad():
        near = Ramachandran.of(
            found.raw.rows[: len(found.raw.rows) // 2 * 2, parts.SURFACE_COLUMNS],
            torch.zeros(len(found.raw.rows) // 2 * 2, dtype=torch.float64),
            2,
            BINS,
        )
    surfaces = {"draws as they are": near.values, "reweighted": found.surface.values}
    pictures: dict[str, Callable[[], Picture]] = {}
    if found.reference is not None:
        reference = found.reference.surface
        surfaces["reference"] = reference.values
        known = (reference.errors <= ROUGH) & torch.isfinite(found.surface.values)
        apart = torch.where(known, found.surface.aligned(reference, known), torch.nan)
        title = "reweighted less reference"
        pictures["Free energies over (φ, ψ); grey where the reference error exceeds 0.05 kT"] = partial(
            draw.surfaces_picture, surfaces, apart, title
        )
        profile = -torch.logsumexp(-reference.values, 1)
        pictures["Potential of mean force along φ"] = partial(draw.profile_picture, found.profile, profile)
    else:
        blank = torch.full_like(found.surface.values, torch.nan)
        pictures["Free energies over (φ, ψ)"] = partial(draw.surfaces_picture, surfaces, blank, "no reference")
    pictures["Weights before and after the correction"] = partial(
        draw.weights_picture, {"draws": found.raw.log_weights, "corrected": found.corrected.log_weights}
    )
    if found.rows is not None:
        weights, shown = normalised(found.raw.log_weights), {}
        for label, column in SHOWN.items():
            factor = degrees(1.0) if "°" in label else 1.0
            turn = "ω" in label
            values = [
                rows[:, column] % (2 * torch.pi) if turn else rows[:, column] for rows in (found.raw.rows, found.rows)
            ]
            shown[label] = (values[0] * factor, weights, values[1] * factor)
        pictures["Stiff coordinates: draws, reweighted draws, replicas"] = partial(draw.marginals_picture, shown)
    return pictures


def _table(found: Found) -> pd.DataFrame:
    degree = [(k + 0.5) * 360 / BINS - 180 for k in range(BINS)]
    columns: dict[str, list[float]] = {
        "phi [degree]": [phi for phi in degree for _ in degree],
        "psi [degree]": [psi for _ in degree for psi in degree],
        "free energy [kT]": found.surface.values.flatten().tolist(),
        "standard error [kT]": found.surface.errors.flatten().tolist(),
    }
    if found.reference is not None:
        columns["reference [kT]"] = found.reference.surface.values.flatten().tolist()
        columns["reference error [kT]"] = found.reference.surface.errors.flatten().tolist()
    return pd.DataFrame(columns)


def _written(molecule: Molecule, frames: Tensor, path: Path) -> None:
    write_trajectory(path, molecule, frames)
