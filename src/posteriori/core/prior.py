"""What a prior may offer: small capabilities, each checked by type; every Posterior is a prior too."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from posteriori.core.covariance import Covariance
from posteriori.core.random import Rng
from posteriori.core.space import Space


@runtime_checkable
class Prior(Protocol):
    """Something that knows which Space it speaks of."""

    space: Space


@runtime_checkable
class Samples(Prior, Protocol):
    """Can be drawn from."""

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *space.shape)."""


@runtime_checkable
class Energy(Prior, Protocol):
    """Has an energy, -log density up to a constant."""

    def energy(self, x: Tensor) -> Tensor:
        """Float64 (*batch,) of (*batch, *space.shape)."""


@runtime_checkable
class Density(Prior, Protocol):
    """Has a normalised density."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Float64 (*batch,) of (*batch, *space.shape)."""


@runtime_checkable
class GaussianLaw(Prior, Protocol):
    """Is Gaussian: a mean and a structured covariance."""

    location: Tensor
    covariance: Covariance


@runtime_checkable
class Denoiser(Prior, Protocol):
    """Can take noise of a known size off a sample."""

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x₀ + sigma·noise = x]."""


@runtime_checkable
class Decoder(Prior, Protocol):
    """Turns standard normal codes into samples."""

    latent: Space

    def decode(self, z: Tensor) -> Tensor:
        """(*batch, *latent.shape) → (*batch, *space.shape)."""


@runtime_checkable
class Conditional(Protocol):
    """Becomes a prior once a condition is given."""

    def given(self, condition: Any) -> Prior:
        """The prior under ``condition``."""


@runtime_checkable
class HasLogPrior(Protocol):
    """Learnt numbers that are themselves uncertain: what fits them adds this to the evidence."""

    def log_prior(self) -> Tensor:
        """Log density of the current numbers, a float64 scalar, up to a constant."""
