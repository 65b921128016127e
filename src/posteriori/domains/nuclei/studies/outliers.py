"""Which evaluated masses are likely wrong, held against what a later evaluation found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.nuclei import data, law, models
from posteriori.domains.nuclei.suspects import suspects
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib import figure

FALSE_ALARMS = 0.05
"""Share of the values that were right which a list of suspects may hold."""


@dataclass(frozen=True)
class Study:
    """Evaluated masses that are likely off by more than a limit, from the values, the known physics and its error law.

    Each value's error has a probability law given all values. The values whose chance of a large error lies above a
    threshold are the suspects. The threshold is the one that would have raised 5 % false alarms one evaluation
    earlier; nothing of the later evaluation is used before the scores.
    """

    train: int = 2003
    """Evaluation whose values are questioned: 1995, 2003, 2012, 2016 or 2020."""
    test: int | None = 2020
    """Later evaluation that tells which were wrong; none where there is none yet."""
    baseline: str = "dz10+dz28"
    """Known physics: a baseline's name, several joined by +, or mix (all whose fit saw nothing later than train)."""
    limit: float = 500.0
    """Error [keV] from which a value counts as wrong."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, question, and compare with what happened later."""
        data.known_year(self.train)
        if self.test is not None:
            data.ordered(self.train, self.test)
        if self.limit <= 0:
            raise OptionError(
                f"limit={self.limit:g}; give the positive error [keV] from which a value counts as wrong."
            )
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        past = law.earlier(question)
        fitted = law.fit_all({"now": question} | ({} if past is None else {"past": past}), context)
        table = suspects(fitted["now"], self.limit)
        figures = [Figure("expected_wrong", float(table["P wrong"].sum()), note=f"of {len(table)} values")]
        learnt = None
        if past is not None:
            before = with_outcome(suspects(fitted["past"], self.limit), self.train, self.limit)
            learnt = {name: threshold(before[name], before["wrong"]) for name in ("P wrong", "sigma")}
            table["suspect"] = table["P wrong"] > learnt["P wrong"]
            note = f"P above {learnt['P wrong']:.2g}, learnt one evaluation earlier"
            figures.append(Figure("suspects", float(table["suspect"].sum()), note=note))
        pictures = {}
        if self.test is not None:
            judged = with_outcome(table, self.test, self.limit)
            figures += _judge(judged, learnt, asked=(self.train, self.test, self.limit) == (2003, 2020, 500.0))
            pictures = {f"Values of AME{self.train} found wrong by AME{self.test}": partial(_picture, judged)}
            table = table.merge(judged[["nuclide", "moved", "wrong"]], on="nuclide", how="left")
        report = Report(
            f"Values of AME{self.train} wrong by more than {self.limit:g} keV, {self.baseline}", tuple(figures)
        )
        years = [self.train] if self.test is None else [self.train, self.test]
        return Outcome(
            scores={figure.name: figure.value for figure in report} | {"baselines": list(question.baselines)},
            report=report,
            pictures=pictures,
            tables={"suspects": _readable(table)},
            data=question.fingerprints,
            references=[*map(data.citation, years), *(models.baseline(name).citation for name in question.baselines)],
        )


def with_outcome(table: pd.DataFrame, later: int, limit: float) -> pd.DataFrame:
    """The values measured in the ``later`` evaluation too, with how far they ``moved`` [keV] and whether that is wrong.

    ``moved`` is value - later value: what the error turned out to be.
    """
    both = table.merge(data.measured(later)[[*data.KEY, "mass_excess"]], on=data.KEY, suffixes=("", " later"))
    both["moved"] = both["mass_excess"] - both.pop("mass_excess later")
    both["wrong"] = both["moved"].abs() > limit
    return both


def threshold(statistic: pd.Series[float], wrong: pd.Series[bool]) -> float:
    """The value of ``statistic`` above which 5 % of those that were right lie."""
    return float(np.quantile(statistic[~wrong], 1 - FALSE_ALARMS))


