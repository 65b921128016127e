"""The study of a line with the user's own picks and gravity: what comes out, how well it fits, what it predicts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, digest
from posteriori.domains.geophysics.joint_line import FASTER, Line, limited, section
from posteriori.domains.geophysics.joint_line_fit import Fit, HeldOut, Wishes, every, fit, held_out
from posteriori.domains.geophysics.joint_line_pictures import anomaly_picture, line_picture, link_picture, residuals
from posteriori.domains.geophysics.joint_links import OverLinks
from posteriori.domains.geophysics.line_tables import read_line
from posteriori.domains.geophysics.traveltime import Medium
from posteriori.domains.geophysics.traveltime_picks import read_picks
from posteriori.domains.geophysics.traveltime_pictures import picks_picture, residuals_picture
from posteriori.domains.study import Outcome, Score
from posteriori.physics.eikonal import Eikonal
from posteriori.physics.petrophysics import Gardner
from posteriori.physics.section_gravity import SectionGravity

DRAWS = 100


@dataclass(frozen=True)
class Asked:
    """Options of the study that speak of the user's files, see there."""

    picks: Path
    gravity: Path
    spread: float | None
    depth: float | None
    cell: float | None
    surface: float | None
    gradient: float | None
    wishes: Wishes
    trend: int
    time_error: float | None
    gravity_error: float | None
    rounds: int | None

    def line(self) -> Line:
        """The files, and the section below them.

        Raises:
            DataError, UnitError, OptionError: files or options that cannot be used.
        """
        positive = {name: getattr(self, name) for name in ("spread", "cell", "surface", "time_error", "gravity_error")}
        positive |= {name: getattr(self.wishes, name) for name in ("velocity_sd", "density_sd", "length")}
        for name, value in positive.items():
            if value is not None and not value > 0:
                raise OptionError(f"{name}={value:g} must be positive.")
        if self.trend not in (-1, 0, 1, 2):
            raise OptionError(f"trend={self.trend} is none of -1 (no trend), 0, 1 and 2.")
        if (self.surface is None) != (self.gradient is None):
            raise OptionError("surface= and gradient= make the mean model together; give both, or neither.")
        picks = limited(read_picks(self.picks), self.spread, self.time_error)
        stations = read_line(self.gravity, {"anomaly": "mGal"}, {"sigma": "mGal"}).with_column(
            "sigma", self.gravity_error, "gravity_error"
        )
        grid = section(picks, stations, self.cell, self.depth)
        if self.surface is not None and self.gradient is not None:
            return Line(picks, stations, grid, Medium(self.surface, self.gradient), self.trend)
        live = picks.live
        fastest = FASTER * float((picks.offset[live] / picks.time[live]).max())
        return Line(picks, stations, grid, Medium.of(picks), self.trend, fastest)


def outcome(asked: Asked, context: Context) -> Outcome:
    """Read, invert alone and together, hold out, draw."""
    line = asked.line()
    found = fit(line, *every(line), asked.wishes, asked.rounds, context.child("all"))
    outs = held_out(line, asked.wishes, asked.rounds, context.child("held out"))
    figures = (*_fits(found), *_held(*outs), *_narrowed(found), *_told(found))
    scores: dict[str, Score] = {figure.name: figure.value for figure in figures}
    scores["link.probability"] = {f"{r:g}": float(w) for r, w in zip(found.strengths, found.weights, strict=True)}
    for name, out in zip(("picks", "stations"), outs, strict=True):
        scores[f"held_out.{name}.gain_ci"] = list(out.gain[1:])
    residual, sigma = residuals(found)
    picks, stations = line.picks, line.stations
    return Outcome(
        scores=scores,
        report=Report(f"{int(picks.live.sum())} first arrivals and {len(stations)} gravity stations", figures),
        pictures={
            "Velocity and density: each kind of data alone, and both": partial(line_picture, found),
            "How strong a link the data find": partial(link_picture, found),
            "Picked times and those of the joint mean": partial(picks_picture, picks, residual + picks.time),
            "Residuals of the picks in the joint mean": partial(residuals_picture, picks, residual, sigma),
            "Gravity along the line": partial(anomaly_picture, found),
        },
        posterior=Draws(line.space, found.joint.sample(DRAWS, context.rng.child("shown"))),
        tables={"section": _section(found), "stations": _stations(found, outs[1])},
        data={
            "picks": digest(torch.from_numpy(np.nan_to_num(picks.time))),
            "gravity": digest(torch.from_numpy(stations.columns["anomaly"])),
        },
        references=[*Eikonal.references, *SectionGravity.references, *Gardner.references, *OverLinks.references],
    )


