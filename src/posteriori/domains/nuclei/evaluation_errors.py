"""The errors of an evaluated mass table: wider than quoted for the precise, shared along decay chains, heavy-tailed."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.errors import ShapeError


@dataclass(frozen=True)
class ChainLaw:
    """How errors go along decay chains; the values make AME1995 most likely, alone and as AME2003 revised it.

    Attributes:
        factor, power: a quoted σ stands for ``factor · 50 keV · (σ / 50 keV)^power``.
        alpha_share, beta_share: weights of what α and β chains share, beside one for what each value has alone.
        alpha_length, beta_length: decays over which the shared part falls to 1/e.
    """

    factor: float = 2.4
    power: float = 0.6
    alpha_share: float = 5.0
    beta_share: float = 0.3
    alpha_length: float = 11.0
    beta_length: float = 2.3


REFERENCE_SIGMA = 50.0  # [keV] where the factor applies as it stands
SMALLEST_SIGMA = 0.1  # [keV]


class EvaluationErrors(CorrelatedNoise):
    """Gaussian errors of evaluated masses, given a factor for each value.

    Values linked by α decays (steps of two protons and two neutrons) or β decays (isobars) share part of their error,
    since the evaluation hands it down the chain: covariance min(s_i², s_j²) · share · exp(-decays / length), with s the
    standard deviation that the quoted one stands for.

    Args:
        points: (N, Z) of the values, float64 (m, 2).
        sigma: quoted standard deviations [keV], (m,).
        law: how errors go along chains.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Huang et al. (2021), The AME 2020 atomic mass evaluation (I): input data and adjustment, Chin. Phys. C 45.",
    )

    def __init__(self, points: Tensor, sigma: Tensor, law: ChainLaw = ChainLaw()) -> None:
        super().__init__()
        if points.shape != (*sigma.shape, 2):
            raise ShapeError(f"points {tuple(points.shape)} do not fit {tuple(sigma.shape)} standard deviations.")
        self.law = law
        self.register_buffer("points", points)
        self.register_buffer("sigma", sigma)
        self.register_buffer("scales", torch.ones_like(sigma))
        self.points: Tensor
        self.sigma: Tensor
        self.scales: Tensor
        self._link()

    def matrix(self) -> Tensor:
        law = self.law
        quoted = self.sigma.clamp_min(SMALLEST_SIGMA) / REFERENCE_SIGMA
        variance = (law.factor * REFERENCE_SIGMA * quoted**law.power) ** 2 * self.scales
        whole = 1 + law.alpha_share + law.beta_share
        i, j, decays = self.alpha
        alpha = (
            torch.minimum(variance[i], variance[j]) * law.alpha_share / whole * torch.exp(-decays / law.alpha_length)
        )
        k, h, hops = self.beta
        beta = torch.minimum(variance[k], variance[h]) * law.beta_share / whole * torch.exp(-hops / law.beta_length)
        rows, columns = torch.cat([i, j, k, h]), torch.cat([j, i, h, k])
        return torch.diag(variance).index_put((rows, columns), torch.cat([alpha, alpha, beta, beta]))

    def part(self, index: Tensor) -> EvaluationErrors:
        fewer = EvaluationErrors(self.points[index], self.sigma[index], self.law)
        return fewer.with_scales(self.scales[index])

    def with_scales(self, scales: Tensor) -> Self:
        other = copy(self)
        other._buffers = {**self._buffers, "scales": scales}
        return other

    def _link(self) -> None:
        """Pairs on one α chain and on one isobar, each once, with the number of decays between them."""
        n, z = self.points.long().unbind(-1)
        dn, dz = (x[:, None] - x for x in (n, z))
        first = torch.ones_like(dn, dtype=torch.bool).triu(1)
        i, j = torch.nonzero((dn == dz) & (dn % 2 == 0) & first, as_tuple=True)
        k, h = torch.nonzero((dn + dz == 0) & first, as_tuple=True)
        self.alpha = i, j, (n[i] - n[j]).abs().double() / 2
        self.beta = k, h, (n[k] - n[h]).abs().double()

    @staticmethod
    def example() -> EvaluationErrors:
        """Two links of an α chain and an isobar."""
        points = torch.tensor([[126.0, 84.0], [124.0, 82.0], [125.0, 85.0]], dtype=torch.float64)
        return EvaluationErrors(points, torch.tensor([5.0, 60.0, 300.0], dtype=torch.float64))
