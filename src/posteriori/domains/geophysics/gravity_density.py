"""Densities below gravity stations: a smooth model of prisms with its uncertainty, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.noise import Normal
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.blocks import blocks_of
from posteriori.domains.geophysics.gravity_data import Survey
from posteriori.domains.geophysics.reductions import regional
from posteriori.inference.exact import Exact
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.learn.depth import depth_scale
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.gravity import DENSITY, ScatteredGravity
from posteriori.physics.prism_mesh import mesh

Floats = NDArray[np.float64]
GROWTH = 1.4
"""Each layer is this much thicker than the one above."""
CONTRAST = 100.0
"""Standard deviation of the density contrast before it is learnt [kg/m³]."""
WEIGHTING = 1.0
"""Power of the depth weighting, (z + z0)^(power / 2)."""
STEPS = 8
"""Of the fit of strength, lengths and model error."""


@dataclass(frozen=True)
class Density:
    """What lies below.

    Attributes:
        posterior: density contrast [kg/m³] on ("z", "y", "x").
        residual: observed less predicted, (data,), in [mGal].
        easting, northing: of the data, means of stations over squares of the mesh [m].
        data: Bouguer anomaly less a regional trend [mGal].
    """

    posterior: Gaussian
    residual: Floats
    easting: Floats
    northing: Floats
    data: Floats


def density(
    survey: Survey,
    cell: float,
    depth: float,
    layers: int,
    sigma: float,
    context: Context,
    weighting: float = WEIGHTING,
) -> Density:
    """Density contrast [kg/m³] below the survey from its Bouguer anomaly, a trend of second degree taken off.

    Stations are averaged over the squares of the mesh, which the prior cannot tell apart; strength, lengths and a
    model error are learnt by the evidence. Gravity alone does not fix depths: where the standard deviation is that of
    the prior, the picture shows the prior.

    Args:
        cell: side of a square of the mesh [m]. depth: of its bottom [m]. layers: of cells.
        sigma: error of a station [mGal]. weighting: power of the depth weighting, 2 is how fast the data's sight falls.
    """
    if not (cell > 0 and depth > 0 and layers >= 2):
        raise OptionError(f"cell={cell:g} m, depth={depth:g} m, layers={layers}; give positive sizes and two layers.")
    s = survey.stations
    squares = blocks_of(s.easting, s.northing, cell)
    many = np.bincount(squares)
    east, north, height, data = (
        np.bincount(squares, weights=a) / many
        for a in (
            s.easting,
            s.northing,
            s.height,
            survey.bouguer - regional(s.easting, s.northing, survey.bouguer),
        )
    )
    space = _mesh(east, north, cell, max(0.0, -float(height.min())), depth, layers)
    operator = ScatteredGravity(space, east, north, height)
    scale = depth_scale(space, float(np.mean(height)) + 0.5 * float(space.extra["z_width"][1][0]), weighting)
    prior = Smoothness(space, CONTRAST, {"z": 0.3 * depth, "y": 2 * cell, "x": 2 * cell}, scale=scale, spread=0.5)
    errors = torch.from_numpy(sigma / np.sqrt(many))
    target = Inverse(operator, prior, torch.from_numpy(data), Normal(errors, excess=sigma))
    posterior = infer(target, MarginalLikelihood(Exact(), steps=STEPS), seed=context.rng.entropy)
    assert isinstance(posterior, Gaussian)
    residual = data - operator(posterior.center()).numpy()
    return Density(posterior, residual, east, north, data)


def _mesh(east: Floats, north: Floats, cell: float, top: float, depth: float, layers: int) -> Space:
    """Squares under all data and one beyond, layers that thicken downwards."""
    thickness = GROWTH ** np.arange(layers)
    z = top + (depth - top) * np.concatenate([[0.0], thickness.cumsum() / thickness.sum()])
    y, x = (np.arange(a.min() - 1.5 * cell, a.max() + 2 * cell, cell) for a in (north, east))
    return mesh("density_contrast", DENSITY, z=z, y=y, x=x)
