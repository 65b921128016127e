"""One scorecard for every learner of mass residuals on every baseline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Report
from posteriori.audit.scorecard import audit
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.domains.nuclei import challengers, data, law, models
from posteriori.domains.study import Outcome

GP = "gp"
YARDSTICK = "lightgbm"
SCORES = ("rms", "bias", "crps", "coverage68", "coverage95", "z_rms", "mahalanobis2_per_n")
LIST = ["train", "test", "baseline"]


@dataclass(frozen=True)
class Study:
    """Every method on every baseline, predicting nuclei first measured after the training evaluation.

    All learn from the training evaluation alone, their spread included. A method that beats LightGBM (smaller RMS, same
    baseline) on no list that was asked for is marked "not recommended".
    """

    train: str = "2016"
    """Training evaluations, several with + between: 1995, 2003, 2012 or 2016."""
    test: int = 2020
    """Later evaluation that the predictions are held against."""
    baselines: str = "dz10+dz28"
    """Known physics, each by itself, + between; mix stands for the mixture of all that saw nothing later than train."""
    methods: str = "gp+lightgbm+krr+mlp+cnn+gnn+bnn"
    """Learners, + between."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, predict and score each."""
        years = _years(self.train, self.test)
        methods = self.methods.split("+")
        for method in methods:
            if method != GP:
                challengers.challenger(method)
        asked = {
            (train, name): law.Question(train, law.choose(name, train, self.tables), self.tables)
            for train in years
            for name in self.baselines.split("+")
        }
        rows = []
        cited = [data.citation(year) for year in (*years, self.test)]
        for (train, name), question in asked.items():
            cited += [models.baseline(one).citation for one in question.baselines]
            for method in methods:
                row = score(question, method, self.test, context.child(train, name, method))
                rows.append({"train": train, "test": self.test, "baseline": name, "method": method, **row})
        table = recommended(pd.DataFrame(rows))
        return Outcome(
            scores={
                f"{row['train']}_{row['test']}.{row['baseline']}.{row['method']}": {
                    key: row[key] for key in ("rms_keV", "crps_keV", *SCORES[3:], "cpu_seconds", "recommended")
                }
                for row in table.to_dict("records")
            },
            report=_report(table),
            tables={"scorecard": table, "inductive_biases": biases(methods)},
            references=list(dict.fromkeys(cited)),
        )


def score(question: law.Question, method: str, test: int, context: Context) -> dict[str, float]:
    """Figures of one method on one question, with the CPU seconds of its fit and prediction."""
    later = data.evaluation(test).merge(data.new_since(question.train, test))
    cells = law.cells_of(question.masses, later)
    start = time.process_time()
    if method == GP:
        prediction = law.fit(question, context).law(cells, context)
    else:
        prediction = challengers.law(question, method, cells, context)
    seconds = time.process_time() - start
    return {**figures_of(prediction, later, context), "cpu_seconds": seconds}


def figures_of(prediction: Gaussian, later: pd.DataFrame, context: Context) -> dict[str, float]:
    """A prediction held against the masses measured ``later``, where it has their cells."""
    later = later[np.isin(law.names_of(later), prediction.space.labels("nuclide"))]
    new = prediction.map(Selection.along(prediction.space, "nuclide", law.names_of(later)))
    assert isinstance(new, Gaussian)
    mass, sigma = (torch.tensor(later[column].to_numpy(np.float64)) for column in ("mass_excess", "sigma"))
    report = audit(new, mass, error=sigma, levels=(0.68, 0.95), rng=context.rng.child("audit"))
    figures = {name: report[name].value for name in SCORES}
    keV = {f"{name}_keV": figures.pop(name) for name in ("rms", "bias", "crps")}
    return {"n_test": len(later), **keV, **figures}


def recommended(table: pd.DataFrame) -> pd.DataFrame:
    """The scorecard with a column ``recommended``: "no" for what beats LightGBM's RMS on no list and baseline.

    The yardstick itself stands; without it in the table nothing can be said, and the column is empty.
    """
    yardstick = table[table["method"] == YARDSTICK][[*LIST, "rms_keV"]]
    both = table.merge(yardstick, on=LIST, how="left", suffixes=("", "_yardstick"))
    better = (both["rms_keV"] < both["rms_keV_yardstick"]).groupby(both["method"]).any()
    better[YARDSTICK] = True
    verdict = both["method"].map(better).map({True: "yes", False: "no"})
    return table.assign(recommended=verdict.to_numpy() if len(yardstick) else "")


def _years(text: str, test: int) -> list[int]:
    try:
        years = [int(year) for year in text.split("+")]
    except ValueError:
        raise OptionError(f"train={text!r} is no list of years; write it like 2012+2016.") from None
    for year in years:
        data.ordered(year, test)
    return years


def _report(table: pd.DataFrame) -> Report:
    figures: list[Figure] = []
    for row in table.to_dict("records"):
        name = f"{row['train']}.{row['baseline']}.{row['method']}"
        note = _note(row["recommended"], row["cpu_seconds"])
        figures += [Figure(f"{name}.rms", row["rms_keV"], unit="keV", note=note)]
        figures += [Figure(f"{name}.crps", row["crps_keV"], unit="keV")]
        figures += [Figure(f"{name}.{key}", row[key]) for key in ("coverage68", "coverage95", "z_rms")]
    return Report(f"learners of mass residuals, held against AME{table['test'].iloc[0]}", tuple(figures))


def _note(verdict: str, seconds: float) -> str:
    said = f"{seconds:.0f} CPU s"
    return f"{said}; not recommended: beats LightGBM on no list" if verdict == "no" else said


def biases(methods: Sequence[str]) -> pd.DataFrame:
    """What each method takes for granted."""
    said = {
        GP: "Smooth on the chart with ridges along closed shells, odd-even staggering, a Wigner cusp; falls with A."
    }
    said |= {name: one.bias for name, one in challengers.CHALLENGERS.items()}
    return pd.DataFrame([{"method": name, "inductive bias": said[name]} for name in methods])
