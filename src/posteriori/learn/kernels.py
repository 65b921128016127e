"""Covariance functions of points, and learnt positive numbers with a prior of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, ShapeError


class Kernel(nn.Module, ABC):
    """k(x, y) of points (n, d) and (m, d)."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The covariances, (n, m)."""

    @abstractmethod
    def diagonal(self, x: Tensor) -> Tensor:
        """k(x, x), (n,)."""


class PositiveNumbers(nn.Module):
    """Named positive numbers, learnt by their logarithm, each with a log-normal prior.

    Args:
        spec: name → (median, standard deviation of the logarithm).
    """

    def __init__(self, spec: Mapping[str, tuple[float, float]]) -> None:
        super().__init__()
        for name, (median, spread) in spec.items():
            if not (median > 0 and spread > 0):
                raise DataError(f"{name}: median {median} and spread {spread} must both be positive.")
        self.names = tuple(spec)
        centre = torch.tensor([log(median) for median, _ in spec.values()], dtype=torch.float64)
        self.register_buffer("centre", centre)
        self.register_buffer("width", torch.tensor([spread for _, spread in spec.values()], dtype=torch.float64))
        self.centre: Tensor
        self.width: Tensor
        self.logs = nn.Parameter(centre.clone())

    def values(self) -> dict[str, Tensor]:
        """The numbers by name, differentiable."""
        return dict(zip(self.names, self.logs.exp(), strict=True))

    def log_prior(self) -> Tensor:
        """-½ Σ ((log value - log median) / spread)²."""
        return -0.5 * ((self.logs - self.centre) / self.width).square().sum()

    def set(self, numbers: Mapping[str, float]) -> None:
        """Give the numbers other values."""
        with torch.no_grad():
            for name, value in numbers.items():
                self.logs[self.names.index(name)] = log(value)


def matern12(r: Tensor) -> Tensor:
    """exp(-r)."""
    return torch.exp(-r)


def matern32(r: Tensor) -> Tensor:
    """(1 + √3 r) exp(-√3 r)."""
    s = sqrt(3.0) * r
    return (1 + s) * torch.exp(-s)


def matern52(r: Tensor) -> Tensor:
    """(1 + √5 r + 5 r²/3) exp(-√5 r)."""
    s = sqrt(5.0) * r
    return (1 + s + s * s / 3) * torch.exp(-s)


class Matern(Kernel):
    """amplitude² · Matérn(ν) of the scaled distance, ν = 1/2, 3/2, 5/2, one length for each coordinate.

    Reference: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, MIT Press, section 4.2.
    """

    references: ClassVar = ("Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, MIT Press.",)
    shapes: ClassVar = {0.5: matern12, 1.5: matern32, 2.5: matern52}

    def __init__(self, lengths: Sequence[float], amplitude: float = 1.0, nu: float = 2.5, spread: float = 2.0) -> None:
        super().__init__()
        if nu not in self.shapes:
            raise DataError(f"ν = {nu} is none of {sorted(self.shapes)}.")
        self.nu = nu
        spec = {f"length_{i}": (length, spread) for i, length in enumerate(lengths)}
        self.numbers = PositiveNumbers({"amplitude": (amplitude, spread), **spec})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        number = self.numbers.values()
        if x.shape[-1] != len(number) - 1:
            raise ShapeError(f"points of {x.shape[-1]} coordinates need as many lengths; {len(number) - 1} were given.")
        lengths = torch.stack([number[f"length_{i}"] for i in range(x.shape[-1])])
        gap = x[:, None] / lengths - y / lengths
        r = (gap.square().sum(-1) + 1e-24).sqrt()
        return number["amplitude"] ** 2 * self.shapes[self.nu](r)

    def diagonal(self, x: Tensor) -> Tensor:
        return (self.numbers.values()["amplitude"] ** 2).expand(len(x))
