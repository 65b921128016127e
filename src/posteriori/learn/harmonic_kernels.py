"""Covariance functions of gravity outside its sources, as random densities at depth make it; and their sums."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, ShapeError
from posteriori.learn.kernels import Kernel, PositiveNumbers


class SourceLayer(Kernel):
    """Gravity of a thin layer of white-noise density at ``depth``, at points (easting, northing, height upwards) [m].

    k = amplitude² 4D² z / (r² + z²)^3/2 with z = 2D + h + h′: harmonic above the layer, amplitude² at height zero. Its
    power spectrum is that of the layer, exp(-2 k D): half the amplitude is reached at r = 1.5 D.

    Args:
        depth: D [m], below height zero; learnt.
        amplitude: standard deviation at height zero; learnt.
        spread: standard deviation of the logarithms of both before they are learnt.

    Reference: Moritz (1980), Advanced Physical Geodesy, Wichmann, section 23; Dampney (1969), The equivalent source
    technique, Geophysics 34, 39.
    """

    references: ClassVar = ("Moritz (1980), Advanced Physical Geodesy, Wichmann, section 23.",)

    def __init__(self, depth: float, amplitude: float = 1.0, spread: float = 2.0) -> None:
        super().__init__()
        self.numbers = PositiveNumbers({"amplitude": (amplitude, spread), "depth": (depth, spread)})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        number = self.numbers.values()
        z, squared = _vertical(x, y, number["depth"])
        return 4 * (number["amplitude"] * number["depth"]) ** 2 * z / (squared * squared.sqrt())

    def diagonal(self, x: Tensor) -> Tensor:
        number = self.numbers.values()
        return (number["amplitude"] * number["depth"] / (number["depth"] + x[:, 2])) ** 2


class SourceHalfSpace(Kernel):
    """Gravity of white-noise density everywhere below ``depth``, at points (easting, northing, height upwards) [m].

    k = amplitude² 2D / (r² + z²)^1/2 with z = 2D + h + h′: the inverse-distance covariance, long-ranged. The sum of
    :class:`SourceLayer` over all deeper layers.

    Args:
        depth: D [m], of the top, below height zero; learnt.
        amplitude: standard deviation at height zero; learnt.
        spread: standard deviation of the logarithms of both before they are learnt.

    Reference: Moritz (1980), Advanced Physical Geodesy, Wichmann, section 23.
    """

    references: ClassVar = SourceLayer.references

    def __init__(self, depth: float, amplitude: float = 1.0, spread: float = 2.0) -> None:
        super().__init__()
        self.numbers = PositiveNumbers({"amplitude": (amplitude, spread), "depth": (depth, spread)})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        number = self.numbers.values()
        _, squared = _vertical(x, y, number["depth"])
        return 2 * number["amplitude"] ** 2 * number["depth"] * squared.rsqrt()

    def diagonal(self, x: Tensor) -> Tensor:
        number = self.numbers.values()
        return number["amplitude"] ** 2 * number["depth"] / (number["depth"] + x[:, 2])


class SumKernel(Kernel):
    """k₁ + k₂ + …: independent fields added."""

    def __init__(self, *parts: Kernel) -> None:
        super().__init__()
        if not parts:
            raise DataError("a sum of kernels needs at least one.")
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([part(x, y) for part in self.parts]).sum(0)

    def diagonal(self, x: Tensor) -> Tensor:
        parts: list[Kernel] = list(self.parts)  # type: ignore[arg-type]
        return torch.stack([part.diagonal(x) for part in parts]).sum(0)


class Modulated(Kernel):
    """f(x) · x_column with f of covariance ``inner`` over the coordinates ``over``: a slope that varies from place to
    place."""

    def __init__(self, inner: Kernel, column: int, over: tuple[int, ...]) -> None:
        super().__init__()
        self.inner, self.column, self.over = inner, column, list(over)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        slopes: Tensor = self.inner(x[:, self.over], y[:, self.over])
        return x[:, self.column, None] * slopes * y[:, self.column]

    def diagonal(self, x: Tensor) -> Tensor:
        return x[:, self.column] ** 2 * self.inner.diagonal(x[:, self.over])


def _vertical(x: Tensor, y: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """z = 2D + h + h′ and r² + z², (n, m)."""
    if x.shape[-1] < 3 or y.shape[-1] < 3:
        raise ShapeError(f"points of {x.shape[-1]} coordinates; easting, northing and height are needed.")
    z = 2 * depth + x[:, None, 2] + y[:, 2]
    across = (x[:, None, 0] - y[:, 0]).square() + (x[:, None, 1] - y[:, 1]).square()
    return z, across + z.square()
