"""The question a magnetotelluric sounding asks: log resistivity against depth under a smooth prior."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import DataError, OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator
from posteriori.core.posterior import Posterior
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.target import Inverse
from posteriori.physics.decades import Log10, PowerOfTen
from posteriori.physics.magnetotellurics import MU0, Magnetotellurics

SHALLOWEST, DEEPEST = 0.2, 1.5
"""Tops of the second and of the last layer, in skin depths of the shortest and of the longest period."""
LEFT_OUT = 1e-3
"""Share of the prior's variance in the modes that are left out."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Belief:
    """Before the data: log₁₀ of the resistivity is Gaussian, Matérn 3/2 in log₁₀ of depth about an unknown level.

    Attributes:
        level: expected log₁₀ resistivity [ohm m].
        level_sigma: standard deviation of the level of the whole sounding [decades].
        sigma: standard deviation about the level [decades].
        length: correlation length [decades of depth].
    """

    level: float = 2.0
    level_sigma: float = 0.5
    sigma: float = 0.5
    length: float = 0.5

    def __post_init__(self) -> None:
        if not min(self.level_sigma, self.sigma, self.length) > 0:
            raise OptionError(f"{self}: the standard deviations and the length must be positive.")

    def covariance(self, depth: Floats) -> Tensor:
        """Covariance (n, n) at depths (n,) [m]."""
        d = torch.from_numpy(np.abs(np.subtract.outer(np.log10(depth), np.log10(depth)))) * 3**0.5 / self.length
        return self.level_sigma**2 + self.sigma**2 * (1 + d) * torch.exp(-d)


@dataclass(frozen=True)
class Sounding:
    """A target in whitened modes of the prior, and the way back to layers.

    Attributes:
        target: data are log₁₀ ρ_a, then phases [degree]; the unknown are standard normal numbers.
        sigma: standard deviations of the data, (2t,).
        layers: takes those numbers to log₁₀ resistivity of the layers; linear.
        prior_sigma: prior standard deviation of each layer [decades].
    """

    target: Inverse
    sigma: Tensor
    layers: Operator
    prior_sigma: Tensor

    @staticmethod
    def of(
        apparent: Floats, phase: Floats, error: Floats, period: Floats, belief: Belief, layers: int = 40
    ) -> Sounding:
        """From apparent resistivities [ohm m], phases [degree] and relative errors of the impedance, each (t,)."""
        if not (np.isfinite(error) & (error > 0) & (error < 1)).all():
            raise DataError(f"relative errors {error.min():.3g} to {error.max():.3g} must lie in (0, 1).")
        tops = layer_tops(apparent, period, layers)
        space = Space("resistivity", {"z": tops}, "ohm m", Positive())
        physics = Magnetotellurics(space, torch.from_numpy(period))
        values, vectors = torch.linalg.eigh(belief.covariance(_middles(tops)))
        total = float(values.sum())
        kept = values.flip(0).cumsum(0) < (1 - LEFT_OUT) * total
        many = int(kept.sum()) + 1
        basis = vectors[:, -many:].flip(1) * values[-many:].flip(0).sqrt()
        power = PowerOfTen(space)
        modes = Space("white", {"mode": many})
        back = Dense(modes, power.domain, basis, torch.full((layers,), belief.level, dtype=torch.float64))
        operator = Log10(physics.codomain) @ physics @ power @ back
        prior = Gaussian(modes, torch.zeros(many).double(), DiagonalCovariance(torch.ones(many).double()))
        sigma = torch.from_numpy(np.concatenate([2 / log(10) * error, np.degrees(error)]))
        data = torch.from_numpy(np.concatenate([np.log10(apparent), phase]))
        return Sounding(Inverse(operator, prior, data, Normal(sigma)), sigma, back, basis.square().sum(1).sqrt())

    def resistivity(self, posterior: Posterior) -> Posterior:
        """The law of log₁₀ resistivity of the layers."""
        return posterior.map(self.layers)

    @property
    def tops(self) -> Floats:
        """Tops of the layers [m]."""
        return self.layers.codomain.labels("z").astype(np.float64)


def skin_depth(resistivity: Floats | float, period: Floats | float) -> Floats:
    """√(ρ T / (π μ₀)) [m], where a field of period T has fallen to 1/e."""
    found: Floats = np.sqrt(np.asarray(resistivity) * period / (pi * MU0))
    return found


def layer_tops(apparent: Floats, period: Floats, layers: int) -> Floats:
    """Tops [m] spaced evenly in the logarithm over what the periods reach."""
    if layers < 3:
        raise OptionError(f"layers={layers}; a sounding needs three or more.")
    depth = skin_depth(apparent, period)
    first, last = SHALLOWEST * depth.min(), DEEPEST * depth.max()
    return np.concatenate([[0.0], np.geomspace(first, last, layers - 1)])


def _middles(tops: Floats) -> Floats:
    """A depth for each layer: half the first top's, geometric means, and as far below the last."""
    ratio = tops[-1] / tops[-2]
    edges = np.concatenate([[tops[1] / ratio], tops[1:], [tops[-1] * ratio]])
    middle: Floats = np.sqrt(edges[1:] * edges[:-1])
    return middle
