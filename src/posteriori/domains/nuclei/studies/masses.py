"""Masses of nuclei that a later evaluation measured first, predicted from an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Gate, Report
from posteriori.audit.scorecard import audit
from posteriori.core.errors import OptionError
from posteriori.core.operator import Selection
from posteriori.core.posterior import Posterior
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains import picture
from posteriori.domains.nuclei import challengers, data, law, models, pictures
from posteriori.domains.nuclei.chart import chart, distance_to, protons_neutrons, whole_chart
from posteriori.domains.nuclei.measurements import read_measurements, usable
from posteriori.domains.nuclei.separation import separation_energy
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    evaluation is used before the scores. Masses of one's own may replace known ones; those of nuclei that would be
    scored are learnt from and not scored.
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
    """CSV of further measured masses (Z, N, mass_excess [keV], sigma [keV]), beside or instead of the training ones."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, predict, score."""
        data.ordered(self.train, self.test)
        baselines, own = law.choose(self.baseline, self.train, self.tables), self._own()
        question = law.Question(self.train, baselines, self.tables, None if own is None else self._with(own))
        later = self._later(own)
        cells = law.cells_of(question.masses, later)
        fitted = law.fit(question, context) if self.method == "gp" else None
        if fitted is None:
            prediction = challengers.law(question, self.method, cells, context)
        else:
            prediction = fitted.law(cells, context)
        names = law.names_of(later)
        later = later[np.isin(names, prediction.space.labels("nuclide"))].reset_index(drop=True)
        new = prediction.map(Selection.along(prediction.space, "nuclide", law.names_of(later)))
        report = self._audit(new, later)
        drawn = _pictures(prediction, new, later, question)
        if fitted is not None:
            drawn |= _charts(fitted, question, context)
        return Outcome(
            scores=_scores(report) | {"baselines": list(question.baselines), **_experts(self.train, later)},
            report=report,
            pictures=drawn,
            posterior=new,
            tables={"predictions": _table(new, later, question)},
            data={f"AME{year}": data.fingerprint(year) for year in (self.train, self.test)} | question.fingerprints,
            references=[data.citation(self.train), data.citation(self.test)]
            + [models.baseline(name).citation for name in question.baselines],
        )

    def _own(self) -> pd.DataFrame | None:
        return None if self.extra is None else usable(read_measurements(self.extra), self.extra.name)

    def _later(self, own: pd.DataFrame | None) -> pd.DataFrame:
        """What the later evaluation measured first, without the nuclei that ``own`` tells of."""
        later = data.evaluation(self.test).merge(data.new_since(self.train, self.test))
        if own is not None:
            later = later.merge(data.only_in(later, own))
        if later.empty:
            raise OptionError(
                f"{self.extra} holds all that AME{self.test} measured first; leave some out to be scored."
            )
        return later

    def _with(self, own: pd.DataFrame) -> pd.DataFrame:
        known = data.measured(self.train)
        kept = pd.concat([known, own], ignore_index=True).drop_duplicates(data.KEY, keep="last")
        return kept.sort_values(data.KEY).reset_index(drop=True)

    def _audit(self, new: Posterior, later: pd.DataFrame) -> Report:
        asked = (self.train, self.test, self.baseline) if self.extra is None else (0, 0, "")
        gates = dict(ASKED.get(asked, {}))
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


def _table(new: Posterior, later: pd.DataFrame, question: law.Question) -> pd.DataFrame:
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


def _pictures(
    prediction: Posterior, new: Posterior, later: pd.DataFrame, question: law.Question
) -> dict[str, Callable[[], Figure]]:
    """Calibration, error against distance, and the isotopic chain with most new masses."""
    mass, sigma = (torch.tensor(later[column].to_numpy(np.float64)) for column in ("mass_excess", "sigma"))
    error, spread = mass - new.center(), new.spread()
    pit = torch.special.ndtr(error / (spread.square() + sigma.square()).sqrt())
    steps = distance_to(new.space, chart(question.masses["Z"], question.masses["N"]))
    longest = int(later["Z"].mode().iloc[0])
    return {
        "Calibration: share of later masses inside the credible interval of each level": partial(
            picture.calibration_picture, {"joint law": pit.numpy()}
        ),
        "Error against the distance from the known region": partial(
            pictures.distance_picture, steps, error.numpy(), spread.numpy()
        ),
        f"The chain with most new masses, less a parabola through it (Z = {longest})": partial(
            _draw_chain, prediction, longest, question.masses, later
        ),
    }


def _draw_chain(prediction: Posterior, Z: int, before: pd.DataFrame, later: pd.DataFrame) -> Figure:
    protons, neutrons = protons_neutrons(prediction.space)
    at = np.flatnonzero(protons == Z)
    mean, sd = prediction.center().numpy()[at], prediction.spread().numpy()[at]
    n = neutrons[at].astype(np.float64)

    def values(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        own = table[(table["Z"] == Z) & table["N"].isin(neutrons[at])]
        return tuple(own[column].to_numpy(np.float64) for column in ("N", "mass_excess", "sigma"))  # type: ignore[return-value]

    chain = pictures.Chain(Z, n, mean, sd, values(before), values(later))
    return pictures.chain_picture(
        chain, "mass excess less a parabola", np.polyval(np.polyfit(n, mean, 2), n).astype(np.float64)
    )


def _charts(fitted: law.Fitted, question: law.Question, context: Context) -> dict[str, Callable[[], Figure]]:
    """What the law adds to its baselines, its spread, and the neutron separation energy, over the whole chart."""
    known = chart(question.masses["Z"], question.masses["N"])
    whole = fitted.law(whole_chart(also=zip(question.masses["Z"], question.masses["N"], strict=True)), context)
    physics = torch.stack([question.known_physics(whole.space, name) for name in question.baselines]).mean(0)
    added, sd = (whole.location - physics).numpy() / 1e3, whole.spread().numpy() / 1e3
    operator = separation_energy(whole.space, "S_n")
    energy = operator(whole.location).numpy() / 1e3
    pairs = separation_energy(whole.space, "S_2n")
    smooth = pairs.codomain, pairs(whole.location).numpy() / 2e3
    return {
        "What the data add to the known physics": partial(
            pictures.chart_picture,
            whole.space,
            added,
            picture.Colours("posterior mean less baseline [MeV]", centred=True),
            known,
        ),
        "Standard deviation of the mass": partial(
            pictures.chart_picture, whole.space, sd, picture.Colours("standard deviation [MeV]", low=0.0), known
        ),
        "One-neutron separation energy; lines where S_2n / 2, free of odd-even jumps, is 2 and 3 MeV": partial(
            _draw_separation, operator.codomain, energy, smooth, known
        ),
    }


def _draw_separation(cells: Space, energy: np.ndarray, smooth: tuple[Space, np.ndarray], known: Space) -> Figure:
    figure = pictures.chart_picture(cells, energy, picture.Colours("S_n [MeV]", low=0.0, high=15.0), known)
    pictures.contours(figure.axes[0], *smooth, (2.0, 3.0), "MeV")
    return figure
