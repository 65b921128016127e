"""Susceptibilities below a magnetic survey, with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.calibration import credible_coverage
from posteriori.audit.repeats import credible
from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.scores import rms
from posteriori.core import memory
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.run import Context, references
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics import ubc
from posteriori.domains.geophysics.blocks import blocks_of, folds_of
from posteriori.domains.geophysics.geomagnetic_field import IGRF, geomagnetic_field
from posteriori.domains.geophysics.magnetic_pictures import map_pictures, section_picture
from posteriori.domains.geophysics.magnetic_survey import Survey, around, fine_mesh, read_survey, simulated, thinned
from posteriori.domains.geophysics.pictures import stations_picture
from posteriori.domains.geophysics.vtk import write_vtr
from posteriori.domains.picture import Colours
from posteriori.domains.study import Outcome
from posteriori.inference.exact import Exact
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.learn.depth import depth_scale
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.magnetics import Direction, Magnetics, Magnetised, ScatteredMagnetics

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

FIELD = (Direction(-62.0, -16.0), 28600.0)
"""The main field over the Bushveld, where the simulated survey is flown: steep upwards, west of north."""
POLE = Direction(90.0, 0.0)
FOLDS = 5
EXCESS = 0.3
"""First value of the error of the model itself, as a share of the errors of the data."""
SPREAD = 0.3
"""Standard deviation of the logarithms of strength and lengths before they are learnt. Anomalies hardly tell how far
bodies reach downwards: left alone, the evidence makes columns of them."""
SIMULATED = 200
"""Problems drawn from the learnt prior, over which the intervals of its cells are checked."""


@dataclass(frozen=True)
class Study:
    """A smooth susceptibility below each station, from total-field anomalies and a field of known direction.

    The prior is Gaussian: smooth, of a strength that grows with depth as the data's sight falls, its strength and
    lengths learnt by the evidence. It knows no sign, so that cells may come out negative where the data say little. One
    fifth of the stations, in whole blocks, is held out to measure what the intervals are worth, then all are used.
    """

    data: Path | None = None
    """CSV of stations: easting, northing [m] or longitude, latitude; height [m]; anomaly [nT]; sigma [nT] if known."""
    date: str | None = None
    """Date of the survey, such as 2015-07-01, for the direction and strength of the field by IGRF."""
    inclination: float | None = None
    """Of the field [degrees], downwards from the horizontal, in the place of a date."""
    declination: float | None = None
    """Of the field [degrees], eastwards from north, in the place of a date."""
    strength: float | None = None
    """Of the field [nT], in the place of a date."""
    koenigsberger: float = 0.0
    """Ratio of remanent to induced magnetisation, all cells alike."""
    remanent_inclination: float = 0.0
    """Of the remanent magnetisation [degrees], where there is one."""
    remanent_declination: float = 0.0
    """Of the remanent magnetisation [degrees], where there is one."""
    stations: int = 600
    """Number of simulated stations; of a file, the most that are used (means over blocks beyond)."""
    noise: float = 2.0
    """Standard deviation [nT] of simulated errors, and of a file's where it does not say."""
    cells: int = 24
    """Cells along the longer side of the survey."""
    layers: int = 12
    """Layers of cells, each a seventh thicker than that above."""
    weighting: float = 3.0
    """Power of the depth weighting, (z + z0)^(power / 2); 3 is how fast the data's sight falls, 0 is none."""
    depth: float | None = None
    """Of the bottom of the mesh [m]; none takes half of the longer side."""
    quick: bool = False
    """Coarser: half as many stations, cells and layers."""

    def __call__(self, context: Context) -> Outcome:
        """Read or simulate, learn the prior without the held-out stations, answer with all."""
        part = 2 if self.quick else 1
        if self.noise <= 0 or self.cells // part < 6 or self.layers // part < 3 or self.stations // part < 60:
            raise OptionError(
                f"noise={self.noise:g}, cells={self.cells}, layers={self.layers}, stations={self.stations}: noise "
                "above 0, from 6 cells, 3 layers and 60 stations (twice that with quick)."
            )
        if not 0 <= self.weighting <= 6 or self.koenigsberger < 0 or (self.depth is not None and self.depth <= 0):
            raise OptionError(
                f"weighting={self.weighting:g} lies in 0 to 6, koenigsberger={self.koenigsberger:g} is not negative, "
                f"depth={self.depth} m is positive."
            )
        if self.layers > 100:
            raise OptionError(f"layers={self.layers}, each a seventh thicker than that above; 100 are the most.")
        many = self.stations // part
        need = 8.0 * self.stations * self.layers * float(self.cells) ** 2
        memory.require(
            need,
            f"{self.cells} × {self.cells} × {self.layers} cells and {self.stations} stations",
            "take fewer cells, layers or stations",
        )
        if self.data is None:
            magnetised = self._magnetised(*FIELD)
            survey = simulated(magnetised, many, self.noise, context.rng.child("survey"))
        else:
            survey = thinned(read_survey(self.data), many)
            magnetised = self._magnetised(*self._field(survey))
        space = around(survey, self.cells // part, self.layers // part, self.depth)
        return _Findings.of(survey, space, magnetised, self, context).outcome()

    def _field(self, survey: Survey) -> tuple[Direction, float]:
        given = (self.inclination, self.declination, self.strength)
        if all(number is not None for number in given):
            return Direction(float(given[0] or 0), float(given[1] or 0)), float(given[2] or 0)
        if any(number is not None for number in given) or self.date is None or survey.middle is None:
            raise OptionError(
                "the direction of the field is needed: date= for a table of longitudes and latitudes, or inclination=, "
                "declination= and strength= together."
            )
        return geomagnetic_field(*survey.middle, float(survey.height.mean()), self.date)

    def _magnetised(self, field: Direction, strength: float) -> Magnetised:
        if self.koenigsberger == 0:
            return Magnetised(field, strength)
        remanence = Direction(self.remanent_inclination, self.remanent_declination)
        return Magnetised(field, strength, remanence, self.koenigsberger)


@dataclass(frozen=True)
class _Findings:
    """The survey, the level [nT] taken off it, what was learnt, and the posterior."""

    survey: Survey
    level: float
    posterior: Gaussian
    predicted: Gaussian
    pole: Gaussian
    held: tuple[Gaussian, Tensor, Tensor]
    figures: list[Figure]
    references: tuple[str, ...]

    @staticmethod
    def of(survey: Survey, space: Space, magnetised: Magnetised, study: Study, context: Context) -> _Findings:
        operator = ScatteredMagnetics(space, magnetised, survey.easting, survey.northing, survey.height)
        sigma = torch.from_numpy(np.full(len(survey), study.noise) if survey.sigma is None else survey.sigma)
        size = float(np.sqrt(np.ptp(survey.easting) * np.ptp(survey.northing)))
        blocks = blocks_of(survey.easting, survey.northing, size / 8)
        folds = torch.from_numpy(folds_of(blocks, FOLDS, context.rng.child("folds").numpy))
        known, held = torch.nonzero(folds != 0)[:, 0], torch.nonzero(folds == 0)[:, 0]
        # level and starting numbers too come from the stations that are not held out
        level = float(np.median(survey.anomaly[known.numpy()]))
        levelled = torch.from_numpy(survey.anomaly - level)
        seen = operator.select("station", known.numpy())
        assert isinstance(seen, ScatteredMagnetics)
        prior = _prior(seen, levelled[known], survey.part(known.numpy()), study.weighting)

        def question(index: Tensor, prior: Smoothness, excess: float) -> Inverse:
            return Inverse(
                operator.select("station", index.numpy()), prior, levelled[index], Normal(sigma[index], excess)
            )

        method = MarginalLikelihood(Exact(), steps=40, tolerance=0.1)
        fitted = method.fit(question(known, prior, EXCESS * float(sigma.mean())), context)
        assert isinstance(fitted, Inverse)
        assert isinstance(fitted.prior, Smoothness)
        assert isinstance(fitted.noise, Normal)
        assert fitted.noise.log_excess is not None
        excess = float(fitted.noise.log_excess.detach().exp())
        without = infer(fitted, Exact(), seed=context.rng.seed)
        whole = infer(question(torch.arange(len(survey)), fitted.prior, excess), Exact(), seed=context.rng.seed)
        assert isinstance(whole, Gaussian)
        unseen = without.map(operator.select("station", held.numpy()))
        assert isinstance(unseen, Gaussian)
        spread = (unseen.spread().square() + sigma[held].square() + excess**2).sqrt()
        predicted = whole.map(operator)
        assert isinstance(predicted, Gaussian)
        numbers = {k: float(v.detach()) for k, v in fitted.prior.field.spectrum.numbers.values().items()}  # type: ignore[operator, union-attr]
        figures = _figures(unseen.location, spread, levelled[held], torch.from_numpy(blocks)[held])
        figures += [Figure("model_error", excess, unit="nT", note="learnt, beside the errors of the data")]
        figures += [Figure(name, value, note="of the prior, learnt") for name, value in numbers.items()]
        found = credible(Exact(), fitted, SIMULATED, (0.9,), context.rng.child("coverage"), at_once=50)
        figures += [replace(found["coverage90"], name="simulated.coverage90", gate=Gate(0.88, 0.92))]
        pole = _at_pole(survey, magnetised, whole)
        figures += [*_against_truth(survey, whole), *_pole_against_truth(survey, magnetised, pole)]
        cited = (*references(method, prior, operator), *((IGRF,) if study.date else ()))
        return _Findings(survey, level, whole, predicted, pole, (unseen, spread, held), figures, cited)

    def outcome(self) -> Outcome:
        space = self.posterior.space
        report = Report(f"Susceptibility below {len(self.survey)} stations", tuple(self.figures))
        section = self._section()
        row = Selection.along(space, "y", space.labels("y")[section : section + 1])
        middle = self.posterior.map(row)
        mean, spread = self.posterior.center(), self.posterior.spread()
        return Outcome(
            scores={figure.name: figure.value for figure in report},
            report=report,
            pictures=self._pictures(section),
            posterior=middle,
            tables={"stations": self._table()},
            files={
                "susceptibility.vtr": lambda p: write_vtr(p, space, {"mean": mean, "standard deviation": spread}),
                "mesh.msh": lambda p: ubc.write_mesh(p, space),
                "susceptibility.sus": lambda p: ubc.write_model(p, space, mean),
            },
            data=self.survey.hashes or {},
            references=self.references,
        )

    def _section(self) -> int:
        """The row of cells through the largest susceptibility."""
        return int(self.posterior.center().amax((0, 2)).argmax())

    def _table(self) -> pd.DataFrame:
        survey = self.survey
        return pd.DataFrame(
            {
                "easting [m]": survey.easting.round(1),
                "northing [m]": survey.northing.round(1),
                "height [m]": survey.height.round(1),
                "anomaly [nT]": survey.anomaly.round(3),
                "predicted [nT]": (self.predicted.center().numpy() + self.level).round(3),
                "sd [nT]": self.predicted.spread().numpy().round(3),
            }
        )

    def _pictures(self, section: int) -> dict[str, Callable[[], Picture]]:
        survey, (unseen, spread, held) = self.survey, self.held
        observed = survey.anomaly - self.level
        left = observed - self.predicted.center().numpy()
        score = (torch.from_numpy(observed)[held] - unseen.location) / spread
        anomaly = Colours("total-field anomaly [nT]", centred=True)
        small = Colours("residual [nT]", centred=True)
        return {
            "Anomaly at the stations, less their level, and what the posterior mean leaves of it": lambda: (
                stations_picture(
                    {"observed": observed, "residual": left},
                    survey.easting,
                    survey.northing,
                    {"observed": anomaly, "residual": small},
                )
            ),
            "Held-out blocks: error over predicted standard deviation": lambda: stations_picture(
                {"held-out stations": score.numpy()},
                survey.easting[held.numpy()],
                survey.northing[held.numpy()],
                Colours("(measured - predicted) / sd", -3.0, 3.0, centred=True),
            ),
            "Section through the largest susceptibility": partial(section_picture, self.posterior, section, survey),
            "The anomaly reduced to the pole, by the posterior": partial(map_pictures, self.pole, survey),
        }


def _at_pole(survey: Survey, magnetised: Magnetised, posterior: Gaussian) -> Gaussian:
    """The anomaly on a level grid above the cells, as it would be with field and magnetisation vertical."""
    upright = Magnetised(POLE, magnetised.intensity)
    found = posterior.map(Magnetics(posterior.space, upright, height=float(np.median(survey.height))))
    assert isinstance(found, Gaussian)
    return found


def _prior(operator: ScatteredMagnetics, data: Tensor, survey: Survey, power: float) -> Smoothness:
    """Under which the data are as large as they are; its numbers are where learning starts."""
    space = operator.domain
    z = space.labels("z")
    above = float(np.median(survey.height)) + float(z[0])
    width = float(np.diff(space.labels("x")).mean())
    scale = depth_scale(space, max(above - float(z[0]), 0.25 * width) + 0.5 * width, power)
    lengths = {"z": 2 * width, "y": 2 * width, "x": 2 * width}
    unit = Smoothness(space, 1.0, lengths, scale=scale, spread=SPREAD)
    some = operator.select("station", operator.codomain.labels("station")[:: max(1, len(survey) // 50)])
    with torch.no_grad():
        size = float(unit.covariance.under(some).diagonal().mean().sqrt())
    return Smoothness(space, float(data.std()) / size, lengths, scale=scale, spread=SPREAD)


def _figures(mean: Tensor, spread: Tensor, truth: Tensor, blocks: Tensor) -> list[Figure]:
    found = []
    for level in (0.5, 0.9):
        z = float(torch.special.ndtri(torch.tensor(0.5 + level / 2, dtype=torch.float64)))
        covered = credible_coverage(mean - z * spread, mean + z * spread, truth, level, blocks)
        note = f"of {covered.cases} stations held out in blocks"
        gate = Gate(0.8, 1.0) if level == 0.9 else None
        found.append(Figure(f"coverage{100 * level:.0f}", covered.value, covered.standard_error, gate=gate, note=note))
    error = rms(mean - truth, blocks)
    share = error.value / float(truth.std())
    return [
        Figure("rmse", error.value, error.standard_error, unit="nT", note="of held-out stations"),
        Figure("rmse_share", share, note="of the scatter of the held-out stations"),
        *found,
    ]


def _against_truth(survey: Survey, posterior: Gaussian) -> list[Figure]:
    """Where the truth is known: error and coverage of the cells."""
    if survey.truth is None:
        return []
    truth = survey.truth(posterior.space)
    mean, spread = posterior.center(), posterior.spread()
    z = float(torch.special.ndtri(torch.tensor(0.95, dtype=torch.float64)))
    inside = ((truth - mean).abs() <= z * spread).double()
    bright = truth > 0.25 * truth.max()
    correlation = torch.corrcoef(torch.stack([mean.flatten(), truth.flatten()]))[0, 1]
    note = "of one body that is no draw of the prior"
    return [
        Figure("model.rmse", float((mean - truth).square().mean().sqrt()), unit="SI", note=note),
        Figure("model.correlation", float(correlation), note=note),
        Figure("model.coverage90", float(inside.mean()), note="share of cells"),
        Figure("model.coverage90_bodies", float(inside[bright].mean()), note="share of the cells within the bodies"),
    ]


def _pole_against_truth(survey: Survey, magnetised: Magnetised, pole: Gaussian) -> list[Figure]:
    """Where the truth is known: error and coverage of the anomaly at the pole, at the grid points between stations."""
    if survey.truth is None:
        return []
    fine, space = fine_mesh(), pole.space
    y, x = (a.ravel() for a in np.meshgrid(space.labels("y"), space.labels("x"), indexing="ij"))
    within = (np.abs(x - np.mean(survey.easting)) < 0.5 * np.ptp(survey.easting)) & (
        np.abs(y - np.mean(survey.northing)) < 0.5 * np.ptp(survey.northing)
    )
    upright, height = Magnetised(POLE, magnetised.intensity), float(np.median(survey.height))
    truth = ScatteredMagnetics(fine, upright, x[within], y[within], height, keep=False)(survey.truth(fine))
    mean, spread = (space.flat(t)[torch.from_numpy(within)] for t in (pole.center(), pole.spread()))
    level = float(torch.special.ndtri(torch.tensor(0.95, dtype=torch.float64)))
    shift = (mean - truth).median()  # the data say nothing of a constant: a level was taken off
    inside = ((truth - mean + shift).abs() <= level * spread).double()
    note = "of the anomaly at the pole within the survey, constant apart"
    error = (mean - truth - shift).square().mean().sqrt()
    return [
        Figure("pole.rmse", float(error), unit="nT", note=note),
        Figure("pole.rmse_share", float(error / truth.std()), note=note),
        Figure("pole.coverage90", float(inside.mean()), note=note),
    ]
