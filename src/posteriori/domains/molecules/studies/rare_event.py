"""Rare events of known probability: p, interval, effective sample size and k̂, by splitting and by learnt proposals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Literal

import pandas as pd

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.infer import Method, infer
from posteriori.core.run import Context, references
from posteriori.domains.molecules import rare_pictures as draw
from posteriori.domains.molecules.rare_cases import RareCase, four_branch, gaussian_tail, high_well
from posteriori.domains.study import Outcome, Score
from posteriori.inference.cross_entropy import CrossEntropy
from posteriori.inference.event_probability import EventProbability, event_probability
from posteriori.inference.hmc import HMC
from posteriori.inference.inflated_start import InflatedStart
from posteriori.inference.missed_mode import Missed, missed_mode
from posteriori.inference.subset_simulation import SubsetSimulation
from posteriori.inference.tempered import Tempered

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LIMIT = 3.9
"""Standard errors that a sound estimate exceeds once in 10,000 runs."""
FEW = 8
"""Up to so many codes an inflated start looks for missed parts."""
MOST_REPEATS = 1000
JUDGED = 200
"""Repeats from which on coverage is judged."""


@dataclass(frozen=True)
class Study:
    """The probability of a rare event, held against the exact one: p, interval, effective sample size and k̂ together.

    Two ways answer a Gaussian tail and the four branches: subset simulation (independent islands), and importance
    sampling from a proposal that cross-entropy fits to a pilot; in few dimensions an inflated start looks for parts
    that both have missed. The population of a well comes from hotter chains with exact weights.
    """

    case: Literal["gaussian-tail", "four-branch", "well"] = "gaussian-tail"
    """A sum of normal numbers; a system that fails in four places; the population of a well high above another."""
    dimension: int = 100
    """Of the Gaussian tail."""
    probability: float = 1e-8
    """Of the Gaussian tail."""
    level: float = 0.0
    """Of the four branches; 0 is the usual failure, 2 has p = 7.6e-7."""
    depth: float = 10.0
    """Free energy of the high well above the other [kT]."""
    walkers: int = 500
    """Of each of the 16 islands of subset simulation."""
    draws: int = 4000
    """Rows of the learnt proposal; of hotter chains for the well, ten times as many."""
    repeats: int = 20
    """Runs over which coverage of the 95 % interval is counted, of the way that comes last in the table."""
    quick: bool = False
    """A fifth of the repeats."""

    def __call__(self, context: Context) -> Outcome:
        """Answer, compare, repeat."""
        if not 50 <= self.walkers <= 20_000:
            raise OptionError(f"walkers={self.walkers}: from 50 to 20,000.")
        if not 100 <= self.draws <= 1_000_000:
            raise OptionError(f"draws={self.draws}: from 100 to 1,000,000.")
        if not 2 <= self.repeats <= MOST_REPEATS:
            raise OptionError(f"repeats={self.repeats}: from 2 to {MOST_REPEATS:,}.")
        begun = time.process_time()
        repeats = max(2, self.repeats // 5) if self.quick else self.repeats
        case = self._case()
        return _findings(self, case, self.walkers, repeats, context).outcome(begun)

    def _case(self) -> RareCase:
        if self.case == "well":
            return high_well(self.depth)
        if self.case == "four-branch":
            return four_branch(self.level)
        return gaussian_tail(self.dimension, self.probability)


@dataclass(frozen=True)
class _Findings:
    """All that is found about one event; ``best`` names the way that is repeated."""

    study: Study
    case: RareCase
    answers: dict[str, Draws]
    seconds: dict[str, float]
    repeated: list[EventProbability]
    missed: Missed | None
    best: str

    @property
    def found(self) -> dict[str, EventProbability]:
        return {name: event_probability(answer) for name, answer in self.answers.items()}

    def outcome(self, begun: float) -> Outcome:
        report = Report(f"The probability of {self.case.text}", self._figures())
        scores: dict[str, Score] = {figure.name: figure.value for figure in report}
        one = self.found[self.best]
        scores |= {"p": one.p, "low": one.low, "high": one.high, "truth": self.case.truth, "method": self.best}
        return Outcome(
            scores={**scores, "repeats": len(self.repeated), "cpu_seconds": time.process_time() - begun},
            report=report,
            pictures=self._pictures(),
            posterior=self.answers[self.best],
            tables={"estimates": self._table()},
            references=references(*_methods(self.study, self.case, self.study.walkers).values()),
        )

    def _figures(self) -> tuple[Figure, ...]:
        one, truth = self.found[self.best], self.case.truth
        covered = sum(r.covers(truth) for r in self.repeated) / len(self.repeated)
        error = sqrt(0.95 * 0.05 / len(self.repeated))
        plain = (1 - one.p) / (one.p * one.relative_error**2)
        figures = [
            Figure("p_over_exact", one.p / truth, one.relative_error * one.p / truth, note=f"exact p = {truth:.6g}"),
            Figure("relative_error", one.relative_error, gate=Gate(high=0.1), note="standard error / p"),
            *(
                Figure(f"z.{name}", other.z(truth), unit="s.e.", gate=Gate(-LIMIT, LIMIT), note="from the exact p")
                for name, other in self.found.items()
            ),
            Figure("ess", one.ess, note=f"rows in the event, {self.best}"),
            Figure("calls", one.calls, note="of the operator"),
            Figure("fewer_calls", plain / one.calls, note="plain sampling's calls for this error, in these"),
            Figure("coverage", covered, error, gate=Gate(0.95 - LIMIT * error, 1.0), note="of 95 % intervals"),
        ]
        if one.pareto_k == one.pareto_k:
            figures.append(Figure("pareto_k", one.pareto_k, gate=Gate(high=0.7)))
        if self.missed is not None:
            figures.append(
                Figure(
                    "missed_share",
                    self.missed.share,
                    self.missed.error,
                    gate=Gate(high=max(0.01, 3 * self.missed.error)),
                )
            )
        return tuple(figures)

    def _table(self) -> pd.DataFrame:
        rows = [
            {
                "method": name,
                "p": one.p,
                "low": one.low,
                "high": one.high,
                "relative error": one.relative_error,
                "ESS": one.ess,
                "Pareto k": one.pareto_k,
                "calls": one.calls,
                "CPU time [s]": self.seconds[name],
            }
            for name, one in self.found.items()
        ]
        return pd.DataFrame(rows)

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        answer, target = self.answers[self.best], self.case.target
        shown: dict[str, Callable[[], Picture]] = {
            "Estimates beside the exact probability": partial(draw.estimates_picture, self.found, self.case.truth),
            "Intervals of repeated runs": partial(draw.repeats_picture, self.repeated, self.case.truth),
        }
        if self.study.case == "gaussian-tail":
            shown["The scaled sum within the event"] = partial(draw.tail_picture, answer, target.level)
        else:
            half = 4.5 if self.study.case == "well" else 6.0
            shown["Rows in the event"] = partial(draw.plane_picture, answer, target, half)
        return shown


def _methods(study: Study, case: RareCase, walkers: int) -> dict[str, Method]:
    """The ways that can answer; the last is repeated."""
    if study.case == "well":
        return {"tempered": Tempered(7.0, HMC(study.draws // 10, 150, 100, steps=8))}
    pilot = SubsetSimulation(walkers, 4, rest=5)
    return {
        "subset-simulation": SubsetSimulation(walkers, 16),
        "cross-entropy": CrossEntropy(study.draws, pilot, case.components),
    }


def _findings(study: Study, case: RareCase, walkers: int, repeats: int, context: Context) -> _Findings:
    methods = _methods(study, case, walkers)
    answers: dict[str, Draws] = {}
    seconds: dict[str, float] = {}
    for name, method in methods.items():
        begun = time.process_time()
        answers[name] = _answer(case, method, context, name)
        seconds[name] = time.process_time() - begun
    best = list(methods)[-1]
    repeated = [
        event_probability(_answer(case, methods[best], context, f"repeat {i}"))
        for i in context.progress(range(repeats), "repeats", repeats)
    ]
    missed = None
    if study.case != "well" and case.target.space.size <= FEW:
        wide = _answer(case, InflatedStart(draws=50_000), context, "inflated")
        missed = missed_mode(answers[best], wide)
    return _Findings(study, case, answers, seconds, repeated, missed, best)


def _answer(case: RareCase, method: Method, context: Context, name: str) -> Draws:
    found = infer(case.target, method, seed=context.rng.child(name).entropy)
    assert isinstance(found, Draws)
    return found
