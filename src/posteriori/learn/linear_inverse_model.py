"""A linear inverse model: noise-driven linear dynamics of a field's leading patterns, read off one lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import LowRankCovariance
from posteriori.core.errors import DataError, OptionError


@dataclass(frozen=True, eq=False)
class LinearInverseModel:
    """dz/dt = B z + white noise for the coefficients z of the first k empirical orthogonal functions.

    With C₀ = ⟨z zᵀ⟩ and C_τ = ⟨z(t + τ) z(t)ᵀ⟩ the dynamics over a lead nτ are G = (C_τ C₀⁻¹)ⁿ, and the forecast is
    N(G z, C₀ - G C₀ Gᵀ): at long leads it has the mean and the spread of the climate. Variance outside the k patterns
    is not forecast and counts as noise.

    Args:
        patterns: E (k, cell), orthonormal.
        propagator: G (k, k).
        covariance: of the forecast's error over the cells.

    Reference: Penland & Sardeshmukh (1995), The optimal growth of tropical sea surface temperature anomalies, J.
    Climate 8, 1999.
    """

    patterns: Tensor
    propagator: Tensor
    covariance: LowRankCovariance

    references: ClassVar[tuple[str, ...]] = (
        "Penland & Sardeshmukh (1995), The optimal growth of tropical sea surface temperature anomalies, J. Climate 8.",
    )

    @staticmethod
    def fitted(fields: Tensor, pairs: Tensor, power: int, modes: int) -> LinearInverseModel:
        """From anomalies.

        Args:
            fields: (n, cell), float64, about their mean.
            pairs: (p, 2) positions of fields that lie one lag τ apart, the earlier first.
            power: n, the lead in lags.
            modes: k.

        Raises:
            OptionError: more modes than fields or cells, or a power below one.
            DataError: too few pairs.
        """
        if power < 1 or not 1 <= modes <= min(fields.shape):
            raise OptionError(f"{modes} modes and power {power} do not fit {tuple(fields.shape)} fields and cells.")
        if len(pairs) <= modes:
            raise DataError(f"{len(pairs)} pairs of fields cannot tell the dynamics of {modes} modes.")
        patterns = torch.linalg.svd(fields, full_matrices=False).Vh[:modes]
        z = fields @ patterns.mT
        now, then = z[pairs[:, 0]], z[pairs[:, 1]]
        variance = z.mT @ z / len(z)
        step = torch.linalg.solve(now.mT @ now, now.mT @ then).mT
        propagator = torch.linalg.matrix_power(step, power)
        noise = variance - propagator @ variance @ propagator.mT
        values, vectors = torch.linalg.eigh(0.5 * (noise + noise.mT))
        factor = patterns.mT @ (vectors * values.clamp_min(0.0).sqrt())
        rest = (fields - z @ patterns).square().mean(0)
        floor = 1e-9 * fields.square().mean()
        return LinearInverseModel(patterns, propagator, LowRankCovariance(factor, rest + floor))

    def mean(self, fields: Tensor) -> Tensor:
        """Anomalies expected one lead after ``fields`` (n, cell), the same shape."""
        return fields @ self.patterns.mT @ self.propagator.mT @ self.patterns
