"""Two toys in the plane whose every integral is known: the double well and the Müller-Brown surface, by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, log

import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import Operator
from posteriori.core.target import Boltzmann
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.mueller_brown import MuellerBrown

NODES = 1501
"""Nodes of the quadrature along each axis."""
EVERY = 3
"""Every how many of them a learnt density is asked for."""
SEEN = 30.0
"""-log p [nats] below the densest node at which nodes still count."""
LOST = 25.0
"""Least -log p [nats] on the rim of the box, below the densest node."""


@dataclass(frozen=True)
class Toy:
    """A potential in the plane and the line that splits it into two basins.

    Attributes:
        name: in pictures.
        potential: an Operator of the two coordinates.
        box: x low, x high, y low, y high of the quadrature.
        across: (a, b, level); the first basin is where a x + b y > level.
        basins: what the two are called.
        unit: of the energy and the temperature.
        temperatures: the coldest and the hottest that the box is made for.
    """

    name: str
    potential: Operator
    box: tuple[float, float, float, float]
    across: tuple[float, float, float]
    basins: tuple[str, str]
    unit: str
    temperatures: tuple[float, float]

    def target(self, temperature: float) -> Boltzmann:
        """exp(-U / temperature).

        Raises:
            OptionError: a temperature that the box is not made for.
        """
        low, high = self.temperatures
        if not low <= temperature <= high:
            raise OptionError(f"temperature={temperature:g} lies outside {low:g} to {high:g} [{self.unit}].")
        return Boltzmann(self.potential, 1 / temperature)

    def first(self, x: Tensor) -> Tensor:
        """1 in the first basin, 0 in the other, ½ on the line: (*batch, 2) → (*batch,), float64."""
        a, b, level = self.across
        side = a * x[..., 0].double() + b * x[..., 1].double() - level
        return 0.5 * (1 + side.sign()) * (side.abs() > 1e-12) + 0.5 * (side.abs() <= 1e-12)


def double_well() -> Toy:
    """U = x⁴/4 - 3x² + x + y²/2, split at x = 0."""
    return Toy("double well", DoubleWell(), (-6.0, 6.0, -12.0, 12.0), (-1, 0, 0), ("left", "right"), "kT", (0.6, 2.0))


def mueller_brown() -> Toy:
    """The Müller-Brown surface, split along y = x + 0.9."""
    box = (-3.9, 2.3, -1.8, 3.6)
    return Toy("Müller-Brown", MuellerBrown(), box, (-1, 1, 0.9), ("upper", "lower"), "energy", (10.0, 20.0))


@dataclass(frozen=True)
class Truth:
    """Integrals of exp(-U/T) over the box, by the trapezoid rule.

    Attributes:
        toy, temperature: of what.
        x, y: nodes of the axes.
        log_p: log density at the nodes, (x, y).
        log_z: log ∫ exp(-U/T).
        share: of the first basin.
        energy: mean of U/T.
        heat_capacity: variance of U/T.
    """

    toy: Toy
    temperature: float
    x: Tensor
    y: Tensor
    log_p: Tensor = field(repr=False)
    log_z: float
    share: float
    energy: float
    heat_capacity: float

    @staticmethod
    def of(toy: Toy, temperature: float, nodes: int = NODES) -> Truth:
        """Sum over ``nodes`` × ``nodes``.

        Raises:
            OptionError: a temperature at which the box cuts the density.
        """
        x, y = _axis(*toy.box[:2], nodes), _axis(*toy.box[2:], nodes)
        points = torch.cartesian_prod(x, y)
        with torch.no_grad():
            energy = toy.target(temperature).energy(points)
        cell = log(float(x[1] - x[0]) * float(y[1] - y[0]))
        log_z = float(torch.logsumexp(-energy, 0)) + cell
        log_p = (-energy - log_z).reshape(nodes, nodes)
        rim = torch.cat([log_p[0], log_p[-1], log_p[:, 0], log_p[:, -1]]).max()
        if float(log_p.max() - rim) < LOST:
            raise OptionError(f"at temperature={temperature:g} [{toy.unit}] the box {toy.box} cuts the density.")
        p = (-energy - log_z + cell).exp()
        mean = float(p @ energy)
        spread = float(p @ (energy - mean).square())
        return Truth(toy, temperature, x, y, log_p, log_z, float(p @ toy.first(points)), mean, spread)

    @property
    def delta_f(self) -> float:
        """F(second basin) - F(first) [kT]."""
        return log(self.share / (1 - self.share))

    def profile(self, edges: Tensor) -> Tensor:
        """-log of the mean density of x within each bin between ``edges`` (bin + 1,) [kT], (bin,)."""
        marginal = torch.logsumexp(self.log_p, 1) + log(float(self.y[1] - self.y[0]))
        below = CubicSpline(self.x.numpy(), marginal.exp().numpy()).antiderivative()
        reached = torch.from_numpy(below(edges.double().numpy()))
        return -(reached.diff() / edges.double().diff()).log()

    def forward_ess(self, log_q: Callable[[Tensor], Tensor]) -> float:
        """1 / ∫ p²/q of a density ``log_q`` (n, 2) → (n,): the share of effective draws that no draw can flatter."""
        log_p = self.log_p[::EVERY, ::EVERY].flatten()
        seen = log_p > log_p.max() - SEEN
        points = torch.cartesian_prod(self.x[::EVERY], self.y[::EVERY])[seen]
        cell = EVERY**2 * float(self.x[1] - self.x[0]) * float(self.y[1] - self.y[0])
        with torch.no_grad():
            other = torch.cat([log_q(some) for some in points.split(50_000)])
        return exp(-float(torch.logsumexp(2 * log_p[seen] - other, 0)) - log(cell))


def _axis(low: float, high: float, nodes: int) -> Tensor:
    return torch.linspace(low, high, nodes, dtype=torch.float64)
