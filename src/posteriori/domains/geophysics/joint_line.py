"""First arrivals and gravity that were measured along one line: the section below, and what the data say of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np
import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.algebra import Dense
from posteriori.core.errors import DataError, OptionError
from posteriori.core.noise import Normal
from posteriori.core.operator import Compose
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.joint_prior import LinkedPrior
from posteriori.domains.geophysics.line_tables import Floats, LineStations
from posteriori.domains.geophysics.traveltime import Medium, between_nodes
from posteriori.domains.geophysics.traveltime_picks import Picks
from posteriori.physics.eikonal import Eikonal
from posteriori.physics.petrophysics import Gardner
from posteriori.physics.prism_mesh import borders, mesh
from posteriori.physics.section_gravity import SectionGravity

CELLS = (20, 60)
"""Cells of the section down, and across below the data; it goes on by its depth on both sides."""
DEPTH = 0.6
"""Depth of the section without a word of the user's, as a share of the widest offset."""
FASTER = 2.0
"""A fitted mean model rises up to this many times the largest offset over time: below the rays it is a guess."""
MOST = 12_000
"""Cells beyond which the section is refused."""
FEWEST = {"picks": 20, "stations": 10}
CLAMP = 4.0
"""Rays are traced through velocities within this factor of the mean model's."""


@dataclass(frozen=True)
class Part:
    """Data of one kind with errors of one: ``data`` = ``rows`` · (property - its mean) + e, e standard normal."""

    rows: Tensor
    data: Tensor


