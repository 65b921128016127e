"""A Gaussian prior of fields from their history: each scale tapered at its length, and a common part."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.place_kernel import PlaceKernel, character, positions

STEPS, FEWER_STEPS = 110, 40
"""Steps in which the part common to all places is learnt: from nothing, and from one learnt before."""
LEAST_CHANGE = 1e-12
"""Standard deviation, over the mean's size, below which a cell only seems to change, by rounding."""
FEWEST_PAIRS = 2
"""Layers in which two cells must have been seen together for their correlation to count."""


@dataclass(frozen=True)
class Scales:
    """How a covariance is made of the history's correlations R = R₁ + R₂, R₁ its ``leading`` patterns.

    K = D [(1 - s) (R₁ ∘ g(d/L₁) + R₂ ∘ g(d/L₂)) + s P + nugget·1] D with g(r) = exp(-r²/2), D the standard deviations
    and P a :class:`~posteriori.learn.place_kernel.PlaceKernel`, which few numbers fix. Lengths are in shorter sides of
    the grid.

    Args:
        length: L₂ of what the leading patterns leave.
        common: s, the share of P, in [0, 1].
        leading: number of leading patterns, ≥ 0.
        leading_length: L₁.
        nugget: share of the variance that no neighbour knows of, ≥ 0.

    Raises:
        OptionError: a length that is not positive, or a share or number outside its range.

    Reference: Buehner & Shlyaeva (2015), Scale-dependent background-error covariance localisation, Tellus A 67, 28027;
    Hamill & Snyder (2000), A hybrid ensemble Kalman filter, Mon. Weather Rev. 128, 2905.
    """

    length: float = 0.25
    common: float = 0.5
    leading: int = 10
    leading_length: float = 0.6
    nugget: float = 1e-4

    references: ClassVar = (
        "Buehner & Shlyaeva (2015), Scale-dependent background-error covariance localisation, Tellus A 67, 28027.",
        "Hamill & Snyder (2000), A hybrid ensemble Kalman filter, Mon. Weather Rev. 128, 2905.",
    )

    def __post_init__(self) -> None:
        if not (self.length > 0 and self.leading_length > 0 and 0 <= self.common <= 1):
            raise OptionError(f"{self}: lengths must be positive and the common share in [0, 1].")
        if self.leading < 0 or not 0 <= self.nugget < inf:
            raise OptionError(f"{self}: the number of leading patterns and the nugget must be at least 0.")


@dataclass(frozen=True, eq=False)
class Correlations:
    """What a history tells about the defined cells of a grid, before any choice of :class:`Scales`.

    Attributes:
        space: the grid.
        cells: flat positions of the cells that the history knows, (k,).
        mean, std: of those cells, (k,).
        values, vectors: eigenvalues, falling, and eigenvectors of R, (k,) and (k, k).
        common: P between the cells, (k, k).
        kernel: the P that was learnt.
        distance: squared, in shorter sides of the grid, (k, k).
    """

    space: Space
    cells: Tensor
    mean: Tensor
    std: Tensor
    values: Tensor
    vectors: Tensor
    common: Tensor
    distance: Tensor
    kernel: PlaceKernel

    @staticmethod
    def of(space: Space, history: Tensor, rng: Rng, start: PlaceKernel | None = None) -> Correlations:
        """Those of ``history`` (n, *space.shape), NaN in gaps; pairs of cells count where both were seen.

        Cells that were seen less than twice, or never changed, are left out. ``start`` is a P learnt from a similar
        history, which then is only adapted.

        Raises:
            ShapeError: a history of another shape.
            DataError: fewer than two fields, no cell that ever changes, or infinite values.
            MemoryBudgetError: more cells than correlations can be kept of.
        """
        if len(space.shape) != 2 or history.shape[1:] != space.shape:
            raise ShapeError(f"a history {tuple(history.shape)} should be (fields, *{space.shape}) on a grid (y, x).")
        if len(history) < 2 or bool(torch.isinf(history).any()):
            raise DataError(f"a history of {len(history)} fields; at least two without infinite values are needed.")
        x = space.flat(history).double()
        seen = ~torch.isnan(x)
        count = seen.sum(0)
        mean = torch.where(seen, x, 0.0).sum(0) / count.clamp_min(1)
        anomaly = torch.where(seen, x - mean, 0.0)
        std = (anomaly.square().sum(0) / count.clamp_min(1)).sqrt()
        cells = ((count >= FEWEST_PAIRS) & (std > LEAST_CHANGE * mean.abs())).nonzero()[:, 0]
        if not len(cells):
            raise DataError("no cell of the history has two different values; nothing can be learnt from it.")
        memory.require(8 * 8 * len(cells) ** 2, f"correlations of {len(cells)} cells", "cut the grid, or every=2")
        z, known = (anomaly / std)[:, cells], seen[:, cells].double()
        together = known.mT @ known
        r = torch.where(together >= FEWEST_PAIRS, (z.mT @ z) / together.clamp_min(1), 0.0)
        values, vectors = torch.linalg.eigh(r)
        at = positions(space, cells)
        distance = torch.cdist(at, at).square() / min(space.shape) ** 2
        kernel, features = PlaceKernel() if start is None else deepcopy(start), character(space, history, cells)
        kernel.learn(at, features, r, STEPS if start is None else FEWER_STEPS, rng)
        common = kernel.correlation(at, features)
        return Correlations(
            space, cells, mean[cells], std[cells], values.flip(0), vectors.flip(1), common, distance, kernel
        )

    @property
    def known(self) -> Tensor:
        """Which cells the history knows, bool (y, x)."""
        return self.space.unflat(torch.zeros(self.space.size, dtype=torch.bool).index_fill(0, self.cells, True))

    @property
    def defined(self) -> Space:
        """The grid without the cells that the history does not know."""
        return replace(self.space, mask=None if len(self.cells) == self.space.size else self.known)

    def prior(self, scales: Scales) -> Gaussian:
        """The law over the grid; cells that the history does not know are undefined: mean and variance 0."""
        space, size = self.defined, self.space.size
        whole = torch.zeros(size, size, dtype=torch.float64)
        whole[self.cells[:, None], self.cells] = self.matrix(scales)
        mean = torch.zeros(size, dtype=torch.float64).index_copy(0, self.cells, self.mean)
        return Gaussian(space, space.unflat(mean), DenseCovariance(whole))

    def matrix(self, scales: Scales) -> Tensor:
        """K between the known cells, (k, k), positive semi-definite."""
        k = self.tapered(scales)
        std = k.diagonal().sqrt()
        k = (1 - scales.common) * k / (std[:, None] * std) + scales.common * self.common
        return (k + scales.nugget * torch.eye(len(k), dtype=k.dtype)) * self.std[:, None] * self.std

    def tapered(self, scales: Scales) -> Tensor:
        """R₁ ∘ g(d/L₁) + R₂ ∘ g(d/L₂), (k, k)."""
        first, values = min(scales.leading, len(self.values)), self.values.clamp_min(0)
        lead = (self.vectors[:, :first] * values[:first]) @ self.vectors[:, :first].mT
        rest = (self.vectors[:, first:] * values[first:]) @ self.vectors[:, first:].mT
        return lead * self.taper(scales.leading_length) + rest * self.taper(scales.length)

    def taper(self, length: float) -> Tensor:
        """g(d/length), (k, k)."""
        return (-0.5 * self.distance / length**2).exp()
