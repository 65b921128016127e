"""Diffusion in continuous time: what noise an equation adds, its way back, and the density its flow gives."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, pi
from typing import Protocol

import torch
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.learn.diffusion.denoiser import Denoise
from posteriori.learn.diffusion.schedule import geometric

EXACT = 256
"""Cells up to which a divergence is the sum of all its terms; above, random directions estimate it."""


class Diffusion(Protocol):
    """dx = f x dt + g dw with x_t = a(t) (x₀ + σ(t) ε)."""

    def scale(self, t: Tensor) -> Tensor:
        """a(t)."""

    def sigma(self, t: Tensor) -> Tensor:
        """σ(t), rising."""


@dataclass(frozen=True)
class VP:
    """dx = -½ β x dt + √β dw, β rising from ``first`` to ``last`` on [0, 1]: the limit of DDPM's chain.

    Reference: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole (2021), Score-based generative modeling through
    stochastic differential equations, ICLR.
    """

    first: float = 0.1
    last: float = 20.0

    def scale(self, t: Tensor) -> Tensor:
        """exp(-½ ∫ β)."""
        return torch.exp(-0.5 * (self.first * t + 0.5 * (self.last - self.first) * t.square()))

    def sigma(self, t: Tensor) -> Tensor:
        """√(1/a² - 1)."""
        return torch.expm1(self.first * t + 0.5 * (self.last - self.first) * t.square()).sqrt()


@dataclass(frozen=True)
class VE:
    """dx = √(dσ²/dt) dw with σ even in log from ``low`` to ``high`` on [0, 1]."""

    low: float = 0.01
    high: float = 80.0

    def scale(self, t: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """low (high/low)^t."""
        return self.low * (self.high / self.low) ** t


@torch.no_grad()
def reverse(sde: Diffusion, denoiser: Denoise, noise: Tensor, times: Tensor, rng: Rng) -> Tensor:
    """Samples by the reverse equation dx = (f x - g² ∇log p) dt + g dw̄, exact between ``times`` for constant x̂₀.

    ``times`` fall from 1 to near 0; ``noise`` is standard normal. With u = x/a a step from σ to s is
    u ← x̂₀ + (s/σ)² (u - x̂₀) + s √(1 - (s/σ)²) ε, which is why every such equation is one in σ.
    """
    sigmas = sde.sigma(times.double())
    u = sigmas[0].to(noise) * noise
    for now, then in pairwise(sigmas):
        share = (then / now).square()
        x0 = denoiser(u, now)
        u = x0 + share.to(u) * (u - x0) + (then * (1 - share).sqrt()).to(u) * rng.normal(u.shape, u)
    return u


def log_prob(
    denoiser: Denoise, x: Tensor, rng: Rng, steps: int = 64, low: float = 1e-3, high: float = 200.0, probes: int = 8
) -> Tensor:
    """log p(x) float64 (b,) of fields (b, …), by the probability-flow equation from σ = ``low`` up to ``high``.

    log p(x(low)) = log N(x(high); 0, high²) + ∫ div dx/dσ dσ, by Runge-Kutta steps of order 4 even in ln σ. The
    divergence is exact for up to :data:`EXACT` cells, else a mean over ``probes`` random signs. It is the density of
    the data with noise ``low`` on.

    Reference: Song et al. (2021), eq. 39; Hutchinson (1990) for the random signs.
    """
    levels = geometric(steps, low, high)[:-1].flip(0)
    cells = x[0].numel()
    signs = torch.where(rng.uniform((probes, *x.shape)) < 0.5, -1.0, 1.0).to(x) if cells > EXACT else _axes(x)

    def slope(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """dx/d ln σ and its divergence."""
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            v = at - denoiser(at, sigma)
            terms = [(torch.autograd.grad(v, at, s, retain_graph=True)[0] * s).flatten(1).sum(1) for s in signs]
        total = torch.stack(terms).double()
        return v.detach(), total.mean(0) if cells > EXACT else total.sum(0)

    change = torch.zeros(len(x), dtype=torch.float64)
    for now, then in pairwise(levels):
        h, middle = (then / now).log(), (now * then).sqrt()
        k1, d1 = slope(x, now)
        k2, d2 = slope(x + (0.5 * h).to(x) * k1, middle)
        k3, d3 = slope(x + (0.5 * h).to(x) * k2, middle)
        k4, d4 = slope(x + h.to(x) * k3, then)
        x = x + (h / 6).to(x) * (k1 + 2 * k2 + 2 * k3 + k4)
        change = change + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    end = -0.5 * (x.double() / high).square().flatten(1).sum(1) - cells * (log(high) + 0.5 * log(2 * pi))
    return end + change


def _axes(x: Tensor) -> Tensor:
    """Each cell's unit vector in turn, (cells, *x.shape)."""
    cells = x[0].numel()
    eye = torch.eye(cells, dtype=x.dtype, device=x.device).reshape(cells, 1, *x.shape[1:])
    return eye.expand(cells, *x.shape)
