"""Which mass to measure next: a ranking for a goal, and the same rule replayed on what was measured since."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from posteriori.audit.report import Figure, Report
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.decide.goals import TotalVariance
from posteriori.decide.next_observation import Ranking, next_observation
from posteriori.domains.nuclei import data, law, models
from posteriori.domains.nuclei.chart import distance_to, nuclide_name, protons_neutrons
from posteriori.domains.nuclei.hindsight import Hindsight
from posteriori.domains.nuclei.wanted import Wanted, reachable
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib import figure

LISTED = 25


@dataclass(frozen=True)
class Study:
    """Measurements ranked by how much they are expected to lower the error of what one wants to know.

    Looking forward: the unmeasured nuclei near the known region, for a goal far from it. Looking back: the nuclei that
    were in fact measured after the training evaluation are the candidates, their later masses the data, and all of
    them the goal. The greedy order is fixed before any of these data is seen.

    With several baselines a nucleus far from the goal can rank high: its mass tells which of them is right.
    """

    train: int = 2003
    """Evaluation that everything is learnt from: 1995, 2003, 2012, 2016 or 2020."""
    test: int | None = 2020
    """Later evaluation to replay; none looks forward only."""
    baseline: str = "dz10+dz28"
    """Known physics: a baseline's name, several joined by +, or mix (all whose fit saw nothing later than train)."""
    goal: str = "S_n@N82"
    """What is wanted beyond the known region: an element (Sn), isotones (N82), or a quantity of them (S_n@N82)."""
    span: int = 8
    """Number of nuclei in the goal, outwards from the edge of the known region."""
    reach: int = 3
    """Candidates lie at most this many steps from a measured nucleus."""
    planned: float = 50.0
    """Standard deviation [keV] expected of a new measurement."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, rank, replay."""
        if self.reach < 1 or self.planned <= 0:
            raise OptionError(
                f"reach={self.reach}, planned={self.planned:g}; give one step or more and a positive error."
            )
        wanted = Wanted.parse(self.goal, self.span)
        known = law.cells_of(data.measured(data.known_year(self.train)))
        later = None
        if self.test is not None:
            later = data.evaluation(self.test).merge(data.new_since(self.train, self.test))
        proposed = pd.DataFrame([*reachable(known, self.reach), *wanted.cells(known)], columns=data.KEY)
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        fitted = law.fit(question, context)
        masses = fitted.law(law.cells_of(question.masses, proposed), context)
        ahead = _Ahead.of(masses, wanted, known, self.reach, self.planned)
        figures = ahead.figures()
        pictures = {f"What one mass near the known region tells about {wanted}": ahead.picture}
        if later is not None:
            past = Hindsight.of(fitted.law(law.cells_of(question.masses, later), context), later, self.planned)
            figures = past.figures(context, gated=(self.train, self.test) == (2003, 2020)) + figures
            pictures["Error of all masses measured since, against how many are known"] = partial(past.picture, context)
        report = Report(f"What to measure next after AME{self.train}, {self.baseline}", tuple(figures))
        years = [self.train] if self.test is None else [self.train, self.test]
        return Outcome(
            scores={figure.name: figure.value for figure in report} | {"baselines": list(question.baselines)},
            report=report,
            pictures=pictures,
            tables={"next": ahead.table()},
            data=question.fingerprints,
            references=[*map(data.citation, years), *(models.baseline(name).citation for name in question.baselines)],
        )


@dataclass(frozen=True)
class _Ahead:
    """The goal, the nuclei that could be measured for it, and the order in which to do so."""

    wanted: Wanted
    goal: Gaussian
    candidates: Space
    spread: Tensor
    steps: np.ndarray
    ranking: Ranking

    @staticmethod
    def of(masses: Gaussian, wanted: Wanted, known: Space, reach: int, planned: float) -> _Ahead:
        here = masses.space.labels("nuclide")
        names = [nuclide_name(z, n) for z, n in reachable(known, reach)]
        operator = Selection.along(masses.space, "nuclide", [name for name in names if name in set(here)])
        towards = wanted.operator(masses.space, known)
        goal = masses.map(towards)
        assert isinstance(goal, Gaussian)
        ranking = next_observation(masses, operator, planned, TotalVariance(towards), count=LISTED)
        spread = masses.spread().detach()[operator.index]
        return _Ahead(wanted, goal, operator.codomain, spread, distance_to(operator.codomain, known), ranking)

    def table(self) -> pd.DataFrame:
        """The greedy sequence: what each mass adds to those above it."""
        chosen = self.ranking.chosen.numpy()
        z, n = (a[chosen] for a in protons_neutrons(self.candidates))
        total = float(self.goal.covariance.diagonal().sum())
        left = (total - self.ranking.added.cumsum(0)).clamp_min(0) / self.goal.space.size
        return pd.DataFrame(
            {
                "nuclide": self.candidates.labels("nuclide")[chosen],
                "Z": z,
                "N": n,
                "steps from known": self.steps[chosen],
                "sd now [keV]": self.spread.numpy()[chosen].round(1),
                "variance alone [%]": (100 * self.ranking.gain[chosen] / total).numpy().round(2),
                "variance in turn [%]": (100 * self.ranking.added / total).numpy().round(2),
                "goal sd after [keV]": left.sqrt().numpy().round(1),
            }
        )

    def figures(self) -> list[Figure]:
        before = float(self.goal.covariance.diagonal().mean().sqrt())
        after = self.table()["goal sd after [keV]"]
        many = min(10, len(after))
        note = f"{self.wanted} of {', '.join(self.goal.space.labels('nuclide'))}; root mean square"
        return [
            Figure("goal.sd_now", before, unit="keV", note=note),
            Figure(f"goal.sd_after_{many}", float(after[many - 1]), unit="keV", note="expected, greedy order"),
        ]

    def picture(self) -> figure.Figure:
        import matplotlib.pyplot as plt

        drawing, axes = plt.subplots()
        z, n = protons_neutrons(self.candidates)
        share = (self.ranking.gain / self.goal.covariance.diagonal().sum()).numpy()
        points = axes.scatter(n, z, c=100 * share, s=90, marker="s", cmap="viridis")
        goal_z, goal_n = protons_neutrons(self.goal.space)
        axes.scatter(goal_n, goal_z, s=120, marker="s", facecolors="none", edgecolors="C3", label=f"{self.wanted}")
        for rank, at in enumerate(self.ranking.chosen[:9].tolist(), start=1):
            name = self.candidates.labels("nuclide")[at]
            axes.text(n[at], z[at], str(rank), color="white", fontsize=8, ha="center", va="center", weight="bold")
            axes.plot([], [], " ", label=f"{rank}  {name}")
        middle_n, middle_z = float(goal_n.mean()), float(goal_z.mean())
        axes.set(xlim=(middle_n - 18, middle_n + 18), ylim=(middle_z - 7, middle_z + 12), xlabel="N", ylabel="Z")
        axes.locator_params(axis="y", integer=True)
        axes.legend(loc="upper left", fontsize=8, title="measure in this order")
        drawing.colorbar(points, label="variance of the goal that one mass removes [%]")
        return drawing