def _judge(judged: pd.DataFrame, learnt: dict[str, float] | None, asked: bool) -> list[Figure]:
    wrong = judged["wrong"]
    found = [Figure("wrong", float(wrong.sum()), note=f"of {len(judged)} values measured in both")]
    if not wrong.any():
        return found
    judged = judged.assign(distance=judged["z"].abs())
    if learnt is not None:
        pair = _shares("learnt", judged["P wrong"] > learnt["P wrong"], wrong, "the suspects")
        gates = (Gate(low=0.5), Gate(high=FALSE_ALARMS)) if asked else (None, None)
        found += [replace(figure, gate=gate) for figure, gate in zip(pair, gates, strict=True)]
        note = f"quoted sigma alone, above {learnt['sigma']:.0f} keV, learnt one evaluation earlier"
        found += _shares("learnt_sigma", judged["sigma"] > learnt["sigma"], wrong, note)
    for name, statistic, meaning in (
        ("at_5_percent", "P wrong", "P"),
        ("at_5_percent_sigma", "sigma", "quoted sigma alone"),
        ("at_5_percent_z", "distance", "distance from what the others say"),
    ):
        flagged = judged[statistic] > threshold(judged[statistic], wrong)
        found.append(_shares(name, flagged, wrong, f"{meaning}, at 5 % false alarms")[0])
    return found


def _shares(name: str, flagged: pd.Series[bool], wrong: pd.Series[bool], note: str) -> tuple[Figure, Figure]:
    """Shares of the wrong values and of the right ones that are flagged, with their binomial errors."""

    def share(kind: str, of: pd.Series[bool], note: str) -> Figure:
        p, n = float(flagged[of].mean()), int(of.sum())
        return Figure(f"{name}.{kind}", p, (p * (1 - p) / n) ** 0.5, note=f"{int(flagged[of].sum())} of {n}{note}")

    return share("flagged", wrong, f"; {note}"), share("false_alarms", ~wrong, "")


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    energies = ("mass_excess", "sigma", "error", "error sd", "others say", "others sd", "moved")
    shown = table.rename(columns={name: f"{name} [keV]" for name in energies})
    return shown.round({f"{name} [keV]": 1 for name in energies} | {"z": 2})


def _picture(judged: pd.DataFrame) -> figure.Figure:
    import matplotlib.pyplot as plt

    drawing, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.4))
    wrong = judged["wrong"]
    for statistic, label in (
        ("P wrong", "probability of a large error"),
        ("sigma", "quoted σ alone"),
        ("z", "distance from the others"),
    ):
        ranked = wrong[judged[statistic].abs().sort_values(ascending=False).index]
        left.step(100 * (~ranked).cumsum() / (~wrong).sum(), ranked.cumsum(), where="post", label=label)
    left.axvline(100 * FALSE_ALARMS, color="0.4", lw=0.8, ls="--")
    left.set(
        xlim=(0, 20),
        ylim=(0, wrong.sum() + 0.5),
        xlabel="false alarms [%]",
        ylabel=f"wrong values flagged, of {wrong.sum()}",
    )
    left.legend(loc="center right")
    for kind, colour, label in ((~wrong, "0.6", "right"), (wrong, "C3", "wrong")):
        right.scatter(judged["error"][kind] / 1e3, judged["moved"][kind] / 1e3, s=10, color=colour, label=label)
    named = judged[wrong].nlargest(7, "moved")
    for name, x, y in zip(named["nuclide"], named["error"] / 1e3, named["moved"] / 1e3, strict=True):
        right.annotate(name, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=8)
    right.axline((0, 0), slope=1, color="0.4", lw=0.8)
    right.set(xlabel="expected error, value - truth [MeV]", ylabel="value - later value [MeV]")
    right.legend(loc="upper left")
    return drawing
