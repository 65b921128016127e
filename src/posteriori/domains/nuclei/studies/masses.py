"""Masses of nuclei that a later evaluation measured first, predicted from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Gate, Report
from posteriori.audit.scorecard import audit
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.domains.nuclei import data, law, models
from posteriori.domains.nuclei.chart import chart, distance_to
from posteriori.domains.nuclei.measurements import read_measurements
from posteriori.domains.study import Outcome

ASKED: Mapping[tuple[int, int, str], Mapping[str, Gate]] = {
    (2016, 2020, "mix"): {"rms": Gate(high=185), "crps": Gate(high=103)},
    (2016, 2020, "dz10"): {"rms": Gate(high=205)},
    (2003, 2020, "mix"): {"rms": Gate(high=390)},
    (2003, 2020, "dz10+dz28"): {"rms": Gate(high=440)},
}
CALIBRATED: Mapping[tuple[int, int], Mapping[str, Gate]] = {
    (2016, 2020): {
        "coverage68": Gate(0.57, 0.79),
        "coverage95": Gate(0.88, 0.99),
        "mahalanobis2_per_n": Gate(0.8, 1.3),
    },
    (2003, 2020): {"coverage68": Gate(0.60, 0.76), "coverage95": Gate(0.90, 0.99)},
}


@dataclass(frozen=True)
class Study:
    """Known physics plus a learnt law of its error, fitted to one evaluation and held against a later one.

    The nuclei that count are those first measured after the training evaluation (fixed lists); nothing of the later
    evaluation is used before the scores.
    """

    train: int = 2016
    """Evaluation that everything is learnt from: 1995, 2003, 2012, 2016 or 2020."""
    test: int = 2020
    """Later evaluation that the prediction is held against."""
    baseline: str = "dz10"
    """Known physics: a baseline's name, several joined by +, or mix (all whose fit saw nothing later than train)."""
    method: str = "gp"
    """What learns the baseline's error: gp, lightgbm, krr, mlp, bnn, cnn or gnn."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""
    extra: Path | None = None
    """CSV of further measured masses (Z, N, mass_excess [keV], sigma [keV]), taken in beside the training ones."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, predict, score."""
        data.ordered(self.train, self.test)
        question = law.Question(
            self.train, law.choose(self.baseline, self.train, self.tables), self.tables, self._measured()
        )
        later = data.evaluation(self.test).merge(data.new_since(self.train, self.test))
        prediction = law.fit(question, context).law(law.cells_of(question.masses, later), context)
        names = law.names_of(later)
        later = later[np.isin(names, prediction.space.labels("nuclide"))].reset_index(drop=True)
        new = prediction.map(Selection.along(prediction.space, "nuclide", law.names_of(later)))
        assert isinstance(new, Gaussian)
        report = self._audit(new, later)
        return Outcome(
            scores=_scores(report) | {"baselines": list(question.baselines), **_experts(self.train, later)},
            report=report,
            posterior=new,
            tables={"predictions": _table(new, later, question)},
            references=[data.citation(self.train), data.citation(self.test)]
            + [models.baseline(name).citation for name in question.baselines],
        )

    def _measured(self) -> pd.DataFrame | None:
        if self.extra is None:
            return None
        own = read_measurements(self.extra)
        known = data.measured(self.train)
        kept = pd.concat([known, own], ignore_index=True).drop_duplicates(data.KEY, keep="last")
        return kept.sort_values(data.KEY).reset_index(drop=True)

    def _audit(self, new: Gaussian, later: pd.DataFrame) -> Report:
        gates = dict(ASKED.get((self.train, self.test, self.baseline), {}))
        if gates:
            gates |= CALIBRATED[self.train, self.test]
        mass, sigma = (torch.tensor(later[column].to_numpy(np.float64)) for column in ("mass_excess", "sigma"))
        title = f"AME{self.train} → AME{self.test}, {self.baseline}, {self.method}"
        return audit(new, mass, error=sigma, levels=(0.68, 0.95), gates=gates, title=title)


def _scores(report: Report) -> dict[str, float]:
    keys = {"n_test": "cases", "rms_keV": "rms", "crps_keV": "crps", "bias_keV": "bias"}
    keys |= {name: name for name in ("coverage68", "coverage95", "z_rms", "mahalanobis2_per_n")}
    return {key: report[name].value for key, name in keys.items()}


def _experts(train: int, later: pd.DataFrame) -> dict[str, float]:
    """How the training evaluation's own extrapolated values fared on the same nuclei."""
    guess = data.evaluation(train)
    both = later.merge(guess[~guess["measured"]], on=data.KEY, suffixes=("", "_guess"))
    error = both["mass_excess_guess"] - both["mass_excess"]
    return {"evaluators_rms_keV": float(np.sqrt((error**2).mean())), "evaluators_n": len(both)}


def _table(new: Gaussian, later: pd.DataFrame, question: law.Question) -> pd.DataFrame:
    lower, upper = new.quantile(torch.tensor([0.16, 0.84], dtype=torch.float64)).numpy()
    known = chart(question.masses["Z"], question.masses["N"])
    mean, sd = new.center().numpy(), new.spread().numpy()
    return pd.DataFrame(
        {
            "nuclide": law.names_of(later),
            "Z": later["Z"],
            "N": later["N"],
            "predicted [keV]": mean,
            "sd [keV]": sd,
            "lower68 [keV]": lower,
            "upper68 [keV]": upper,
            "measured [keV]": later["mass_excess"],
            "sigma [keV]": later["sigma"],
            "z": (mean - later["mass_excess"]) / np.hypot(sd, later["sigma"]),
            "steps from known": distance_to(new.space, known),
        }
    )
