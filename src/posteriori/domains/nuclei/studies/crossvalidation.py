"""Masses inside the known region: each fold predicted from the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.scorecard import audit
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.domains.nuclei import data, law, models
from posteriori.domains.nuclei.chart import chart
from posteriori.domains.study import Outcome

ASKED = {"ws4": 125.0, "dz10": 135.0}  # [keV], 10 folds of AME2020


@dataclass(frozen=True)
class Study:
    """Interpolation: the known nuclei are dealt into folds at random, and each fold is predicted from the others.

    Every fold has a fit of its own, so that no learnt number has seen the nuclei it is scored on.
    """

    year: int = 2020
    """Evaluation: 1995, 2003, 2012, 2016 or 2020."""
    folds: int = 10
    """Number of folds."""
    baseline: str = "dz10"
    """Known physics: a baseline's name, several joined by +, or mix."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Deal, fit, predict, score."""
        known = data.measured(data.known_year(self.year))
        if not 2 <= self.folds <= len(known):
            raise OptionError(f"folds={self.folds} of {len(known)} nuclei; choose 2 or more, and no more than nuclei.")
        baselines = law.choose(self.baseline, self.year, self.tables)
        fold = context.rng.child("folds").permutation(len(known)).numpy() % self.folds
        questions = {
            str(k): law.Question(self.year, baselines, self.tables, known[fold != k].reset_index(drop=True))
            for k in range(self.folds)
        }
        fitted = law.fit_all(questions, context)
        held = [_predict(fitted[str(k)], known[fold == k], context) for k in range(self.folds)]
        table = pd.concat(held).sort_values(data.KEY).reset_index(drop=True)
        report = self._audit(table)
        keys = {"n_test": "cases", "rms_keV": "rms", "crps_keV": "crps", "bias_keV": "bias"}
        keys |= {name: name for name in ("coverage68", "coverage95", "z_rms")}
        return Outcome(
            scores={key: report[name].value for key, name in keys.items()} | {"baselines": list(baselines)},
            report=report,
            tables={"predictions": table},
            references=[data.citation(self.year), *(models.baseline(name).citation for name in baselines)],
        )

    def _audit(self, table: pd.DataFrame) -> Report:
        column = {name: torch.tensor(table[f"{name} [keV]"].to_numpy(np.float64)) for name in ("predicted", "sd")}
        cells = chart(table["Z"], table["N"])
        marginal = Gaussian(cells, column["predicted"], DiagonalCovariance(column["sd"].square()))
        mass, sigma = (torch.tensor(table[f"{name} [keV]"].to_numpy(np.float64)) for name in ("measured", "sigma"))
        gates = {"coverage68": Gate(0.63, 0.76)}
        if self.folds == 10 and self.year == 2020 and self.baseline in ASKED:
            gates["rms"] = Gate(high=ASKED[self.baseline])
        title = f"AME{self.year}, {self.folds} folds, {self.baseline}"
        whole = audit(marginal, mass, error=sigma, levels=(0.68, 0.95), gates=gates, title=title)
        return Report(title, tuple(figure for figure in whole if _is_marginal(figure)))


def _predict(fitted: law.Fitted, held: pd.DataFrame, context: Context) -> pd.DataFrame:
    whole = fitted.law(law.cells_of(fitted.question.masses, held), context)
    held = held[np.isin(law.names_of(held), whole.space.labels("nuclide"))]
    part = whole.map(Selection.along(whole.space, "nuclide", law.names_of(held)))
    return pd.DataFrame(
        {
            "nuclide": law.names_of(held),
            "Z": held["Z"].to_numpy(),
            "N": held["N"].to_numpy(),
            "predicted [keV]": part.center().numpy(),
            "sd [keV]": part.spread().numpy(),
            "measured [keV]": held["mass_excess"].to_numpy(),
            "sigma [keV]": held["sigma"].to_numpy(),
        }
    )


def _is_marginal(figure: Figure) -> bool:
    """Whether a figure judges nuclei one by one: the folds have no joint law."""
    return not figure.name.startswith(("joint", "mahalanobis", "energy", "variogram"))
