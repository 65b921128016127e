"""Can these samples be trusted? Anyone's rows audited, and the audit itself put to the test."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.weighted_draws import Audit, Verdict, audit_draws
from posteriori.audit.weighted_rows import Forward, WeightedRows
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, digest
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules import audit_pictures as draw
from posteriori.domains.molecules.audit_bench import STRENGTHS, Bench, bench
from posteriori.domains.molecules.audit_files import SampleFile, read_samples
from posteriori.domains.molecules.energies import molecule_of, named_target
from posteriori.domains.molecules.planted import Planter
from posteriori.domains.study import Outcome, Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

MOST_CASES = 5000
ENOUGH = 200
"""Cases from which on a rate is held to its promise; below, two standard errors are allowed."""
REFERENCES = (
    "Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25.",
    "Gorham & Mackey (2015), Measuring sample quality with Stein's method, NeurIPS.",
    "Bennett (1976), Efficient estimation of free energy differences from Monte Carlo data, J. Comput. Phys. 22, 245.",
)


@dataclass(frozen=True)
class Study:
    """Identities, weights, chains and independent rows decide: accept, repair or refuse, with the reason.

    With data= and energy= your own samples are audited. Without, failures of eighteen kinds are planted in sound rows
    at twenty strengths each, and the audit has to find them without doubting rows that are sound.
    """

    data: Path | None = None
    """Your own samples: .npy (rows), .npz (x, log_weight, log_q, energy, chain), CSV (the same), XTC, DCD or PDB."""
    energy: (
        Literal[
            "double-well",
            "mueller-brown",
            "many-well",
            "funnel",
            "gmm-40",
            "dw4",
            "lj13",
            "alanine-vacuum",
            "alanine-implicit",
            "system",
        ]
        | None
    ) = None
    """Whose samples data= are said to be; system for a molecule of your own."""
    system: str | None = None
    """Files of that molecule, separated by a comma: prmtop,inpcrd or top,gro or xml,pdb."""
    temperature: float | None = None
    """kT in the unit of the energy, or T [K] of a molecule; none takes 15 (mueller-brown), 300 K (alanine), else 1."""
    forward: Path | None = None
    """Independent rows of the same energy from another sampler, with log_q of data='s proposal where it is known."""
    chains: int | None = None
    """Equal chains that data= come from, one after the other, where the file does not say; none: independent rows."""
    repeats: int = 1
    """Planted cases of each kind and strength."""
    sound: int = 210
    """Sound cases."""
    quick: bool = False
    """A fifth of the strengths and a quarter of the sound cases."""

    def __call__(self, context: Context) -> Outcome:
        """Audit the samples, or the audit."""
        if (self.data is None) != (self.energy is None):
            raise OptionError("data= and energy= go together: give both, or neither for planted failures.")
        if self.data is None and any(x is not None for x in (self.temperature, self.forward, self.chains, self.system)):
            raise OptionError("temperature=, forward=, chains= and system= speak of data=; give it, or leave them out.")
        if self.data is not None and self.energy is not None:
            return self._own(self.data, self.energy, context)
        cases = self.repeats * STRENGTHS * len(Planter(0).kinds) + self.sound
        if self.repeats < 1 or self.sound < 30 or cases > MOST_CASES:
            raise OptionError(
                f"repeats={self.repeats}, sound={self.sound}: at least 1 and 30, at most {MOST_CASES:,} cases in all."
            )
        return self._bench(context)

    def _own(self, data: Path, energy: str, context: Context) -> Outcome:
        molecule = molecule_of(energy, self.system)
        samples = read_samples(data, molecule)
        if self.chains is not None and samples.chains is not None and self.chains != samples.chains:
            raise OptionError(
                f"chains={self.chains}, and {samples.name} itself tells of {samples.chains}; leave one out."
            )
        target = named_target(energy, samples.rows.shape[1], self.temperature, molecule)
        forward = None if self.forward is None else _forward(read_samples(self.forward, molecule), target)
        figures = samples.figures
        audit = audit_draws(
            target,
            target.space.unflat(samples.rows),
            figures.get("log_weight"),
            figures.get("log_q"),
            forward,
            samples.chains or self.chains,
            figures.get("energy"),
            context.rng.child("audit"),
        )
        files = {samples.name: digest(samples.rows)}
        other = None if forward is None else WeightedRows.of(target, forward.rows, chains=forward.chains)
        return Outcome(
            scores=_scores(audit),
            report=audit.report,
            pictures=_pictures(audit, other),
            posterior=Draws(
                target.space,
                target.space.unflat(samples.rows[audit.rows.kept]),
                audit.rows.log_weights,
                chains=audit.rows.chains or 1,
            ),
            data=files,
            references=REFERENCES,
        )

    def _bench(self, context: Context) -> Outcome:
        start = time.process_time()
        sound = max(30, self.sound // 4) if self.quick else self.sound
        found = bench(self.repeats, sound, context, every=5 if self.quick else 1)
        shown = _shown(context)
        kinds = found.by_kind()
        scores: dict[str, Score] = {
            "caught": found.caught,
            "false_alarms": found.alarms,
            "coverage95": found.covered,
            "planted": len(found.planted),
            "sound": len(found.sound),
            "kinds": len(kinds),
            "caught_by_kind": dict(zip(kinds["kind"], kinds["caught [%]"] / 100, strict=True)),
            "cpu_seconds": time.process_time() - start,
        }
        pictures: dict[str, Callable[[], Picture]] = {
            "Planted failures: share caught by kind and strength": partial(draw.catches_picture, found),
            "Sound rows and a missed mode: the worst of each family of tests": partial(draw.scores_picture, shown),
        }
        for title, audit in shown.items():
            pictures[f"Weights, {title}"] = partial(draw.weights_picture, audit)
        return Outcome(
            scores=scores,
            report=_report(found),
            pictures=pictures,
            tables={"kinds": kinds, "planted": found.planted, "sound": found.sound},
            references=REFERENCES,
        )


def _forward(samples: SampleFile, target: Boltzmann) -> Forward:
    if samples.rows.shape[1] != target.space.size:
        raise OptionError(f"forward= has rows of {samples.rows.shape[1]} numbers, data= of {target.space.size}.")
    return Forward(target.space.unflat(samples.rows), samples.figures.get("log_q"), samples.chains)


def _scores(audit: Audit) -> dict[str, Score]:
    report = audit.report
    found: dict[str, Score] = {
        "verdict": audit.verdict.value,
        "reason": audit.reason,
        "accepted": audit.verdict is Verdict.ACCEPT,
    }
    found |= {figure.name: figure.value for figure in report}
    if "ess_forward" in report:
        found["ess_forward"] = report["ess_forward"].value
    for name, (value, error) in audit.log_z.items():
        found[f"log_z_{name}"], found[f"log_z_{name}_error"] = value, error
    return found


def _pictures(audit: Audit, forward: WeightedRows | None) -> dict[str, Callable[[], Picture]]:
    pictures: dict[str, Callable[[], Picture]] = {
        "The worst of each family of tests": partial(draw.scores_picture, {"these rows": audit}),
        "Energies": partial(draw.energies_picture, audit, forward),
    }
    if audit.rows.log_weights is not None:
        pictures["Weights"] = partial(draw.weights_picture, audit)
    return pictures


def _shown(context: Context) -> dict[str, Audit]:
    """A sound case with weights and one that misses a mode, to be looked at."""
    planter = Planter(context.rng.seed)
    rng = context.rng.child("shown")
    missed = next(kind for kind in planter.kinds if kind.name == "missed mode")
    cases = {"sound": planter.weighed_example(rng), "a missed mode": missed.plant(0.05, rng)}
    return {title: case.audited(rng) for title, case in cases.items()}


def _report(found: Bench) -> Report:
    planted, sound = len(found.planted), len(found.sound)
    few = sqrt(0.05 * 0.95)
    slack = {n: 0.0 if n >= ENOUGH else 2 * few / sqrt(n) for n in (planted, sound)}
    figures = (
        Figure(
            "caught",
            found.caught,
            (found.caught * (1 - found.caught) / planted) ** 0.5,
            gate=Gate(low=0.95 - slack[planted]),
            note=f"of {planted} planted failures",
        ),
        Figure(
            "false_alarms",
            found.alarms,
            (found.alarms * (1 - found.alarms) / sound) ** 0.5,
            gate=Gate(high=0.05 + slack[sound]),
            note=f"of {sound} sound cases",
        ),
        Figure(
            "coverage95",
            found.covered,
            found.covered_error,
            gate=Gate(0.92, 0.98),
            note=f"{len(found.intervals)} intervals of {found.intervals['case'].nunique()} cases with exact values",
        ),
    )
    kinds = [
        Figure(f"caught.{row['kind'].replace(' ', '_')}", row["caught [%]"] / 100, note=f"weakest {row['weakest']:g}")
        for _, row in found.by_kind().iterrows()
    ]
    return Report("The audit of weights, audited", (*figures, *kinds))
