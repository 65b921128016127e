"""Whether weights that vary over the chart fuse mass models better than equal ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from posteriori.audit.report import Figure, Report
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.nuclei import challengers, data, fusion, law, models
from posteriori.domains.nuclei.chart import protons_neutrons
from posteriori.domains.nuclei.studies.compare import figures_of
from posteriori.domains.study import Outcome


@dataclass(frozen=True)
class Study:
    """Every baseline with its learnt residual, alone, equally weighted, and with local weights.

    The local weights are a softmax of smooth features, learnt from nuclei held out of the training evaluation alone.
    """

    train: int = 2016
    """Evaluation that everything is learnt from: 1995, 2003, 2012 or 2016."""
    test: int = 2020
    """Later evaluation that the prediction is held against."""
    baseline: str = "mix"
    """Mass models, joined by +, or mix (all whose fit saw nothing later than train)."""
    method: str = "krr"
    """What learns each model's error: lightgbm, krr, mlp, bnn, cnn or gnn."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Learn each, fuse, score."""
        data.ordered(self.train, self.test)
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        if len(question.baselines) < 2:
            raise OptionError(f"baseline={self.baseline} is one mass model; join two or more with +.")
        later = data.evaluation(self.test).merge(data.new_since(self.train, self.test))
        cells = law.cells_of(question.masses, later)
        members = challengers.guesses(question, self.method, cells, context)
        weights = fusion.LocalWeights.learnt(members)
        laws = {name: member.law() for name, member in zip(question.baselines, members, strict=True)}
        laws |= {
            "equal": challengers.averaged(members).law(),
            "local": fusion.fused(members, weights).law(),
        }
        found = {name: figures_of(one, later, context) for name, one in laws.items()}
        gain = 1 - found["local"]["crps_keV"] / found["equal"]["crps_keV"]
        verdict = f"helps by {100 * gain:.1f} % of CRPS" if gain > 0 else "does not help here"
        figures = [
            Figure(f"{name}.{key}", row[key], note=verdict if name == "local" else "")
            for name, row in found.items()
            for key in ("rms_keV", "crps_keV", "coverage68", "coverage95")
        ]
        table = pd.DataFrame([{"fusion": name, **row} for name, row in found.items()])
        return Outcome(
            scores={**found, "verdict": verdict, "baselines": list(question.baselines)},
            report=Report(f"fusion of mass models, AME{self.train} → AME{self.test}, {self.method}", tuple(figures)),
            tables={"fusion": table, "weights": _weights(question.baselines, weights, members[0])},
            data=question.fingerprints,
            references=[data.citation(self.train), data.citation(self.test)]
            + [models.baseline(name).citation for name in question.baselines],
        )


def _weights(names: tuple[str, ...], weights: fusion.LocalWeights, guess: challengers.Guess) -> pd.DataFrame:
    z, n = protons_neutrons(guess.cells)
    each = dict(zip(names, np.asarray(weights(guess.cells)), strict=True))
    return pd.DataFrame({"nuclide": guess.cells.labels("nuclide"), "Z": z, "N": n, **each})
