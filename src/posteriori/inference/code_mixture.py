"""Mixtures of normal laws over codes, each stretched along the line from the origin to its centre."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from posteriori.core.random import Rng

LEAST_VARIANCE, MOST_VARIANCE = 0.25, 4.0
"""Bounds of the variance along a component's centre: a narrower law has lighter tails than what it stands for."""


@dataclass(frozen=True)
class CodeMixture:
    """Σ w_k N(m_k, v_k² I + (s_k - v_k²) û_k û_kᵀ), û_k the direction of m_k: 2 n + 2 numbers fit from few rows.

    Attributes:
        weights: (k,), summing to one.
        means: (k, n).
        along: s_k, variance along the direction of the mean, (k,).
        scale: v_k, standard deviation across it, (k,).
    """

    weights: Tensor
    means: Tensor
    along: Tensor
    scale: Tensor

    @staticmethod
    def standard(size: int) -> CodeMixture:
        """The law of the codes themselves."""
        one = torch.ones(1, dtype=torch.float64)
        return CodeMixture(one, torch.zeros(1, size, dtype=torch.float64), one, one)

    @staticmethod
    def inflated(size: int, scales: Tensor) -> CodeMixture:
        """Equal shares of centred laws with standard deviations ``scales`` (k,)."""
        k = len(scales)
        weights = torch.full((k,), 1 / k, dtype=torch.float64)
        return CodeMixture(
            weights, torch.zeros(k, size, dtype=torch.float64), scales.double().square(), scales.double()
        )

    def beside(self, other: CodeMixture, share: float) -> CodeMixture:
        """This mixture with a ``share`` of the ``other``."""
        pairs = ((self.means, other.means), (self.along, other.along), (self.scale, other.scale))
        weights = torch.cat([(1 - share) * self.weights, share * other.weights])
        return CodeMixture(weights, *(torch.cat(pair) for pair in pairs))

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` codes (n, size); every component gives its share, give or take one."""
        edges = self.weights.cumsum(0)
        points = (torch.arange(n, dtype=torch.float64) + rng.uniform((n,))) / n
        which = torch.searchsorted(edges / edges[-1].clone(), points).clamp_max(len(edges) - 1)
        noise = rng.normal((n, self.means.shape[1]))
        u = self._directions()[which]
        part = (noise * u).sum(-1, keepdim=True)
        scale, root = self.scale[which, None], self.along.sqrt()[which, None]
        return self.means[which] + scale * noise + (root - scale) * part * u

    def parts(self, z: Tensor) -> Tensor:
        """log w_k + log N_k of codes (rows, n), float64 (rows, k)."""
        n, u = z.shape[1], self._directions()
        squares = z.square().sum(1, keepdim=True) - 2 * z @ self.means.mT + self.means.square().sum(1)
        along = (z @ u.mT - (self.means * u).sum(1)).square()
        across = (squares - along).clamp_min(0.0)
        log_det = self.along.log() + (n - 1) * 2 * self.scale.log()
        energy = 0.5 * (along / self.along + across / self.scale.square() + log_det + n * log(2 * pi))
        return self.weights.log() - energy

    def log_density(self, z: Tensor) -> Tensor:
        """Log density of codes (rows, n), float64 (rows,)."""
        return torch.logsumexp(self.parts(z), 1)

    def fitted(self, z: Tensor, weights: Tensor) -> CodeMixture:
        """One step of expectation-maximisation to rows (rows, n) of ``weights`` (rows,) that sum to one."""
        parts = self.parts(z)
        share = weights[:, None] * (parts - torch.logsumexp(parts, 1, keepdim=True)).exp()
        total = share.sum(0).clamp_min(1e-12)
        means = share.mT @ z / total[:, None]
        u = torch.nn.functional.normalize(means, dim=1)
        gap = (z @ u.mT - (means * u).sum(1)).square()
        along = ((share * gap).sum(0) / total).clamp(LEAST_VARIANCE, MOST_VARIANCE)
        return CodeMixture(total / total.sum(), means, along, self.scale)

    def _directions(self) -> Tensor:
        u = torch.nn.functional.normalize(self.means, dim=1)
        first = torch.zeros_like(u)
        first[:, 0] = 1.0
        return torch.where(self.means.square().sum(1, keepdim=True) > 0, u, first)
