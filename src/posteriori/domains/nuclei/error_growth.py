"""How wrong a learner is, the further from what it knows the more; learnt from nuclei that it was not shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance, ScaledCovariance, SumCovariance, cholesky
from posteriori.core.gaussian import Gaussian
from posteriori.core.space import Space
from posteriori.domains.nuclei.chart import points
from posteriori.learn.gp import KernelCovariance
from posteriori.learn.kernels import Matern, PositiveNumbers, matern32

NEIGHBOURS = 6
INSIDE = (4 + 2 * 2**0.5) / NEIGHBOURS
"""Remoteness of one unknown nucleus all of whose neighbours are known."""
A_REFERENCE = 100.0
STEPS = 30
SPEC = {
    "size": (150.0, 1.0),  # [keV] at A = 100, one unknown nucleus among known ones
    "fall": (0.5, 0.4),
    "growth": (0.8, 0.5),
    "own": (1.0, 0.7),
    "length": (5.0, 0.5),  # [nucleons]
    "alone": (0.4, 0.7),
}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a learner said of nuclei that it was not shown.

    Attributes:
        at: points (N, Z), float64 (k, 2).
        remote: :func:`remoteness` of each from what was shown, (k,).
        error: prediction minus measured value [keV], (k,).
        sigma: error of the measured value [keV], (k,).
        own: variance that the learner itself gives [keV²], (k,).
    """

    at: Tensor
    remote: Tensor
    error: Tensor
    sigma: Tensor
    own: Tensor


@dataclass(frozen=True)
class ErrorGrowth:
    """Covariance of a learner's errors: s_i s_j (shared Matérn-3/2(d_ij / length) + (1 - shared) δ_ij).

    s² = (size (A/100)^-fall (remoteness/inside)^growth)² + own² v, with v what the learner itself says.

    Attributes:
        size: [keV].
        fall, growth, own: pure numbers.
        length: [nucleons] over which errors go together.
        shared: the part of the variance that neighbours share, in (0, 1).
    """

    size: float
    fall: float
    growth: float
    own: float
    length: float
    shared: float

    @staticmethod
    def learnt(folds: Sequence[HeldOut]) -> ErrorGrowth:
        """The numbers under which the errors of the folds are most likely, jointly in each fold."""
        numbers = PositiveNumbers(SPEC)
        gaps = [torch.cdist(fold.at, fold.at) for fold in folds]
        optimiser = torch.optim.LBFGS(numbers.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            p = numbers.values()
            total = -numbers.log_prior()
            for fold, gap in zip(folds, gaps, strict=True):
                s = _spread(p, fold.at, fold.remote, fold.own)
                shared = s[:, None] * s * matern32(gap / p["length"]) / (1 + p["alone"])
                own = s.square() * p["alone"] / (1 + p["alone"]) + fold.sigma.square()
                factor = cholesky(shared + torch.diag(own))
                white = torch.linalg.solve_triangular(factor, fold.error[:, None], upper=False)
                total = total + 0.5 * white.square().sum() + factor.diagonal().log().sum()
            total.backward()
            return total

        with torch.enable_grad():
            optimiser.step(loss)
        found = {name: float(value.detach()) for name, value in numbers.values().items()}
        alone = found.pop("alone")
        return ErrorGrowth(**found, shared=1 / (1 + alone))

    def spread(self, at: Tensor, remote: Tensor, own: Tensor) -> Tensor:
        """Standard deviation s [keV] at points (n, 2), (n,)."""
        numbers = {name: torch.tensor(getattr(self, name)) for name in ("size", "fall", "growth", "own")}
        return _spread(numbers, at, remote, own)

    def law(self, cells: Space, mean: Tensor, own: Tensor, known: Tensor, masses: Tensor, variance: Tensor) -> Gaussian:
        """The masses of ``cells``: the learner's ``mean`` (n,) [keV] with its errors, and the measured where known.

        Args:
            own: variance that the learner itself gives, (n,).
            known: positions of the measured cells, (m,).
            masses: measured values [keV], (m,).
            variance: of their errors [keV²], (m,).
        """
        at = points(cells)
        s = self.spread(at, remoteness(at, at[known]), own)
        prior = s[known].square()
        kept = prior / (prior + variance)
        mean = mean.index_put((known,), mean[known] + kept * (masses - mean[known]))
        unknown = torch.ones(len(s), dtype=torch.bool).index_fill(0, known, False)
        shared = torch.where(unknown, self.shared**0.5 * s, 0.0)
        alone = torch.where(unknown, (1 - self.shared) * s.square(), 0.0).index_put((known,), kept * variance)
        kernel = KernelCovariance(Matern([self.length, self.length], nu=1.5).requires_grad_(False), at)
        return Gaussian(cells, mean, SumCovariance(ScaledCovariance(kernel, shared), DiagonalCovariance(alone)))


def _spread(p: dict[str, Tensor], at: Tensor, remote: Tensor, own: Tensor) -> Tensor:
    grown = p["size"] * (at.sum(-1) / A_REFERENCE) ** -p["fall"] * (remote / INSIDE) ** p["growth"]
    return (grown.square() + p["own"].square() * own).sqrt()


def remoteness(at: Tensor, known: Tensor) -> Tensor:
    """Mean distance [nucleons] from each point (n, 2) to the six nearest ``known`` ones other than itself, (n,).

    1.14 for a gap among known nuclei, about 2 one step beyond the end of a chain.
    """
    nearest = min(NEIGHBOURS + 1, len(known))
    distance = np.asarray(cKDTree(known.numpy()).query(at.numpy(), k=[*range(1, nearest + 1)])[0])
    itself = distance[:, 0] == 0
    others = np.where(itself[:, None], distance[:, 1:], distance[:, :-1]) if nearest > 1 else distance
    return torch.from_numpy(others.mean(1).clip(1.0))
