"""Surfaces with known marginals: what constrained samplers are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import asin, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.operator import Operator, TorchOperator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann, Target
from posteriori.inference.manifold import Constrained
from posteriori.physics.fixed_distances import FixedDistances
from posteriori.physics.pair_potential import positions
from posteriori.physics.surfaces import Sphere, Torus

Floats = NDArray[np.float64]


class CentreTrap(TorchOperator):
    """n |centre of mass|² / 2, (*batch, particle, axis) → (*batch,): holds the centre and nothing else."""

    def __init__(self, domain: Space) -> None:
        super().__init__()
        self.domain, self.codomain = domain, Space("energy")

    def forward(self, m: Tensor) -> Tensor:
        """The energy."""
        return m.shape[-2] * m.mean(-2).square().sum(-1) / 2

    @staticmethod
    def example() -> CentreTrap:
        """Three particles."""
        return CentreTrap(positions(3, 3))


class Free(TorchOperator):
    """No energy: (*batch, *shape) → (*batch,)."""

    linear = True

    def __init__(self, domain: Space) -> None:
        super().__init__()
        self.domain, self.codomain = domain, Space("energy")

    def forward(self, m: Tensor) -> Tensor:
        """Zero."""
        return 0.0 * self.domain.flat(m).sum(-1)

    @staticmethod
    def example() -> Free:
        """A point in space."""
        return Free(Space("position", {"axis": ["x", "y", "z"]}))


@dataclass(frozen=True)
class Case:
    """A target on a surface, a coordinate of its rows, and that coordinate's exact distribution function.

    Attributes:
        title: for tables and pictures.
        coordinate: its name there.
        target: the law.
        start: how far from the origin chains begin (a standard deviation).
        of: rows (draw, *shape) → coordinate (draw,).
        below: coordinate → probability of a smaller one.
        ends: range of the coordinate.
    """

    title: str
    coordinate: str
    target: Constrained
    start: float
    of: Callable[[Tensor], Tensor]
    below: Callable[[Floats], Floats]
    ends: tuple[float, float]


@dataclass
class Scattered:
    """Standard normal positions times a size: a start that knows nothing of the surface."""

    space: Space
    size: float

    def sample(self, n: int, rng: Rng) -> Tensor:
        """(n, *shape)."""
        return self.size * rng.normal((n, *self.space.shape))


def cases() -> dict[str, Case]:
    """Direction of a rigid diatomic, angle of a triatomic by area and as of stiff springs, sphere, torus by both."""
    return {
        "diatomic": _diatomic(),
        "triatomic": _triatomic(stiff=False),
        "triatomic_stiff": _triatomic(stiff=True),
        "sphere": Case(
            "sphere", "z", Constrained(_free(Sphere()), Sphere()), 1.0, _third, lambda z: (1 + z) / 2, (-1.0, 1.0)
        ),
        "torus": _torus(stiff=False),
        "torus_stiff": _torus(stiff=True),
    }


def bent(lengths: tuple[float, float] = (1.0, 1.0)) -> FixedDistances:
    """Two bonds of a triatomic whose angle is free."""
    return FixedDistances(positions(3, 3), [(0, 1), (1, 2)], lengths)


def cosine(x: Tensor) -> Tensor:
    """Cosine between the two bonds of a triatomic, both away from the middle."""
    a, b = x[..., 0, :] - x[..., 1, :], x[..., 2, :] - x[..., 1, :]
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def by_area(t: Floats) -> Floats:
    """Distribution function of that cosine by area, equal masses: density ∝ √(4 - t²)."""
    whole = 3**0.5 / 2 + 2 * asin(0.5)
    return (t / 2 * np.sqrt(4 - t**2) + 2 * np.arcsin(t / 2) + whole) / (2 * whole)


def uniform(t: Floats) -> Floats:
    """Distribution function of a cosine between free directions."""
    return (1 + t) / 2


def _free(constraint: Operator) -> Target:
    return Boltzmann(Free(constraint.domain), 1.0)


def _third(x: Tensor) -> Tensor:
    return x[..., 2]


def _direction(x: Tensor) -> Tensor:
    return x[..., 1, 2] - x[..., 0, 2]


def _diatomic() -> Case:
    bond = FixedDistances(positions(2, 3), [(0, 1)], [1.0])
    target = Constrained(Boltzmann(CentreTrap(bond.domain), 1.0), bond)
    return Case("rigid diatomic", "cosine of its direction", target, 1.0, _direction, uniform, (-1.0, 1.0))


def _triatomic(stiff: bool) -> Case:
    bonds = bent()
    target = Constrained(Boltzmann(CentreTrap(bonds.domain), 1.0), bonds, stiff)
    title = "triatomic, stiff springs" if stiff else "triatomic, by area"
    return Case(title, "cosine of its angle", target, 1.0, cosine, uniform if stiff else by_area, (-1.0, 1.0))


def _torus(stiff: bool) -> Case:
    torus = Torus()
    target = Constrained(_free(torus), torus, stiff)

    def angle(x: Tensor) -> Tensor:
        return torch.atan2(x[..., 2], x[..., :2].norm(dim=-1) - torus.large)

    def below(phi: Floats) -> Floats:
        bend = 0.0 if stiff else torus.small / torus.large
        return (phi + pi + bend * np.sin(phi)) / (2 * pi)

    title = "torus, stiff springs" if stiff else "torus, by area"
    return Case(title, "poloidal angle [rad]", target, 1.0, angle, below, (-pi, pi))
