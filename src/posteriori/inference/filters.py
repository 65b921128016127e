"""A linear problem taken apart: what the data say along each direction, and what a strength of damping leaves of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor


@dataclass(frozen=True)
class Filters:
    """‖d - J m‖² + λ ‖L m‖² in directions where both are diagonal; d whitened by its noise, less what is expected.

    Along direction i the data weigh cᵢ², the penalty sᵢ², and βᵢ is what is seen. Damping by λ keeps the share
    φᵢ = cᵢ²/(cᵢ² + λ sᵢ²) and leaves fᵢ = 1 - φᵢ. A strength λ is (problems, strengths) throughout.

    Attributes:
        signal: c², (k,).
        penalty: s², (k,).
        seen: β, (problems, k); zero where nothing is seen.
        outside: ‖d‖² beyond every direction, (problems,).
        count: number of data.
        log_noise: ½ log |2π R|, of which the whitened data have lost track.

    Reference: Hansen (2010), Discrete Inverse Problems, SIAM, chapters 4 and 5.
    """

    signal: Tensor
    penalty: Tensor
    seen: Tensor
    outside: Tensor
    count: int
    log_noise: Tensor

    def left(self, strength: Tensor) -> Tensor:
        """f = λ s²/(c² + λ s²), (problems, strengths, k)."""
        damped = strength[..., None] * self.penalty
        return damped / (self.signal + damped).clamp_min(1e-300)

    def misfit(self, strength: Tensor) -> Tensor:
        """ρ = ‖d - J m‖² of the damped solution, (problems, strengths)."""
        return self._charged(self.left(strength).square()) + self.outside[:, None]

    def roughness(self, strength: Tensor) -> Tensor:
        """η = ‖L m‖² of the damped solution, (problems, strengths)."""
        f = self.left(strength)
        return self._charged((1 - f) * f) / strength

    def degrees(self, strength: Tensor) -> Tensor:
        """Σ φ: how many numbers the data determine, (problems, strengths)."""
        return (1 - self.left(strength))[..., self.signal > 0].sum(-1)

    def log_evidence(self, strength: Tensor) -> Tensor:
        """log N(d; 0, R + J (λ LᵀL)⁻¹ Jᵀ), (problems, strengths).

        Where L leaves directions free, up to a constant: the density of those is one for each unit.
        """
        f = self.left(strength)
        charged = self.penalty > 0
        shrink = 0.5 * f[..., charged].clamp_min(1e-300).log().sum(-1)
        return shrink - 0.5 * (self._charged(f) + self.outside[:, None]) - self.log_noise

    def curvature(self, strength: Tensor) -> Tensor:
        """Curvature of the curve (log ρ, log η) along log λ, (problems, strengths); positive at an L's corner.

        With dots for d/dlog λ: ḟ = f φ, hence ρ̇ = 2 Σ β² f² φ, ρ̈ = 2 Σ β² f² φ (2 - 3f), η̇ = -ρ̇/λ,
        η̈ = (2/λ) Σ β² φ f² (2 - 3φ).
        """
        f = self.left(strength)
        kept = 1 - f
        rho, eta = self.misfit(strength), self.roughness(strength)
        first = 2 * self._charged(f.square() * kept)
        second = 2 * self._charged(f.square() * kept * (2 - 3 * f))
        eta_first, eta_second = -first / strength, 2 / strength * self._charged(kept * f.square() * (2 - 3 * kept))
        x, y = first / rho.clamp_min(1e-300), eta_first / eta.clamp_min(1e-300)
        xx = second / rho.clamp_min(1e-300) - x.square()
        yy = eta_second / eta.clamp_min(1e-300) - y.square()
        return (x * yy - xx * y) / (x.square() + y.square()).clamp_min(1e-300) ** 1.5

    def range(self) -> tuple[float, float]:
        """The least and the largest strength at which anything still changes."""
        both = (self.signal > 0) & (self.penalty > 0)
        if not bool(both.any()):
            return 1.0, 1.0
        ratio = (self.signal[both] / self.penalty[both]).clamp_min(1e-300)
        high = float(ratio.max())
        return max(float(ratio.min()), 1e-15 * high) * 1e-2, high * 1e3

    def _charged(self, weights: Tensor) -> Tensor:
        """Σ_i weights_i β_i², (problems, strengths)."""
        return (weights * self.seen.square()[:, None, :]).sum(-1)


def strengths(low: float, high: float, count: int, like: Tensor) -> Tensor:
    """``count`` strengths from low to high, evenly on a logarithmic scale."""
    return torch.logspace(log(low), log(high), count, base=torch.e, dtype=torch.float64, device=like.device)
