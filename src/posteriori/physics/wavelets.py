"""Source time functions of seismics, sampled at given times."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor


def ricker(frequency: float, times: Tensor, delay: float | None = None) -> Tensor:
    """The second derivative of a Gaussian, peak 1 at ``delay`` [s], its spectrum's at ``frequency`` [Hz].

    (1 - 2 a) exp(-a) with a = (π f (t - delay))². Without ``delay``, 1.5 / frequency, where it begins at 1e-8 of its
    peak.

    Reference: Ricker (1953), The form and laws of propagation of seismic wavelets.
    """
    a = (pi * frequency * (times - (1.5 / frequency if delay is None else delay))).square()
    return (1 - 2 * a) * (-a).exp()


def highest_frequency(wavelets: Tensor, dt: float, share: float = 0.05) -> float:
    """The highest frequency [Hz] at which a spectrum of ``wavelets`` (..., nt) reaches ``share`` of its largest."""
    spectrum = (
        torch.fft.rfft(wavelets.double(), n=4 * wavelets.shape[-1], dim=-1)
        .abs()
        .reshape(-1, 2 * wavelets.shape[-1] + 1)
    )
    spectrum = spectrum / spectrum.amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    strong = (spectrum >= share).any(0).nonzero()
    frequencies = torch.fft.rfftfreq(4 * wavelets.shape[-1], dt)
    return float(frequencies[int(strong.max())]) if len(strong) else 0.0
