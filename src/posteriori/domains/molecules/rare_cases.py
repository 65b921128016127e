"""Rare events whose probability is known: a Gaussian tail, the four-branch system, the population of a high well."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt

import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from posteriori.core.algebra import Dense
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann, Conditioned
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.four_branch import FourBranch

MOST_DIMENSION = 1000
LEAST_PROBABILITY = 1e-12
LEAST_DEPTH, MOST_DEPTH = 6.0, 12.0
"""Between these a well of the tilted quartic stays a well, and is rare."""


@dataclass(frozen=True)
class RareCase:
    """A rare event and its exact probability.

    Attributes:
        target: prior and event.
        truth: P, by a closed form or quadrature.
        components: parts that a proposal should have.
        text: what it is, in a few words.
    """

    target: Conditioned
    truth: float
    components: int
    text: str


def gaussian_tail(dimension: int, probability: float) -> RareCase:
    """The mean of ``dimension`` standard normal numbers, scaled to variance one, above its upper ``probability`` point.

    Raises:
        OptionError: a dimension or probability outside what is offered.
    """
    if not 1 <= dimension <= MOST_DIMENSION:
        raise OptionError(f"dimension={dimension}: from 1 to {MOST_DIMENSION}.")
    if not LEAST_PROBABILITY <= probability <= 0.1:
        raise OptionError(f"probability={probability:g}: from {LEAST_PROBABILITY:g} to 0.1.")
    prior = _standard(Space("number", {"axis": dimension}))
    row = torch.full((1, dimension), 1 / sqrt(dimension), dtype=torch.float64)
    total = Dense(prior.space, Space("scaled sum", {"of": 1}), row)
    target = Conditioned(prior, total > float(norm.isf(probability)))
    return RareCase(target, probability, 1, f"tail of a sum of {dimension} normal numbers, p = {probability:g}")


def four_branch(level: float) -> RareCase:
    """The four-branch system beyond ``level``; 0 is the usual failure, p = 2.22e-3.

    Raises:
        OptionError: a level outside [0, 3].
    """
    if not 0 <= level <= 3:
        raise OptionError(f"level={level:g}: from 0 to 3.")
    operator = FourBranch()
    prior = _standard(operator.domain)
    return RareCase(Conditioned(prior, operator > level), four_branch_truth(level), 4, f"four branches above {level:g}")


def four_branch_truth(level: float, gap: float = 7.0) -> float:
    """P(height > level), by quadrature along b = (x - y) / √2: |a| > 3 + level + b²/5 or |b| > gap/2 + level/√2."""
    far = gap / 2 + level / sqrt(2)
    curved = quad(lambda b: norm.pdf(b) * 2 * norm.sf(3 + level + 0.2 * b * b), -far, far, epsabs=0, epsrel=1e-10)[0]
    return float(curved + 2 * norm.sf(far))


def high_well(depth: float) -> RareCase:
    """The population of a well whose free energy is ``depth`` [kT] above the other's.

    Raises:
        OptionError: a depth outside what is offered.
    """
    if not LEAST_DEPTH <= depth <= MOST_DEPTH:
        raise OptionError(f"depth={depth:g}: from {LEAST_DEPTH:g} to {MOST_DEPTH:g} kT.")
    tilt = float(brentq(lambda t: _difference(t)[0] - depth, 0.5, 3.5))
    _, top, p = _difference(tilt)
    potential = DoubleWell(tilt=tilt)
    place = Selection.along(potential.domain, "axis", ["x"])
    return RareCase(Conditioned(Boltzmann(potential, 1.0), place > top), p, 1, f"a well {depth:g} kT above the other")


def _standard(space: Space) -> Gaussian:
    ones = torch.ones(space.size, dtype=torch.float64)
    return Gaussian(space, torch.zeros(space.shape, dtype=torch.float64), DiagonalCovariance(ones))


def _roots(tilt: float) -> tuple[float, float]:
    """Deep minimum and barrier top of x⁴/4 - 3 x² + tilt·x."""
    slope = lambda x: x**3 - 6 * x + tilt  # noqa: E731
    return float(brentq(slope, -4.0, -sqrt(2))), float(brentq(slope, -sqrt(2), sqrt(2)))


def _difference(tilt: float) -> tuple[float, float, float]:
    """Free-energy difference [kT] of the two wells, the top between them, and the share of the high one."""
    low, top = _roots(tilt)
    weight = lambda x: exp(-(x**4 / 4 - 3 * x * x + tilt * x) + low**4 / 4 - 3 * low * low + tilt * low)  # noqa: E731
    left = quad(weight, -6, top, points=[low], epsabs=0, epsrel=1e-10)[0]
    right = quad(weight, top, 6, epsabs=0, epsrel=1e-10)[0]
    return log(left / right), top, right / (left + right)
