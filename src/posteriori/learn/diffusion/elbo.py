"""The bound on -log p(x₀) of a variance-preserving chain, term by term, and its link to the noise error.

E[-log p(x₀)] ≤ E_q[log q(x₁…x_T | x₀) - log p(x₀, x₁…x_T)]
             = E[-log p(x₀|x₁)] + KL(q(x_T|x₀) ‖ p(x_T)) + Σ_{t=2…T} E KL(q(x_{t-1}|x_t, x₀) ‖ p(x_{t-1}|x_t)).

Reference: Ho, Jain & Abbeel (2020), Denoising diffusion probabilistic models, NeurIPS, eq. 5 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.learn.diffusion.denoiser import Denoise
from posteriori.learn.diffusion.schedule import VariancePreserving

SIGMA_MAX = 1e4
"""Stands for the infinite noise of a step that leaves no signal."""


@dataclass(frozen=True)
class Bound:
    """Parts of the bound [nat] of each field, all float64 (*batch,).

    Attributes:
        reconstruction: -log p(x₀|x₁).
        prior_matching: KL(q(x_T|x₀) ‖ N(0, 1)); without a learnt schedule no weight changes it, and it counts.
        denoising: Σ_{t≥2} KL(q(x_{t-1}|x_t, x₀) ‖ p(x_{t-1}|x_t)), what trains the net.
    """

    reconstruction: Tensor
    prior_matching: Tensor
    denoising: Tensor

    @property
    def total(self) -> Tensor:
        """The bound on -log p(x₀): the terms are **added**, since a KL is never negative."""
        return self.reconstruction + self.prior_matching + self.denoising


def posterior_variance(schedule: VariancePreserving) -> Tensor:
    """β̃_t = β_t (1 - ᾱ_{t-1})/(1 - ᾱ_t), the variance of q(x_{t-1}|x_t, x₀); 0 at t = 1."""
    return schedule.beta * (1 - schedule.before) / (1 - schedule.alpha_bar)


def posterior_mean(schedule: VariancePreserving, t: int, x0: Tensor, x_t: Tensor) -> Tensor:
    """The mean of q(x_{t-1}|x_t, x₀): (√ᾱ_{t-1} β_t x₀ + √α_t (1 - ᾱ_{t-1}) x_t) / (1 - ᾱ_t)."""
    i = t - 1
    before, beta, rest = schedule.before[i], schedule.beta[i], 1 - schedule.alpha_bar[i]
    return (before.sqrt() * beta / rest).to(x0) * x0 + (schedule.alpha[i].sqrt() * (1 - before) / rest).to(x_t) * x_t


def predicted(denoiser: Denoise, schedule: VariancePreserving, t: int, x_t: Tensor) -> Tensor:
    """x̂₀ from x_t = √ᾱ_t (x₀ + σ_t ε), by a denoiser of x₀ + σ ε."""
    a = schedule.alpha_bar[t - 1].clamp_min(1 / (1 + SIGMA_MAX**2))
    return denoiser(x_t / a.sqrt().to(x_t), ((1 - a) / a).sqrt())


def noise_weight(schedule: VariancePreserving) -> Tensor:
    """w_t of KL_t = w_t ‖ε - ε̂‖²: β_t²/(2 v_t α_t (1 - ᾱ_t)) with the reverse variance v_t = β̃_t; t = 2 … T, (T - 1,).

    The error of the noise that nets are trained on leaves these out: it weighs the terms of the bound anew.
    """
    beta, alpha, rest = schedule.beta[1:], schedule.alpha[1:], 1 - schedule.alpha_bar[1:]
    return beta.square() / (2 * posterior_variance(schedule)[1:] * alpha * rest)


@torch.no_grad()
def bound(denoiser: Denoise, schedule: VariancePreserving, x0: Tensor, rng: Rng) -> Bound:
    """Unbiased from one draw of each x_t; reverse variances are β̃_t, that of the last step β₁.

    ``x0`` is (*batch, channel, y, x) or, with the denoiser, any (batch, …).
    """
    kept = x0.shape[0]
    total = torch.zeros(kept, dtype=torch.float64)
    for t in range(schedule.steps, 1, -1):
        x_t = schedule.noised(x0, torch.tensor(t), rng.child("t", t).normal(x0.shape, x0))
        apart = posterior_mean(schedule, t, x0 - predicted(denoiser, schedule, t, x_t), torch.zeros_like(x_t))
        total += apart.double().square().flatten(1).sum(1) / (2 * posterior_variance(schedule)[t - 1])
    x1 = schedule.noised(x0, torch.tensor(1), rng.child("t", 1).normal(x0.shape, x0))
    error = (x0 - predicted(denoiser, schedule, 1, x1)).double().square().flatten(1)
    v1 = schedule.beta[0]
    reconstruction = 0.5 * (error / v1 + v1.log() + log(2 * pi)).sum(1)
    a = schedule.alpha_bar[-1]
    matching = 0.5 * (a * x0.double().square() - a - torch.log1p(-a)).flatten(1).sum(1)
    return Bound(reconstruction, matching, total)
