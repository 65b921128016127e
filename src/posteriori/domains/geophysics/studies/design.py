"""Where to measure next: designed gravity stations and shots beside regular and random ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.geophysics.design import (
    Choice,
    Expected,
    Zone,
    gravity_choice,
    matched,
    paired_errors,
    regular,
    wave_choice,
    windows,
)
from posteriori.domains.geophysics.design_own import GREEDY, Ground, outcome
from posteriori.domains.geophysics.design_pictures import Curve, errors_picture, gain_picture, shots_picture
from posteriori.domains.study import Outcome
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.section_gravity import SectionGravity

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

SIZES = (4, 6, 8, 12, 16)
"""Stations of the designed surveys that are compared."""
LENGTHS = (0.6, 1.0, 1.8)
"""Correlation lengths of the variants, as shares of the one asked for."""
NOISES = (1.0, 3.0)
"""Errors of a reading in the variants, as multiples of the one asked for."""
MOVED = ((0.0, 0.0), (5000.0, 0.0), (2500.0, 500.0))
"""Shifts of the zone in the variants [m], across and down."""
PROMISED = 1.5
"""A designed survey is to do what a regular one of this many times its stations does."""
RANDOM = 20
SHOTS = 8
WAVE_ZONE = Zone(250.0, 400.0, 700.0, 1000.0)


@dataclass(frozen=True)
class Study:
    """Stations chosen one by one for what is expected to be learnt about a zone, before any datum is taken.

    A survey is judged by the variance that it leaves the mean density of the zone, which for a linear law is exact; a
    regular survey of n stations is spread evenly over the whole line. ``k`` designed stations match the first n of them
    that leave no more. The same is asked of shots over a velocity section, by the Gauss-Newton approximation.

    With ``stations`` of your own it is their order instead, by the variance that each takes off per cost.
    """

    stations: Path | None = None
    """Your candidates: a CSV table (x [m], height [m]; where they differ, cost and sigma [mGal])."""
    already: Path | None = None
    """Stations measured already, counted before the first is chosen: likewise (x [m], height [m], sigma [mGal])."""
    budget: float | None = None
    """What your survey may cost together, in the unit of the costs; any amount without."""
    depth: float | None = None
    """Depth of the section below your stations [m]; without, 10/3 of the zone's bottom."""
    top: float = 300.0
    """Top of the zone of interest [m]."""
    bottom: float = 900.0
    """Its bottom [m]."""
    left: float = 2500.0
    """Its left end [m]; without stations of your own the line runs from 0 to 12,000 m."""
    right: float = 4000.0
    """Its right end [m]."""
    sd: float = 50.0
    """Standard deviation of the density before the survey [kg/m³]."""
    length: float = 500.0
    """Vertical correlation length of the density [m], half of the horizontal one."""
    noise: float = 0.1
    """Standard deviation of a gravity reading [mGal], for your stations where the file gives none."""
    count: int = 12
    """Stations of the designed survey that is shown."""
    truths: int = 400
    """Densities drawn to compare the surveys pair by pair."""
    waves: bool = True
    """Whether to choose shots too."""

    def __call__(self, context: Context) -> Outcome:
        """Design, compare, draw."""
        self._check()
        zone = Zone(self.top, self.bottom, self.left, self.right)
        if self.stations is not None:
            ground = Ground(zone, self.sd, self.length, self.depth)
            return outcome(ground, self.stations, self.already, self.noise, self.count, self.budget)
        choice = gravity_choice(zone, self.sd, self.length, self.noise)
        variants = list(product(LENGTHS, NOISES, enumerate(MOVED, 1)))
        rows = []
        for share, times, (i, shift) in context.progress(variants, "variants", len(variants)):
            length, noise = share * self.length, times * self.noise
            name = f"length {length:g} m, noise {noise:g} mGal, zone {i}"
            rows += _compared(name, gravity_choice(_moved(zone, *shift), self.sd, length, noise))
        table = pd.DataFrame(rows)
        main = pd.DataFrame(_compared("asked for", choice, centred=True))
        figures = _ratios(table["ratio"].to_numpy(float), "ratio", gated=True)
        figures += _ratios(main["ratio"].to_numpy(float), "asked.ratio")
        figures += _ratios(main["ratio to the best regular window"].to_numpy(float), "asked.ratio_to_best_window")
        figures += self._paired(context, choice)
        pictures = {
            "What one station would tell about the zone, and the stations chosen": partial(
                gain_picture, choice, zone, choice.ranking(self.count)
            ),
            "Error of the zone's mean density against the number of stations": partial(_curves, context, choice),
        }
        references = [*SectionGravity.references, GREEDY]
        if self.waves:
            found, draw = _waves()
            figures += found
            pictures["Which shots to fire for the marked zone"] = draw
            references += Acoustic.references
        report = Report(f"Designed beside regular surveys, {len(table)} cases", tuple(figures))
        return Outcome(
            scores={figure.name: figure.value for figure in report},
            report=report,
            pictures=pictures,
            tables={"variants": table, "asked": main},
            references=references,
        )

    def _check(self) -> None:
        for name in ("sd", "length", "noise"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name}={getattr(self, name):g} must be positive.")
        if self.stations is None and (self.already, self.budget, self.depth) != (None, None, None):
            raise OptionError("already=, budget= and depth= speak of your own candidates; give stations= with them.")
        for name in ("budget", "depth"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise OptionError(f"{name}={value:g} must be positive.")
        if not 1 <= self.count <= 100 or not 50 <= self.truths <= 100_000:
            raise OptionError(f"count={self.count} lies in 1 to 100, truths={self.truths} in 50 to 100,000.")
        if not (0 <= self.top < self.bottom and self.left < self.right):
            raise OptionError("a zone runs from top down to bottom and from left to right; give them in this order.")
        if self.stations is None and (self.left < 0 or self.right > 12_000 or self.bottom > 3000):
            raise OptionError(
                f"the zone reaches {self.bottom:g} m down, from {self.left:g} to {self.right:g} m; the section is "
                "3000 m deep and the line runs from 0 to 12,000 m."
            )

    def _paired(self, context: Context, choice: Choice) -> list[Figure]:
        """Squared errors of k designed and 1.5 k regular stations on the same simulated truths."""
        candidates, ranking = choice.candidates.codomain.size, choice.ranking(max(SIZES))
        figures = []
        for k in SIZES:
            surveys = [ranking.chosen[:k], regular(candidates, ceil(PROMISED * k))]
            errors = paired_errors(choice, surveys, self.truths, context.rng.child("truths", k))
            less = errors[:, 1] - errors[:, 0]
            figures.append(
                Figure(
                    f"paired.gain_of_{k}",
                    100 * float(less.mean() / errors[:, 1].mean()),
                    100 * float(less.std() / sqrt(len(less)) / errors[:, 1].mean()),
                    unit="%",
                    note=f"mean square error below that of {len(surveys[1])} regular stations, {self.truths} truths",
                )
            )
        return figures


def _moved(zone: Zone, across: float, down: float) -> Zone:
    return Zone(zone.top + down, zone.bottom + down, zone.left + across, zone.right + across)


def _compared(name: str, choice: Choice, centred: bool = False) -> list[dict[str, float | str]]:
    """For every number of designed stations, how many regular ones leave no more variance."""
    candidates, error = choice.candidates.codomain.size, Expected.of(choice)
    ranking = choice.ranking(max(SIZES))
    surveys = [regular(candidates, n) for n in range(1, candidates + 1)]
    rows = []
    for k in SIZES:
        designed = error(ranking.chosen[:k])
        row: dict[str, float | str] = {
            "variant": name,
            "stations": k,
            "error designed [kg/m^3]": sqrt(designed),
            "error regular [kg/m^3]": sqrt(error(regular(candidates, k))),
            "error before [kg/m^3]": sqrt(float(error.total) / error.cells),
        }
        n = matched(error, designed, surveys)
        row |= {"regular stations that match": n, "ratio": n / k}
        if centred:
            best = [min(windows(candidates, m), key=error) for m in range(k, 3 * k + 1)]
            row["ratio to the best regular window"] = matched(error, designed, best) / k
        rows.append(row)
    return rows


def _ratios(ratios: np.ndarray, name: str, gated: bool = False) -> list[Figure]:
    note = f"regular stations that match, for one designed, {len(ratios)} cases"
    return [
        Figure(f"{name}.median", float(np.median(ratios)), note=note, gate=Gate(PROMISED) if gated else None),
        Figure(f"{name}.least", float(ratios.min())),
        Figure(f"{name}.lower_quartile", float(np.quantile(ratios, 0.25))),
        Figure(f"{name}.share_of_1.5", float((ratios >= PROMISED).mean()), note="share of cases at 1.5 or more"),
    ]


def _curves(context: Context, choice: Choice) -> Picture:
    candidates, error = choice.candidates.codomain.size, Expected.of(choice)
    ranking, most = choice.ranking(24), 24
    sizes = np.arange(1, most + 1)
    random = np.array(
        [
            [sqrt(error(context.rng.child("random", i, n).permutation(candidates)[:n])) for n in sizes.tolist()]
            for i in range(RANDOM)
        ]
    )
    return errors_picture(
        [
            Curve("designed", sizes, np.array([sqrt(error(ranking.chosen[:n])) for n in sizes])),
            Curve("regular", sizes, np.array([sqrt(error(regular(candidates, n))) for n in sizes.tolist()])),
            Curve("random", sizes, random.mean(0), np.quantile(random, 0.1, 0), np.quantile(random, 0.9, 0)),
        ],
        "stations",
        "error of the zone's mean density [kg/m³]",
    )


def _waves() -> tuple[list[Figure], partial[Picture]]:
    choice = wave_choice(WAVE_ZONE)
    told, offered = choice.told(), len(choice.shots)
    ranking = choice.ranking(told, SHOTS)

    def error(chosen: Tensor) -> float:
        return choice.left(told, chosen)

    surveys = [regular(offered, n) for n in range(1, offered + 1)]
    designed = [error(ranking.chosen[:k]) for k in range(1, SHOTS + 1)]
    ratios = np.array([matched(error, designed[k - 1], surveys) / k for k in range(2, SHOTS + 1)])
    sizes = np.arange(1, SHOTS + 1)
    curves = [
        Curve("designed", sizes, np.sqrt(designed)),
        Curve("regular", sizes, np.array([sqrt(error(regular(offered, k))) for k in sizes.tolist()])),
    ]
    figures = [
        Figure("shots.ratio.median", float(np.median(ratios)), note=f"2 to {SHOTS} shots of {offered}"),
        Figure("shots.ratio.least", float(ratios.min())),
        Figure("shots.error_before", sqrt(error(torch.tensor([], dtype=torch.int64))), unit="m/s", note="in the zone"),
        Figure("shots.error_of_4", sqrt(designed[3]), unit="m/s", note="expected, designed"),
        Figure("shots.error_of_4_regular", float(curves[1].error[3]), unit="m/s", note="expected"),
    ]
    return figures, partial(shots_picture, choice, WAVE_ZONE, ranking, curves)