@dataclass(frozen=True)
class Line:
    """What was measured along a line, and the section below it.

    Attributes:
        picks: first arrivals, every live one with a sigma [s].
        stations: gravity with the columns anomaly and sigma [mGal].
        grid: cells of the section, a mesh of velocities.
        medium: the mean model, velocity rising with depth; its density is Gardner's.
        trend: degree of the regional trend of gravity, whose numbers the data alone decide; -1: none.
        fastest: where the mean model stops rising [m/s].
    """

    picks: Picks
    stations: LineStations
    grid: Space
    medium: Medium
    trend: int
    fastest: float = inf

    @cached_property
    def space(self) -> Space:
        """Velocity and density together."""
        density = Space("density", self.grid.coords, "kg/m^3", extra=self.grid.extra)
        return Space.of(velocity=self.grid, density=density)

    @cached_property
    def means(self) -> tuple[Tensor, Tensor]:
        """Velocity of the medium, and Gardner's density for it."""
        z = torch.from_numpy(self.grid.labels("z").astype(np.float64))
        velocity = self.medium(z).clamp_max(self.fastest)[:, None].expand(self.grid.shape).clone()
        return velocity, Gardner(self.grid)(velocity)

    @cached_property
    def times(self) -> Compose:
        """Velocities of the cells → first arrivals, marched on a grid twice as fine that reaches the borders."""
        nodes = {}
        for dim in ("z", "x"):
            edges = borders(self.grid, dim)
            nodes[dim] = np.linspace(edges[0], edges[-1], 2 * (len(edges) - 1) + 1)
        fine = Space("velocity", nodes, "m/s", Positive())
        sources, receivers = (torch.from_numpy(points) for points in (self.picks.sources, self.picks.receivers))
        march = Eikonal(fine, sources, receivers, torch.from_numpy(self.picks.live))
        return Compose(march, between_nodes(self.grid, fine))

    @cached_property
    def gravity(self) -> SectionGravity:
        """Densities of the cells → gravity; stations less than a cell below the top of the section stand on it."""
        top = -float(borders(self.grid, "z")[0])
        height = np.maximum(self.stations.height, top)
        return SectionGravity(self.space.parts[1], self.stations.x, height)

    @cached_property
    def powers(self) -> Tensor:
        """The trend's polynomials at the stations, (stations, degree + 1)."""
        x = torch.from_numpy(self.stations.x)
        at = 2 * (x - x.min()) / (x.max() - x.min()) - 1
        return torch.stack([at**k for k in range(self.trend + 1)], 1) if self.trend >= 0 else at.new_zeros(len(at), 0)

    def arrivals(self, velocity: Tensor) -> Tensor:
        """First arrivals [s] through the cells' velocities, flat over (source, receiver)."""
        with torch.no_grad():
            found: Tensor = self.times(self._traced(velocity)).flatten()
        return found

    def seismic(self, velocity: Tensor, picked: Tensor) -> Part:
        """The picks at flat positions ``picked``, linear about ``velocity``: a march a shot, a pass back a pick."""
        at, receivers = self._traced(velocity), len(self.picks.receivers)
        rows = []
        for source in (picked // receivers).unique().tolist():
            mine = picked[picked // receivers == source] % receivers
            units = torch.zeros(len(mine), 1, receivers, dtype=torch.float64)
            units[torch.arange(len(mine)), 0, mine] = 1.0
            several = at.expand(len(mine), *at.shape).contiguous()
            rows.append(self.times.select("source", [source]).vjp(several, units).flatten(1))
        matrix = torch.cat(rows)
        time, sigma = (torch.from_numpy(a).flatten()[picked] for a in (self.picks.time, self.picks.sigma))
        left = time - self.arrivals(at)[picked] + matrix @ (at - self.means[0]).flatten()
        return Part(matrix / sigma[:, None], left / sigma)

    def densities(self, index: Tensor) -> Part:
        """The stations ``index`` by their contrasts that no trend touches: any trend is equally likely beforehand."""
        anomaly, sigma = (torch.from_numpy(self.stations.columns[name])[index] for name in ("anomaly", "sigma"))
        free = torch.linalg.qr(self.powers[index] / sigma[:, None], mode="complete").Q[:, self.powers.shape[1] :]
        return Part(free.mT @ (self.gravity.matrix[index] / sigma[:, None]), free.mT @ (anomaly / sigma))

    def anomalies(self, density: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Anomaly [mGal] of the cells' densities at all stations, the trend that ``index`` ask for, and that trend."""
        body = self.gravity.matrix @ (density - self.means[1]).flatten()
        anomaly, sigma = (torch.from_numpy(self.stations.columns[name]) for name in ("anomaly", "sigma"))
        powers = self.powers / sigma[:, None]
        numbers = torch.linalg.lstsq(powers[index], ((anomaly - body) / sigma)[index][:, None]).solution[:, 0]
        trend = self.powers @ numbers if self.trend >= 0 else torch.zeros_like(body)
        return body + trend, trend

    def question(self, prior: LinkedPrior, seismic: Part, gravity: Part) -> Inverse:
        """What both kinds of data ask about velocity and density together."""
        matrix = torch.block_diag(seismic.rows, gravity.rows)
        data = Space("data", {"datum": len(matrix)})
        operator = Dense(self.space, data, matrix, -(matrix @ prior.location.flatten()))
        return Inverse(operator, prior, torch.cat([seismic.data, gravity.data]), Normal(1.0))

    def _traced(self, velocity: Tensor) -> Tensor:
        mean = self.means[0]
        return velocity.reshape(mean.shape).clamp(mean / CLAMP, CLAMP * mean)


def section(picks: Picks, stations: LineStations, cell: float | None, depth: float | None) -> Space:
    """Cells below all shots, receivers and stations, ``cell`` [m] wide, ``depth`` [m] deep, on by that on both sides.

    Raises:
        DataError: too few data, two lines that do not overlap, or stations far below the highest shot or receiver.
        OptionError: a depth above the deepest position, or cells without number.
    """
    live = int(picks.live.sum())
    for name, many in (("picks", live), ("stations", len(stations))):
        if many < FEWEST[name]:
            raise DataError(f"there are {many} {name}; a section with a held-out check needs {FEWEST[name]} or more.")
    memory.require(6.0 * 8 * live**2, f"the covariance of {live} picks", "give spread= or thin the picks")
    ends = np.concatenate([picks.sources, picks.receivers])
    (top, left), (lowest, right) = ends.min(0), ends.max(0)
    if right < stations.x.min() or left > stations.x.max():
        raise DataError(
            f"the picks lie at {left:g} to {right:g} m, the stations of {stations.name} at {stations.x.min():g} to "
            f"{stations.x.max():g} m; x of both must count along one line from one zero."
        )
    bottom = depth if depth is not None else max(top + DEPTH * float(picks.offset[picks.live].max()), lowest)
    if not bottom > max(lowest, top):
        raise OptionError(f"depth={bottom:g} m is not below the deepest shot or receiver, {lowest:g} m; go deeper.")
    left, right = min(left, stations.x.min()), max(right, stations.x.max())
    width, high = cell or (right - left) / CELLS[1], (bottom - top) / CELLS[0]
    if (right - left + 2 * bottom - 2 * top) / width * CELLS[0] > MOST or width > 0.5 * (right - left):
        raise OptionError(
            f"cell={width:g} m does not suit a section of {right - left:g} m by {bottom - top:g} m; at most {MOST} "
            "cells, and two or more across."
        )
    sunk = np.flatnonzero(stations.height < -top - high)
    if len(sunk):
        raise DataError(
            f"{stations.name}, line {stations.line[sunk[0]]}: height {stations.height[sunk[0]]:g} m is more than a "
            f"cell below the top of the section at {-top:g} m, the highest shot or receiver ({len(sunk)} such "
            "stations): heights count upwards, depths downwards from one zero; "
            "shift all to one datum where relief is large."
        )
    beyond = int(np.ceil((bottom - top) / width))
    columns = int(np.ceil((right - left) / width)) + 2 * beyond
    return mesh(
        "velocity", "m/s", z=np.linspace(top, bottom, CELLS[0] + 1), x=left + width * (np.arange(columns + 1) - beyond)
    )


def limited(picks: Picks, spread: float | None, sigma: float | None) -> Picks:
    """The picks with offsets up to ``spread`` [m], shots and receivers without any left out.

    ``sigma`` [s] stands where the file gives none.

    Raises:
        DataError: a pick has no sigma.
    """
    time = picks.time if spread is None else np.where(picks.offset <= spread, picks.time, np.nan)
    errors: Floats = np.where(np.isfinite(picks.sigma), picks.sigma, np.nan if sigma is None else sigma)
    if not np.isfinite(errors[np.isfinite(time)]).all():
        raise DataError("some picks have no sigma; add the column sigma [ms], or give time_error= [s] for them.")
    shots, phones = (np.isfinite(time).any(axis) for axis in (1, 0))
    kept = np.ix_(shots, phones)
    return Picks(picks.sources[shots], picks.receivers[phones], time[kept], errors[kept])
