"""The step from one noise level to a lower one that keeps the law of noised fields."""

from __future__ import annotations

from torch import Tensor

from posteriori.core.random import Rng


def ancestral(x: Tensor, x0: Tensor, now: Tensor, then: Tensor, rng: Rng) -> Tensor:
    """A draw of x' = x₀ + σ'·noise given x₀ and x = x₀ + σ·noise: N(x₀ + (σ'/σ)² (x - x₀), σ'² (1 - σ'²/σ²))."""
    ratio = (then / now).square()
    return x0 + ratio * (x - x0) + then * (1 - ratio).sqrt() * rng.normal(x.shape, x)