def _fits(found: Fit) -> list[Figure]:
    """Root mean square of residuals over their errors; times are marched through each mean."""
    line, figures = found.line, []
    data = (torch.from_numpy(line.picks.time).flatten(), torch.from_numpy(line.stations.columns["anomaly"]))
    sigma = (torch.from_numpy(line.picks.sigma).flatten(), torch.from_numpy(line.stations.columns["sigma"]))
    for name, answer in (("joint", found.joint), ("alone", found.apart)):
        predicted = found.predicted(answer)
        for k, (kind, used) in enumerate((("picks", found.picked), ("stations", found.stations))):
            z = ((predicted[k] - data[k]) / sigma[k])[used]
            note = "near 1 where errors and prior are right" if name == "joint" else ""
            figures.append(Figure(f"residual.{kind}.{name}", float(z.square().mean().sqrt()), unit="σ", note=note))
    return figures


def _held(picks: HeldOut, stations: HeldOut) -> list[Figure]:
    figures = []
    for name, out, scale, unit in (("picks", picks, 1e3, "ms"), ("stations", stations, 1.0, "mGal")):
        for way, errors in (("joint", out.joint), ("alone", out.single)):
            rms = scale * float(errors.square().mean().sqrt())
            figures.append(Figure(f"held_out.{name}.{way}", rms, unit=unit, note=f"{len(errors)} left out"))
        value, low, high = out.gain
        figures.append(Figure(f"held_out.{name}.gain", value, (high - low) / 3.92, note="joint below alone, share"))
    return figures


def _narrowed(found: Fit) -> list[Figure]:
    """Share of the mean variance that the other kind of data takes off."""
    joint, apart = (found.line.space.split(a.spread().square()) for a in (found.joint, found.apart))
    return [
        Figure(f"narrowed.{name}", 1 - sqrt(float(joint[name].mean() / apart[name].mean())), note=note)
        for name, note in (("velocity", "s.d. below that of the picks alone"), ("density", "below gravity alone"))
    ]


def _told(found: Fit) -> list[Figure]:
    strengths = torch.tensor(found.strengths, dtype=torch.float64)
    velocity, density = found.scales.sigmas
    share = float((velocity / found.line.means[0]).mean())
    return [
        Figure("link.none", float(found.weights[found.strengths.index(0.0)]), note="probability of no link"),
        Figure("link.mean", float(found.weights @ strengths), note="correlation, mean after the data"),
        Figure("rays.moved", found.moved, unit="σ", note="by the last Gauss-Newton step"),
        Figure("prior.surface", found.line.medium.top, unit="m/s", note="mean velocity at depth 0"),
        Figure("prior.gradient", found.line.medium.slope, unit="1/s"),
        Figure("prior.fastest", float(found.line.means[0].max()), unit="m/s", note="mean velocity at the bottom"),
        Figure("prior.velocity_sd", share, note="share of the mean"),
        Figure("prior.density_sd", float(density.mean()), unit="kg/m³"),
        Figure("prior.length", found.scales.lengths["z"], unit="m", note="downwards"),
    ]


def _section(found: Fit) -> pd.DataFrame:
    z, x = np.meshgrid(*(found.line.grid.labels(dim).astype(float) for dim in ("z", "x")), indexing="ij")
    columns: dict[str, object] = {"z [m]": z.ravel(), "x [m]": x.ravel()}
    for way, answer in (("joint", found.joint), ("alone", found.apart)):
        mean, sd = (found.line.space.split(part) for part in (answer.center(), answer.spread()))
        for name, unit in (("velocity", "m/s"), ("density", "kg/m^3")):
            columns[f"{name} {way} [{unit}]"] = _rounded(mean[name])
            columns[f"{name} {way} sd [{unit}]"] = _rounded(sd[name])
    return pd.DataFrame(columns)


def _stations(found: Fit, out: HeldOut) -> pd.DataFrame:
    stations = found.line.stations
    unseen = torch.full((len(stations),), torch.nan, dtype=torch.float64)
    unseen[out.index] = out.joint + torch.from_numpy(stations.columns["anomaly"])[out.index]
    return pd.DataFrame(
        {
            "x [m]": stations.x,
            "height [m]": stations.height,
            "anomaly [mGal]": stations.columns["anomaly"],
            "sigma [mGal]": stations.columns["sigma"],
            "joint [mGal]": _rounded(found.predicted(found.joint)[1], 4),
            "alone [mGal]": _rounded(found.predicted(found.apart)[1], 4),
            "joint, held out [mGal]": _rounded(unseen, 4),
        }
    )


def _rounded(values: Tensor, places: int = 2) -> np.ndarray:
    shown: np.ndarray = values.flatten().numpy().round(places)
    return shown
