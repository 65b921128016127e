"""What the studies of toys share: a generator learnt or shipped, its rows held against quadrature."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import log
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import RAW_WEIGHT, Draws
from posteriori.core.errors import OptionError
from posteriori.core.infer import infer
from posteriori.core.run import Context, references
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules import toy_pictures as draw
from posteriori.domains.molecules.toy import Toy, Truth
from posteriori.domains.molecules.toy_rows import Measured, measured
from posteriori.domains.molecules.toy_weights import loaded, shipped
from posteriori.domains.study import Outcome, Score
from posteriori.inference.boltzmann import BoltzmannGenerator
from posteriori.inference.boltzmann_training import Training
from posteriori.inference.hmc import HMC
from posteriori.inference.umbrella import Umbrella, Windows, umbrella

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LIMIT = 5.0
"""Standard errors that a sound figure exceeds in 2 of 10,000 runs (t of 15), oftener where few rows carry it."""
GROUPS = 16
SAMPLER = HMC(draws=200, warmup=100, chains=16, steps=6)
"""Of each umbrella window."""
BINS = 40
KEPT = 65_536
"""Rows written to the run's file."""
QUICK = 8
"""A quick run draws one row for so many."""
MOST_DRAWS, MOST_STEPS = 2**21, 100_000
FRAME = 12.0
"""-log density of x [nats] within which the potential of mean force is shown."""

DEEP = 8.0
"""Potential of mean force [kT] up to which bins are compared."""


