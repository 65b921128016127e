"""The joint law of nuclear masses: several baselines, each with its fitted error law, mixed and widened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.core.covariance import LowRankCovariance, ScaledCovariance, SumCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.prior import GaussianLaw
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.core.tasks import run_tasks
from posteriori.domains.nuclei import data, models, problems
from posteriori.domains.nuclei.chart import chart, nuclide_name
from posteriori.domains.nuclei.evaluation_errors import EvaluationErrors
from posteriori.domains.nuclei.frontier import frontier_folds, held_out, within_scale
from posteriori.domains.nuclei.widening import Widening
from posteriori.inference.exact import Exact
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.inference.reweighted import Reweighted, with_student_scales

QUOTED = MarginalLikelihood(Exact(), steps=12)
"""How a law is fitted where the quoted errors stand for themselves."""
HEAVY = Reweighted(MarginalLikelihood(Exact(), steps=8), MarginalLikelihood(Exact(), steps=5), degrees=2.0)
"""How a law is fitted where errors are heavy-tailed."""
MIX = ("dz10", "dz28", "frdm2012", "ws3", "ws4")
"""What ``mix`` takes when its file is there and its own fit saw nothing later than the training year."""


@dataclass(frozen=True)
class Question:
    """Which masses were known, and which known physics explains them.

    Args:
        train: latest evaluation that anything here has seen.
        baselines: names of mass models.
        folder: where their tables are looked for; None for the usual places.
        measured: the known masses, as ``data.measured``; those of ``year`` without.
        evaluated: the evaluation that the known masses come from; ``train`` without.

    Raises:
        LeakError: a baseline saw a later evaluation than ``train``.
    """

    train: int
    baselines: tuple[str, ...]
    folder: Path | None = None
    measured: pd.DataFrame | None = None
    evaluated: int | None = None

    def __post_init__(self) -> None:
        for name in self.baselines:
            models.refuse_leak(name, self.train)

    @property
    def year(self) -> int:
        """The evaluation that the known masses come from."""
        return self.train if self.evaluated is None else self.evaluated

    @property
    def masses(self) -> pd.DataFrame:
        """The known masses."""
        return data.measured(self.year) if self.measured is None else self.measured

    @property
    def fingerprints(self) -> dict[str, str]:
        """Hashes of what the question rests on, by name: the known masses and every baseline's table."""
        own = {f"AME{self.year}": data.fingerprint(self.year)}
        if self.measured is not None:
            own = {"measured masses": hashlib.sha256(self.measured.to_csv(index=False).encode()).hexdigest()[:16]}
        tables = [name for name in self.baselines if isinstance(models.baseline(name).source, models.Table)]
        return own | {f"table {name}": models.fingerprint(name, self.folder) for name in tables}

    def target(self, cells: Space, baseline: str) -> Inverse:
        """The question that one baseline asks."""
        return problems.masses(cells, self.masses, baseline, self.year, self.folder)

    def known_physics(self, cells: Space, baseline: str) -> Tensor:
        """What one baseline says by itself [keV], on the cells that it reaches."""
        prior = self.target(cells, baseline).prior
        assert isinstance(prior, GaussianLaw)
        return prior.location


@dataclass(frozen=True)
class Fitted:
    """A question whose learnt numbers are known: conditions any chart without fitting again."""

    question: Question
    numbers: dict[str, dict[str, Tensor]]
    within: float = 1.0
    widening: Widening = field(default_factory=Widening)

    def target(self, cells: Space, baseline: str) -> Inverse:
        """The question of one baseline on ``cells``, with its fitted numbers."""
        target = self.question.target(cells, baseline)
        with torch.no_grad():
            for name, parameter in target.named_parameters():
                parameter.copy_(self.numbers[baseline][name])
        return reweighted(target)

    def common(self, cells: Space) -> Space:
        """The cells that every baseline reaches."""
        for name in self.question.baselines:
            cells = self.question.target(cells, name).space
        return cells

    def component(self, cells: Space, baseline: str, context: Context) -> Gaussian:
        """The law that one baseline gives, on the cells that it reaches."""
        return Exact()(self.target(cells, baseline), context)

    def before(self, question: Question) -> Fitted:
        """The same numbers for another question, unwidened: what they would have said with older masses."""
        return Fitted(question, self.numbers, self.within)

    def law(self, cells: Space, context: Context) -> Gaussian:
        """The widened mixture of all baselines as one Gaussian with its full covariance, on the cells all reach."""
        return self.widening(self.mixture(cells, context))

    def mixture(self, cells: Space, context: Context) -> Gaussian:
        """The Gaussian with the mean and the covariance of the equal mixture of the baselines, own parts scaled."""
        cells = self.common(cells)
        parts = [self.component(cells, name, context) for name in self.question.baselines]
        means = torch.stack([part.location for part in parts])
        gap = means - means.mean(0)
        share = torch.tensor(1 / len(parts), dtype=torch.float64).sqrt()
        within = [ScaledCovariance(part.covariance, share * self.within**0.5) for part in parts]
        between = LowRankCovariance(gap.mT * share, torch.zeros(cells.size, dtype=torch.float64))
        return Gaussian(cells, means.mean(0), SumCovariance(*within, between))


