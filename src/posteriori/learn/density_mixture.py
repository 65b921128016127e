"""A mixture of Gaussians as a density, fitted to weighted rows; the number of parts is found on rows held out."""

from __future__ import annotations

from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.space import Space

ITERATIONS, SETTLED = 60, 1e-5
"""Steps of expectation-maximisation at most, and the gain per row below which they end."""
RIDGE = 1e-6
"""Added to variances, as a share of those of all rows."""
FEWEST = 1e-4
"""Share of the rows below which a part is given up."""
LAST_BITS = 2.0**-53


class MixtureDensity(nn.Module):
    """Σ w_k N(m_k, C_k) over the cells of a real Space; :meth:`fitted` learns it.

    Args:
        space: the cells, flattened inside.
        log_weights: (k,).
        means: (k, n).
        roots: lower Cholesky roots of the covariances, (k, n, n).

    Reference: Cappé, Douc, Guillin, Marin & Robert (2008), Adaptive importance sampling in general mixture classes,
    Statistics and Computing 18, 447.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Cappé, Douc, Guillin, Marin & Robert (2008), Adaptive importance sampling in general mixture classes, "
        "Statistics and Computing 18, 447.",
    )

    def __init__(self, space: Space, log_weights: Tensor, means: Tensor, roots: Tensor) -> None:
        super().__init__()
        self.space = space
        self.register_buffer("log_weights", torch.log_softmax(log_weights.double(), 0))
        self.register_buffer("means", means.double())
        self.register_buffer("roots", roots.double())
        self.log_weights: Tensor
        self.means: Tensor
        self.roots: Tensor

    @property
    def numbers(self) -> int:
        """Uniform numbers that one draw uses."""
        return self.space.size + 1

    def points(self, u: Tensor) -> Tensor:
        """Rows (n, *space.shape) of uniform numbers (n, numbers); the first picks the part."""
        edges = self.log_weights.exp().cumsum(0)
        part = torch.searchsorted(edges / edges[-1].clone(), u[:, 0].contiguous(), right=True)
        part = part.clamp_max(len(edges) - 1)
        z = torch.special.ndtri(u[:, 1:].clamp(LAST_BITS, 1 - LAST_BITS))
        return self.space.unflat(self.means[part] + torch.einsum("nij,nj->ni", self.roots[part], z))

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent draws, (n, *space.shape)."""
        return self.points(rng.fresh().uniform((n, self.numbers)))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        flat = self.space.flat(x).double()
        found = torch.logsumexp(self._parts(flat.reshape(-1, self.space.size)), 1)
        return found.reshape(flat.shape[:-1])

    def wider(self, factor: float) -> MixtureDensity:
        """The same with every part ``factor`` times wider."""
        return MixtureDensity(self.space, self.log_weights, self.means, factor * self.roots)

    def fitted(self, x: Tensor, weights: Tensor, rng: Rng) -> MixtureDensity:
        """Of highest likelihood for rows (n, *space.shape) with weights (n,), reached from this one by EM.

        Raises:
            DataError: a weight that is negative or not finite, or no weight at all.
        """
        rows, share = self.space.flat(x).double(), _shares(weights)
        ridge = RIDGE * _spread(rows, share)
        law, before = self, -torch.inf
        with torch.no_grad():
            for _ in range(ITERATIONS):
                parts = law._parts(rows)
                total = torch.logsumexp(parts, 1)
                likelihood = float((share * total).sum())
                law = law._stepped(rows, share[:, None] * (parts - total[:, None]).exp(), ridge)
                if likelihood - before < SETTLED:
                    break
                before = likelihood
        return law

    @staticmethod
    def seeded(space: Space, x: Tensor, weights: Tensor, parts: int, rng: Rng) -> MixtureDensity:
        """``parts`` equal parts around rows far from each other (k-means++), one covariance for all of them."""
        rows, share = space.flat(x).double(), _shares(weights)
        root = torch.linalg.cholesky(_covariance(rows, share) + torch.diag(RIDGE * _spread(rows, share)))
        white = torch.linalg.solve_triangular(root, rows.mT, upper=False).mT
        chosen = [int(torch.multinomial(share, 1, generator=rng.generator))]
        gap = torch.full_like(share, torch.inf)
        for _ in range(parts - 1):
            gap = torch.minimum(gap, (white - white[chosen[-1]]).square().sum(1))
            chance = share * gap
            if not bool(chance.sum() > 0):
                break
            chosen.append(int(torch.multinomial(chance, 1, generator=rng.generator)))
        narrow = root * len(chosen) ** (-1 / space.size)
        return MixtureDensity(
            space, torch.zeros(len(chosen)), rows[chosen], narrow.expand(len(chosen), *root.shape).clone()
        )

    def _parts(self, rows: Tensor) -> Tensor:
        """log w_k + log N_k of rows (n, size), (n, k)."""
        n = self.space.size
        inverse = torch.linalg.solve_triangular(self.roots, torch.eye(n, dtype=torch.float64), upper=False)
        z = torch.einsum("kij,nj->nki", inverse, rows) - torch.einsum("kij,kj->ki", inverse, self.means)
        log_det = self.roots.diagonal(dim1=1, dim2=2).log().sum(1)
        return self.log_weights - log_det - 0.5 * (z.square().sum(2) + n * log(2 * pi))

    def _stepped(self, rows: Tensor, shares: Tensor, ridge: Tensor) -> MixtureDensity:
        total = shares.sum(0)
        alive = total > FEWEST / (1 + self.space.size)
        shares, total = shares[:, alive], total[alive]
        means = shares.mT @ rows / total[:, None]
        second = torch.einsum("nk,ni,nj->kij", shares, rows, rows) / total[:, None, None]
        covariance = second - means[:, :, None] * means[:, None, :] + torch.diag(ridge)
        roots, info = torch.linalg.cholesky_ex(covariance)
        sound = info == 0
        return MixtureDensity(self.space, total[sound].log(), means[sound], roots[sound])

    @staticmethod
    def example() -> MixtureDensity:
        """Two parts in the plane."""
        roots = torch.tensor([[[0.5, 0.0], [0.2, 0.4]], [[1.0, 0.0], [0.0, 0.3]]])
        means = torch.tensor([[-1.0, 0.0], [1.0, 0.5]])
        return MixtureDensity(Space("position", {"axis": 2}), torch.tensor([0.0, 0.7]), means, roots)


def _shares(weights: Tensor) -> Tensor:
    share = weights.double()
    if bool(~torch.isfinite(share).all()) or bool((share < 0).any()) or not bool(share.sum() > 0):
        raise DataError("weights of rows are finite, not negative and not all zero; drop the rows that have none.")
    return share / share.sum()


def _spread(rows: Tensor, share: Tensor) -> Tensor:
    """Variances (n,) of weighted rows."""
    centred = rows - share @ rows
    return (share @ centred.square()).clamp_min(1e-300)


def _covariance(rows: Tensor, share: Tensor) -> Tensor:
    centred = rows - share @ rows
    return (share[:, None] * centred).mT @ centred