@dataclass(frozen=True)
class Asked:
    """What the study of a toy is asked for, its options checked; a quick run draws an eighth of ``draws``.

    Raises:
        OptionError: one that cannot be.
    """

    toy: Toy
    temperature: float
    usual: float
    draws: int
    steps: int
    train: bool
    plain: bool
    quick: bool
    windows: Windows | None = None

    def __post_init__(self) -> None:
        self.toy.target(self.temperature)  # refuses one that the box is not made for
        part = QUICK if self.quick else 1
        if not 1024 * part <= self.draws <= MOST_DRAWS or self.draws % (GROUPS * part):
            aside = " with --quick, which draws an eighth of them" if self.quick else ""
            raise OptionError(
                f"draws={self.draws}: a multiple of {GROUPS * part} from {1024 * part:,} to {MOST_DRAWS:,}{aside}."
            )
        if not 50 <= self.steps <= MOST_STEPS:
            raise OptionError(f"steps={self.steps}: 50 to {MOST_STEPS:,}.")
        if not self.train and self.temperature != self.usual:
            raise OptionError(
                f"the weights that come with the package are for temperature={self.usual:g}, not {self.temperature:g}; "
                "train=yes, without --quick, learns this one."
            )

    @property
    def generator(self) -> BoltzmannGenerator:
        """Before training."""
        training = Training(steps=self.steps, transforms=3, bins=16)
        return BoltzmannGenerator(self.draws // QUICK if self.quick else self.draws, GROUPS, training)


@dataclass(frozen=True)
class _Answer:
    """A generator, its rows and what they say."""

    generator: BoltzmannGenerator
    rows: Draws
    found: Measured
    forward: float
    alone: float
    seconds: float

    @staticmethod
    def of(asked: Asked, target: Boltzmann, truth: Truth, training: Training | None, context: Context) -> _Answer:
        """Learn, or read what was learnt where ``training`` is None; draw, weigh, measure."""
        begun = time.process_time()
        if training is None:
            generator = loaded(asked.toy, asked.temperature, asked.generator, shipped(asked.toy))
        else:
            generator = replace(asked.generator, training=training)
            generator = generator.fit(target, context.rng.child("fit").entropy, progress=context.progress)
        rows = infer(target, generator, seed=context.rng.child("rows").entropy)
        assert isinstance(rows, Draws)
        assert generator.proposal is not None
        found = measured(asked.toy, target.beta, rows, GROUPS, _edges(truth))
        seconds = time.process_time() - begun
        proposal = generator.proposal
        forward, alone = truth.forward_ess(proposal.log_prob), truth.forward_ess(proposal.flow.log_prob)
        return _Answer(generator, rows, found, forward, alone, seconds)


def answered(asked: Asked, context: Context) -> Outcome:
    """Learn or read, draw, hold against quadrature."""
    target, truth = asked.toy.target(asked.temperature), Truth.of(asked.toy, asked.temperature)
    training = asked.generator.training
    answers = {"generator": _Answer.of(asked, target, truth, training if asked.train else None, context)}
    if asked.plain:
        bare = replace(training, likelihood=0.0)
        answers["plain"] = _Answer.of(asked, target, truth, bare, context.child("plain"))
    other = None
    if asked.windows is not None:
        first = torch.tensor([[float(asked.windows.centres[0]), 0.0]], dtype=torch.float64)
        start = Draws(target.space, first.repeat(16, 1))
        other = umbrella(target, asked.windows, start, context.child("umbrella"), SAMPLER)
    return _outcome(asked, truth, answers, other)


def _outcome(asked: Asked, truth: Truth, answers: dict[str, _Answer], other: Umbrella | None) -> Outcome:
    own = answers["generator"]
    figures = _figures(truth, own, promised=asked.temperature == asked.usual and not asked.quick)
    if other is not None:
        figures += _umbrella_figures(truth, own.found, other)
    title = f"A Boltzmann generator of the {asked.toy.name} at temperature {asked.temperature:g} [{asked.toy.unit}]"
    report = Report(title, tuple(figures))
    scores: dict[str, Score] = {figure.name: figure.value for figure in report}
    if "plain" in answers:
        scores["plain"] = {figure.name: figure.value for figure in _figures(truth, answers["plain"])}
    scores |= {"delta_f_exact_kT": truth.delta_f, "log_z_exact": truth.log_z}
    return Outcome(
        scores=scores,
        report=report,
        pictures=_pictures(truth, answers, other),
        posterior=_kept(own.rows),
        tables={"generators": _table(answers), "profile": _profile(truth, own.found)},
        references=references(own.generator, own.generator.proposal, asked.toy.potential),
    )


def _kept(rows: Draws) -> Draws:
    """The first rows, as many as a file should hold."""
    assert rows.log_weights is not None
    stats = {name: figure[:KEPT] for name, figure in rows.stats.items()}
    kept = Draws(rows.space, rows.values[:KEPT], rows.log_weights[:KEPT], log_evidence=rows.log_evidence, stats=stats)
    kept.log_evidence_error = rows.log_evidence_error
    assert rows.run is not None
    return kept.made_by(rows.run, rows.observed)


def _figures(truth: Truth, answer: _Answer, promised: bool = False) -> list[Figure]:
    found, pull = answer.found, Gate(-LIMIT, LIMIT)
    delta, slack = found.delta_f
    pairs = {
        "share": (found.share, truth.share),
        "energy": (found.energy, truth.energy),
        "heat_capacity": (found.heat_capacity, truth.heat_capacity),
        "log_z": (found.log_z, truth.log_z),
    }
    return [
        Figure("ess_reverse", found.ess, gate=Gate(low=0.95), note="(Σw)²/Σw² of the rows over their number"),
        Figure("ess_forward", answer.forward, gate=Gate(low=0.95), note="1/∫p²/q by quadrature"),
        Figure("ess_forward_alone", answer.alone, note="the same of the flow without its safety net"),
        Figure("pareto_k", found.pareto_k, gate=Gate(high=0.7)),
        Figure("log_weight_bound", _bound(truth, answer), note="log of the largest weight that can be, over the mean"),
        Figure("log_weight_largest", _largest(answer.rows), note="that was"),
        Figure("delta_f", delta, slack, "kT", note=f"exact {truth.delta_f:.4f}"),
        Figure("delta_f_error_kT", abs(delta - truth.delta_f), slack, "kT", Gate(high=0.01) if promised else None),
        Figure("log_z_error", abs(found.log_z[0] - truth.log_z), found.log_z[1], gate=Gate(high=0.002)),
        Figure("energy", *found.energy, "kT", note=f"mean of U/T; exact {truth.energy:.4f}"),
        Figure("heat_capacity", *found.heat_capacity, "k", note=f"variance of U/T; exact {truth.heat_capacity:.4f}"),
        *(Figure(f"z.{n}", (v - exact) / e, unit="s.e.", gate=pull) for n, ((v, e), exact) in pairs.items()),
        Figure("profile_rmse_kT", _apart(truth, found), unit="kT", note=f"of bins within {DEEP:g} kT of the lowest"),
        Figure("cpu_seconds", answer.seconds, unit="s", note="runs, training, rows, weights"),
    ]


def _bound(truth: Truth, answer: _Answer) -> float:
    """log max p / (share · wide) over the nodes."""
    proposal = answer.generator.proposal
    assert proposal is not None
    points = torch.cartesian_prod(truth.x, truth.y)
    return float((truth.log_p.flatten() - proposal.floor(points)).max())


def _largest(rows: Draws) -> float:
    log_w = rows.stats[RAW_WEIGHT]
    return float(log_w.max() - torch.logsumexp(log_w, 0)) + log(len(log_w))


def _seen(truth: Truth, found: Measured) -> tuple[Tensor, Tensor]:
    """The exact profile, and which bins are deep enough to be compared."""
    exact = truth.profile(found.edges)
    return exact, (exact < exact.min() + DEEP) & torch.isfinite(found.profile[0])


def _apart(truth: Truth, found: Measured) -> float:
    exact, seen = _seen(truth, found)
    return float((found.profile[0] - exact)[seen].square().mean().sqrt())


def _umbrella_figures(truth: Truth, found: Measured, other: Umbrella) -> list[Figure]:
    first = other.collective < 0
    delta, error = other.difference(first, ~first)
    profile = other.profile(found.edges)
    _, seen = _seen(truth, found)
    seen &= torch.isfinite(profile.values)
    slack = (profile.errors.square() + found.profile[1].square()).sqrt()
    z = ((profile.values - found.profile[0]) / slack)[seen]
    return [
        Figure("umbrella.delta_f", delta, error, "kT", note=f"umbrella + MBAR; exact {truth.delta_f:.4f}"),
        Figure("umbrella.z", (delta - truth.delta_f) / error, unit="s.e.", gate=Gate(-LIMIT, LIMIT)),
        Figure(
            "umbrella.profile_z", float(z.square().mean().sqrt()), note="root mean square of bins, generator's less"
        ),
    ]


def _edges(truth: Truth) -> Tensor:
    """Edges of the bins of x that hold the density."""
    deep = torch.logsumexp(truth.log_p, 1)
    shown = truth.x[deep > deep.max() - FRAME]
    return torch.linspace(float(shown[0]), float(shown[-1]), BINS + 1, dtype=torch.float64)


def _table(answers: dict[str, _Answer]) -> pd.DataFrame:
    rows = [
        {
            "generator": name,
            "reverse ESS": answer.found.ess,
            "forward ESS": answer.forward,
            "forward ESS of the flow alone": answer.alone,
            "Pareto k": answer.found.pareto_k,
            "CPU time [s]": answer.seconds,
        }
        for name, answer in answers.items()
    ]
    return pd.DataFrame(rows)


def _profile(truth: Truth, found: Measured) -> pd.DataFrame:
    middle = (found.edges[1:] + found.edges[:-1]) / 2
    columns = {
        "x": middle,
        "potential of mean force [kT]": found.profile[0],
        "standard error [kT]": found.profile[1],
        "exact [kT]": truth.profile(found.edges),
    }
    return pd.DataFrame({name: column.numpy() for name, column in columns.items()})


def _pictures(truth: Truth, answers: dict[str, _Answer], other: Umbrella | None) -> dict[str, Callable[[], Picture]]:
    own = answers["generator"]
    log_qs: dict[str, Callable[[Tensor], Tensor]] = {}
    for name, answer in answers.items():
        assert answer.generator.proposal is not None
        log_qs[f"{name}, with its net"] = answer.generator.proposal.log_prob
        log_qs[f"{name}, flow alone"] = answer.generator.proposal.flow.log_prob
    raw = {name: answer.rows.stats[RAW_WEIGHT] for name, answer in answers.items()}
    profile = None if other is None else other.profile(own.found.edges)
    return {
        "Density, exact and learnt": partial(draw.densities_picture, truth, log_qs),
        "Weights of the rows": partial(draw.weights_picture, raw),
        "Potential of mean force along x": partial(draw.profile_picture, truth, own.found, profile),
    }
