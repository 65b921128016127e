"""The question a resistivity profile asks: log resistivity of a section under a smooth prior."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import torch

from posteriori.core.errors import DataError, OptionError
from posteriori.core.noise import Normal
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.resistivity_files import Floats, Survey
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.decades import Log10, PowerOfTen
from posteriori.physics.resistivity import Resistivity

DEPTH_OF_EXTENT = 0.25
"""Depth of the section in extents of the widest quadrupole."""
PSEUDO_DEPTH = 0.19
"""Pseudo-depth of a quadrupole in its extents, as in Edwards (1977) for long arrays."""
WIDEST = 5000
"""Cells across a section, at most."""
THICKER = 1.15
"""Ratio of neighbouring layers of the section."""


@dataclass(frozen=True)
class Belief:
    """Before the data: log₁₀ of the resistivity is a smooth Gaussian field.

    Attributes:
        sigma: standard deviation [decades].
        across, down: correlation lengths in electrode spacings.
    """

    sigma: float = 0.5
    across: float = 3.0
    down: float = 1.5

    def __post_init__(self) -> None:
        if not min(self.sigma, self.across, self.down) > 0:
            raise OptionError(f"{self}: the standard deviation and the lengths must be positive.")

    def prior(self, space: Space, level: float, spacing: float) -> Smoothness:
        """The prior about ``level`` [log₁₀ ohm m]."""
        lengths = {"z": self.down * spacing, "x": self.across * spacing}
        return Smoothness(space, self.sigma, lengths, mean=level).requires_grad_(False)


@dataclass(frozen=True)
class Section:
    """A target in log₁₀ resistivity, and its physics.

    Attributes:
        target: data are log₁₀ of apparent resistivities.
        physics: the direct currents.
        sigma: standard deviations of the data [decades].
    """

    target: Inverse
    physics: Resistivity
    sigma: torch.Tensor

    @staticmethod
    def of(survey: Survey, belief: Belief, default_error: float, floor: float, refinement: int) -> Section:
        """From a survey; ``default_error`` where it states none, none below ``floor`` (both relative)."""
        if not 0 < floor <= default_error < 1:
            raise OptionError(f"floor={floor} and default error {default_error} must lie in (0, 1), in this order.")
        space = section_space(survey)
        physics = Resistivity(
            space, torch.from_numpy(survey.electrodes), torch.from_numpy(survey.quadrupoles), refinement
        )
        power = PowerOfTen(space)
        operator = Log10(physics.codomain) @ physics @ power
        error = np.maximum(np.where(np.isnan(survey.error), default_error, survey.error), floor)
        sigma = torch.from_numpy(error / log(10))
        prior = belief.prior(power.domain, float(np.log10(np.median(survey.apparent))), spacing_of(survey))
        data = torch.from_numpy(np.log10(survey.apparent))
        return Section(Inverse(operator, prior, data, Normal(sigma)), physics, sigma)


def spacing_of(survey: Survey) -> float:
    """The usual distance of neighbouring electrodes along the profile [m]."""
    steps = np.diff(np.unique(survey.electrodes[:, 1]))
    if not len(steps):
        raise DataError("all electrodes stand at one distance; a section needs a profile.")
    return float(np.median(steps))


def section_space(survey: Survey) -> Space:
    """Cells of half a spacing, thicker with depth, a little wider than the layout."""
    half = 0.5 * spacing_of(survey)
    left, right = survey.electrodes[:, 1].min() - 3 * half, survey.electrodes[:, 1].max() + 3 * half
    if (right - left) / half > WIDEST:
        raise DataError(
            f"electrodes stand from {survey.electrodes[:, 1].min():g} to {survey.electrodes[:, 1].max():g} m, mostly "
            f"{2 * half:g} m apart: more than {WIDEST} cells across; mend the position that is off."
        )
    x = np.arange(left + half / 2, right, half)
    goal = max(DEPTH_OF_EXTENT * extents(survey)[1].max(), 1.2 * survey.electrodes[:, 0].max(), 4 * half)
    borders = [0.0, half]
    while borders[-1] < goal:
        borders.append(borders[-1] + half * THICKER ** (len(borders) - 1))
    z = 0.5 * (np.array(borders[1:]) + np.array(borders[:-1]))
    return Space("resistivity", {"z": z, "x": x}, "ohm m", Positive())


def extents(survey: Survey) -> tuple[Floats, Floats]:
    """Middle and extent of each quadrupole along the profile [m]."""
    x = np.where(survey.quadrupoles < 0, np.nan, survey.electrodes[survey.quadrupoles, 1])
    low, high = np.nanmin(x, 1), np.nanmax(x, 1)
    return 0.5 * (low + high), high - low


def pseudo_positions(survey: Survey) -> tuple[Floats, Floats]:
    """Where to draw each quadrupole: distance and pseudo-depth [m]."""
    middle, extent = extents(survey)
    return middle, PSEUDO_DEPTH * extent
