"""Surfaces in space given by an equation, with their areas: a sphere and a torus."""

from __future__ import annotations

from math import pi

from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space

AXES = ("x", "y", "z")


class Sphere(TorchOperator):
    """(x² + y² + z² - r²) / (2 r), (*batch, 3) → (*batch, 1): zero on the sphere of radius r."""

    def __init__(self, radius: float = 1.0) -> None:
        super().__init__()
        if not 0 < radius < float("inf"):
            raise OptionError(f"radius={radius:g} must be positive and finite.")
        self.radius = radius
        self.domain, self.codomain = Space("position", {"axis": list(AXES)}), Space("constraint", {"surface": 1})

    @property
    def area(self) -> float:
        """4 π r²."""
        return 4 * pi * self.radius**2

    def forward(self, m: Tensor) -> Tensor:
        """How far outside."""
        return (m.square().sum(-1, keepdim=True) - self.radius**2) / (2 * self.radius)

    def jacobian(self, x: Tensor) -> Tensor:
        """The slope, (*batch, 1, 3)."""
        return (x / self.radius)[..., None, :]

    @staticmethod
    def example() -> Sphere:
        """The unit sphere."""
        return Sphere()


class Torus(TorchOperator):
    """(|x|² + R² - r²)² - 4 R² (x² + y²), (*batch, 3) → (*batch, 1): zero on the torus of radii R > r about the z axis.

    Its slope 8 r R ρ (ρ the distance from the axis) differs along it: the area element is r (R + r cos φ), that
    of infinitely stiff springs is the same for all poloidal angles φ.

    Args:
        large, small: R and r.
    """

    def __init__(self, large: float = 1.0, small: float = 0.5) -> None:
        super().__init__()
        if not 0 < small < large < float("inf"):
            raise OptionError(f"large={large:g}, small={small:g}: 0 < small < large is needed.")
        self.large, self.small = large, small
        self.domain, self.codomain = Space("position", {"axis": list(AXES)}), Space("constraint", {"surface": 1})

    @property
    def area(self) -> float:
        """4 π² R r."""
        return 4 * pi**2 * self.large * self.small

    def forward(self, m: Tensor) -> Tensor:
        """The polynomial."""
        squared = m.square()
        inner = squared.sum(-1, keepdim=True) + self.large**2 - self.small**2
        return inner.square() - 4 * self.large**2 * squared[..., :2].sum(-1, keepdim=True)

    def jacobian(self, x: Tensor) -> Tensor:
        """The slope, (*batch, 1, 3)."""
        inner = x.square().sum(-1, keepdim=True) + self.large**2 - self.small**2
        flat = x * x.new_tensor([1.0, 1.0, 0.0])
        return (4 * inner * x - 8 * self.large**2 * flat)[..., None, :]

    @staticmethod
    def example() -> Torus:
        """Radii one and a half."""
        return Torus()
