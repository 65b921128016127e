"""Ancestral sampling step by step: the slow reference that faster solvers are held against."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.learn.diffusion.denoiser import Denoise
from posteriori.learn.diffusion.elbo import posterior_mean, posterior_variance, predicted
from posteriori.learn.diffusion.schedule import VariancePreserving


@torch.no_grad()
def ancestral(denoiser: Denoise, schedule: VariancePreserving, noise: Tensor, rng: Rng) -> Tensor:
    """Samples from standard normal ``noise``, t = T … 1, each step the mean of q(x_{t-1}|x_t, x̂₀) and fresh noise β̃_t.

    In terms of the predicted noise the mean is (x_t - β_t/√(1 - ᾱ_t) ε̂)/√α_t. The last step draws nothing.

    Reference: Ho, Jain & Abbeel (2020), Denoising diffusion probabilistic models, NeurIPS, algorithm 2.
    """
    x, spread = noise, posterior_variance(schedule).sqrt()
    for t in range(schedule.steps, 0, -1):
        x = posterior_mean(schedule, t, predicted(denoiser, schedule, t, x), x)
        if t > 1:
            x = x + spread[t - 1].to(x) * rng.normal(x.shape, x)
    return x


def mean_from_noise(schedule: VariancePreserving, t: int, x_t: Tensor, noise: Tensor) -> Tensor:
    """(x_t - β_t/√(1 - ᾱ_t) ε)/√α_t: the mean of the reverse step by the noise in x_t."""
    i = t - 1
    pull = (schedule.beta[i] / (1 - schedule.alpha_bar[i]).sqrt()).to(x_t)
    return (x_t - pull * noise) / schedule.alpha[i].sqrt().to(x_t)
