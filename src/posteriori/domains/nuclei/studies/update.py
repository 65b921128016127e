"""One more measured mass: the whole joint law follows at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.nuclei import data, law, models
from posteriori.domains.nuclei.chart import SYMBOLS, chart, distance_to, parse_nuclide, protons_neutrons, whole_chart
from posteriori.domains.nuclei.measurements import read_measurements, usable
from posteriori.domains.nuclei.pictures import draw_chart, outline
from posteriori.domains.nuclei.updating import from_scratch, updated
from posteriori.domains.picture import Colours
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib import figure

NEAR = 10
"""Steps from a new mass within which its neighbours are shown and scored."""
TOLERANCE = 1e-6
SMALLEST_ZMAX = 20
FAST = 1.0  # [CPU s]


@dataclass(frozen=True)
class Study:
    """A new mass, or a file of them, taken into the joint law of the whole chart without fitting anything again.

    The law is the prior of a question whose only data are the new masses. The answer is compared with conditioning
    each baseline's law from scratch on all masses, old and new.
    """

    train: int = 2003
    """Evaluation that the law is learnt from: 1995, 2003, 2012, 2016 or 2020."""
    nuclide: str = "54Ca"
    """The nucleus that was measured."""
    mass: float | None = None
    """Its atomic mass excess [keV]; without it the value of the evaluation test."""
    sigma: float | None = None
    """Standard deviation [keV] of that."""
    file: Path | None = None
    """CSV of new masses (Z, N, mass_excess [keV], sigma [keV]) instead of one nuclide."""
    test: int | None = 2020
    """Later evaluation that the neighbours are held against; none for no comparison."""
    baseline: str = "dz10"
    """Known physics: a baseline's name, several joined by +, or mix (all whose fit saw nothing later than train)."""
    zmax: int = 120
    """Largest Z of the chart."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, condition on the chart, update, compare."""
        data.known_year(self.train)
        if self.test is not None:
            data.ordered(self.train, self.test)
        if not SMALLEST_ZMAX <= self.zmax <= len(SYMBOLS) - 1:
            raise OptionError(f"zmax={self.zmax}; give a proton number from {SMALLEST_ZMAX} to {len(SYMBOLS) - 1}.")
        new = self._new()
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        fitted = law.fit(question, context)
        seen = [question.masses, new] + ([] if self.test is None else [data.measured(self.test)])
        also = {(int(z), int(n)) for table in seen for z, n in zip(table["Z"], table["N"], strict=True)}
        before = fitted.law(whole_chart(self.zmax, also), context)
        change = _Change.of(before, new)
        figures = change.figures()
        for name in question.baselines:
            figures += _compared(name, fitted, before.space, new, context)
        if self.test is not None:
            figures += change.neighbours(self.test, self.train)
        report = Report(f"{len(new)} new mass(es) after AME{self.train}, {self.baseline}", tuple(figures))
        years = [self.train] if self.test is None else [self.train, self.test]
        return Outcome(
            scores={figure.name: figure.value for figure in report} | {"baselines": list(question.baselines)},
            report=report,
            posterior=change.near(),
            pictures={"What the new mass says about its neighbours": partial(change.picture, question)},
            tables={"changes": change.table()},
            data=question.fingerprints,
            references=[*map(data.citation, years), *(models.baseline(name).citation for name in question.baselines)],
        )

    def _new(self) -> pd.DataFrame:
        if self.file is not None:
            if self.mass is not None or self.sigma is not None:
                raise OptionError(f"both file={self.file} and mass or sigma are given; give one of the two.")
            return usable(read_measurements(self.file), self.file.name)
        z, n = parse_nuclide(self.nuclide)
        if min(z, n) < data.SMALLEST:
            raise OptionError(f"{self.nuclide} has fewer than {data.SMALLEST} protons or neutrons; name a heavier one.")
        if self.mass is not None:
            if self.sigma is None or not self.sigma > 0:
                raise OptionError(f"sigma={self.sigma} of the mass of {self.nuclide} must be given and positive [keV].")
            given = pd.DataFrame({"Z": [z], "N": [n], "mass_excess": [self.mass], "sigma": [self.sigma]})
            return usable(given, "mass")
        if self.sigma is not None:
            raise OptionError(f"sigma={self.sigma:g} is given without a mass; give mass=… [keV] too.")
        if self.test is None:
            raise OptionError(f"give the mass of {self.nuclide} as mass=… sigma=… [keV], or a test evaluation.")
        later = data.measured(self.test)
        found = later[(later["Z"] == z) & (later["N"] == n)]
        if found.empty:
            raise OptionError(f"{self.nuclide} is not measured in AME{self.test}; give mass=… and sigma=… [keV].")
        return found.reset_index(drop=True)


