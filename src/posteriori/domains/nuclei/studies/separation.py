"""Separation energies and α-decay energies of a later evaluation, with and without the covariance of the masses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure as Measured
from posteriori.audit.report import Gate, Report
from posteriori.core.gaussian import Gaussian
from posteriori.core.run import Context
from posteriori.domains import picture
from posteriori.domains.nuclei import data, law, models, pictures
from posteriori.domains.nuclei.chart import chart, protons_neutrons
from posteriori.domains.nuclei.pair_scores import Compared, compared
from posteriori.domains.nuclei.pairs import Held, later_pairs, made_of
from posteriori.domains.nuclei.separation import separation_energy
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ASKED = ("S_n", "S_p", "S_2n", "S_2p", "Q_alpha")
CLOSURE_DRAWS = 100
_CHAIN = "S_n less its predicted mean along the longest chain of isotopes with new pairs"
ROUNDING = 1e-6  # [keV] of sums of masses of some 10⁵ keV in double precision


@dataclass(frozen=True)
class Study:
    """One joint law of masses, held against energies that a later evaluation measured first.

    S_n, S_p, S_2n, S_2p and Q_alpha are differences of masses. Errors of neighbours go together, so that the joint law
    gives narrower intervals than the same masses with their covariance ignored; both are scored here, for pairs of
    which one nucleus was unmeasured and for pairs of which both were. The errors of the later values are included; a
    partner that the training evaluation had measured enters with the law of its true mass, not with the old value.
    """

    train: int = 2003
    """Evaluation that everything is learnt from: 1995, 2003, 2012, 2016 or 2020."""
    test: int = 2020
    """Later evaluation that the energies are held against."""
    baseline: str = "mix"
    """Known physics: a baseline's name, several joined by +, or mix (all whose fit saw nothing later than train)."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, predict, score each quantity."""
        data.ordered(self.train, self.test)
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        pairs = {name: later_pairs(name, self.train, self.test) for name in ASKED}
        cells = law.cells_of(*(made_of(table, name) for name, table in pairs.items()))
        joint = Held.against(law.fit(question, context).law(cells, context), self.test)
        found = [compared(joint, name, table) for name, table in pairs.items()]
        closure = worst_closure(joint.law, context)
        report = Report(f"AME{self.train} → AME{self.test}, {self.baseline}", (closure,))
        for quantity in found:
            report += quantity.report(narrower=25.0 if quantity.name == "S_n" else None)
        scores = {key: score for quantity in found for key, score in quantity.scores().items()}
        return Outcome(
            scores=scores | {"closure_keV": closure.value, "baselines": list(question.baselines)},
            report=report,
            pictures=_pictures(found) | {_CHAIN: partial(_chain, joint, pairs["S_n"], self.train)},
            tables={"energies": pd.concat([quantity.table() for quantity in found], ignore_index=True)},
            data=question.fingerprints,
            references=[data.citation(self.train), data.citation(self.test)]
            + [models.baseline(name).citation for name in question.baselines],
        )


def worst_closure(masses: Gaussian, context: Context) -> Measured:
    """The largest |S_2n(N) - S_n(N) - S_n(N-1)| over nuclei and joint draws: zero but for rounding."""
    draws = masses.sample(CLOSURE_DRAWS, context.rng.child("closure"))
    one, two = (separation_energy(masses.space, name) for name in ("S_n", "S_2n"))
    single, double = one(draws), two(draws)
    at = {nucleus: i for i, nucleus in enumerate(zip(*protons_neutrons(one.codomain), strict=True))}
    homes = list(enumerate(zip(*protons_neutrons(two.codomain), strict=True)))
    both = [(i, at[z, n], at[z, n - 1]) for i, (z, n) in homes if (z, n) in at and (z, n - 1) in at]
    whole, last, before = torch.tensor(both).T
    gap = double[:, whole] - single[:, last] - single[:, before]
    note = f"S_2n less the sum of two S_n: {len(both)} nuclei, {CLOSURE_DRAWS} draws"
    return Measured("closure", float(gap.abs().max()), unit="keV", gate=Gate(high=ROUNDING), note=note)


def _chain(held: Held, pairs: pd.DataFrame, train: int) -> Figure:
    """S_n along the longest chain of pairs, its bands, and what each evaluation had."""
    ordered = pairs.sort_values(["Z", "N"])
    run = ((ordered["Z"].diff() != 0) | (ordered["N"].diff() != 1)).cumsum()
    chosen = ordered[run == run.mode().iloc[0]]
    element = int(chosen["Z"].iloc[0])
    energies = held.energies("S_n", chosen)
    _, isotopes = protons_neutrons(energies.law.space)
    n, mean, sd = isotopes.astype(float), energies.law.location.numpy(), energies.law.spread().numpy()
    sigma = (energies.seen.spread() ** 2 - energies.law.spread() ** 2).clamp_min(0).sqrt().numpy()
    guess = data.evaluation(train)
    own = separation_energy(chart(guess["Z"], guess["N"]), "S_n")
    said = pd.Series(own(torch.tensor(guess["mass_excess"].to_numpy())).numpy(), own.codomain.labels("nuclide"))
    before = said.reindex(energies.law.space.labels("nuclide")).to_numpy()
    had = np.isfinite(before)
    chain = pictures.Chain(element, n, mean, sd, (n[had], before[had], 0 * n[had]), (n, energies.values.numpy(), sigma))
    return pictures.chain_picture(chain, "S_n less its prediction", mean, f"AME{train}, # included")


def _pictures(found: list[Compared]) -> dict[str, Callable[[], Figure]]:
    shares = {
        label: {q.name: q.coverage(kind, law) for q in found if kind in q.scored}
        for label, kind, law in (
            ("joint law, all pairs", "all", "joint"),
            ("joint law, both unmeasured", "both", "joint"),
            ("covariance ignored, both unmeasured", "both", "ignored"),
        )
    }
    pits = {q.name: q.scored["all"]["joint"].pit() for q in found}
    return {
        "Coverage of the 68 % intervals of later energies (bars: one standard error)": partial(
            picture.levels_picture, shares, 0.68
        ),
        "Calibration of the joint law at every level": partial(picture.calibration_picture, pits),
    }
