"""How far the chart of nuclides goes: P(bound), drip lines and the r-process path, scored on what was settled later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.estimate import average
from posteriori.audit.reliability import brier_parts, reliability_curve
from posteriori.audit.report import Figure as Measured
from posteriori.audit.report import Gate, Report
from posteriori.audit.scores import brier
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains import picture
from posteriori.domains.nuclei import boundness, data, law, models, pictures
from posteriori.domains.nuclei.chart import protons_neutrons, whole_chart
from posteriori.domains.nuclei.driplines import (
    R_PROCESS,
    bound,
    closed,
    drip_lines,
    evaluators,
    judged,
    on_path,
    path_table,
)
from posteriori.domains.nuclei.joint_tables import far_reaching, joint_tables
from posteriori.domains.nuclei.separation import separation_energy
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHOLE = 120  # Z up to which a chart counts as whole
FEWEST = 7000  # nuclei of a whole chart
SMALLEST_ZMAX = 20
ROUNDING = 1e-9  # a gain must be larger than rounding


@dataclass(frozen=True)
class Study:
    """Which nuclei hold together: the share of joint mass tables in which S_n, S_2n, S_p and S_2p are all positive.

    The probabilities are scored on nuclei that a later NUBASE or mass evaluation settled, beside the signs of the
    separation energies that the training evaluation had itself extrapolated (its # values). A drip line is the heaviest
    and lightest bound isotope of each element; the r-process path is where S_n lies between 2 and 3 MeV.
    """

    train: int = 2003
    """Evaluation that everything is learnt from: 1995, 2003, 2012, 2016 or 2020."""
    test: int = 2020
    """Later evaluation, with its NUBASE, that says which nuclei are bound."""
    baseline: str = "mix"
    """Known physics: a baseline's name, several joined by +, or mix (all that saw nothing later and reach far)."""
    draws: int = 2000
    """Joint mass tables that probabilities are counted in."""
    zmax: int = 120
    """Largest proton number of the chart."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, draw the whole chart, count, score."""
        later = self._settled()
        cells = closed(whole_chart(self.zmax, also=zip(later["Z"], later["N"], strict=True)))
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        question = far_reaching(question, cells) if self.baseline == "mix" else question
        masses = law.fit(question, context).law(cells, context)
        draws = joint_tables(masses, self.draws, context.rng.child("tables"))
        found = _Found(masses, draws, later, evaluators(self.train))
        title = f"AME{self.train} → NUBASE{self.test}, {self.baseline}"
        report = Report(title, (*self._size(found), *found.scored(self.zmax == WHOLE)))
        return Outcome(
            scores={figure.name.replace(".", "_"): figure.value for figure in report}
            | {"baselines": list(question.baselines)},
            report=report,
            pictures=found.pictures(law.cells_of(question.masses)),
            tables={
                "bound": found.table(),
                "driplines": found.lines,
                "rprocess": path_table(found.path[1], found.path[0]),
                "settled": found.settled,
            },
            data=question.fingerprints,
            references=[data.citation(self.train), boundness.CITATIONS[boundness.EDITIONS[self.test]]]
            + [models.baseline(name).citation for name in question.baselines],
        )

    def _settled(self) -> pd.DataFrame:
        """What the later NUBASE and masses settled, inside the chart of this study."""
        data.ordered(self.train, self.test)
        if not SMALLEST_ZMAX <= self.zmax <= WHOLE:
            raise OptionError(f"zmax={self.zmax}; give a proton number from {SMALLEST_ZMAX} to {WHOLE}.")
        if self.draws < 2:
            raise OptionError(f"draws={self.draws}; ask for two or more.")
        later = boundness.settled_since(self.train, self.test)
        inside = (later["Z"] >= data.SMALLEST) & (later["N"] >= data.SMALLEST) & (later["Z"] <= self.zmax)
        return later[inside].reset_index(drop=True)

    def _size(self, found: _Found) -> list[Measured]:
        count = found.alive[:, found.judged].double().sum(1)
        low, high = np.quantile(count.numpy(), [0.025, 0.975])
        note = f"95 % of the joint tables: {low:.0f} to {high:.0f}"
        asked = Gate(low=FEWEST) if self.zmax == WHOLE else None
        return [
            Measured("nuclei", int(found.judged.sum()), gate=asked, note="whose P(bound) is given"),
            Measured("bound", float(count.mean()), float(count.std()), note=note),
            Measured("bound_low95", float(low)),
            Measured("bound_high95", float(high)),
            Measured(
                "beyond", float(found.lines["beyond the chart"].mean()), note="drip lines outside the chart, share"
            ),
        ]


class _Found:
    """Draws of a chart with what they say of bound nuclei, beside what was settled later."""

    def __init__(self, masses: Gaussian, draws: Tensor, later: pd.DataFrame, experts: pd.DataFrame) -> None:
        self.masses, self.cells = masses, masses.space
        self.alive, self.judged = bound(draws, self.cells), judged(self.cells)
        self.probability = self.alive.double().mean(0)
        self.path, self.smooth_path = (on_path(draws, self.cells, name) for name in ("S_n", "S_2n"))
        self.lines = drip_lines(self.alive, self.cells, self.judged)
        self.settled = self._beside(later, experts)

    def _beside(self, later: pd.DataFrame, experts: pd.DataFrame) -> pd.DataFrame:
        own = bound(self.masses.location.detach()[None], self.cells)[0]
        z, n = protons_neutrons(self.cells)
        said = pd.DataFrame({"Z": z, "N": n, "probability": self.probability.numpy(), "own mean": own.numpy()})
        both = later.merge(said[self.judged.numpy()], on=data.KEY)
        return both.merge(experts.rename(columns={"bound": "evaluators"}), on=data.KEY, how="left")

    def scored(self, asked: bool) -> list[Measured]:
        """Brier scores: of all settled nuclei, and of those that the training evaluation had an opinion of.

        ``asked``: whether the gain over that opinion is held to be positive.
        """
        common = self.settled[self.settled["evaluators"].notna()]
        parts = brier_parts(_column(self.settled, "probability"), _column(self.settled, "bound"))
        chains = torch.tensor(common["Z"].to_numpy())
        p, truth = _column(common, "probability"), _column(common, "bound")
        rivals = {name: brier(_column(common, name), truth) for name in ("evaluators", "own mean")}
        gains = {name: average(rival - brier(p, truth), chains) for name, rival in rivals.items()}
        ours = average(brier(p, truth), chains)
        note = f"{len(common)} nuclei with values of the training evaluation, extrapolated ones included"
        return [
            Measured("settled", len(self.settled), note=f"{int((~self.settled['bound']).sum())} of them unbound"),
            Measured("brier", parts.score.value, parts.score.standard_error, note="all settled nuclei"),
            Measured("reliability", parts.reliability.value, parts.reliability.standard_error, note="0 if as stated"),
            Measured("common", len(common)),
            Measured("common.brier", ours.value, ours.standard_error, note=note),
            Measured("common.brier_evaluators", float(rivals["evaluators"].mean()), note="signs of AME's own values"),
            Measured("common.brier_thresholded", float(rivals["own mean"].mean()), note="signs of this law's mean"),
            Measured(
                "common.gain_over_evaluators",
                gains["evaluators"].value,
                gains["evaluators"].standard_error,
                gate=Gate(low=ROUNDING) if asked else None,
            ),
            Measured("common.gain_over_thresholded", gains["own mean"].value, gains["own mean"].standard_error),
        ]

    def table(self) -> pd.DataFrame:
        """One row a nucleus."""
        z, n = protons_neutrons(self.cells)
        frame = pd.DataFrame(
            {
                "nuclide": self.cells.labels("nuclide"),
                "Z": z,
                "N": n,
                "mass excess [keV]": self.masses.location.detach().numpy(),
                "sd [keV]": self.masses.spread().detach().numpy(),
                "P(bound)": self.probability.numpy(),
            }
        )[self.judged.numpy()]
        where, odds = self.path
        names = pd.Series(odds.numpy(), where.labels("nuclide"), name="P(2 MeV < S_n < 3 MeV)")
        return frame.join(names, on="nuclide").round(4)

    def pictures(self, known: Space) -> dict[str, Callable[[], Figure]]:
        """The chart in three views, and whether the probabilities can be trusted."""
        curve = reliability_curve(_column(self.settled, "probability"), _column(self.settled, "bound"), bins=5)
        low, high = (energy / 1e3 for energy in R_PROCESS)
        alive, odds = self.probability.numpy(), self.smooth_path[1].numpy()
        spread = np.where(alive > 0.05, self.masses.spread().detach().numpy() / 1e3, np.nan)
        return {
            "Probability that a nucleus is bound; outlined: masses known to the training evaluation": partial(
                pictures.chart_picture,
                self.cells,
                np.where(self.judged.numpy(), alive, np.nan),
                picture.Colours("P(bound)", 0.0, 1.0),
                known,
            ),
            "r-process path, by S_2n / 2, which is S_n without its odd-even jumps": partial(
                pictures.chart_picture,
                self.smooth_path[0],
                np.where(odds > 0.02, odds, np.nan),
                picture.Colours(f"P({low:g} MeV < S_2n / 2 < {high:g} MeV)", 0.0, 1.0),
                known,
            ),
            "Standard deviation of the mass where P(bound) > 5 %, with lines of equal S_2n / 2": partial(
                _spread_picture, self.masses, spread, known
            ),
            "Are the probabilities of being bound kept? Nuclei settled later; numbers: cases": partial(
                picture.reliability_picture, curve, "a nucleus is bound"
            ),
        }


def _spread_picture(masses: Gaussian, spread: np.ndarray, known: Space) -> Figure:
    figure, axes = picture.blank(8.6, 4.8)
    pictures.draw_chart(axes, masses.space, spread, picture.Colours("standard deviation [MeV]", 0.02, log=True))
    energy = separation_energy(masses.space, "S_2n")
    halves = energy(masses.location.detach()).numpy() / 2e3
    pictures.contours(axes, energy.codomain, halves, (2, 4, 6, 8, 10, 14), "MeV")
    pictures.outline(axes, known)
    axes.legend(loc="upper left")
    return figure


def _column(frame: pd.DataFrame, name: str) -> Tensor:
    return torch.tensor(frame[name].to_numpy(np.float64))
