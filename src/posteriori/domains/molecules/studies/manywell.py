"""log Z of GMM-40, ManyWell-32 and the funnel from U and its gradient alone, and who else finds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, references
from posteriori.core.weights import ess, pareto_smooth
from posteriori.domains.molecules import evidence_pictures as draw
from posteriori.domains.molecules.evidence import QUESTIONS, SCALES, Question, worst_mode
from posteriori.domains.molecules.evidence_samplers import (
    Other,
    annealing_alone,
    hmc_alone,
    populations,
    reverse_kl_alone,
)
from posteriori.domains.study import Outcome, Score
from posteriori.inference.annealed import Annealed
from posteriori.inference.annealed_motion import Motion
from posteriori.inference.population import Learnt, PopulationMonteCarlo, log_weights
from posteriori.inference.stratified import wide_gaussian

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

PROMISED = {"gmm40": 0.002, "manywell": 0.010, "funnel": 0.002}
"""Mean |log Z error| of estimates of 2,000 rows."""
FORWARD = 0.5
"""Least effective share by exact rows: the learnt density is nowhere too thin."""
EXACT_ROWS = 20_000
MOST = 1_000_000


@dataclass(frozen=True)
class Study:
    """A density learnt from annealed rows and from its own weighted rows, and log Z by many independent estimates.

    The method is told U, its gradient and how far the law may reach (``scale``); it knows no mode and no structure.
    Exact rows of the law are used to judge it alone. The table compares annealing and HMC with as many calls of U.
    """

    target: Literal["gmm40", "manywell", "funnel"] = "manywell"
    """Which law: forty Gaussians in the plane, ManyWell-32, or the funnel in ten dimensions."""
    estimates: int = 20
    """Independent estimates of log Z."""
    rows: int = 2000
    """Weighted rows of each estimate."""
    scale: float | None = None
    """Standard deviation of the wide Gaussian from which all begins; none takes 30, 3 and 10 for the three laws."""
    learning: int = 20_000
    """Rows of each round of learning."""
    rounds: int = 10
    """Rounds of learning at most."""
    compare: bool = True
    """Run annealed importance sampling, sequential Monte Carlo, HMC and reverse KL alone beside."""
    quick: bool = False
    """A quarter of the rows of learning, no comparison."""

    def __call__(self, context: Context) -> Outcome:
        """Learn, estimate, compare."""
        for name, low in {"estimates": 2, "rows": 50, "learning": 1000, "rounds": 1}.items():
            if not low <= getattr(self, name) <= MOST:
                raise OptionError(f"{name}={getattr(self, name)}: from {low:,} to {MOST:,}.")
        scale = SCALES[self.target] if self.scale is None else self.scale
        if not 1e-3 <= scale <= 1e6:
            raise OptionError(f"scale={scale:g} is the standard deviation to begin from: 0.001 to 1,000,000.")
        return _Findings.of(self, QUESTIONS[self.target](scale), context).outcome(self, context)

    def method(self, question: Question) -> PopulationMonteCarlo:
        """The same for every law."""
        wide = wide_gaussian(question.space, question.scale)
        start = Annealed(wide, 8000, resample=0.5, share=0.5, pilot=1000, motion=Motion(2, 6))
        learning = max(1000, self.learning // 4) if self.quick else self.learning
        return PopulationMonteCarlo(start, self.rows, learning, self.rounds)


@dataclass(frozen=True)
class _Findings:
    """What was learnt of one law, the estimates, and the truth about them."""

    question: Question
    learnt: Learnt
    estimates: list[Draws]
    forward: Tensor
    seconds: float
    others: list[Other]

    @staticmethod
    def of(study: Study, question: Question, context: Context) -> _Findings:
        begun = time.process_time()
        learnt = study.method(question).learnt(question.target, context.child("learning"))
        rng = context.rng.child("estimates")
        estimates = [learnt.draws(question.target, study.rows, rng.child(i)) for i in range(study.estimates)]
        seconds = time.process_time() - begun
        exact = question.exact(EXACT_ROWS, context.rng.child("exact"))
        with torch.no_grad():
            forward = log_weights(question.target, exact, learnt.proposal.log_prob(exact)) - question.log_z
        others: list[Other] = []
        if study.compare and not study.quick:
            calls, seed = learnt.calls + study.rows, context.rng.child("others").entropy
            others = [
                annealing_alone(question, calls, 0.0, seed),
                annealing_alone(question, calls, 0.5, seed),
                hmc_alone(question, calls, seed),
                reverse_kl_alone(question, context.rng.child("reverse KL")),
            ]
        return _Findings(question, learnt, estimates, forward, seconds, others)

    @property
    def errors(self) -> Tensor:
        """log Z less the exact one, of each estimate."""
        found = [e.log_evidence for e in self.estimates if e.log_evidence is not None]
        return torch.stack(found) - self.question.log_z

    @property
    def pooled(self) -> tuple[Tensor, Tensor]:
        """Rows of all estimates and their log-weights less log Z."""
        raw = [e.log_weights for e in self.estimates if e.log_weights is not None]
        return torch.cat([e.values for e in self.estimates]), torch.cat(raw) - self.question.log_z

    def outcome(self, study: Study, context: Context) -> Outcome:
        figures = self._figures(study)
        report = Report(f"log Z of {self.question.name} by {study.estimates} estimates", tuple(figures))
        scores: dict[str, Score] = {figure.name: figure.value for figure in report}
        return Outcome(
            scores={"target": study.target, "density": type(self.learnt.law).__name__, **scores},
            report=report,
            pictures=self._pictures(context),
            posterior=self.estimates[0],
            tables={"rounds": self._rounds(), **self._compared()},
            references=references(study.method(self.question), self.learnt.proposal),
        )

    def _figures(self, study: Study) -> list[Figure]:
        errors, (x, raw) = self.errors, self.pooled
        n = len(errors)
        promised = None if study.quick or study.rows < 2000 else Gate(high=PROMISED[self.question.name])
        reach = None if promised is None else Gate(low=FORWARD)
        share = torch.stack([e.ess() for e in self.estimates]) / study.rows
        k = pareto_smooth(raw)[1]
        found = populations(self.question, x, raw)
        away = float((found / self.question.populations - 1).abs().max())
        mean, bias = float(errors.abs().mean()), float(errors.mean())
        stated = float(torch.stack([e.log_evidence_error for e in self.estimates]).mean())  # type: ignore[misc]
        z = bias / max(float(errors.std()) / n**0.5, 1e-12)
        figures = [
            Figure("log_z_error", mean, float(errors.abs().std()) / n**0.5, "nat", promised, "mean |error|"),
            Figure("log_z_bias", bias, float(errors.std()) / n**0.5, "nat", note="mean error"),
            Figure("log_z_bias.z", z, unit="s.e.", gate=Gate(-5.0, 5.0)),
            Figure("log_z_stated_error", stated, unit="nat", note="as if rows were independent"),
            Figure("ess_reverse", float(share.mean()), note="share of the rows"),
            Figure(
                "ess_forward", 1 / float(self.forward.exp().mean()), gate=reach, note=f"by {EXACT_ROWS:,} exact rows"
            ),
            Figure("pareto_k", float(k), gate=Gate(high=0.7), note="of all estimates together"),
            Figure("population_error", away, gate=Gate(high=0.05), note=f"largest of a {self.question.region}"),
            Figure("energy_calls", self.learnt.calls + study.rows, note="learning and one estimate"),
            Figure("cpu_seconds", self.seconds, unit="s", note="learning and all estimates"),
        ]
        if self.question.name == "manywell":
            worst = worst_mode(found, self.question.populations)
            figures.append(Figure("worst_mode_error", worst, note="of 65,536 modes, as products of the wells"))
        for other in self.others:
            name = other.name.lower().replace(" ", "_")
            if other.log_z_error is not None:
                figures.append(Figure(f"{name}.log_z_error", other.log_z_error, unit="nat", note="one estimate"))
            figures.append(Figure(f"{name}.missed", other.missed, note=f"of {len(found)}: each {self.question.region}"))
        return figures

    def _rounds(self) -> pd.DataFrame:
        columns = ("energy calls", "effective share", "log Z [nat]", "standard error [nat]")
        return pd.DataFrame(self.learnt.history, columns=columns)

    def _compared(self) -> dict[str, pd.DataFrame]:
        if not self.others:
            return {}
        _, raw = self.pooled
        own = {
            "name": "population Monte Carlo",
            "calls": self.learnt.calls + len(self.estimates[0].values),
            "log_z_error": float(self.errors.abs().mean()),
            "ess": float(ess(raw)) / len(raw),
            "missed": 0,
            "population_error": float(
                (populations(self.question, *self.pooled) / self.question.populations - 1).abs().max()
            ),
            "cpu_seconds": self.seconds,
        }
        names = {
            "name": "sampler",
            "calls": "energy calls",
            "log_z_error": "|log Z error| [nat]",
            "ess": "effective share",
            "missed": "regions missed",
            "population_error": "largest population error",
            "cpu_seconds": "CPU [s]",
        }
        return {"samplers": pd.DataFrame([own, *(asdict(o) for o in self.others)]).rename(columns=names)}

    def _pictures(self, context: Context) -> dict[str, Callable[[], Picture]]:
        x, raw = self.pooled
        shown = self.estimates[0].sample(draw.SHOWN, context.rng.child("shown"))
        final = (self.learnt.calls + len(self.estimates[0].values), float(self.errors.abs().mean()))
        found = populations(self.question, x, raw)
        plain = populations(self.question, x, None)
        return {
            "Rows over contours of the energy": partial(draw.rows_picture, self.question, shown),
            "Log-weights of the method's rows and of exact ones": partial(draw.weights_picture, raw, self.forward),
            "Error of log Z against energy calls": partial(
                draw.calls_picture, self.learnt.history, self.question.log_z, final, self.others
            ),
            "Populations over exact ones": partial(
                draw.populations_picture, self.question, found, [("its rows without weights", plain)]
            ),
        }
