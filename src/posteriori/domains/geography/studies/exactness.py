"""How right the samplers of a diffusion prior are where the posterior is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import DataError, OptionError
from posteriori.core.infer import Method, infer
from posteriori.core.operator import Selection
from posteriori.core.run import Context, digest
from posteriori.domains.geography import exactness_pictures as draw
from posteriori.domains.geography.exactness import (
    Exactness,
    doubtful,
    grid,
    questions,
    smooth_field,
    target_of,
    two_regimes,
)
from posteriori.domains.geography.exactness_contest import (
    ANALYTIC,
    CHANCE,
    LEARNED,
    MAIN_LEVELS,
    REFERENCE,
    TWISTED,
    WIDE,
    Example,
    Regimes,
    RegimeScore,
    conditional,
    gaussian_contest,
    regime_contest,
    trained,
    worst,
)
from posteriori.domains.geography.raster import read_raster
from posteriori.domains.study import Outcome, Score
from posteriori.inference.plug_in.guided import Guided
from posteriori.learn.ensemble_covariance import localised
from posteriori.learn.random_fields import GaussianField

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

FEWEST_FIELDS = 50
FRESH = 3
"""Draws that the denoiser of two regimes learns from, over those of one Gaussian law."""
NUGGET = 1e-3
"""Share of the mean variance that is added to each cell of a law taken from a history, so that it is no fold."""


@dataclass(frozen=True)
class Study:
    """How right posterior samplers of diffusion models are where the closed form is known.

    Gaussian random fields are asked about through a mask, block means, points with errors of their own and lines of
    sight; our sampler with the analytic and with a learned denoiser, and the plug-in samplers, are held against the
    closed form. Fields of two regimes, whose posterior is a known mixture, show what a Gaussian law cannot say.
    """

    data: Path | None = None
    """A history of fields (time, y, x) without gaps in its middle, whose Gaussian law is asked about instead."""
    variable: str | None = None
    """Which variable of the file, where it holds several."""
    side: int = 12
    """Cells along each side of the grid."""
    length: float = 3.0
    """Length of the made-up Gaussian field's correlation [cells]."""
    problems: int = 96
    """Truths that are asked about; the plug-in samplers answer a third of them, the regimes half."""
    draws: int = 39
    """Draws of each posterior of Gaussian fields."""
    particles: int = 256
    """Particles of each posterior of two regimes."""
    fields: int = 16384
    """Draws of the prior that the denoiser and the reference learn from."""
    passes: int = 5
    """Passes of the training over them."""
    regimes: Literal["analytic", "learned"] = "analytic"
    """Denoiser of the two regimes: in closed form, or trained too."""
    conditional: bool = False
    """Train a denoiser with the data of masks beside the field too, and judge it on the mask."""
    quick: bool = False
    """A third of the problems, a quarter of the fields; the learned sampler is then shown without gates."""

    def __post_init__(self) -> None:
        ranges = {
            "side": (self.side, 6, 32),
            "problems": (self.problems, 24, 2000),
            "draws": (self.draws, 19, 1000),
            "particles": (self.particles, 16, 4096),
            "fields": (self.fields, 512, 200_000),
            "passes": (self.passes, 1, 100),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise OptionError(f"{name}={value} is outside {low} to {high:,}.")
        if not 0.5 <= self.length <= self.side:
            raise OptionError(f"length={self.length:g} cells is outside 0.5 to side={self.side}.")
        if self.variable is not None and self.data is None:
            raise OptionError(f"variable={self.variable} names a part of data=FILE, and none was given.")

    def __call__(self, context: Context) -> Outcome:
        """Learn the law, ask, compare."""
        law, hashes = _law(self)
        problems = self.problems // 3 if self.quick else self.problems
        count = self.fields // 4 if self.quick else self.fields
        learnt = trained(law, count, self.passes, context.child("gaussian"))
        found: dict[str, dict[str, Exactness]] = {}
        examples: dict[str, Example] = {}
        counts = (problems, max(problems // 3, 16), self.draws)
        every = questions(law.space, context.rng.child("questions"))
        scale = float(law.covariance.diagonal().sqrt().mean())
        for name, asked in context.progress(every.items(), "questions", len(every)):
            more: dict[str, Method] = {}
            if self.conditional and name == "mask":
                own = context.child("conditional")
                more["conditional"] = conditional(law, scale * float(asked.sigma), count, self.passes, self.draws, own)
            found[name], examples[name] = gaussian_contest(law, asked, learnt, counts, context.child(name), more)
        mixture = two_regimes(grid(self.side))
        learned = self.regimes == "learned"
        also = trained(mixture, FRESH * count, self.passes, context.child("mixture"), WIDE) if learned else None
        asked = doubtful(mixture.space, context.rng.child("doubtful"))
        regimes = regime_contest(mixture, asked, also, problems // 2, self.particles, context.child("regimes"))
        operator = every["mask"].operator
        assert isinstance(operator, Selection)
        question = target_of(every["mask"], law, scale)
        data = operator.codomain.unflat(operator(examples["mask"].truth).flatten())
        posterior = infer(question.given(data), Guided(self.draws, MAIN_LEVELS), seed=context.rng.seed)
        return Outcome(
            scores=_scores(found, regimes),
            report=Report("Samplers where the posterior is known", _figures(found, regimes, gated=not self.quick)),
            pictures=_pictures(found, examples["mask"], operator, regimes, law.space.unit, context),
            posterior=posterior,
            tables={"samplers": _table(found), "regimes": _regime_table(regimes)},
            data=hashes,
        )


def _law(study: Study) -> tuple[GaussianField, dict[str, str]]:
    """The Gaussian law that is asked about, and the hash of what it was read from."""
    if study.data is None:
        return smooth_field(grid(study.side), study.length), {}
    raster = read_raster(study.data, study.variable)
    values = np.asarray(raster.values, np.float64)
    times, rows, columns = values.shape
    if times < FEWEST_FIELDS or min(rows, columns) < study.side:
        raise DataError(
            f"{study.data} has {times} fields of {rows} × {columns} cells; {FEWEST_FIELDS} fields of at least "
            f"{study.side} × {study.side} are needed: give a longer history, or a smaller side."
        )
    y, x = (rows - study.side) // 2, (columns - study.side) // 2
    part = torch.from_numpy(np.ascontiguousarray(values[:, y : y + study.side, x : x + study.side]))
    if not bool(torch.isfinite(part).all()):
        raise DataError(
            f"the middle {study.side} × {study.side} cells of {study.data} have gaps; this study needs whole fields: "
            "cut out a part without gaps, or take a smaller side."
        )
    space = grid(study.side)
    history = localised(space, part)
    covariance = history.covariance.dense()
    nugget = NUGGET * float(covariance.diagonal().mean())
    if not nugget > 0:
        raise DataError(f"the fields of {study.data} never change: there is no law to ask about.")
    return GaussianField(space, history.location, covariance + nugget * torch.eye(space.size)), {
        str(study.data): digest(part)
    }


KEYS = ("mean_error", "sd_error", "sd_ratio", "coverage", "sbc_p")


def _scores(found: Mapping[str, Mapping[str, Exactness]], regimes: Regimes) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for question, methods in found.items():
        for name, e in methods.items():
            scores |= {f"{question}.{_key(name)}.{key}": getattr(e, key) for key in KEYS}
    for name in (ANALYTIC, LEARNED):
        e = worst({question: methods[name] for question, methods in found.items()})
        scores |= {f"{_key(name)}.{key}": getattr(e, key) for key in KEYS}
    for name, score in regimes.scores.items():
        own = {f"regimes.{_key(name)}.{f.name}": getattr(score, f.name) for f in fields(RegimeScore)}
        scores |= {key: value for key, value in own.items() if not key.endswith("probabilities") and value is not None}
    return scores


def _key(name: str) -> str:
    return name.replace("guided, ", "").replace(" ", "_").lower()


def _figures(found: Mapping[str, Mapping[str, Exactness]], regimes: Regimes, gated: bool) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    for name in (ANALYTIC, LEARNED):
        e = worst({question: methods[name] for question, methods in found.items()})
        holds = gated or name == ANALYTIC
        note = f"{name}; worst of {len(found)} questions"
        rows = (
            ("mean_error", e.mean_error, e.mean_error_se, Gate(high=0.03)),
            ("sd_error", e.sd_error, None, Gate(high=0.05)),
            ("coverage90", e.coverage, e.coverage_se, Gate(0.88, 0.92) if gated else Gate(0.86, 0.94)),
            ("sbc_p", e.sbc_p, None, Gate(low=0.01)),
        )
        figures += [
            Figure(f"{_key(name)}.{key}", value, error, gate=gate if holds else None, note=note)
            for key, value, error, gate in rows
        ]
    ours, theirs, chance = (regimes.scores[name] for name in (TWISTED, REFERENCE, CHANCE))
    figures += [
        Figure("regimes.class_error", ours.class_error, gate=Gate(high=0.1), note="twisted; P(regime) r.m.s."),
        Figure("regimes.class_error_of_reference", theirs.class_error, gate=Gate(low=0.2), note="Gaussian reference"),
        Figure(
            "regimes.brier", ours.brier, note=f"twisted; exact draws {chance.brier:.3f}, reference {theirs.brier:.3f}"
        ),
        Figure(
            "regimes.quantile_error",
            ours.quantile_error,
            gate=Gate(high=0.8 * theirs.quantile_error),
            note=f"sd of the prior; exact draws {chance.quantile_error:.3f}, reference {theirs.quantile_error:.3f}",
        ),
    ]
    return tuple(figures)


def _pictures(
    found: Mapping[str, Mapping[str, Exactness]],
    example: Example,
    operator: Selection,
    regimes: Regimes,
    unit: str,
    context: Context,
) -> dict[str, Callable[[], Picture]]:
    learned = {question: methods[LEARNED] for question, methods in found.items()}
    return {
        "One field through a mask: the closed form, and draws with a learned denoiser": partial(
            draw.example_picture, example, operator, unit
        ),
        "Bias of every sampler on every question; grey: what is asked of ours": partial(draw.bias_picture, found),
        "Ranks of the truths among draws with the learned denoiser; grey: two standard errors of one cell": partial(
            draw.ranks_picture, learned
        ),
        "Two regimes: stated and exact probability of the first": partial(draw.class_picture, regimes),
        "Two regimes: the law of one cell where the regime is in doubt": partial(
            draw.cell_picture, regimes, context.rng.child("picture")
        ),
    }


def _table(found: Mapping[str, Mapping[str, Exactness]]) -> pd.DataFrame:
    rows = [
        {
            "question": question,
            "sampler": name,
            "error of mean [sd of prior]": e.mean_error,
            "its s.e.": e.mean_error_se,
            "sd / exact sd": e.sd_ratio,
            "r.m.s. error of sd": e.sd_error,
            "coverage of 90 %": e.coverage,
            "coverage s.e.": e.coverage_se,
            "SBC p": e.sbc_p,
        }
        for question, methods in found.items()
        for name, e in methods.items()
    ]
    return pd.DataFrame(rows).round(4)


def _regime_table(regimes: Regimes) -> pd.DataFrame:
    names = [f.name for f in fields(RegimeScore) if f.name != "probabilities"]
    rows = [{"sampler": name, **{key: getattr(s, key) for key in names}} for name, s in regimes.scores.items()]
    return pd.DataFrame(rows).round(4)
