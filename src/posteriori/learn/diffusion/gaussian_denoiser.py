"""The denoiser of a Gaussian law, in closed form: the oracle that solvers and samplers are held against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posteriori.core.errors import ShapeError


class GaussianDenoiser(nn.Module):
    """E[x₀ | x₀ + σ·noise = x] of x₀ ~ N(mean, covariance): mean + C (C + σ²)⁻¹ (x - mean).

    Args:
        mean: (*shape), float64.
        covariance: (size, size), float64, size = the product of ``shape``.

    Raises:
        ShapeError: sizes that do not fit.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        size = mean.numel()
        if covariance.shape != (size, size):
            raise ShapeError(f"a covariance {tuple(covariance.shape)} does not belong to a mean of {size} cells.")
        variances, vectors = torch.linalg.eigh(covariance.double())
        self.register_buffer("mean", mean.double())
        self.register_buffer("variances", variances.clamp_min(0))
        self.register_buffer("vectors", vectors)
        self.mean: Tensor
        self.variances: Tensor
        self.vectors: Tensor

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x̂₀ (*batch, *shape) for ``sigma``, one number, (*batch,), or (*batch, 1, …, 1)."""
        batch = x.shape[: x.ndim - self.mean.ndim]
        level = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1)
        share = self.variances / (self.variances + level.square())
        apart = (x.double() - self.mean).reshape(-1, self.mean.numel()) @ self.vectors
        found = (apart * share) @ self.vectors.mT
        return (self.mean + found.reshape(*batch, *self.mean.shape)).to(x.dtype)

    def flowed(self, noise: Tensor, high: float) -> Tensor:
        """Where the probability-flow ODE takes ``high`` · noise at σ = 0, exactly: mean shrinks by √(v/(v + high²))."""
        batch = noise.shape[: noise.ndim - self.mean.ndim]
        apart = (high * noise.double() - self.mean).reshape(-1, self.mean.numel()) @ self.vectors
        kept = (self.variances / (self.variances + high**2)).sqrt()
        return self.mean + ((apart * kept) @ self.vectors.mT).reshape(*batch, *self.mean.shape)
