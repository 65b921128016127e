"""Two properties of the ground as one Gaussian prior: alike in space, and linked cell by cell."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor, nn

from posteriori.core.covariance import Covariance
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.smoothness import Smoothness


class LinkedCovariance(Covariance):
    """diag(s) (R ⊗ K) diag(s): fields of one law K, of correlation R = [[1, ρ], [ρ, 1]] in each cell, scaled by s.

    Args:
        field: K over the n cells of one property.
        scale: s (2n,), the first property's cells before the second's.
        correlation: ρ, in (-1, 1), where the learnt number starts.
    """

    def __init__(self, field: Covariance, scale: Tensor, correlation: float) -> None:
        super().__init__()
        self.field, self.size = field, 2 * field.size
        self.register_buffer("scale", scale.double())
        self.scale: Tensor
        self.atanh = nn.Parameter(torch.atanh(torch.tensor(correlation, dtype=torch.float64)), requires_grad=False)

    @property
    def like(self) -> Tensor:
        return self.scale

    @property
    def correlation(self) -> Tensor:
        """ρ."""
        return self.atanh.tanh()

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        n = self.field.size
        (row, at_row), (column, at_column) = (i.unique(return_inverse=True) for i in (rows % n, columns % n))
        k = self.field.block(row, column)[at_row][:, at_column]
        same = (rows // n)[:, None] == columns // n
        linked = torch.where(same, torch.ones_like(k), self.correlation.to(k))
        return self.scale[rows][:, None] * linked * k * self.scale[columns]

    def diagonal(self) -> Tensor:
        return self.scale.square() * self.field.diagonal().repeat(2)

    def matmul(self, v: Tensor) -> Tensor:
        scale = self.scale.to(v.dtype)
        a, b = self.field.matmul((scale * v).reshape(*v.shape[:-1], 2, self.field.size)).unbind(-2)
        r = self.correlation.to(v.dtype)
        return scale * torch.cat([a + r * b, r * a + b], -1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        first, other = self.field.sample(2 * n, rng).reshape(2, n, self.field.size)
        r = self.correlation
        return self.scale * torch.cat([first, r * first + (1 - r.square()).sqrt() * other], -1)


class LinkedPrior(nn.Module):
    """Velocity and density of a section: each a smooth field about its mean, correlated in every cell.

    Of the density's departures from its mean the velocity explains the share ρ²; what it leaves, sqrt(1 - ρ²) of their
    standard deviation, is the link's scatter, as smooth as the fields themselves. ``learn=True`` makes ρ a number to
    fit by the evidence.

    Args:
        space: a joined Space of two parts on one section.
        means: of each part, on its grid, in its unit.
        sigmas: standard deviations, likewise.
        lengths: correlation length along each dim [m].
        correlation: ρ in (-1, 1).
        learn: whether MarginalLikelihood may change ρ.

    Raises:
        ShapeError, DataError: parts on two grids, or a correlation outside (-1, 1).
    """

    def __init__(
        self,
        space: Space,
        means: tuple[Tensor, Tensor],
        sigmas: tuple[Tensor, Tensor],
        lengths: dict[str, float],
        correlation: float,
        learn: bool = False,
    ) -> None:
        super().__init__()
        if len(space.parts) != 2 or not space.parts[0].same(space.parts[1]):
            raise ShapeError(f"{space} needs two parts on one grid to be linked cell by cell.")
        if not -1 < correlation < 1:
            raise DataError(f"a correlation of {correlation:g} is outside (-1, 1); 0 says that there is no link.")
        self.space = space
        grid = space.parts[0]
        self.register_buffer("location", torch.cat([grid.flat(m).double() for m in means]))
        self.location: Tensor
        field = Smoothness(grid, 1.0, lengths).requires_grad_(False).covariance
        scale = torch.cat([grid.flat(s).double() for s in sigmas])
        self.covariance = LinkedCovariance(field, scale, correlation)
        self.covariance.atanh.requires_grad_(learn)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, 2 cells)."""
        with torch.no_grad():
            return self.location + self.covariance.sample(n, rng)

    def linked(self, correlation: float) -> LinkedPrior:
        """The same prior with another correlation; everything else is shared."""
        other, covariance = copy(self), copy(self.covariance)
        covariance._parameters = {
            "atanh": nn.Parameter(torch.atanh(torch.tensor(correlation, dtype=torch.float64)), requires_grad=False)
        }
        other._modules = {**self._modules, "covariance": covariance}
        return other

    @staticmethod
    def example() -> LinkedPrior:
        """Six cells of each."""
        grid = {"z": [50.0, 150.0], "x": [0.0, 100.0, 200.0]}
        space = Space.of(velocity=Space("v", grid, "m/s"), density=Space("rho", grid, "kg/m^3"))
        ones = torch.ones(2, 3, dtype=torch.float64)
        return LinkedPrior(space, (2 * ones, ones), (0.5 * ones, 0.3 * ones), {"z": 100.0, "x": 150.0}, 0.7)
