"""Temperature some hours ahead: fields with their spread, and the probability of exceeding thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.rasters.splits import time_blocks
from posteriori.audit.reliability import reliability_curve
from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.scores import brier
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.raster import Layers, Raster
from posteriori.core.run import Context, digest, references
from posteriori.domains.geography import forecast_pictures as draw
from posteriori.domains.geography.forecast_contest import (
    OURS,
    PERSISTENCE,
    Contest,
    Forecast,
    require_room,
)
from posteriori.domains.geography.forecast_question import (
    Spans,
    Unit,
    cases_of,
    require_crossed,
    series_of,
    split,
    usual_levels,
)
from posteriori.domains.geography.forecast_scores import Judged, cell_shares, exceedance
from posteriori.domains.geography.forecasting import LINEAR_INVERSE, RECENT_MEAN, Series, on_grid
from posteriori.domains.geography.maps import Panel, maps_picture
from posteriori.domains.geography.moving_weather import MovingWeather, over_the_dem
from posteriori.domains.geography.raster import read_raster, write_rasters
from posteriori.domains.geography.residual_trial import diffusion_over_gaussian
from posteriori.domains.picture import Colours, calibration_picture, reliability_picture
from posteriori.domains.study import Outcome
from posteriori.learn.linear_inverse_model import LinearInverseModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

HOURS = 600
"""Fields of the made-up weather."""
START = np.datetime64("2019-03-01T00:00:00")
EXACT = "exact law"
RANKS = 20
"""Members of the ensemble that the rank histogram is drawn for."""


@dataclass(frozen=True)
class Study:
    """Fields some time ahead from those at hand, held against persistence, a linear inverse model and the climate.

    Every cell's anomaly about the daily and yearly cycle is regressed on its surroundings with coefficients that all
    cells share; all such laws and simpler ones that stretches left out of the past cannot tell from the best are
    averaged. Without data the weather is made up over the elevation model that ships, and the exact law of its
    forecasts is known.
    """

    data: Path | None = None
    """Fields at even times (NetCDF, Zarr or GeoTIFF); none makes weather up over the elevation model that ships."""
    variable: str | None = None
    """Which variable of the file, where it holds several."""
    unit: Unit = "h"
    """Of lead, leads, last_train, first_test, gap and block: h, day, month or year of the data's calendar."""
    lead: float | None = None
    """How far ahead; none for 6 h, or one field where fields lie further apart."""
    leads: tuple[float, ...] | None = None
    """Further leads for the picture of skill; none for 3, 12 and 24 h, or two and four fields."""
    thresholds: tuple[float, ...] = ()
    """Levels [unit of the data] whose exceedance is forecast; none for the 10 % and 90 % points of the past."""
    last_train: float | None = None
    """Last time learnt from, counted from the first field; none for 72 % of all."""
    first_test: float | None = None
    """First time forecast from, none for the first beyond the gap."""
    gap: float | None = None
    """Between what is learnt from and what is tested or left out; none for 40 h, or twelve fields if that is more."""
    folds: int = 4
    """Stretches of the past that are left out in turn."""
    block: float | None = None
    """That goes together when scores are resampled; none for 24 h, or twelve fields if that is more."""
    draws: int = 200
    """Draws of the joint law behind each probability."""
    diffusion: bool = False
    """Trains a diffusion model on what the Gaussian law misses and says whether that helps on a stretch left out."""
    quick: bool = False
    """No further leads, half the draws."""

    def __post_init__(self) -> None:
        for name in ("lead", "gap", "block"):
            given = getattr(self, name)
            if given is not None and not 0 < given < inf:
                raise OptionError(f"{name}={given:g} must be a positive number [{self.unit}].")
        if not all(0 < lead < inf for lead in self.leads or ()):
            given = ",".join(f"{lead:g}" for lead in self.leads or ())
            raise OptionError(f"leads={given} must be positive numbers [{self.unit}].")
        if len(set(self.thresholds)) < len(self.thresholds):
            given = ",".join(f"{level:.10g}" for level in self.thresholds)
            raise OptionError(f"thresholds={given} hold one twice; give each once.")
        if not 2 <= self.folds <= 20:
            raise OptionError(f"folds={self.folds} stretches left out in turn; give 2 to 20.")
        if not 50 <= self.draws <= 10_000:
            raise OptionError(f"draws={self.draws} behind each probability; give 50 to 10,000.")

    @property
    def drawn(self) -> int:
        """Draws behind each probability in this run."""
        return self.draws // 2 if self.quick else self.draws

    def __call__(self, context: Context) -> Outcome:
        """Learn on the past, forecast the later fields, judge."""
        weather: MovingWeather | None = None
        if self.data is None:
            weather, raster = _made_up(context)
        else:
            raster = read_raster(self.data, self.variable)
        return _Findings.of(self, raster, weather, context).outcome()


