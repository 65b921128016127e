"""Covariance functions of gravity outside its sources, as random densities at depth make it; and their sums."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, ShapeError
from posteriori.learn.kernels import Kernel, PositiveNumbers


class SourceLayer(Kernel):
    """Gravity of a thin layer of white-noise density at ``depth``, at points (easting, northing, height upwards) [m].

    k = amplitude² 4D² z / (r² + z²)^3/2 with z = 2D + h + h′: harmonic above the layer, amplitude² at height zero, half
    of it at r = 1.5 D. Its power spectrum is that of the layer, exp(-2 k D). Differentiable in the learnt numbers, not
    in the points.

    Args:
        depth: D [m], below height zero; learnt.
        amplitude: standard deviation at height zero; learnt.
        spread: standard deviation of the logarithms of both before they are learnt.

    Reference: Moritz (1980), Advanced Physical Geodesy, Wichmann, section 23; Dampney (1969), The equivalent source
    technique, Geophysics 34, 39.
    """

    references: ClassVar = (
        "Moritz (1980), Advanced Physical Geodesy, Wichmann, section 23.",
        "Dampney (1969), The equivalent source technique, Geophysics 34, 39.",
    )

    def __init__(self, depth: float, amplitude: float = 1.0, spread: float = 2.0) -> None:
        super().__init__()
        self.numbers = PositiveNumbers({"amplitude": (amplitude, spread), "depth": (depth, spread)})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for points in (x, y):
            if points.shape[-1] != 3:
                raise ShapeError(f"points of {points.shape[-1]} coordinates; easting, northing and height are needed.")
        number = self.numbers.values()
        found: Tensor = _Layer.apply(number["amplitude"], number["depth"], x, y)  # type: ignore[no-untyped-call]
        return found

    def diagonal(self, x: Tensor) -> Tensor:
        number = self.numbers.values()
        return (number["amplitude"] * number["depth"] / (number["depth"] + x[:, 2])) ** 2


class SumKernel(Kernel):
    """k₁ + k₂ + …: independent fields added."""

    def __init__(self, *parts: Kernel) -> None:
        super().__init__()
        if not parts:
            raise DataError("a sum of kernels needs at least one.")
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        first, *others = (part(x, y) for part in self.parts)
        return sum(others, first)

    def diagonal(self, x: Tensor) -> Tensor:
        parts: list[Kernel] = list(self.parts)  # type: ignore[arg-type]
        first, *others = (part.diagonal(x) for part in parts)
        return sum(others, first)


class _Layer(torch.autograd.Function):
    """The kernel of one layer; its derivatives are made anew from the points, so that one matrix is kept, not ten."""

    @staticmethod
    def forward(ctx: Any, amplitude: Tensor, depth: Tensor, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(amplitude, depth, x, y)
        z, square = _distances(depth, x, y)
        return z.mul_(square.rsqrt().mul_(square.reciprocal_())).mul_(4 * (amplitude * depth) ** 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None, None]:
        amplitude, depth, x, y = ctx.saved_tensors
        z, square = _distances(depth, x, y)
        inverse = square.reciprocal_()
        cubed = inverse.sqrt().mul_(inverse)  # q^-3/2
        weight = (4 * (amplitude * depth) ** 2) * (g * cubed)
        whole = (weight * z).sum()
        slope = weight.sum() - 3 * (weight.mul_(inverse) * z.square_()).sum()
        return 2 * whole / amplitude, 2 * whole / depth + 2 * slope, None, None


def _distances(depth: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """z = 2D + h + h′ and q = r² + z², (n, m)."""
    z = x[:, None, 2] + (2 * depth + y[:, 2])
    square = z.square()
    for axis in (0, 1):
        square.addcmul_(gap := x[:, None, axis] - y[:, axis], gap)
    return z, square
