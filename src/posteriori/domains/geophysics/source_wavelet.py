"""The source's signature, estimated by least squares with the model: variable projection."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.domains.geophysics.misfits import TraceMisfit


def estimate_filter(data: Tensor, prediction: Tensor, water: float = 1e-3) -> Tensor:
    """One filter (*batch, steps) for all traces (*batch, …, traces, steps) that turns predictions into data.

    F(ω) = (Σ conj(P) D + w) / (Σ |P|² + w), over the traces, zero-padded to twice the length, w = water · max Σ |P|²:
    where the predictions have no energy the filter leaves them as they are. The wavelet that was simulated with,
    filtered by F, is the estimate of the source's.

    Reference: Pratt (1999), Seismic waveform inversion in the frequency domain, Geophysics 64, 888, equation 17.
    """
    if not water > 0:
        raise OptionError(f"water level {water:g} must be positive.")
    n = 2 * data.shape[-1]
    d, p = torch.fft.rfft(data, n), torch.fft.rfft(prediction, n)
    power = (p.abs() ** 2).sum(-2)
    level = water * power.amax(-1, keepdim=True) + torch.finfo(power.dtype).tiny
    return torch.fft.irfft(((p.conj() * d).sum(-2) + level) / (power + level), n)


def filtered(traces: Tensor, response: Tensor) -> Tensor:
    """Traces (*batch, traces, steps) convolved with a filter (*batch, 2 steps) of :func:`estimate_filter`."""
    n = 2 * traces.shape[-1]
    spectrum = torch.fft.rfft(traces, n) * torch.fft.rfft(response, n)[..., None, :]
    return torch.fft.irfft(spectrum, n)[..., : traces.shape[-1]]


def fit_taps(data: Tensor, prediction: Tensor, weight: Tensor, lags: range, damping: float = 1e-3) -> Tensor:
    """The short filter f (lags,) for which Σ weight² (data - f * prediction)² is least, over (shot, receiver, time).

    Unlike :func:`estimate_filter` it respects mutes and gaps, where ``weight`` is 0. ``damping`` times the mean square
    of what the filter acts on is added to the normal equations' diagonal.

    Raises:
        DataError: nothing is weighted, or the predictions are silent there.
    """
    many, n = len(lags), data.shape[-1]
    gram, right = torch.zeros(many, many, dtype=torch.float64), torch.zeros(many, dtype=torch.float64)
    for d, p, w in zip(data.double(), prediction.double(), weight.double(), strict=True):
        padded = torch.nn.functional.pad(p, (max(0, lags[-1]), max(0, -lags[0])))
        first = max(0, lags[-1])
        shifted = torch.stack([padded[..., first - lag : first - lag + n] * w for lag in lags]).flatten(1)
        gram += shifted @ shifted.mT
        right += shifted @ (d * w).flatten()
    level = float(gram.diagonal().mean())
    if not level > 0:
        raise DataError("no wavelet can be estimated: the predictions are silent wherever records were kept.")
    taps: Tensor = torch.linalg.solve(gram + damping * level * torch.eye(many, dtype=torch.float64), right)
    return taps


def taps_matrix(taps: Tensor, lags: range, steps: int) -> Tensor:
    """Convolution with the filter of :func:`fit_taps`, (steps, steps)."""
    found = torch.zeros(steps, steps, dtype=torch.float64)
    for lag, tap in zip(lags, taps, strict=True):
        found += torch.diag_embed(tap.double().expand(steps - abs(lag)), -lag)
    return found


class FreeWavelet(TraceMisfit):
    """½ Σ (d - f * p)² / sigma² at the filter f that is best for all traces together: no wavelet need be known.

    The filter is eliminated in closed form and differentiated through, so that gradients are those of the reduced
    problem. With an all-pass freedom in time and size it takes times and amplitudes common to all traces out of the
    data.

    Reference: Golub & Pereyra (1973), The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate, SIAM J. Numer. Anal. 10, 413; Aravkin, van Leeuwen & Tu (2013), Sparse seismic imaging using
    variable projection, ICASSP.
    """

    references: ClassVar = (
        "Golub & Pereyra (1973), Nonlinear least squares problems whose variables separate, SIAM J. Numer. Anal. 10.",
    )

    def __init__(self, steps: int, scale: float = 1.0, water: float = 1e-3) -> None:
        super().__init__(steps, scale)
        self.water = water

    def distances(self, d: Tensor, p: Tensor) -> Tensor:
        fitted = filtered(p, estimate_filter(d, p, self.water))
        return 0.5 * (d - fitted).square().sum(-1)

    @staticmethod
    def example() -> FreeWavelet:
        """Traces of eight samples."""
        return FreeWavelet(8)
