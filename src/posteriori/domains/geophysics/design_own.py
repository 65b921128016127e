"""The order in which to visit a user's own candidate stations, with what has been measured already."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Report
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import DataError, OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.run import Context, digest
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.decide.next_observation import Ranking
from posteriori.domains.geophysics.design import Choice, Expected, Zone, regular
from posteriori.domains.geophysics.design_pictures import Curve, errors_picture, gain_picture
from posteriori.domains.geophysics.line_tables import Floats, LineStations, read_line
from posteriori.domains.study import Outcome
from posteriori.inference.exact import Exact
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.prism_mesh import mesh
from posteriori.physics.section_gravity import SectionGravity

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

GREEDY = "Krause, Singh & Guestrin (2008), Near-optimal sensor placements in Gaussian processes, JMLR 9, 235."
DEEPER = 10 / 3
"""Depth of the section over that of the zone's bottom."""
REACH = 10.0
"""How far beside the zone a station may stand, in depths of the section; gravity there says nothing of the zone."""
BEYOND = 2.0
"""How far the section goes on beyond zone and stations, in its depths."""
CELLS = (15, 200)
"""Cells down, and at most across; without the limit they are as wide as high."""


@dataclass(frozen=True)
class Ground:
    """What is to be known and believed beforehand: a zone, and densities that are a smooth Gaussian field.

    Attributes:
        zone: depths count from the lowest station. sd: [kg/m³]. length: [m] down, twice that across.
        depth: of the section [m]; None for 10/3 of the zone's bottom.
    """

    zone: Zone
    sd: float
    length: float
    depth: float | None

    def section(self, stations: list[LineStations]) -> Space:
        """Cells below the zone and all stations.

        Raises:
            DataError: a station lies outside the section.
            OptionError: a section that ends above the zone's bottom, or whose cells are wider than the zone.
        """
        zone, depth = self.zone, self.depth or DEEPER * self.zone.bottom
        if not depth > zone.bottom:
            raise OptionError(f"depth={depth:g} m ends above the bottom of the zone at {zone.bottom:g} m; go deeper.")
        first, last = zone.left - REACH * depth, zone.right + REACH * depth
        for table in stations:
            out = np.flatnonzero((table.x < first) | (table.x > last))
            if len(out):
                raise DataError(
                    f"{table.name}, line {table.line[out[0]]}: x = {table.x[out[0]]:g} m lies outside the section, "
                    f"{first:g} to {last:g} m about the zone at {zone.left:g} to {zone.right:g} m ({len(out)} such "
                    "stations); give left= and right= in the same coordinates, or leave out what is too far away."
                )
        x = np.concatenate([table.x for table in stations])
        west, east = min(zone.left, x.min()) - BEYOND * depth, max(zone.right, x.max()) + BEYOND * depth
        width = max(depth / CELLS[0], (east - west) / CELLS[1])
        if 2 * width > zone.right - zone.left or 2 * depth / CELLS[0] > zone.bottom - zone.top:
            raise OptionError(
                f"the zone {zone} is thinner than two cells, {depth / CELLS[0]:g} m high and {width:g} m wide; widen "
                "it, lower depth=, or leave out stations far from it."
            )
        columns = int(np.ceil((east - west) / width))
        return mesh("density", "kg/m^3", z=np.linspace(0, depth, CELLS[0] + 1), x=west + width * np.arange(columns + 1))

    def choice(self, candidates: LineStations, already: LineStations | None) -> Choice:
        """The candidates, and what is believed once the stations ``already`` there are read, whatever they read."""
        every = [candidates] if already is None else [candidates, already]
        space = self.section(every)
        lowest = min(float(table.height.min()) for table in every)
        prior = Smoothness(space, self.sd, {"z": self.length, "x": 2 * self.length}).requires_grad_(False)
        law = Gaussian(space, prior.location, DenseCovariance(prior.covariance.dense()))
        if already is not None:
            there = SectionGravity(space, already.x, already.height - lowest)
            blank = torch.zeros(len(already), dtype=torch.float64)
            law = Exact()(Inverse(there, law, blank, Normal(_sigma(already))), Context())
        offered = SectionGravity(space, candidates.x, candidates.height - lowest)
        return Choice(law, offered, self.zone.mean(space), _sigma(candidates))


