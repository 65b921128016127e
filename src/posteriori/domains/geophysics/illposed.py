"""Linear problems that show how ill-posed geophysics is: gravity of a section, rays across, deconvolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.grid import Floats, Laplacian, centres
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.space import Labels, Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.pictures import Marks
from posteriori.learn.depth import depth_scale
from posteriori.learn.smoothness import GridPrior, Smoothness
from posteriori.physics.prism_mesh import borders
from posteriori.physics.section_gravity import SectionGravity
from posteriori.physics.wavelets import ricker


@dataclass(frozen=True)
class Problem:
    """A linear question with everything that a picture of it needs.

    Attributes:
        target: operator, prior, data and noise.
        truth: what made the data, where they are simulated.
        label: of the unknown, unit included.
        datum: of the data, unit included.
        across: position of each datum for drawing, its label with unit.
        marks: stations on a section.
    """

    target: Inverse
    truth: Tensor | None
    label: str
    datum: str
    across: tuple[str, Labels]
    marks: tuple[Marks, ...] = ()

    @property
    def space(self) -> Space:
        """Of the unknown."""
        return self.target.space

    @property
    def prior(self) -> GridPrior:
        """The smooth prior."""
        assert isinstance(self.target.prior, GridPrior)
        return self.target.prior

    @property
    def errors(self) -> Tensor:
        """Standard deviation of each datum."""
        assert isinstance(self.target.noise, Normal)
        return self.target.noise.variance(self.target.operator.codomain.size).sqrt()


def simulated(operator: Operator, prior: GridPrior, noise: float, rng: Rng) -> tuple[Inverse, Tensor]:
    """A truth from the prior and its data, with errors of ``noise`` times the size of what was not expected."""
    truth = prior.sample(1, rng.child("truth"))[0]
    with torch.no_grad():
        clean = operator(truth)
        sigma = noise * (clean - operator(prior.location)).square().mean().sqrt()
        data = clean + sigma * rng.child("noise").normal(clean.shape)
    return Inverse(operator, prior, data, Normal(float(sigma))), truth


def gravity(noise: float, rng: Rng) -> Problem:
    """Density contrasts [kg/m³] of a section, 8 km by 2 km, from gravity at 60 stations on the surface."""
    space = Space("density", {"z": 50.0 + 100.0 * np.arange(20), "x": 100.0 + 200.0 * np.arange(40)}, "kg/m^3")
    stations = 70.0 + 7860.0 / 59 * np.arange(60)
    prior = Smoothness(
        space, 150.0, {"z": 400.0, "x": 1000.0}, scale=depth_scale(space, z0=300.0, power=1.0)
    ).requires_grad_(False)
    target, truth = simulated(SectionGravity(space, stations, height=1.0), prior, noise, rng)
    marks = (Marks(stations, np.zeros(60), "stations"),)
    return Problem(
        target, truth, "density contrast [kg/m³]", "gravity [mGal]", ("distance [km]", stations / 1000), marks
    )


def travel_time(noise: float, rng: Rng) -> Problem:
    """Slowness [ms/km] between two boreholes, 200 m apart and 400 m deep, from 20 × 20 straight rays."""
    space = Space("slowness", {"z": 5.0 + 10.0 * np.arange(40), "x": 5.0 + 10.0 * np.arange(20)}, "ms/km")
    depth = np.linspace(10.0, 390.0, 20)
    matrix = np.stack([ray(space, (a, 0.0), (b, 200.0)) for a in depth for b in depth]) / 1000.0
    coords = {"ray": np.array([f"{a:.0f}-{b:.0f}" for a in depth for b in depth])}
    prior = Smoothness(space, 20.0, {"z": 30.0, "x": 60.0}, mean=400.0).requires_grad_(False)
    operator = Dense(space, Space("time", coords, "ms"), torch.from_numpy(matrix))
    target, truth = simulated(operator, prior, noise, rng)
    marks = (
        Marks(np.zeros(20), depth, "sources", "*", "C3"),
        Marks(np.full(20, 200.0), depth, "receivers", "<"),
    )
    return Problem(target, truth, "slowness [ms/km]", "travel time [ms]", ("ray", np.arange(400.0)), marks)


def deconvolution(noise: float, rng: Rng) -> Problem:
    """Reflectivity on 200 samples of 2 ms, seen through a 30 Hz Ricker wavelet."""
    time = 0.002 * np.arange(200)
    space = Space("reflectivity", {"time": time})
    matrix = ricker(30.0, torch.from_numpy(time[:, None] - time), 0.0)
    prior = Smoothness(space, 0.1, 0.003, order=1).requires_grad_(False)
    operator = Dense(space, Space("amplitude", {"time": time}), matrix)
    target, truth = simulated(operator, prior, noise, rng)
    return Problem(target, truth, "reflectivity", "amplitude", ("time [s]", time))


PROBLEMS: dict[str, Callable[[float, Rng], Problem]] = {
    "gravity": gravity,
    "traveltime": travel_time,
    "deconvolution": deconvolution,
}


def ray(space: Space, start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """Length [m] of a straight ray from ``start`` to ``end``, each (z, x) [m], in every cell of a section, flat.

    Reference: Siddon (1985), Fast calculation of the exact radiological path, Medical Physics 12, 252.
    """
    edges = [borders(space, dim) for dim in ("z", "x")]
    origin, step = np.array(start), np.subtract(end, start)
    cuts = [np.array([0.0, 1.0])]
    cuts += [(e - o) / s for e, o, s in zip(edges, origin, step, strict=True) if s != 0]
    t = np.unique(np.clip(np.concatenate(cuts), 0.0, 1.0))
    middle = origin + 0.5 * (t[1:] + t[:-1])[:, None] * step
    cell = [np.searchsorted(e, m, side="right") - 1 for e, m in zip(edges, middle.T, strict=True)]
    inside = np.all([(c >= 0) & (c < n) for c, n in zip(cell, space.shape, strict=True)], axis=0)
    lengths = np.zeros(space.shape)
    np.add.at(lengths, tuple(c[inside] for c in cell), (np.diff(t) * np.linalg.norm(step))[inside])
    return lengths.ravel()


def silent_body(space: Space, z: float, x: float, high: float, wide: float) -> Tensor:
    """Gravity's own annihilator on a section: ∇²ψ of a bump ψ about (z, x), half axes ``high`` and ``wide`` [m].

    Outside ψ's support the field of ∇²ψ is zero, by Green's second identity, since 1/r (or log r) is harmonic there: a
    positive core in a negative shell (or the reverse) that nobody above can see. The greatest density is one.

    Reference: Blakely (1995), Potential Theory in Gravity and Magnetic Applications, section 10.1.
    """
    depth, across = (torch.from_numpy(centres(space, dim)) for dim in ("z", "x"))
    r2 = ((depth[:, None] - z) / high).square() + ((across - x) / wide).square()
    body = Laplacian(space)((1 - r2).clamp_min(0.0) ** 3)
    return body / body.abs().max()
