"""Rain some minutes ahead: members that hang together, and the probability of exceeding thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from posteriori.audit.rasters.bootstrap import Interval
from posteriori.audit.reliability import reliability_curve
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.core.run import Context, digest
from posteriori.domains.geography import rain_pictures as draw
from posteriori.domains.geography.forecast_pictures import ranks_picture
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.geography.rain_choice import OURS
from posteriori.domains.geography.rain_contest import CARRIED, KEPT, STEPS, Contest, wet_starts
from posteriori.domains.geography.rain_data import MadeUpRain, Rain, made_up, rain_of
from posteriori.domains.geography.rain_scores import WIDTHS, RainScores, reaches
from posteriori.domains.geography.raster import read_raster, write_rasters
from posteriori.domains.geography.steps import WET, Steps
from posteriori.domains.picture import Colours, reliability_picture
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

SHARE = 0.44
"""Of the frames, from the first on, that are learnt from where none is given."""
EXACT = "exact law"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """Radar rain some minutes ahead, held against persistence, rain carried along its motion, and STEPS.

    Members come from STEPS, its spectrum fitted to the past, and from a censored Gaussian law learnt
    about the rain carried along; the mixture is chosen on stretches of the past that are left out in turn. Without data
    the rain is made up, its motion and law known.
    """

    data: Path | None = None
    """Frames at even times (NetCDF, Zarr), also a pattern such as 'radar/*.nc'; none makes rain up."""
    variable: str | None = None
    """Which variable of the file, where it holds several."""
    lead: float = 30.0
    """How far ahead [min]."""
    thresholds: tuple[float, ...] = (1.0, 5.0)
    """Rain [mm in a frame] whose exceedance is forecast; the first is that of the skill scores."""
    average: int = 0
    """Cells along each side of the blocks that are averaged first; none for 128 blocks a side or fewer."""
    members: int = 20
    """Of each ensemble."""
    last_train: int | None = None
    """Last frame learnt from, counted from 0; none for 44 % of all."""
    gap: int = 2
    """Frames between what is learnt from and what a tested forecast sees."""
    block: int = 4
    """Frames that go together when scores are resampled."""
    quick: bool = False
    """Tests every third frame only."""

    def __post_init__(self) -> None:
        if not self.lead > 0:
            raise OptionError(f"lead={self.lead:g} must be a positive number of minutes.")
        if not self.thresholds or not all(level > 0 for level in self.thresholds):
            raise OptionError(f"thresholds={self.thresholds} must be positive depths of rain [mm].")
        if not 8 <= self.members <= 200 or self.average < 0 or self.gap < 0 or self.block < 1:
            raise OptionError(
                f"members={self.members}, average={self.average}, gap={self.gap}, block={self.block}: 8 to 200 members,"
                " no negative numbers, blocks of a frame or more."
            )

    def __call__(self, context: Context) -> Outcome:
        """Learn on the past, forecast the later frames, judge."""
        scores: Floats | None = None
        if self.data is None:
            raster, scores = made_up(context.rng.child("rain"))
        else:
            raster = read_raster(self.data, self.variable)
        rain = rain_of(raster, self.average or max(1, min(raster.grid.shape) // 128))
        ahead = round(self.lead / rain.minutes)
        if ahead < 1 or abs(ahead * rain.minutes - self.lead) > 1e-6:
            raise OptionError(f"lead={self.lead:g} min is no whole number of frames of {rain.minutes:g} min.")
        last = self.last_train if self.last_train is not None else int(SHARE * len(rain.fields)) - 1
        if not 0 <= last < len(rain.fields):
            raise OptionError(f"last_train={last}: the frames are counted from 0 to {len(rain.fields) - 1}.")
        starts = wet_starts(rain, range(last + self.gap + 3, len(rain.fields) - ahead))
        starts = starts[:: 3 if self.quick else 1]
        if len({(start - starts[0]) // self.block for start in starts}) < 3:
            raise DataError(f"{len(starts)} wet frame(s) to forecast from; three stretches of {self.block} are needed.")
        exact = {} if scores is None else {EXACT: partial(_exact, scores, ahead, self.members, context)}
        contest = Contest.learnt(rain, last, ahead, self.thresholds[0], self.members, context.rng.child("learn"))
        judged = contest.judged(starts, self.thresholds, self.block, context.rng.child("test"), exact)
        return _Findings(self, raster, rain, contest, starts, judged, context).outcome()


@dataclass(frozen=True, eq=False)
class _Findings:
    """All that was learnt and measured."""

    study: Study
    raster: Raster
    rain: Rain
    contest: Contest
    starts: list[int]
    judged: RainScores
    context: Context

    def outcome(self) -> Outcome:
        report = Report(f"Rain {self.study.lead:g} min ahead", tuple(self._figures()))
        return Outcome(
            scores={**{figure.name: figure.value for figure in report}, **self._told()},
            report=report,
            pictures=self._pictures(),
            posterior=self.ahead,
            tables={"forecasts": self._table(), "left_out": self._left_out()},
            files={"forecast.nc": self._write},
            data={self.raster.name: digest(torch.from_numpy(self.rain.fields))},
            references=Steps.references,
        )

    def _figures(self) -> list[Figure]:
        judged, level = self.judged, self.study.thresholds[0]
        figures = [Figure("crps", float(judged.crps[OURS].mean()), unit="mm")]
        for name, rival, gate in (
            ("steps", STEPS, Gate(high=1.0)),
            ("carried", CARRIED, Gate(high=1.0)),
            ("persistence", KEPT, Gate(high=1.0)),
            ("exact", EXACT, None),
        ):
            if rival in judged.forecasts:
                figures.append(_figure(f"crps_over_{name}", judged.ratio(OURS, rival), gate))
        for width in (1, 5, 11):
            gain = judged.skill_gain(OURS, STEPS, level, width)
            figures.append(_figure(f"fss_gain_{width}", gain, Gate(low=0.0) if width == 1 else None))
        for name, key in ((OURS, ""), (STEPS, "steps.")):
            ratio = judged.spectrum_ratio(name)
            figures.append(Figure(f"{key}psd_low", float(ratio.min())))
            figures.append(Figure(f"{key}psd_high", float(ratio.max())))
            figures.append(Figure(f"{key}rank_unevenness", judged.unevenness(name)))
            figures.append(Figure(f"{key}outer_ranks", judged.outer(name)))
        return figures

    def _told(self) -> dict[str, float | str | int]:
        """What was chosen, and how the rivals did."""
        judged, choice = self.judged, self.contest.choice
        told: dict[str, float | str | int] = {
            f"{name.replace(' ', '_')}.crps": float(found.mean()) for name, found in judged.crps.items() if name != OURS
        }
        for level in self.study.thresholds:
            for name, key in ((OURS, ""), (STEPS, "steps.")):
                told[f"{key}brier_{level:g}"] = float(judged.brier(name, level).mean())
        first, last = (str(self.rain.times[at])[:16] for at in (self.starts[0], self.starts[-1]))
        return told | {
            "share_learnt": choice.share,
            "gains": ", ".join(f"{gain:.2f}" for gain in choice.steps.gains),
            "texture": f"{choice.law.length:g} cells, slope {choice.law.slope:g}",
            "cell_km": self.rain.cell,
            "cases": len(self.starts),
            "tested": f"forecasts made {first} to {last}",
            "cells_counted": float(judged.mask.double().mean()),
        }

    def _table(self) -> pd.DataFrame:
        judged, rows = self.judged, []
        for name, crps in judged.crps.items():
            row: dict[str, str | float] = {"forecast": name, "CRPS [mm]": float(crps.mean())}
            for width in WIDTHS:
                row[f"FSS at {width * self.rain.cell:g} km [1]"] = judged.skill(name, self.study.thresholds[0], width)
            for level in self.study.thresholds:
                row[f"Brier above {level:g} mm"] = float(judged.brier(name, level).mean())
            ratio = judged.spectrum_ratio(name)
            row["lowest power over truth's"], row["highest"] = float(ratio.min()), float(ratio.max())
            if len(judged.forecasts[name].values) > 1:
                row["unevenness of ranks"], row["outer ranks"] = judged.unevenness(name), judged.outer(name)
            rows.append(row)
        return pd.DataFrame(rows)

    def _left_out(self) -> pd.DataFrame:
        level = self.study.thresholds[0]
        names = ("CRPS left out [mm]", f"FSS at {level:g} mm [1]", "lowest power over truth's", "highest")
        rows = [(one.name, one.crps, one.skill, one.low, one.high) for one in self.contest.choice.tried]
        return pd.DataFrame(rows, columns=["tried", *names])

    @cached_property
    def ahead(self) -> Draws:
        """The members one lead after the last frame."""
        return self.contest.posterior(len(self.rain.fields) - 1, self.context.rng.child("ahead"))

    def _write(self, path: Path) -> None:
        """Mean, spread, probabilities and members one lead after the last frame, gaps where rain comes from outside."""
        posterior, gap = self.ahead, float("nan")
        members, mask = posterior.values.numpy(), posterior.space.mask
        assert mask is not None
        then = self.rain.times[-1] + np.timedelta64(round(60 * self.study.lead), "s")
        layers, grid, known = Layers.at(np.array([then])), self.rain.grid, mask.numpy()
        found = {"rain_mean": members.mean(0), "rain_std": members.std(0, ddof=1)}
        found |= {f"rain_member_{at}": member for at, member in enumerate(members)}
        rasters = [
            Raster(name, np.where(known, field, gap)[None], grid, "mm", Kind.NON_NEGATIVE, gap, layers=layers)
            for name, field in found.items()
        ]
        for level in self.study.thresholds:
            chance = np.where(known, posterior.probability(reaches(level))["probability"], gap)
            rasters.append(Raster(f"rain_above_{level:g}", chance[None], grid, "1", nodata=gap, layers=layers))
        write_rasters(rasters, path)

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        judged, level, members = self.judged, self.study.thresholds[0], self.study.members
        ensembles = [name for name, found in judged.forecasts.items() if len(found.values) > 1]
        lengths = self.rain.cell / judged.rings.centre.numpy()
        powers = {"truth": judged.spectrum(judged.truth)}
        powers |= {name: judged.spectrum(judged.forecasts[name].values) for name in (*ensembles, CARRIED)}
        skills = {
            name: [judged.skill(name, level, width) for width in WIDTHS] for name in judged.forecasts if name != EXACT
        }
        pictures: dict[str, Callable[[], Picture]] = {
            f"One forecast {self.study.lead:g} min ahead beside what came": partial(
                maps_picture, self._panels(), self.rain.grid, 4
            ),
            "Where truths fall among the members, where one of them is wet": partial(
                ranks_picture, {name: judged.ranks(name) for name in ensembles}, members
            ),
            "Power by wavelength": partial(draw.spectra_picture, lengths, powers),
            "Skill by scale": partial(draw.scales_picture, [w * self.rain.cell for w in WIDTHS], skills, level),
        }
        for threshold in self.study.thresholds:
            truth = (judged.truth >= threshold)[judged.mask].double()
            curve = reliability_curve(judged.chances[OURS, threshold][judged.mask], truth)
            event = f"rain reaches {threshold:g} mm"
            pictures[f"Stated and observed: {event}"] = partial(reliability_picture, curve, event)
        return pictures

    def _panels(self) -> dict[str, Panel]:
        """The case whose score is the median one."""
        judged = self.judged
        at = int(judged.crps[OURS].argsort()[len(self.starts) // 2])
        start, mask = self.starts[at], judged.mask[at].numpy()
        rain, chance = Colours("rain [mm], dry at the foot", WET, 10.0, log=True), Colours("probability", 0.0, 1.0)

        def wet(field: Floats, known: NDArray[np.bool_] = mask) -> Floats:
            return np.where(known, np.maximum(field, WET), np.nan)

        ours, steps, along = (judged.forecasts[name].values[:, at].numpy() for name in (OURS, STEPS, CARRIED))
        panels = {
            f"at hand, {str(self.rain.times[start])[11:16]}": Panel(
                wet(self.rain.fields[start], self.rain.known[start]), rain
            ),
            f"truth {self.study.lead:g} min later": Panel(wet(judged.truth[at].numpy()), rain),
            "carried along": Panel(wet(along[0]), rain),
            "forecast: mean": Panel(wet(ours.mean(0)), rain),
            "one member": Panel(wet(ours[0]), rain),
            "another member": Panel(wet(ours[-1]), rain),
            "a member of STEPS": Panel(wet(steps[0]), rain),
        }
        for level in self.study.thresholds:
            panels[f"reaches {level:g} mm"] = Panel(np.where(mask, judged.chances[OURS, level][at], np.nan), chance)
        return panels


def _figure(name: str, found: Interval, gate: Gate | None) -> Figure:
    note = f"95 %: {found.low:.3f} to {found.high:.3f}"
    return Figure(name, found.value, found.standard_error, gate=gate, note=note)


def _exact(scores: Floats, ahead: int, members: int, context: Context, start: int) -> Floats:
    """Members of the law that made the rain, given the whole field of scores at hand."""
    return MadeUpRain().ahead(scores[start], ahead, members, context.rng.child("exact", start))
