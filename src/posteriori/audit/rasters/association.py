"""Do neighbours resemble each other: Moran's I and join counts, with their exact moments under random placement.

Neighbours share an edge (``EDGES``) or an edge or corner (``CORNERS``); cells outside ``mask`` (y, x) are no one's.
Moments are over all placements of the values given on the cells given, as equally likely.

Reference: Cliff & Ord (1981), Spatial processes: models and applications, chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor

from posteriori.audit.rasters.cells import cell_weights
from posteriori.audit.rasters.variograms import Lag, pair_ends
from posteriori.core.errors import DataError

EDGES: tuple[Lag, ...] = ((0, 1), (1, 0))
CORNERS: tuple[Lag, ...] = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Association:
    """A statistic of each field, (*case), and its mean and standard deviation under random placement."""

    value: Tensor
    expected: Tensor
    standard_deviation: Tensor

    @property
    def z(self) -> Tensor:
        """Standard deviations above what random placement gives.

        Raises:
            DataError: a statistic that every placement gives, such as of a class that is everywhere or nowhere.
        """
        if (self.standard_deviation == 0).any():
            raise DataError("every placement gives the same statistic: the class is everywhere or nowhere.")
        return (self.value - self.expected) / self.standard_deviation

    @property
    def p_value(self) -> Tensor:
        """Two-sided, by the normal law of the statistic (many cells)."""
        return torch.special.erfc(self.z.abs() / 2**0.5)


@dataclass(frozen=True)
class _Graph:
    """Sums over the symmetric matrix of neighbours: S0 = sum w, S1 = 2 sum w², S2 = 4 sum of squared degrees."""

    n: int
    s0: float
    s1: float
    s2: float

    @staticmethod
    def of(mask: Tensor, neighbours: tuple[Lag, ...]) -> _Graph:
        degree = torch.zeros(mask.shape, dtype=torch.float64)
        for lag in neighbours:
            near, far = pair_ends(mask, *lag)
            both = (near & far).to(torch.float64)
            for part in pair_ends(degree, *lag):
                part += both
        s0 = degree.sum().item()
        if mask.sum() < 4 or s0 == 0:
            raise DataError(
                f"{int(mask.sum())} cells with {s0 / 2:g} neighbouring pairs: at least four and one needed."
            )
        return _Graph(int(mask.sum()), s0, 2 * s0, 4 * degree.square().sum().item())


def moran(fields: Tensor, mask: Tensor | None = None, neighbours: tuple[Lag, ...] = EDGES) -> Association:
    """Moran's I of each field (*case, y, x): correlation of neighbouring cells, -1 / (n - 1) at random.

    Raises:
        DataError: a constant field, or fewer than four cells.
    """
    kept = _mask(fields, mask)
    scored = cell_weights(fields, kept) > 0
    n = int(kept.sum())
    x = torch.where(scored, fields, 0.0).to(torch.float64)
    z = torch.where(scored, x - x.sum((-2, -1), keepdim=True) / n, 0.0)
    m2 = z.square().sum((-2, -1)) / n
    if (m2 <= 0).any():
        raise DataError("Moran's I of a constant field is 0 / 0; leave the field out.")
    graph = _Graph.of(kept, neighbours)
    joined = torch.zeros_like(m2)
    for lag in neighbours:
        near, far = pair_ends(z, *lag)
        joined += (near * far).sum((-2, -1))
    value = 2 * joined / graph.s0 / m2
    b2 = z.pow(4).sum((-2, -1)) / n / m2.square()
    s0, s1, s2 = graph.s0, graph.s1, graph.s2
    square = n * ((n**2 - 3 * n + 3) * s1 - n * s2 + 3 * s0**2) - b2 * ((n**2 - n) * s1 - 2 * n * s2 + 6 * s0**2)
    square = square / ((n - 1) * (n - 2) * (n - 3) * s0**2)
    mean = torch.full_like(value, -1 / (n - 1))
    return Association(value, mean, (square - mean.square()).clamp(min=0).sqrt())


def join_counts(
    event: Tensor, mask: Tensor | None = None, neighbours: tuple[Lag, ...] = EDGES
) -> tuple[Association, Association]:
    """Pairs of neighbours that both have a boolean ``event`` (*case, y, x), and pairs of which just one has it.

    Many alike and few unlike: the class is clustered.
    """
    kept = _mask(event, mask)
    graph = _Graph.of(kept, neighbours)
    here = event & kept
    alike, unlike = (torch.zeros(event.shape[:-2], dtype=torch.float64) for _ in range(2))
    for lag in neighbours:
        (near, far), (one, other) = pair_ends(here, *lag), pair_ends(kept.expand(here.shape), *lag)
        alike += (near & far).sum((-2, -1))
        unlike += ((near ^ far) & one & other).sum((-2, -1))
    n, a = graph.n, here.sum((-2, -1)).to(torch.float64)
    b = n - a
    pairs = _falling(n, 2)
    far_pairs = graph.s0**2 + graph.s1 - graph.s2
    mean = graph.s0 / 2 * _down(a, 2) / pairs
    square = graph.s1 * _down(a, 2) / pairs + (graph.s2 - 2 * graph.s1) * _down(a, 3) / _falling(n, 3)
    square = (square + far_pairs * _down(a, 4) / _falling(n, 4)) / 4
    both = Association(alike, mean, (square - mean.square()).clamp(min=0).sqrt())
    mean = graph.s0 * a * b / pairs
    square = graph.s2 * a * b / pairs
    square = (square + far_pairs * 4 * _down(a, 2) * _down(b, 2) / _falling(n, 4)) / 4
    return both, Association(unlike, mean, (square - mean.square()).clamp(min=0).sqrt())


def _mask(fields: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return torch.ones(fields.shape[-2:], dtype=torch.bool)
    if mask.shape != fields.shape[-2:] or mask.dtype != torch.bool:
        raise DataError(f"mask {tuple(mask.shape)} of {mask.dtype} must be booleans {tuple(fields.shape[-2:])}.")
    return mask


def _down(x: Tensor, k: int) -> Tensor:
    """x (x - 1) … (x - k + 1)."""
    return torch.stack([x - i for i in range(k)]).prod(0)


def _falling(n: int, k: int) -> float:
    return float(special.poch(n - k + 1, k))
