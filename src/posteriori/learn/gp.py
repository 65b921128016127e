"""Gaussian processes over the cells of a Space."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.covariance import Covariance, DenseCovariance
from posteriori.core.errors import ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.kernels import Kernel, Matern

ROWS_AT_ONCE = 512


class GaussianProcess(nn.Module):
    """f ~ N(mean + basis·β, kernel), β ~ N(0, I): known physics as the mean, a learnt law of what it misses.

    Args:
        space: the cells.
        points: where each cell lies, (space.size, d).
        kernel: covariance of two sets of points; its parameters are learnt by the marginal likelihood.
        mean: what known physics says, space.shape; zero without.
        basis: columns (space.size, k) that enter linearly with coefficients N(0, 1); scale them by their prior spread.

    Reference: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, MIT Press, section 2.7.
    """

    references: ClassVar = ("Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, MIT Press.",)

    def __init__(
        self, space: Space, points: Tensor, kernel: Kernel, mean: Tensor | None = None, basis: Tensor | None = None
    ) -> None:
        super().__init__()
        if points.ndim != 2 or len(points) != space.size:
            raise ShapeError(f"points {tuple(points.shape)} should be ({space.size}, coordinates), one row a cell.")
        self.space = space
        zero = torch.zeros(space.shape, dtype=torch.float64)
        self.register_buffer("location", zero if mean is None else space.check(mean, "mean"))
        self.location: Tensor
        self.covariance: Covariance = KernelCovariance(kernel, points, basis)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *space.shape)."""
        with torch.no_grad():
            return self.location + self.space.unflat(self.covariance.sample(n, rng))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        return Gaussian(self.space, self.location, DenseCovariance(self.covariance.dense())).log_prob(x)

    @staticmethod
    def example() -> GaussianProcess:
        """Six points on a line, and a slope."""
        points = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]
        return GaussianProcess(Space("f", {"x": 6}), points, Matern([0.5]), basis=points)


class KernelCovariance(Covariance):
    """Blocks of a kernel, made when they are asked for."""

    def __init__(self, kernel: Kernel, points: Tensor, basis: Tensor | None = None) -> None:
        super().__init__()
        self.kernel = kernel
        self.register_buffer("points", points)
        self.register_buffer("basis", basis)
        self.points: Tensor
        self.basis: Tensor | None
        self.size = len(points)

    @property
    def like(self) -> Tensor:
        return self.points

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        x = self.points[rows]
        k = self.kernel(x, x if columns is rows else self.points[columns])
        if self.basis is not None:
            k = k + self.basis[rows] @ self.basis[columns].mT
        return k

    def diagonal(self) -> Tensor:
        variance = self.kernel.diagonal(self.points)
        return variance if self.basis is None else variance + self.basis.square().sum(-1)

    def matmul(self, v: Tensor) -> Tensor:
        every = torch.arange(self.size, device=self.points.device)
        return torch.cat([v @ self.block(rows, every).mT for rows in every.split(ROWS_AT_ONCE)], dim=-1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        return DenseCovariance(self.dense()).sample(n, rng)