@dataclass(frozen=True, eq=False)
class _Findings:
    """All that was learnt and measured for one lead."""

    study: Study
    raster: Raster
    series: Series
    spans: Spans
    contest: Contest
    cases: Tensor
    judged: Judged
    posterior: Gaussian
    probabilities: Mapping[float, Tensor]
    by_lead: Mapping[float, Mapping[str, float]]
    diffusion: float | None

    @staticmethod
    def of(study: Study, raster: Raster, weather: MovingWeather | None, context: Context) -> _Findings:
        series = series_of(raster)
        require_crossed(study.thresholds, series, raster.unit)
        spans = Spans.of(series, study.unit, study.lead, study.leads, study.gap, study.block)
        within, test = split(series, spans, study.last_train, study.first_test)
        others = () if study.quick else tuple(lead for lead in spans.leads if lead != spans.lead)
        rng, by_lead = context.rng, {}
        space = replace(raster.space, mask=None if bool(series.mask.all()) else series.mask)
        require_room(space, study.folds)
        to_judge = {lead: cases_of(series, test, lead, spans) for lead in sorted((*others, spans.lead))}
        for lead, cases in context.progress(list(to_judge.items()), "leads"):
            contest = Contest.learnt(series, within, lead, study.folds, spans.gap, spans.block)
            forecasts = contest.forecasts(cases)
            if weather is not None:
                forecasts[EXACT] = _exact(weather, series, cases)
            blocks = time_blocks(series.hours[cases[:, 1]].numpy(), spans.block)
            truth = series.fields[cases[:, 1]]
            judged = Judged(forecasts, truth, cell_shares(raster.grid, series.mask), blocks, rng.child("scores"))
            by_lead[lead / spans.length] = {name: float(found.mean()) for name, found in judged.crps.items()}
            if lead == spans.lead:
                found = contest, cases, judged
        contest, cases, judged = found
        posterior = contest.posterior(space, judged.forecasts[OURS].mean)
        levels = study.thresholds or usual_levels(series.fields[within])
        probabilities = {
            level: exceedance(posterior, level, study.drawn, rng.child("exceedance", str(level))) for level in levels
        }
        ratio = diffusion_over_gaussian(contest.missed(), lambda x: x, context) if study.diffusion else None
        return _Findings(study, raster, series, spans, contest, cases, judged, posterior, probabilities, by_lead, ratio)

    def outcome(self) -> Outcome:
        report = Report(f"{self.raster.name} {self.spans.said(self.spans.lead)} ahead", tuple(self._figures()))
        return Outcome(
            scores={**{figure.name: figure.value for figure in report}, **self._told()},
            report=report,
            pictures=self._pictures(),
            posterior=self._ahead(),
            tables={"laws": self._laws(), "leads": self._leads(), "left_out": self._left_out()},
            files={"forecast.nc": self._write},
            data={self.raster.name: digest(torch.from_numpy(self.raster.values).nan_to_num(nan=0.0))},
            references=references(*self.contest.rivals.values()) + LinearInverseModel.references,
        )

    def _figures(self) -> list[Figure]:
        judged, unit = self.judged, self.raster.unit
        own, coverage, skill = judged.mean(judged.crps[OURS]), judged.mean(judged.coverage()), judged.spread_skill()
        slack = 0.03 + 2 * coverage.standard_error
        figures = [
            Figure("crps", own.value, own.standard_error, unit),
            Figure("rmse", float(judged.squares[OURS].mean().sqrt()), unit=unit),
            Figure("coverage90", coverage.value, coverage.standard_error, gate=Gate(0.9 - slack, 0.9 + slack)),
            Figure("spread_skill", skill.value, skill.standard_error),
        ]
        rivals = {"persistence": PERSISTENCE, "linear_inverse": self._inverse, "damped": "damped"}
        rivals |= {"climatology": "climatology", "recent_mean": RECENT_MEAN}
        for name, rival in ((name, rival) for name, rival in rivals.items() if rival in judged.crps):
            gate = Gate(high=1.0) if name in ("persistence", "linear_inverse") else None
            figures.append(self._over(f"crps_over_{name}", judged.crps[OURS], judged.crps[rival], gate))
        if EXACT in judged.forecasts:
            figures.append(self._over("crps_over_exact", judged.crps[OURS], judged.crps[EXACT], Gate(high=1.2)))
        for level, field in self.probabilities.items():
            own_brier = brier(field[:, self.series.mask], (judged.truth > level).double()) @ judged.weights
            climate = judged.brier("climatology", level)
            figures.append(self._over(f"brier_over_climatology_{level:.10g}", own_brier, climate, Gate(high=1.0)))
        return figures

    def _over(self, name: str, ours: Tensor, theirs: Tensor, gate: Gate | None) -> Figure:
        """A ratio of mean scores with its interval over resampled days."""
        ratio = self.judged.ratio(ours, theirs)
        note = f"{float(ours.mean()):.4g} against {float(theirs.mean()):.4g}; 95 %: {ratio.low:.3f} to {ratio.high:.3f}"
        return Figure(name, ratio.value, ratio.standard_error, gate=gate, note=note)

    @property
    def _inverse(self) -> str:
        """The linear inverse model, of either kind, with its own spread or a repaired one, that did best."""
        names = [name for name in self.judged.crps if name.startswith(LINEAR_INVERSE)]
        return min(names, key=lambda name: float(self.judged.crps[name].mean()))

    def _told(self) -> dict[str, float | str | int]:
        """What was chosen, and what the rivals scored."""
        judged, contest = self.judged, self.contest
        rivals = {name: float(found.mean()) for name, found in judged.crps.items() if name != OURS}
        return {
            **{f"{name.replace(', ', '.').replace(' ', '_')}.crps": value for name, value in rivals.items()},
            "cases": len(self.cases),
            "average_of": f"{len(contest.blend.members)} of {len(contest.standing)} laws",
            **{kind.replace(", ", ".").replace(" ", "_"): name for kind, name in contest.inverses.items()},
            "left_out.crps_over_linear_inverse": contest.left_out,
            "spread_factor": contest.blend.factor,
            **({} if self.diffusion is None else {"left_out.diffusion_over_gaussian": self.diffusion}),
            "thresholds": ", ".join(f"{level:.10g} {self.raster.unit}" for level in self.probabilities),
        }

    def _ahead(self) -> Gaussian:
        """The law of the field one lead after the last."""
        location = on_grid(self.contest.ahead_of(len(self.series.hours) - 1)[None], self.series.mask)[0]
        return Gaussian(self.posterior.space, location, self.posterior.covariance)

    def _write(self, path: Path) -> None:
        """Mean, spread and probabilities of the field one lead after the last, as rasters."""
        law = self._ahead()
        here = replace(self.raster.select([-1]), layers=self.raster.layers.after(self.spans.lead))
        name, mask = self.raster.name, self.series.mask
        found = {f"{name}_mean": law.center(), f"{name}_std": law.spread()}
        rasters = [here.derived(key, _defined(field, mask)[None]) for key, field in found.items()]
        for level in self.probabilities:
            chance = exceedance(law, level, self.study.drawn, self.judged.rng.child("ahead", str(level)))
            rasters.append(here.derived(f"{name}_above_{level:.10g}", _defined(chance, mask)[None], "1"))
        write_rasters(rasters, path)

    def _laws(self) -> pd.DataFrame:
        judged, unit = self.judged, self.raster.unit
        rows = []
        for name, found in judged.crps.items():
            row: dict[str, str | float] = {"law": name, f"CRPS [{unit}]": float(found.mean())}
            row[f"RMSE [{unit}]"] = float(judged.squares[name].mean().sqrt())
            row["coverage of 90 %"] = float(judged.coverage(name).mean())
            row["spread over skill"] = judged.spread_skill(name).value
            for level in self.probabilities:
                row[f"Brier above {level:.10g} {unit}"] = float(judged.brier(name, level).mean())
            rows.append(row)
        return pd.DataFrame(rows)

    def _leads(self) -> pd.DataFrame:
        unit, time = self.raster.unit, self.spans.unit
        rows = [{f"lead [{time}]": lead, **found} for lead, found in self.by_lead.items()]
        return pd.DataFrame(rows).rename(columns=lambda name: name if "[" in name else f"{name}: CRPS [{unit}]")

    def _left_out(self) -> pd.DataFrame:
        rows = [
            {
                "law": name,
                f"CRPS left out [{self.raster.unit}]": found.score,
                "behind the best": found.behind,
                "standard error": found.error,
                "in the average": not found.told,
            }
            for name, found in sorted(self.contest.standing.items(), key=lambda entry: entry[1].score)
        ]
        return pd.DataFrame(rows)

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        judged, lead = self.judged, self.spans.said(self.spans.lead)
        shown = [OURS, self._inverse, PERSISTENCE]
        pits = {name: judged.pit(name) for name in shown}
        pictures: dict[str, Callable[[], Picture]] = {
            f"One forecast {lead} ahead beside what came": partial(maps_picture, self._panels(), self.raster.grid),
            f"Where truths fall among {RANKS} members": partial(
                draw.ranks_picture, {name: (pit * (RANKS + 1)).long() for name, pit in pits.items()}, RANKS
            ),
            "Coverage of the central interval of every level": partial(
                calibration_picture, {name: pit.reshape(-1) for name, pit in pits.items()}
            ),
        }
        for level, field in self.probabilities.items():
            curve = reliability_curve(field[:, self.series.mask], (judged.truth > level).double())
            event = f"{self.raster.name} exceeds {level:.10g} {self.raster.unit}"
            pictures[f"Stated and observed: {event}"] = partial(reliability_picture, curve, event)
        if len(self.by_lead) > 1:
            leads = list(self.by_lead)
            scores = {name: [self.by_lead[h][name] for h in leads] for name in self.by_lead[leads[0]]}
            pictures["Scores by lead"] = partial(draw.skill_picture, leads, scores, self.raster.unit, self.spans.unit)
        return pictures

    def _panels(self) -> dict[str, Panel]:
        """The case whose score is the median one."""
        at = int(self.judged.crps[OURS].argsort()[len(self.cases) // 2])
        unit, mask = self.raster.unit, self.series.mask
        values, spread = Colours(f"{self.raster.name} [{unit}]"), Colours(f"standard deviation [{unit}]", 0.0)
        now, then = self.series.fields[self.cases[at]]
        since = float(self.series.hours[self.cases[at, 0]] - self.series.hours[0])
        one = Gaussian(self.posterior.space, self.posterior.location[at], self.posterior.covariance)
        members = one.sample(2, self.judged.rng.child("members"))
        on = partial(_defined, mask=mask)
        panels = {
            f"at hand, {self.spans.said(since)} after the first": Panel(on(on_grid(now[None], mask)[0]), values),
            f"truth {self.spans.said(self.spans.lead)} later": Panel(on(on_grid(then[None], mask)[0]), values),
            "forecast: mean": Panel(on(one.center()), values),
            "one member": Panel(on(members[0]), values),
            "another member": Panel(on(members[1]), values),
            "spread": Panel(on(one.spread()), spread),
        }
        error = on_grid((then - self.judged.forecasts[OURS].mean[at])[None], mask)[0]
        panels["truth less mean"] = Panel(on(error), Colours(f"error [{unit}]", centred=True))
        chance = Colours("probability", 0.0, 1.0)
        for level, field in self.probabilities.items():
            panels[f"above {level:.10g} {unit}"] = Panel(on(field[at]), chance)
        return panels


def _made_up(context: Context) -> tuple[MovingWeather, Raster]:
    weather, grid = over_the_dem()
    _, fields = weather.fields(HOURS, context.rng.child("weather"))
    layers = Layers.at(START + np.arange(HOURS) * np.timedelta64(1, "h"))
    stored = fields.reshape(HOURS, *grid.shape).numpy()
    return weather, Raster("temperature", stored, grid, "K", nodata=float("nan"), layers=layers)


def _exact(weather: MovingWeather, series: Series, cases: Tensor) -> Forecast:
    """The law that made the weather, given the whole field at hand."""
    carried, covariance = weather.forecast(int(cases[0, 1] - cases[0, 0]))
    now, then = cases.unbind(1)
    anomalies = series.fields[now] - weather.cycle(series.hours[now])
    mean = weather.cycle(series.hours[then]) + anomalies @ carried.mT
    return Forecast(mean, covariance.diagonal().sqrt())


def _defined(field: Tensor, mask: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A field with NaN where it is not defined."""
    return np.where(mask.numpy(), field.numpy(), np.nan)
