"""How far a set of weighted draws can be trusted: effective sample size, Pareto-smoothed weights and their k̂."""

from __future__ import annotations

from math import ceil, inf, log, nan, sqrt

import numpy as np
import torch
from torch import Tensor

ROUNDING = 1e-9
"""Share of the largest weight below which weights differ by rounding alone and have no tail."""


def normalised(log_weights: Tensor) -> Tensor:
    """Weights that sum to one along the first axis."""
    return torch.softmax(log_weights.double(), dim=0)


def ess(log_weights: Tensor) -> Tensor:
    """Kish's effective sample size (Σw)² / Σw² along the first axis, (*rest,)."""
    return 1.0 / normalised(log_weights).square().sum(0)


def log_mean_exp(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """log of the mean weight along the first axis, and its standard error by the delta method; rejected rows count."""
    n = log_weights.shape[0]
    total = torch.logsumexp(log_weights.double(), 0)
    share = normalised(log_weights)
    error = (n * share - 1.0).square().mean(0).div(max(n - 1, 1)).sqrt()
    return total - log(n), error


def pareto_smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the largest weights by quantiles of a fitted generalised Pareto law, along the first axis.

    Returns:
        The smoothed log-weights, same shape, and the shape k̂ (*rest,): below 0.5 sound, below 0.7 usable, above
        0.7 the mean weight may not even have a finite variance. k̂ is NaN where fewer than five rows lie in the tail.

    Reference: Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25.
    """
    flat = log_weights.double().reshape(log_weights.shape[0], -1)
    columns = [_smooth_one(column.numpy(force=True).copy()) for column in flat.mT]
    smoothed = torch.from_numpy(np.stack([c[0] for c in columns], -1)).reshape(log_weights.shape)
    shape = torch.tensor([c[1] for c in columns], dtype=torch.float64).reshape(log_weights.shape[1:])
    return smoothed.to(log_weights.device), shape.to(log_weights.device)


def _smooth_one(log_w: np.ndarray) -> tuple[np.ndarray, float]:
    n = len(log_w)
    order = np.argsort(log_w, kind="stable")
    tail = min(ceil(3 * sqrt(n)), n // 5, int(np.isfinite(log_w).sum()) - 1)
    top = order[n - max(tail, 0) :]
    if tail < 5:
        return log_w, nan
    shift = log_w.max()
    cut = np.exp(log_w[order[n - tail - 1]] - shift)
    excess = np.exp(log_w[top] - shift) - cut
    if excess[-1] <= ROUNDING or np.ptp(excess) == 0:
        return log_w, -inf
    if (excess > 0).sum() < 5:
        return log_w, nan
    k, sigma = _fit_pareto(excess[excess > 0])
    if np.isfinite(k):
        p = (np.arange(tail) + 0.5) / tail
        quantile = sigma * np.expm1(-k * np.log1p(-p)) / k if k != 0 else -sigma * np.log1p(-p)
        log_w[top] = np.minimum(np.log(quantile + cut), 0.0) + shift
    return log_w, float(k)


def _fit_pareto(excess: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto law for sorted excesses, by a profile-likelihood mean.

    Reference: Zhang & Stephens (2009), Technometrics 51, 316; weakly informed as in Vehtari et al. (2024).
    """
    x, n = excess, len(excess)
    grid = 30 + int(sqrt(n))
    theta = 1 / x[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * x[int(n / 4 + 0.5) - 1])
    k = np.log1p(-theta[:, None] * x).mean(1)
    profile = n * (np.log(-theta / k) - k - 1)
    weight = np.exp(profile - profile.max())
    mean = (theta * weight).sum() / weight.sum()
    shape = float(np.log1p(-mean * x).mean())
    sigma = -shape / mean
    return float((shape * n + 0.5 * 10) / (n + 10)), float(sigma)


def chain_ess(draws: Tensor) -> Tensor:
    """Effective sample size of correlated chains (draw, chain, *rest) → (*rest,), each cut in two.

    Autocorrelations are summed over Geyer's initial monotone sequence.

    Reference: Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Rank-normalization, folding and localization.
    """
    draws = _halves(draws).double()
    n, chains = draws.shape[:2]
    x = draws - draws.mean(0)
    size = 2 ** ceil(np.log2(2 * n))
    spectrum = torch.fft.rfft(x, size, dim=0)
    covariance = torch.fft.irfft(spectrum.abs().square(), size, dim=0)[:n].mean(1) / n
    within = covariance[0] * n / (n - 1)
    means = draws.mean(0)
    between = means.var(0) if chains > 1 else torch.zeros_like(within)
    total = within * (n - 1) / n + between
    rho = 1 - (within - covariance * n / (n - 1)) / total.clamp_min(1e-300)
    rho[0] = 1.0
    pairs = rho[: n // 2 * 2].reshape(n // 2, 2, *rho.shape[1:]).sum(1)
    positive = (pairs > 0).cumprod(0)
    time = -1 + 2 * (torch.cummin(pairs, 0).values * positive).sum(0)
    return n * chains / time.clamp_min(1 / np.log10(max(n * chains, 10)))


def split_rhat(draws: Tensor) -> Tensor:
    """Rank-normalised split R̂ of chains (draw, chain, *rest) → (*rest,); near 1 when the chains agree."""
    halves = _halves(draws).double()
    n = 2 * len(halves)
    flat = halves.flatten(0, 1)
    columns = flat.reshape(len(flat), -1).mT.contiguous()
    ranked = columns.sort(-1).values
    low, high = (torch.searchsorted(ranked, columns, right=right) for right in (False, True))
    ranks = (0.5 * (low + high + 1)).mT
    z = torch.special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).reshape(halves.shape)
    within, between = z.var(0).mean(0), z.mean(0).var(0)
    return ((n // 2 - 1) / (n // 2) + between / within.clamp_min(1e-300)).sqrt()


def _halves(draws: Tensor) -> Tensor:
    """Each chain cut in two: (draw, chain, *rest) → (draw / 2, 2 chain, *rest)."""
    n = draws.shape[0] // 2
    return draws[: 2 * n].reshape(2, n, *draws.shape[1:]).transpose(0, 1).flatten(1, 2)