@dataclass(frozen=True)
class _Change:
    """The law before and after, and what the step from one to the other took."""

    new: pd.DataFrame
    after: Gaussian
    means: Tensor
    spreads: Tensor
    seconds: float
    distance: np.ndarray

    @staticmethod
    def of(before: Gaussian, new: pd.DataFrame) -> _Change:
        """Update ``before``, whose own spread is known by then, and time it to the last standard deviation."""
        with torch.no_grad():
            mean, spread = before.center(), before.spread()
            start = time.process_time()
            after = updated(before, new)
            means, spreads = torch.stack([mean, after.center()]), torch.stack([spread, after.spread()])
            seconds = time.process_time() - start
        distance = distance_to(before.space, chart(new["Z"], new["N"]))
        return _Change(new, after, means, spreads, seconds, distance)

    def figures(self) -> list[Figure]:
        moved = (self.means[1] - self.means[0]).abs() / self.spreads[0]
        narrower = 1 - self.spreads[1] / self.spreads[0]
        return [
            Figure("n_nuclei", float(self.after.space.size)),
            Figure("update_seconds", self.seconds, unit="CPU s", gate=Gate(high=FAST), note="all means and spreads"),
            Figure("moved", float((moved > 0.1).sum()), note="nuclei whose mean moved by more than 0.1 of its sd"),
            Figure("narrower", float((narrower > 0.05).sum()), note="nuclei whose sd fell by more than 5 %"),
        ]

    def near(self) -> Gaussian:
        """The law after, near the new masses."""
        names = self.after.space.labels("nuclide")[self.distance <= NEAR]
        part = self.after.map(Selection.along(self.after.space, "nuclide", names))
        assert isinstance(part, Gaussian)
        return part

    def neighbours(self, test: int, train: int) -> list[Figure]:
        """Errors before and after of the masses measured since nearby, the new ones left out."""
        later = data.evaluation(test).merge(data.only_in(data.new_since(train, test), self.new))
        later = later[np.isin(law.names_of(later), self.after.space.labels("nuclide")[self.distance <= NEAR])]
        if later.empty:
            return []
        at = self.after.space.index("nuclide", law.names_of(later))
        error = (self.means[:, at] - torch.tensor(later["mass_excess"].to_numpy(np.float64))).square().mean(-1).sqrt()
        note = f"{len(later)} other nuclei within {NEAR} steps measured by AME{test}"
        names = ("neighbours_rms_before", "neighbours_rms_after")
        return [Figure(name, float(rms), unit="keV", note=note) for name, rms in zip(names, error, strict=True)]

    def table(self) -> pd.DataFrame:
        z, n = protons_neutrons(self.after.space)
        (mean, mean_after), (sd, sd_after) = self.means.numpy(), self.spreads.numpy()
        table = pd.DataFrame(
            {
                "nuclide": self.after.space.labels("nuclide"),
                "Z": z,
                "N": n,
                "before [keV]": mean.round(1),
                "sd before [keV]": sd.round(1),
                "after [keV]": mean_after.round(1),
                "sd after [keV]": sd_after.round(1),
                "moved by [sd]": ((mean_after - mean) / sd).round(3),
            }
        )
        return table.sort_values("moved by [sd]", key=abs, ascending=False, kind="stable")

    def picture(self, question: law.Question) -> figure.Figure:
        import matplotlib.pyplot as plt

        drawing, axes = plt.subplots(1, 2, figsize=(10.0, 4.2))
        shift = ((self.means[1] - self.means[0]) / self.spreads[0]).numpy()
        narrower = (100 * (1 - self.spreads[1] / self.spreads[0])).numpy()
        known = chart(question.masses["Z"], question.masses["N"])
        z, n = self.new["Z"].mean(), self.new["N"].mean()
        for ax, values, colours in (
            (axes[0], shift, Colours("mean moved by [sd before]", centred=True, high=float(np.abs(shift).max()))),
            (axes[1], narrower, Colours("standard deviation smaller by [%]", low=0.0, high=float(narrower.max()))),
        ):
            draw_chart(ax, self.after.space, values, colours)
            outline(ax, known)
            ax.plot(self.new["N"], self.new["Z"], "x", color="black", ms=7, label="new")
            ax.locator_params(axis="y", integer=True)
            ax.set(xlim=(n - 1.5 * NEAR, n + 1.5 * NEAR), ylim=(z - NEAR, z + NEAR))
        axes[0].legend(loc="lower right")
        return drawing


def _compared(name: str, fitted: law.Fitted, cells: Space, new: pd.DataFrame, context: Context) -> list[Figure]:
    """The largest distance between one baseline's law updated and conditioned from scratch, over all cells."""
    with torch.no_grad():
        quick = updated(fitted.component(cells, name, context), new)
        whole = from_scratch(fitted.target(cells, name), new)
        sd = whole.spread()
        mean = float(((quick.center() - whole.center()).abs() / sd).max())
        spread = float(((quick.spread() - sd).abs() / sd).max())
    gate = Gate(high=TOLERANCE)
    return [
        Figure(f"{name}.mean_difference", mean, unit="sd", gate=gate, note="largest, against all masses at once"),
        Figure(f"{name}.sd_difference", spread, gate=gate, note="largest, relative"),
    ]