def fit(question: Question, context: Context, calibrate: bool = True) -> Fitted:
    """Fit every baseline's law to the known masses, then calibrate their mixture on known masses alone.

    Several baselines: their own covariances are scaled by what held-out chain ends say (:func:`within_scale`). Then the
    law that the same numbers give to the evaluation before is held against what was measured since; if it proves too
    narrow, the widening that would have made it right is kept.
    """
    fitted = fit_all({"now": question}, context)["now"]
    if not calibrate:
        return fitted
    if len(question.baselines) > 1:
        cells = fitted.common(cells_of(question.masses))
        folds = frontier_folds(cells, context.rng)
        members = [held_out(fitted.target(cells, name), folds) for name in question.baselines]
        fitted = replace(fitted, within=within_scale(members))
    past = earlier(question)
    return fitted if past is None else replace(fitted, widening=_widening(fitted.before(past), question, context))


def _widening(past: Fitted, question: Question, context: Context) -> Widening:
    later = question.masses.merge(data.new_since(past.question.year, question.train))
    law = past.law(cells_of(past.question.masses, later), context)
    names = names_of(later)
    at = np.isin(names, law.space.labels("nuclide"))
    part = law.map(Selection.along(law.space, "nuclide", names[at]))
    assert isinstance(part, Gaussian)
    mass, sigma = (torch.tensor(later[column].to_numpy(np.float64)[at]) for column in ("mass_excess", "sigma"))
    return Widening.learnt(part, mass, sigma)


def fit_all(questions: Mapping[str, Question], context: Context) -> dict[str, Fitted]:
    """Fit the laws of several questions, nothing widened: every baseline of each is a task of its own.

    What an interrupted fit had finished is taken up again only where masses and tables are still the same.
    """
    if context.store is not None:
        facts = json.dumps({name: question.fingerprints for name, question in questions.items()})
        context = replace(context, store=context.store.child(hashlib.sha256(facts.encode()).hexdigest()[:12]))
    keys = [f"{name}:{baseline}" for name, question in questions.items() for baseline in question.baselines]
    found = dict(zip(keys, run_tasks(_fit_one, dict(questions), keys, context, "fitting baselines"), strict=True))
    return {
        name: Fitted(question, {baseline: found[f"{name}:{baseline}"] for baseline in question.baselines})
        for name, question in questions.items()
    }


def earlier(question: Question) -> Question | None:
    """The same question at the evaluation before; None where there is none.

    A table that was fitted to the training evaluation takes part, though it flatters itself there: it has seen nothing
    later, and without it the widening would belong to another mixture.
    """
    before = [year for year in data.YEARS if year < question.train]
    return replace(question, measured=None, evaluated=before[-1]) if before else None


def choose(name: str, train: int, folder: Path | None = None) -> tuple[str, ...]:
    """The baselines that an option means: one name, several with ``+`` between, or ``mix``.

    Raises:
        OptionError: an unknown name.
        LeakError: a baseline that saw a later evaluation.
        DataError: a table that is not there or cannot be read.
    """
    if folder is not None:
        models.require_folder(folder)
    chosen = tuple(name.split("+"))
    if name == "mix":
        free = models.leak_free(train)
        chosen = tuple(b for b in MIX if b in free and b in models.available(folder))
    elif "mix" in chosen:
        raise OptionError(f"baseline {name!r} joins mix with others; give mix alone, or name every model.")
    for baseline in chosen:
        models.refuse_leak(baseline, train)
        if isinstance(models.baseline(baseline).source, models.Table):
            models.load(baseline, folder)
    if len(set(chosen)) != len(chosen):
        raise OptionError(f"baseline {name!r} names one model twice.")
    return chosen


def reweighted(target: Inverse) -> Inverse:
    """The target with its heavy tails worked out, where its errors have them."""
    if isinstance(target.noise, EvaluationErrors):
        for _ in range(HEAVY.rounds):
            target = with_student_scales(target, HEAVY.degrees)
    return target


def _fit_one(payload: dict[str, Question], context: Context) -> dict[str, Tensor]:
    name, _, baseline = context.rng.key.partition(":")
    question = payload[name]
    target = question.target(cells_of(question.masses), baseline)
    method = HEAVY if isinstance(target.noise, EvaluationErrors) else QUOTED
    return {k: p.detach() for k, p in method.fit(target, context).named_parameters()}


def cells_of(*tables: pd.DataFrame) -> Space:
    """The chart of all nuclei in the tables, each once, ordered by Z and N."""
    nuclei = pd.concat([table[data.KEY] for table in tables]).drop_duplicates().sort_values(data.KEY)
    return chart(nuclei["Z"], nuclei["N"])


def names_of(table: pd.DataFrame) -> np.ndarray:
    """Labels of the nuclei in a table, in its order."""
    return np.array([nuclide_name(int(z), int(n)) for z, n in zip(table["Z"], table["N"], strict=True)])
