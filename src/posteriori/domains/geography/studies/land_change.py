"""Future land cover: maps of classes with calibrated probabilities, exact totals and no forbidden change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.raster import Raster
from posteriori.core.run import Context, digest
from posteriori.core.support import Classes
from posteriori.domains.geography import land_pictures as draw
from posteriori.domains.geography.land_contest import Chosen, Trial, chosen, grown, pairs_of, parted
from posteriori.domains.geography.land_growth import (
    Growth,
    expected_quotas,
    random_quotas,
    rate_spread,
)
from posteriori.domains.geography.land_maps import Codes, Floats, LandMaps, read_land
from posteriori.domains.geography.land_potential import RECIPES, Pair, require_seen
from posteriori.domains.geography.land_scores import Judged, broken, off_total
from posteriori.domains.geography.maps import Named, Panel, maps_picture
from posteriori.domains.geography.raster import write_raster
from posteriori.domains.geography.synthetic_city import City, grown_city
from posteriori.domains.picture import Colours, reliability_picture
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

FEATURES = 100
"""Numbers of each cell that are held at most while chances are learnt."""
RUNS = 400
"""Runs of the known law behind the true probabilities of the made-up city."""
REFERENCES = (
    "Pontius et al. (2008), comparing the input, output and validation maps for several models of land change.",
    "Clarke, Hoppen & Gaydos (1997), a self-modifying cellular automaton model of historical urbanization.",
    "Geurts, Ernst & Wehenkel (2006), extremely randomized trees.",
)


@dataclass(frozen=True)
class Study:
    """Maps of land classes to come, learnt from maps in time, held against a logistic cellular automaton.

    Chances of change are learnt from distances, densities and drivers; which learner, how sharp and how clustered is
    chosen on blocks left out of the last learning maps. Every member has the amounts of change asked for, to the cell;
    transitions never seen do not happen, closed cells stay. The last map given is the test; then the future is drawn.
    """

    data: tuple[str, ...] = ()
    """Maps of classes in order of time: files, patterns like "urban.*.gif", or FILE:VARIABLE; none: a made-up city."""
    drivers: tuple[str, ...] = ()
    """What drives change: files (slope), or patterns that give each map its own layer (roads)."""
    excluded: Path | None = None
    """Raster whose highest number marks cells that never change: water, parks."""
    protected: Path | None = None
    """Another such raster."""
    years: tuple[float, ...] = ()
    """Of the maps; none for the last numbers in the names of the files."""
    ahead: float | None = None
    """Years from the last map to the one drawn; none for the last interval again."""
    total: int | None = None
    """Cells that change in the maps drawn; none for the trend with its error."""
    regrid: bool = False
    """Bring every raster onto the grid of the first map."""
    block: int = 20
    """Side [cells] of the squares that are left out, and resampled, together."""
    members: int = 100
    """Maps drawn."""
    quick: bool = False
    """A third of the members, and two learners instead of six."""

    def __post_init__(self) -> None:
        if not 4 <= self.block <= 1000 or not 20 <= self.members <= 2000:
            raise OptionError(f"block={self.block}, members={self.members}: 4 to 1000 cells, and 20 to 2000 maps.")
        if self.ahead is not None and not 0 < self.ahead < np.inf:
            raise OptionError(f"ahead={self.ahead:g} must be a positive number of years.")
        if self.total is not None and self.total < 0:
            raise OptionError(f"total={self.total} cells cannot change; give none or a number >= 0.")
        if not self.data and (self.drivers or self.excluded or self.protected or self.years):
            raise OptionError("drivers, excluded, protected and years belong to maps of your own: data=FIRST,SECOND…")

    def __call__(self, context: Context) -> Outcome:
        """Choose on the past, test on the last map, draw the next."""
        city: City | None = None
        if self.data:
            land = read_land(self.data, self.drivers, self.excluded, self.protected, self.years, self.regrid)
        else:
            land, city = grown_city(context.rng.child("city"))
        need = 8.0 * land.codes[0].size * (4 * self.members + FEATURES)
        memory.require(
            need, f"land change on {land.codes[0].size:,} cells", "take fewer members=, or a part of the maps"
        )
        return _Findings.of(self, land, city, context).outcome()


@dataclass(frozen=True, eq=False)
class _Findings:
    """All that was learnt, tested and drawn."""

    study: Study
    land: LandMaps
    city: City | None
    found: Chosen
    judged: Judged
    trend: Codes
    trend_maps: Codes
    next: Growth
    quotas: Codes
    maps: Codes
    rng: Rng

    @staticmethod
    def of(study: Study, land: LandMaps, city: City | None, context: Context) -> _Findings:
        rng, members = context.rng, max(20, study.members // 3) if study.quick else study.members
        pairs, spans = pairs_of(land), np.diff(land.years).tolist()
        wanted, doubt = _amounts(study, land, pairs, spans)
        *learning, test = pairs if len(pairs) > 1 else parted(pairs[0], study.block)
        now = Pair(land.codes[-1], land.codes[-1], len(land.codes) - 1, land.open)
        require_seen(land, np.where(test.where, test.before, -1), learning)
        require_seen(land, now.before, pairs)
        names = list(RECIPES)[:2] if study.quick else list(RECIPES)
        found = chosen(land, learning, study.block, rng.child("choice"), names)
        trial = Trial.held(land, learning, test, found, members, rng.child("trial"))
        spread = rate_spread(learning, spans[: len(learning)])
        expected = expected_quotas(
            learning[-1], spans[len(learning) - 1], len(land.classes), test.before, spans[-1], test.where
        )
        trend = trial.growth.capped(random_quotas(expected, spread, members, rng.child("trend")))
        trend_maps = trial.growth.members(trend, rng.child("trend maps"))
        law = grown(land, pairs, now, found)
        quotas = law.capped(random_quotas(wanted, doubt, members, rng.child("quotas")))
        maps = law.members(quotas, rng.child("maps"))
        return _Findings(
            study, land, city, found, Judged(trial, study.block), trend, trend_maps, law, quotas, maps, rng
        )

    def outcome(self) -> Outcome:
        report = Report(f"{self.land.raster.name} to {self._year:g}", tuple(self._figures()))
        raster = self.land.raster
        return Outcome(
            scores={**{figure.name: figure.value for figure in report}, **self._told()},
            report=report,
            pictures=self._pictures(),
            posterior=self._posterior(),
            tables={"laws": self._laws(), "left_out": self._left_out(), "transitions": self._transitions()},
            files={
                "change_probability.tif": partial(_write, self._probability_raster()),
                "members.tif": partial(_write, self.land.members(self.maps)),
            },
            data={raster.name: digest(torch.from_numpy(self.land.codes))},
            references=REFERENCES,
        )

    def _figures(self) -> list[Figure]:
        judged, trial = self.judged, self.judged.trial
        own, theirs = judged.merit(trial.best), judged.merit(trial.automaton_best)
        lead = judged.lead(self.rng.child("lead"))
        members, others = judged.members_merit(trial.members), judged.members_merit(trial.automaton)
        law = judged.calibration(judged.law_changes)
        ratio = self.trend.sum((1, 2)) / max(int(trial.quotas.sum()), 1)
        forbidden, closed = np.sum([self._broken(growth, maps) for growth, maps in self._drawn()], axis=0)
        off = max(
            off_total(growth.before, maps, quotas)
            for (growth, maps), quotas in zip(self._drawn(), self._quotas(), strict=True)
        )
        note = f"95 % over blocks: {lead.low:.3f} to {lead.high:.3f}"
        figures = [
            Figure("figure_of_merit", own),
            Figure("figure_of_merit_lead", lead.value, lead.standard_error, gate=Gate(low=0.0), note=note),
            Figure("cellular_automaton.figure_of_merit", theirs),
            Figure("random.figure_of_merit", judged.random_merit(self.rng.child("random"))),
            Figure("null.figure_of_merit", judged.merit(trial.pair.before)),
            Figure("members.figure_of_merit", members.value, members.standard_error),
            Figure("cellular_automaton.members.figure_of_merit", others.value, others.standard_error),
            Figure("calibration_error", law.value, law.standard_error, gate=Gate(high=0.03)),
            Figure("by_chance.calibration_error", judged.calibration_by_chance()),
            Figure("members.calibration_error", judged.calibration(judged.counted(trial.members)).value),
            Figure("cellular_automaton.calibration_error", judged.calibration(judged.counted(trial.automaton)).value),
            Figure("off_total", off, unit="cells", gate=Gate(high=0)),
            Figure("forbidden", float(forbidden), unit="cells", gate=Gate(high=0)),
            Figure("closed_changed", float(closed), unit="cells", gate=Gate(high=0)),
            Figure("trend.amount_over_observed", float(np.median(ratio))),
            Figure("trend.members.figure_of_merit", judged.merit(self.trend_maps)),
            Figure("trend.calibration_error", judged.calibration(judged.counted(self.trend_maps)).value),
        ]
        if self.city is not None:
            figures += self._against_truth(self.city)
        return figures

    def _against_truth(self, city: City) -> list[Figure]:
        """Errors of the stated probabilities where the true ones are known."""
        judged, trial = self.judged, self.judged.trial
        truth = city.truth(trial.pair.before > 0, RUNS, self.rng.child("truth"))
        laws = {"": judged.law_changes, "cellular_automaton.": judged.counted(trial.automaton)}
        figures = []
        for name, stated in laws.items():
            away = float(np.sqrt(np.mean((stated - truth)[judged.could] ** 2)))
            figures.append(Figure(f"{name}error_of_probability", away, gate=Gate(high=0.1) if not name else None))
        score = judged.score(truth, RUNS)
        figures.append(
            Figure("log_score_over_truth", judged.score(judged.law_changes, RUNS) / score, gate=Gate(high=1.15))
        )
        return figures

    def _told(self) -> dict[str, float | str | int]:
        found = self.found
        name, automaton = found.automaton
        low, high = np.quantile(self.trend.sum((1, 2)), [0.05, 0.95])
        return {
            "learner": found.recipe,
            "slopes": ", ".join(f"{slope:g}" for slope in sorted(set(found.slopes.tolist()))),
            "clustering": f"length {found.clustering.length:g} cells, share {found.clustering.share:g}",
            "automaton": f"{name}, {automaton.steps} step(s)",
            "observed_changes": int(self.judged.trial.quotas.sum()),
            "trend.amount": f"{low:.0f} to {high:.0f} cells (90 %)",
            "next_year": self._year,
            "next_changes": f"{int(np.median(self.quotas.sum((1, 2))))} cells (median)",
        }

    @property
    def _year(self) -> float:
        return self.land.years[-1] + (self.study.ahead or self.land.years[-1] - self.land.years[-2])

    def _drawn(self) -> list[tuple[Growth, Codes]]:
        """Every set of maps, with its law."""
        trial = self.judged.trial
        return [(trial.growth, trial.members), (trial.growth, self.trend_maps), (self.next, self.maps)]

    def _quotas(self) -> list[Codes]:
        trial = self.judged.trial
        return [np.stack([trial.quotas] * len(trial.members)), self.trend, self.quotas]

    def _broken(self, growth: Growth, maps: Codes) -> tuple[int, int]:
        return broken(growth.before, maps, growth.allowed, self.land.open)

    def _posterior(self) -> Draws:
        """Members of the map to come."""
        land = self.land
        names = Classes(tuple(land.name(code) for code in range(len(land.classes))))
        mask = None if land.known.all() else torch.from_numpy(land.known)
        space = replace(land.raster.space, name="land", unit="1", support=names, mask=mask)
        return Draws(space, torch.from_numpy(self.maps.clip(0)).to(torch.float32))

    def _change(self) -> Floats:
        """Probability of change until the map to come (y, x), NaN where unknown: ``posterior.probability``."""
        now = torch.from_numpy(self.next.before.clip(0))
        p = self._posterior().probability(lambda maps: maps != now)["probability"].to_numpy()
        return np.asarray(np.where(self.land.known, p, np.nan), np.float64)

    def _probability_raster(self) -> Raster:
        return self.land.raster.derived(f"probability of change until {self._year:g}", self._change()[None], "1")

    def _laws(self) -> pd.DataFrame:
        judged, trial = self.judged, self.judged.trial
        rows = [
            judged.row(self.found.recipe, trial.best, trial.members, judged.law_changes),
            judged.row("cellular automaton", trial.automaton_best, trial.automaton, judged.counted(trial.automaton)),
        ]
        return pd.DataFrame(rows)

    def _left_out(self) -> pd.DataFrame:
        found = self.found
        rows = [{"learner": name, "log score left out [nat]": score} for name, score in found.scores.items()]
        for (name, steps), merit in found.automata.items():
            rows.append({"learner": f"automaton: {name}, {steps} step(s)", "figure of merit when calibrated": merit})
        return pd.DataFrame(rows)

    def _transitions(self) -> pd.DataFrame:
        """Cells by class before and after: observed in the test, and drawn ahead."""
        rows = []
        for start, gained in np.argwhere(self.next.allowed):
            ahead = self.quotas[:, start, gained]
            low, middle, high = np.quantile(ahead, [0.05, 0.5, 0.95])
            rows.append(
                {
                    "from": self.land.name(int(start)),
                    "to": self.land.name(int(gained)),
                    "test [cells]": int(self.judged.trial.quotas[start, gained]),
                    "ahead, median [cells]": middle,
                    "ahead, 5 % [cells]": low,
                    "ahead, 95 % [cells]": high,
                }
            )
        return pd.DataFrame(rows)

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        judged, trial, land = self.judged, self.judged.trial, self.land
        pair, grid = trial.pair, land.raster.grid
        found = {
            title: draw.parts(pair.before, best, pair.after, pair.where)
            for title, best in (("this law", trial.best), ("cellular automaton", trial.automaton_best))
        }
        seen = {land.name(code): [int((one == code).sum()) for one in land.codes] for code in range(len(land.classes))}
        gained = np.flatnonzero(self.next.allowed.any(0))
        totals = {
            land.name(int(code)): (self._year, (self.maps == code).sum((1, 2)).astype(np.float64)) for code in gained
        }
        change = f"a cell changes until {land.years[-1]:g}"
        return {
            f"{land.years[-2]:g} to {land.years[-1]:g}: test": partial(maps_picture, self._test_panels(), grid),
            "Figure of merit: hits over all change, observed or foreseen": partial(draw.merit_picture, found, grid),
            "Stated and observed change": partial(reliability_picture, judged.curve(judged.law_changes), change),
            f"Drawn ahead, {self._year:g}": partial(maps_picture, self._ahead_panels(), grid),
            "Cells of each class": partial(draw.totals_picture, land.years, seen, totals),
        }

    def _shown(self, codes: Codes) -> Floats:
        """Stored numbers' positions, NaN where unknown."""
        return np.where(self.land.known, codes, np.nan)

    def _class_colours(self) -> Named:
        """The numbers of the maps given."""
        return Named("class", tuple(map(str, self.land.classes)))

    def _test_panels(self) -> Mapping[str, Panel]:
        trial, land = self.judged.trial, self.land
        classes = self._class_colours()
        chance = _chances(self.judged.law_changes)
        judged = partial(np.where, trial.pair.where)
        return {
            f"{land.years[-2]:g}": Panel(self._shown(trial.pair.before), classes),
            f"{land.years[-1]:g}, observed": Panel(self._shown(trial.pair.after), classes),
            "most probable, same amounts": Panel(self._shown(trial.best), classes),
            "one member": Panel(self._shown(trial.members[0]), classes),
            "probability": Panel(judged(self.judged.law_changes, np.nan), chance),
            "cellular automaton": Panel(judged(self.judged.counted(trial.automaton), np.nan), chance),
        }

    def _ahead_panels(self) -> Mapping[str, Panel]:
        land = self.land
        classes = self._class_colours()
        return {
            f"{land.years[-1]:g}": Panel(self._shown(land.codes[-1]), classes),
            f"one member, {self._year:g}": Panel(self._shown(self.maps[0]), classes),
            "probability": Panel(self._change(), _chances(self._change())),
        }


