"""Gaussian laws of the data whose errors hang together."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from math import log, pi
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from posteriori.core.covariance import cholesky
from posteriori.core.errors import ShapeError
from posteriori.core.noise import Noise
from posteriori.core.random import Rng


class CorrelatedNoise(Noise):
    """Gaussian errors with a whole covariance over the data."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """The covariance R, (m, m), differentiable in what was learnt."""

    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        """½ rᵀ R⁻¹ r + ½ log |2π R|."""
        factor = cholesky(self.matrix())
        residual = (data.double() - prediction.double()).reshape(-1, len(factor))
        white = torch.linalg.solve_triangular(factor, residual.mT, upper=False)
        constant = factor.diagonal().log().sum() + 0.5 * len(factor) * log(2 * pi)
        shape = torch.broadcast_shapes(data.shape, prediction.shape)[:-1]
        return (0.5 * white.square().sum(0) + constant).reshape(shape)

    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        with torch.no_grad():
            factor = cholesky(self.matrix())
            return prediction + (rng.normal(prediction.shape) @ factor.mT).to(prediction)


class Multivariate(CorrelatedNoise):
    """Gaussian errors of a known ``covariance`` (m, m): an evaluation with its covariance file, repeated stations.

    ``scales`` (m,) multiply the variances and leave the correlations; they are one until something learns them.
    """

    def __init__(self, covariance: Tensor) -> None:
        super().__init__()
        if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
            raise ShapeError(f"a covariance is square; {tuple(covariance.shape)} was given.")
        self.register_buffer("covariance", covariance.double())
        self.register_buffer("scales", torch.ones(len(covariance), dtype=torch.float64))
        self.covariance: Tensor
        self.scales: Tensor

    def matrix(self) -> Tensor:
        stretch = self.scales.sqrt()
        return stretch[:, None] * self.covariance * stretch

    def part(self, index: Tensor) -> Multivariate:
        return Multivariate(self.covariance[index[:, None], index]).with_scales(self.scales[index])

    def with_scales(self, scales: Tensor) -> Self:
        """The same correlations with other factors (m,) on the variances."""
        other = copy(self)
        other._buffers = {**self._buffers, "scales": scales}
        return other

    @staticmethod
    def example() -> Multivariate:
        """Three data, two of which share an error."""
        shared = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
        return Multivariate(shared)


@runtime_checkable
class HasScales(Protocol):
    """A noise whose variances carry one factor for each datum: tails are heavy where the factors are learnt."""

    scales: Tensor

    def with_scales(self, scales: Tensor) -> Self:
        """The same noise with other factors (m,)."""
