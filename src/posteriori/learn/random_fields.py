"""Gaussian random fields and mixtures of them: priors whose denoiser, density and posterior are known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Tensor, nn

from posteriori.core.covariance import Covariance, DenseCovariance
from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.diffusion.gaussian_denoiser import GaussianDenoiser


class GaussianField(nn.Module):
    """N(location, covariance) with its denoiser in closed form.

    Args:
        space: the cells.
        location: space.shape.
        covariance: (space.size, space.size).
    """

    def __init__(self, space: Space, location: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.space = space
        self.register_buffer("location", space.check(location, "location").double())
        self.location: Tensor
        self.covariance: Covariance = DenseCovariance(covariance.double())
        self.denoiser = GaussianDenoiser(self.location, covariance)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *space.shape)."""
        white = rng.normal((n, self.space.size)) * self.denoiser.variances.sqrt()
        return self.location + self.space.unflat(white @ self.denoiser.vectors.mT)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        return self.log_noised(x, torch.zeros((), dtype=torch.float64))

    def log_noised(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log N(x; location, covariance + σ²), float64 (*batch,), for one ``sigma`` or (*batch,)."""
        apart = self.space.flat(x.double() - self.location) @ self.denoiser.vectors
        variance = self.denoiser.variances + _level(sigma, x, self.space)[..., None].square()
        variance = variance.clamp_min(1e-14 * float(self.denoiser.variances.max()))
        return -0.5 * (apart.square() / variance + variance.log()).sum(-1) - 0.5 * self.space.size * log(2 * pi)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x₀ + σ·noise = x], (*batch, *space.shape), for one ``sigma`` or (*batch,)."""
        found: Tensor = self.denoiser(x, sigma)
        return found

    @staticmethod
    def example() -> GaussianField:
        """Six correlated cells."""
        at = torch.arange(6, dtype=torch.float64)
        space = Space("m", {"x": 6})
        return GaussianField(space, 0.2 * at, torch.exp(-(at[:, None] - at).abs() / 2))


class MixtureField(nn.Module):
    """Σ_k w_k N(location_k, covariance_k): regimes with patterns and scales of their own.

    Args:
        components: over one Space.
        weights: (k,), ≥ 0, scaled to sum to one; equal without.

    Raises:
        DataError: no components, components of different Spaces, or weights that do not fit.
    """

    def __init__(self, components: Sequence[GaussianField], weights: Tensor | None = None) -> None:
        super().__init__()
        if not components or any(not c.space.same(components[0].space) for c in components):
            raise DataError("a mixture of fields needs at least one component, all of one Space.")
        w = torch.ones(len(components)) if weights is None else weights
        if w.shape != (len(components),) or bool((w < 0).any()) or not 0 < float(w.sum()) < float("inf"):
            raise DataError(f"weights {w.tolist()} of {len(components)} components must be ≥ 0 and not all zero.")
        self.space = components[0].space
        self.components = nn.ModuleList(components)
        self.register_buffer("weights", w.double() / w.double().sum())
        self.weights: Tensor

    @property
    def parts(self) -> list[GaussianField]:
        """The components."""
        return list(self.components)  # type: ignore[arg-type]

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent draws, (n, *space.shape)."""
        return self.labelled(n, rng)[0]

    def labelled(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """``n`` draws (n, *space.shape) and the component of each (n,)."""
        rng = rng.fresh()
        edges = self.weights.cumsum(0).cpu()
        which = torch.searchsorted(edges, rng.child("which").uniform((n,))).clamp_max(len(edges) - 1)
        x = torch.empty(n, *self.space.shape, dtype=torch.float64)
        for k, part in enumerate(self.parts):
            own = (which == k).nonzero()[:, 0]
            x[own] = part.sample(len(own), rng.child(k))
        return x, which

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        return torch.logsumexp(self._terms(x, torch.zeros((), dtype=torch.float64)), -1)

    def shares(self, x: Tensor, sigma: Tensor) -> Tensor:
        """P(component | x = x₀ + σ·noise), (*batch, k)."""
        return torch.softmax(self._terms(x, sigma), -1)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x₀ + σ·noise = x]: the components' denoisers by their shares."""
        share = self.shares(x, sigma).to(x)
        each = torch.stack([self.space.flat(part.denoise(x, sigma)) for part in self.parts], -1)
        return self.space.unflat((each * share[..., None, :]).sum(-1))

    def matched(self) -> GaussianField:
        """The Gaussian field of the same mean and covariance."""
        means = torch.stack([self.space.flat(part.location) for part in self.parts])
        mean = self.weights @ means
        own = torch.stack([part.covariance.dense() for part in self.parts])
        covariance = (self.weights[:, None, None] * own).sum(0) + (means - mean).mT @ (
            self.weights[:, None] * (means - mean)
        )
        return GaussianField(self.space, self.space.unflat(mean), covariance)

    def _terms(self, x: Tensor, sigma: Tensor) -> Tensor:
        logs = [w.log() + part.log_noised(x, sigma) for w, part in zip(self.weights, self.parts, strict=True)]
        return torch.stack(logs, -1)

    @staticmethod
    def example() -> MixtureField:
        """Two regimes of four cells."""
        at = torch.arange(4, dtype=torch.float64)
        space, gap = Space("m", {"x": 4}), (at[:, None] - at).abs()
        one = GaussianField(space, 0 * at + 1.0, 0.3 * torch.exp(-gap / 3))
        other = GaussianField(space, 0.5 * at - 1.5, 0.5 * torch.exp(-gap))
        return MixtureField([one, other], torch.tensor([0.3, 0.7]))


def _level(sigma: Tensor, x: Tensor, space: Space) -> Tensor:
    batch = x.shape[: x.ndim - len(space.shape)]
    return torch.as_tensor(sigma, dtype=torch.float64, device=x.device).expand(batch)
