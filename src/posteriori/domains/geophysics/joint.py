"""Seismic first arrivals and gravity over one section: the survey, its random models, and the questions they ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from posteriori.core.algebra import Dense, Part, Stack
from posteriori.core.errors import OptionError
from posteriori.core.noise import Normal
from posteriori.core.operator import Compose
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.joint_prior import LinkedPrior
from posteriori.inference.exact import Exact
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.eikonal import Eikonal
from posteriori.physics.petrophysics import Gardner
from posteriori.physics.prism_mesh import mesh
from posteriori.physics.section_gravity import SectionGravity

WIDTH, DEPTH = 20_000.0, 4_000.0
CELL_X, CELL_Z = 500.0, 200.0
SURFACE, GRADIENT = 2000.0, 0.8
"""Velocity [m/s] at the surface and its rise [1/s] with depth, of the mean model."""
NEAREST = 300.0
"""Traces nearer to their shot [m] are muted: the direct wave tells of one cell alone."""


@dataclass(frozen=True)
class Survey:
    """A section 20 km long and 4 km deep, refraction seismics with a limited spread, gravity stations along it.

    Velocities scatter smoothly about a mean that rises with depth. Densities follow Gardner's curve, and leave it by
    ``scatter``, the share of their own standard deviation that the velocity does not explain.

    Args:
        spread: longest offset of a trace [m]; rays of 6 km turn at 1.4 km depth in the mean model.
        shot_spacing, receiver_spacing, station_spacing: along the line [m].
        time_error: of a pick [s].
        gravity_error: of a station [mGal].
        velocity_spread: standard deviation of the velocity, as a share of its mean.
        scatter: of the link, in (0, 1).
        lengths: correlation lengths of both fields, in z and x [m].
        deep: where "at depth" begins [m]: below every ray of the mean model.
    """

    spread: float = 6000.0
    shot_spacing: float = 1000.0
    receiver_spacing: float = 500.0
    station_spacing: float = 500.0
    time_error: float = 0.01
    gravity_error: float = 0.1
    velocity_spread: float = 0.08
    scatter: float = 0.3
    lengths: tuple[float, float] = (1000.0, 3000.0)
    deep: float = 1500.0

    def __post_init__(self) -> None:
        if not 0 < self.scatter < 1:
            raise OptionError(f"a scatter of {self.scatter:g} must lie in (0, 1): 0 is a law, 1 is no link.")
        if not NEAREST < self.spread <= WIDTH:
            raise OptionError(
                f"a longest offset of {self.spread:g} m must lie between {NEAREST:g} m and the section's {WIDTH:g} m."
            )
        positive = (self.time_error, self.gravity_error, self.velocity_spread, *self.lengths)
        if not min(positive) > 0:
            raise OptionError(
                f"errors {positive[:2]}, the velocity's spread and lengths {positive[2:]} must be positive."
            )
        if not 0 < self.deep < DEPTH:
            raise OptionError(f"deep={self.deep:g} must lie in the section, between 0 and {DEPTH:g} m.")

    @property
    def correlation(self) -> float:
        """Of velocity and density in a cell, where the link is true."""
        return float(np.sqrt(1 - self.scatter**2))

    @cached_property
    def grid(self) -> Space:
        """The cells of the section."""
        z, x = np.arange(0.0, DEPTH + 1, CELL_Z), np.arange(0.0, WIDTH + 1, CELL_X)
        return mesh("velocity", "m/s", z=z, x=x)

    @cached_property
    def space(self) -> Space:
        """Velocity and density together."""
        grid = self.grid
        density = Space("density", grid.coords, "kg/m^3", extra=grid.extra)
        return Space.of(velocity=grid, density=density)

    @cached_property
    def means(self) -> tuple[Tensor, Tensor]:
        """Mean velocity, rising with depth, and Gardner's density for it."""
        z = torch.from_numpy(self.grid.labels("z").astype(np.float64))
        velocity = (SURFACE + GRADIENT * z)[:, None].expand(self.grid.shape).clone()
        return velocity, Gardner(self.grid)(velocity)

    @cached_property
    def sigmas(self) -> tuple[Tensor, Tensor]:
        """Standard deviations: Gardner's slope is the regression of density on velocity, scatter comes on top."""
        velocity = self.velocity_spread * self.means[0]
        return velocity, Gardner(self.grid).slope(self.means[0]) * velocity / self.correlation

    def prior(self, correlation: float) -> LinkedPrior:
        """Both fields, so correlated in every cell."""
        lengths = dict(zip(("z", "x"), self.lengths, strict=True))
        return LinkedPrior(self.space, self.means, self.sigmas, lengths, correlation)

    @cached_property
    def seismic(self) -> Eikonal:
        """First arrivals [s] of every shot at receivers between 300 m and ``spread`` away."""
        depth = CELL_Z / 2
        shots = np.arange(self.shot_spacing / 2, WIDTH - depth, self.shot_spacing)
        receivers = np.arange(self.receiver_spacing / 2, WIDTH, self.receiver_spacing)
        offset = np.abs(shots[:, None] - receivers)
        mask = torch.from_numpy((offset >= NEAREST) & (offset <= self.spread))
        sources, ends = (torch.from_numpy(np.stack([np.full_like(at, depth), at], 1)) for at in (shots, receivers))
        return Eikonal(self.grid, sources, ends, mask)

    @cached_property
    def gravity(self) -> SectionGravity:
        """Gravity [mGal] of the densities' departures from their mean, stations one metre up."""
        return SectionGravity(
            self.space.parts[1], np.arange(self.station_spacing / 2, WIDTH, self.station_spacing), 1.0
        )

    @cached_property
    def picks(self) -> Tensor:
        """Flat positions of the traces that are picked."""
        mask = self.seismic.codomain.mask
        assert mask is not None
        return mask.flatten().nonzero()[:, 0]

    @property
    def deep_cells(self) -> Tensor:
        """Flat cells of one property that count as "at depth", booleans."""
        z = torch.from_numpy(self.grid.labels("z").astype(np.float64))
        return (z > self.deep)[:, None].expand(self.grid.shape).flatten()

    def operator(self) -> Stack:
        """Both methods on the joined unknown, nonlinear, gaps and all: for ``infer`` with any method."""
        return Stack(
            seismic=Compose(self.seismic, Part(self.space, "velocity")),
            gravity=Compose(self.gravity, Part(self.space, "density")),
        )

    def errors(self) -> Tensor:
        """Standard deviation of every datum of :meth:`operator`."""
        times = torch.full((self.seismic.codomain.size,), self.time_error, dtype=torch.float64)
        return torch.cat([times, torch.full((self.gravity.codomain.size,), self.gravity_error, dtype=torch.float64)])

    def simulate(self, models: int, correlation: float, rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
        """Random models (models, 2 cells), the times picked in them and their gravity, with errors."""
        truth = self.prior(correlation).sample(models, rng.child("models"))
        parts = self.space.split(truth)
        with torch.no_grad():
            times = self.seismic(parts["velocity"]).flatten(1)[:, self.picks]
            gravity = self.gravity(parts["density"])
        noise = [rng.child(name).normal(t.shape) for name, t in (("picks", times), ("stations", gravity))]
        return truth, times + self.time_error * noise[0], gravity + self.gravity_error * noise[1]


@dataclass(frozen=True)
class Observed:
    """One model's picks, linear about its own rays, and its gravity; either may be missing.

    Attributes:
        seismic: the tangent of the arrivals where the seismics alone put the velocities, and the times [s].
        gravity: at the stations [mGal].
    """

    seismic: tuple[Dense, Tensor] | None
    gravity: Tensor | None

    def question(self, survey: Survey, prior: LinkedPrior) -> Inverse:
        """What these data ask about velocity and density together."""
        empty = torch.zeros(0, survey.grid.size, dtype=torch.float64)
        none = torch.zeros(0, dtype=torch.float64)
        tangent, times = (None, none) if self.seismic is None else self.seismic
        rays, offset = (empty, none) if tangent is None else (tangent.matrix, tangent.constant)
        kernel, stations = (empty, none) if self.gravity is None else (survey.gravity.matrix, self.gravity)
        matrix = torch.block_diag(rays, kernel)
        offset = torch.cat([offset, torch.zeros_like(stations)])
        sigma = torch.cat([torch.full_like(times, survey.time_error), torch.full_like(stations, survey.gravity_error)])
        operator = Dense(survey.space, Space("data", {"datum": len(matrix)}), matrix, offset)
        return Inverse(operator, prior, torch.cat([times, stations]), Normal(sigma))


def observed(survey: Survey, times: Tensor, gravity: Tensor, rounds: int, context: Context) -> Observed:
    """One model's data, its rays found from its times by ``rounds`` of Gauss and Newton.

    The velocity that the seismics alone find says where rays run; what gravity adds lies elsewhere and leaves them.
    """
    grid = survey.grid
    picked = Space("time", {"pick": len(survey.picks)}, "s")
    lengths = dict(zip(("z", "x"), survey.lengths, strict=True))
    prior = Smoothness(grid, 1.0, lengths, survey.means[0], scale=survey.sigmas[0])
    tangent = _tangent(survey, picked, survey.means[0])
    for _ in range(rounds - 1):
        at = Exact()(Inverse(tangent, prior, times, Normal(survey.time_error)), context).location
        tangent = _tangent(survey, picked, at)
    return Observed((tangent, times), gravity)


def _tangent(survey: Survey, picked: Space, v: Tensor) -> Dense:
    """The picked times near velocities ``v``, one backward pass a pick."""
    seismic, picks = survey.seismic, survey.picks
    units = torch.zeros(len(picks), seismic.codomain.size, dtype=torch.float64)
    units[torch.arange(len(picks)), picks] = 1.0
    several = v.expand(len(picks), *v.shape).contiguous()
    rows = seismic.vjp(several, seismic.codomain.unflat(units)).flatten(1)
    with torch.no_grad():
        times = seismic(v).flatten()[picks]
    return Dense(survey.grid, picked, rows, times - rows @ v.flatten())
