"""Whether laws that masses nearly keep help to predict new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Report
from posteriori.audit.scorecard import audit
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.nuclei import challengers, data, law, models
from posteriori.domains.nuclei.chart import protons_neutrons
from posteriori.domains.nuclei.soft_laws import Relations, around, garvey_kelson, mirrors
from posteriori.domains.study import Outcome

TEMPERS = (1.0, 2.0, 4.0, 8.0)
LAWS: Mapping[str, Callable[[Space, pd.DataFrame], Relations]] = {"garvey_kelson": garvey_kelson, "mirrors": mirrors}


@dataclass(frozen=True)
class Study:
    """Garvey-Kelson relations and Coulomb displacements of mirrors as soft data, each taken in and left out.

    How much a relation counts is learnt from what the training evaluation measured after the one before it: the factor
    on its spread under which those masses were most likely. Where none helps there, the law is left out.
    """

    train: int = 2016
    """Evaluation that everything is learnt from: 2003, 2012 or 2016."""
    test: int = 2020
    """Later evaluation that the prediction is held against."""
    baseline: str = "dz10"
    """Known physics: a baseline's name, several joined by +, or mix."""
    method: str = "gp"
    """What learns the baseline's error: gp, lightgbm, krr, mlp, bnn, cnn or gnn."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Predict without, then with each law."""
        data.ordered(self.train, self.test)
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        past = law.earlier(question)
        if past is None:
            raise DataError(f"no evaluation before {self.train} teaches how much a law counts; train on a later one.")
        now, before = self._predict(question, past, context)
        rows = [{"laws": "none", "temper": None, **_scores(now, self._later(question.year, self.test), context)}]
        for name, relations in LAWS.items():
            temper = _learnt_temper(before, relations, past, self._later(past.year, self.train), context)
            part = now if temper is None else _with(now, relations, question, temper, context)
            rows.append({"laws": name, "temper": temper, **_scores(part, self._later(self.train, self.test), context)})
        table = pd.DataFrame(rows)
        scores: dict[str, object] = {}
        figures = []
        for row in table.to_dict("records"):
            verdict = _verdict(row["temper"], row["crps_keV"], table["crps_keV"].iloc[0])
            keV = {key: float(row[key]) for key in ("rms_keV", "crps_keV", "coverage68", "coverage95")}
            scores[str(row["laws"])] = {**keV, "verdict": verdict}
            figures += [Figure(f"{row['laws']}.{key}", value, note=verdict) for key, value in keV.items()]
        return Outcome(
            scores={name: value for name, value in scores.items() if isinstance(value, dict)},
            report=Report(
                f"soft laws, AME{self.train} → AME{self.test}, {self.baseline}, {self.method}", tuple(figures)
            ),
            tables={"ablation": table},
            references=[data.citation(self.train), data.citation(self.test)]
            + [models.baseline(name).citation for name in question.baselines],
        )

    def _later(self, train: int, test: int) -> pd.DataFrame:
        return data.evaluation(test).merge(data.new_since(train, test))

    def _predict(self, question: law.Question, past: law.Question, context: Context) -> tuple[Gaussian, Gaussian]:
        """The law of new nuclei and those around them, now and as it would have been at the evaluation before."""
        cells = law.cells_of(question.masses, self._later(question.year, self.test))
        gone = law.cells_of(past.masses, self._later(past.year, question.year))
        if self.method == "gp":
            fitted = law.fit(question, context)
            now, before = fitted.law(cells, context), fitted.before(past).law(gone, context)
        else:
            now = challengers.law(question, self.method, cells, context)
            before = challengers.law(past, self.method, gone, context)
        return self._near(now, question.year, self.test), self._near(before, past.year, question.year)

    def _near(self, whole: Gaussian, train: int, test: int) -> Gaussian:
        near = around(whole.space, law.cells_of(self._later(train, test)))
        part = whole.map(Selection.along(whole.space, "nuclide", near.labels("nuclide")))
        assert isinstance(part, Gaussian)
        return part


def _with(
    whole: Gaussian,
    relations: Callable[[Space, pd.DataFrame], Relations],
    question: law.Question,
    temper: float,
    context: Context,
) -> Gaussian:
    every = law.cells_of(question.masses, pd.DataFrame(dict(zip("ZN", protons_neutrons(whole.space), strict=True))))
    return relations(every, question.masses).on(whole, law.cells_of(question.masses), temper, context)


def _learnt_temper(
    before: Gaussian,
    relations: Callable[[Space, pd.DataFrame], Relations],
    past: law.Question,
    later: pd.DataFrame,
    context: Context,
) -> float | None:
    """The factor under which the masses measured since are most likely, jointly; None where leaving the law out is."""
    best, found = _log_likelihood(before, later), None
    for temper in TEMPERS:
        try:
            told = _log_likelihood(_with(before, relations, past, temper, context), later)
        except DataError:
            return None
        if told > best:
            best, found = told, temper
    return found


def _new(prediction: Gaussian, later: pd.DataFrame) -> tuple[Gaussian, torch.Tensor, torch.Tensor]:
    later = later[np.isin(law.names_of(later), prediction.space.labels("nuclide"))]
    part = prediction.map(Selection.along(prediction.space, "nuclide", law.names_of(later)))
    assert isinstance(part, Gaussian)
    mass, sigma = (torch.tensor(later[column].to_numpy(np.float64)) for column in ("mass_excess", "sigma"))
    return part, mass, sigma


def _log_likelihood(prediction: Gaussian, later: pd.DataFrame) -> float:
    part, mass, sigma = _new(prediction, later)
    joint = torch.distributions.MultivariateNormal(part.location, part.dense().matrix + torch.diag(sigma.square()))
    return float(joint.log_prob(mass))


def _scores(prediction: Gaussian, later: pd.DataFrame, context: Context) -> dict[str, float]:
    part, mass, sigma = _new(prediction, later)
    report = audit(part, mass, error=sigma, levels=(0.68, 0.95), rng=context.rng.child("audit"))
    keys = {"rms_keV": "rms", "crps_keV": "crps"}
    keys |= {name: name for name in ("coverage68", "coverage95", "z_rms", "mahalanobis2_per_n")}
    return {key: report[name].value for key, name in keys.items()}


def _verdict(temper: float | None, crps: float, without: float) -> str:
    if temper is None or not temper > 0:
        return "left out: of no help on what the training evaluation had brought"
    gain = 1 - crps / without
    return f"helps by {100 * gain:.1f} % of CRPS" if gain > 0 else f"does not help here (CRPS {-100 * gain:+.1f} %)"