def outcome(
    ground: Ground,
    stations: Path,
    already: Path | None,
    noise: float,
    count: int,
    budget: float | None,
) -> Outcome:
    """Read, rank, compare with stations spread evenly over the candidates."""
    candidates = _read(stations, noise, with_cost=True)
    there = None if already is None else _read(already, noise, with_cost=False)
    if there is not None:
        _refuse_measured(candidates, there)
    choice, cost = ground.choice(candidates, there), torch.from_numpy(candidates.columns["cost"])
    if budget is not None and budget < float(cost.min()):
        raise OptionError(f"budget={budget:g} buys no station, the cheapest costs {float(cost.min()):g}; raise it.")
    ranking = choice.ranking(min(count, len(candidates)), cost, inf if budget is None else budget)
    error = Expected.of(choice)
    order, whole = _order(candidates, ranking, error), _candidates(candidates, ranking)
    before = Expected.of(ground.choice(candidates, None)) if there is not None else error
    designed = order["zone sd left [kg/m^3]"].to_numpy(float)
    even = regular(len(candidates), len(ranking.chosen))
    figures = [
        Figure("zone_sd.before", sqrt(before(_none())), unit="kg/m³", note="of the zone's mean density"),
        Figure("zone_sd.already", sqrt(error(_none())), unit="kg/m³", note="with what is measured"),
        Figure("zone_sd.designed", float(designed[-1]), unit="kg/m³", note=f"expected, {len(designed)} stations"),
        Figure("zone_sd.even", sqrt(error(even)), unit="kg/m³", note=f"expected, {len(even)} spread over the list"),
        Figure("zone_sd.all", sqrt(error(torch.arange(len(candidates)))), unit="kg/m³", note="every candidate"),
        Figure("cost.designed", float(cost[ranking.chosen].sum())),
        Figure("cost.even", float(cost[even].sum())),
    ]
    report = Report(f"{len(designed)} of {len(candidates)} stations, in the order of gain per cost", tuple(figures))
    return Outcome(
        scores={figure.name: figure.value for figure in report},
        report=report,
        pictures={
            "What one station would tell about the zone, and the stations chosen": partial(
                gain_picture, choice, ground.zone, ranking, None if there is None else there.x
            ),
            "Error of the zone's mean density against the number of stations": partial(_curves, error, designed, whole),
        },
        tables={"order": order, "candidates": whole},
        data={table.name: digest(torch.from_numpy(table.x)) for table in (candidates, there) if table is not None},
        references=[*SectionGravity.references, GREEDY],
    )


def _read(path: Path, noise: float, with_cost: bool) -> LineStations:
    """A table in the order of x, with sigma [mGal] and, for candidates, costs of one each where it gives none."""
    optional = {"sigma": "mGal", "cost": ""} if with_cost else {"sigma": "mGal"}
    table = read_line(path, {}, optional).with_column("sigma", noise, "noise").with_column("cost", 1.0, "cost")
    return table.part(np.argsort(table.x, kind="stable"))


def _refuse_measured(candidates: LineStations, already: LineStations) -> None:
    there = set(zip(already.x.tolist(), already.height.tolist(), strict=True))
    for x, height, line in zip(candidates.x.tolist(), candidates.height.tolist(), candidates.line, strict=True):
        if (x, height) in there:
            raise DataError(
                f"{candidates.name}, line {line}: x = {x:g} m, height = {height:g} m is measured already, says "
                f"{already.name}; take it from one of them."
            )


def _sigma(stations: LineStations) -> Tensor:
    return torch.from_numpy(stations.columns["sigma"])


def _none() -> Tensor:
    return torch.tensor([], dtype=torch.int64)


def _order(candidates: LineStations, ranking: Ranking, error: Expected) -> pd.DataFrame:
    chosen = ranking.chosen.numpy()
    added, cost = ranking.added.numpy(), candidates.columns["cost"][chosen]
    left = [sqrt(error(ranking.chosen[: k + 1])) for k in range(len(chosen))]
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(chosen) + 1),
            "x [m]": candidates.x[chosen],
            "height [m]": candidates.height[chosen],
            "sigma [mGal]": candidates.columns["sigma"][chosen],
            "cost": cost,
            "expected gain [(kg/m^3)^2]": added,
            "expected gain per cost": added / cost,
            "cost so far": cost.cumsum(),
            "zone sd left [kg/m^3]": left,
            "line of the file": candidates.line[chosen],
        }
    )


def _candidates(candidates: LineStations, ranking: Ranking) -> pd.DataFrame:
    rank = pd.array([pd.NA] * len(candidates), dtype="Int64")
    for place, index in enumerate(ranking.chosen.tolist(), 1):
        rank[index] = place
    gain = ranking.gain.numpy()
    return pd.DataFrame(
        {
            "x [m]": candidates.x,
            "height [m]": candidates.height,
            "sigma [mGal]": candidates.columns["sigma"],
            "cost": candidates.columns["cost"],
            "expected gain alone [(kg/m^3)^2]": gain,
            "gain alone per cost": gain / candidates.columns["cost"],
            "rank": rank,
        }
    )


def _curves(error: Expected, designed: Floats, whole: pd.DataFrame) -> Picture:
    """The error that the first stations in order leave, beside as many spread evenly over the candidates."""
    sizes = np.arange(1, len(designed) + 1)
    even = np.array([sqrt(error(regular(len(whole), n))) for n in sizes.tolist()])
    curves = [Curve("in this order", sizes, designed), Curve("spread evenly over the candidates", sizes, even)]
    return errors_picture(curves, "stations", "error of the zone's mean density [kg/m³]")