def _chances(p: Floats) -> Colours:
    """Up to the probability that one in two hundred of the cells with any exceeds."""
    some = p[p > 0]
    return Colours("probability of change", 0.0, float(np.quantile(some, 0.995)) if len(some) else 1.0)


def _amounts(study: Study, land: LandMaps, pairs: list[Pair], spans: list[float]) -> tuple[Floats, float]:
    """Changes (from, to) until the map to come, and the spread of their logarithm: the total asked for, or the trend.

    Raises:
        DataError: a total that cannot be met to the cell.
    """
    now, ahead = land.codes[-1], study.ahead or spans[-1]
    wanted = expected_quotas(pairs[-1], spans[-1], len(land.classes), now, ahead, land.open)
    if study.total is None:
        return wanted, rate_spread(pairs, spans)
    wanted = _scaled(wanted, study.total)
    room = np.bincount(now[land.open], minlength=len(land.classes))
    short = np.flatnonzero(wanted.sum(1) > room)
    if len(short):
        code = int(short[0])
        raise DataError(
            f"total={study.total}: {wanted[code].sum():.0f} cells of {land.name(code)} would change, and"
            f" {room[code]} are open to change in the last map; give a smaller total."
        )
    return wanted, 0.0


def _scaled(wanted: Floats, total: int) -> Floats:
    """Whole amounts in the same proportions that sum to ``total``.

    Raises:
        DataError: nothing is expected to change, so that nothing can be scaled.
    """
    if wanted.sum() == 0:
        if total:
            raise DataError("no class gains in the last maps; a total of changes has nowhere to go.")
        return wanted
    exact = wanted / wanted.sum() * total
    whole = np.floor(exact)
    rest = np.argsort(-(exact - whole), axis=None)[: int(total - whole.sum())]
    whole.ravel()[rest] += 1
    return np.asarray(whole)


def _write(raster: Raster, path: Path) -> None:
    write_raster(raster, path)
