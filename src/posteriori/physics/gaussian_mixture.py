"""A mixture of Gaussians as an energy: many far modes of known weight."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor

from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space


class GaussianMixture(TorchOperator):
    """U(x) = -log Σ w N(x; mean, scale² I) in units of kT, normalised: log Z = 0; (*batch, d) → (*batch,).

    Args:
        means: (modes, d).
        scale: standard deviation of every mode.
        weights: (modes,), equal without; they are normalised.
    """

    def __init__(self, means: Tensor, scale: float = 1.0, weights: Tensor | None = None) -> None:
        super().__init__()
        n, d = means.shape
        w = torch.full((n,), 1 / n, dtype=torch.float64) if weights is None else weights.double() / weights.sum()
        self.register_buffer("means", means.double())
        self.register_buffer("log_weights", w.log())
        self.means: Tensor
        self.log_weights: Tensor
        self.scale = scale
        self.domain = Space("position", {"axis": d})
        self.codomain = Space("energy")

    def forward(self, m: Tensor) -> Tensor:
        """-log density of each position."""
        z = (m[..., None, :] - self.means.to(m)) / self.scale
        norm = m.shape[-1] * (log(self.scale) + log(2 * pi) / 2)
        return norm - torch.logsumexp(self.log_weights.to(m) - z.square().sum(-1) / 2, -1)

    @staticmethod
    def forty(seed: int = 0) -> GaussianMixture:
        """GMM-40: forty equal modes with means uniform on [-40, 40]² and scale log(1 + e), the usual bench.

        Reference: Midgley, Stimper, Simm, Schölkopf & Hernández-Lobato (2023), Flow annealed importance sampling
        bootstrap, ICLR.
        """
        generator = torch.Generator().manual_seed(seed)
        means = (torch.rand((40, 2), generator=generator) - 0.5) * 2 * 40
        return GaussianMixture(means.double(), log(1 + torch.e))

    @staticmethod
    def example() -> GaussianMixture:
        """Three modes in the plane."""
        return GaussianMixture(torch.tensor([[-2.0, 0.0], [1.0, 1.0], [0.5, -3.0]]), 0.8, torch.tensor([1.0, 2.0, 1.0]))
