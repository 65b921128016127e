"""Scores of joint forecasts: draws of shape (draw, *case, element) against a truth (*case, element)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from posteriori.audit.scores import normalised
from posteriori.core.errors import DataError, ShapeError

CHUNK = 1 << 24  # numbers held at once, 128 MiB of float64


def energy_score(draws: Tensor, truth: Tensor, weights: Tensor | None = None, fair: bool = True) -> Tensor:
    """E||X - y|| - 1/2 E||X - X'|| over the last axis, shape (*case), in the unit of the quantity.

    ``weights`` have shape (draw,) or (draw, *case). The fair form judges the law behind the draws (no pair of a draw
    with itself), the other the draws as they are. Pairs are taken in chunks of bounded memory.

    Reference: Gneiting & Raftery (2007), section 4.3.
    """
    if draws.ndim < 2 or draws.shape[1:] != truth.shape:
        raise ShapeError(f"draws {tuple(draws.shape)} are not (draw, *{tuple(truth.shape)}).")
    x, w = _by_case(draws - truth, weights)
    near = (w * x.norm(dim=-1)).sum(1)
    spread = (w * _mean_distances(x, w)).sum(1) / 2
    if fair:
        pairs = 1 - w.square().sum(1)
        if (pairs <= 1e-12).any():
            raise DataError("the fair energy score needs at least two draws with weight; use fair=False.")
        spread = spread / pairs
    return (near - spread).reshape(truth.shape[:-1])


def variogram_score(draws: Tensor, truth: Tensor, weights: Tensor | None = None, power: float = 0.5) -> Tensor:
    """Mean over pairs of elements of (|y_i - y_j|^p - E|X_i - X_j|^p)², shape (*case): sensitive to correlations.

    Draws of one law, (draw, element), are held against every truth. Blind to a shift of all elements together: read
    it beside the energy score.

    Reference: Scheuerer & Hamill (2015), variogram-based proper scoring rules.
    """
    if draws.shape[1:] not in (truth.shape, truth.shape[-1:]):
        raise ShapeError(f"draws {tuple(draws.shape)} are not (draw, *{tuple(truth.shape)}), nor (draw, element).")
    x, w = _by_case(draws, weights)
    y = truth.reshape(-1, truth.shape[-1])
    cases, m, k = x.shape
    if k < 2:
        raise ShapeError("the variogram score compares elements; it needs at least two of them.")
    score = y.new_zeros(len(y))
    rows = max(1, CHUNK // (cases * m * k))
    for i in range(0, k, rows):
        steps = (x[:, :, i : i + rows, None] - x[:, :, None, :]).abs().pow(power)
        expected = torch.einsum("cd,cdij->cij", w, steps)
        observed = (y[:, i : i + rows, None] - y[:, None, :]).abs().pow(power)
        score += (observed - expected).square().sum((1, 2))
    return (score / (k * (k - 1))).reshape(truth.shape[:-1])


def log_score_joint(mean: Tensor, covariance: Tensor, truth: Tensor) -> Tensor:
    """Minus the joint log density of N(mean, covariance), (*case, element, element), at the truth [nat]."""
    factor = cholesky(covariance)
    return log_score_whitened(whitened(mean, factor, truth).square(), factor)


def log_score_whitened(squares: Tensor, factor: Tensor) -> Tensor:
    """The same from whitened squares (*case, element) and the Cholesky factor that whitened them."""
    half_log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return squares.sum(-1) / 2 + half_log_det + squares.shape[-1] * math.log(2 * math.pi) / 2


def whitened(mean: Tensor, factor: Tensor, truth: Tensor) -> Tensor:
    """L⁻¹ (truth - mean) for a lower Cholesky factor L: independent standard normals if the law is true."""
    error = (truth - mean).to(factor.dtype)
    if factor.ndim == 2:  # all cases share one factor: one solve
        flat = error.reshape(-1, error.shape[-1])
        return torch.linalg.solve_triangular(factor, flat.mT, upper=False).mT.reshape(error.shape)
    return torch.linalg.solve_triangular(factor, error.unsqueeze(-1), upper=False).squeeze(-1)


def cholesky(covariance: Tensor) -> Tensor:
    """Lower factor of a covariance in float64; refused when it is not positive definite."""
    factor, info = torch.linalg.cholesky_ex(covariance.to(torch.float64))
    if info.any():
        raise DataError(
            f"the covariance is not positive definite at its leading minor {int(info.max())}; drop elements that are "
            "fixed combinations of others, or add the measurement variance of the truth."
        )
    return factor


def _mean_distances(x: Tensor, w: Tensor) -> Tensor:
    """sum_j w_j ||x_i - x_j|| for x (case, draw, element), shape (case, draw)."""
    cases, m, _ = x.shape
    exact = "donot_use_mm_for_euclid_dist" if x.shape[-1] <= 16 else "use_mm_for_euclid_dist"
    rows = max(1, CHUNK // (cases * m))
    parts = [torch.cdist(x[:, i : i + rows], x, compute_mode=exact) @ w[:, :, None] for i in range(0, m, rows)]
    return torch.cat(parts, dim=1).squeeze(-1)


def _by_case(draws: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Draws as (case, draw, element) and normalised weights as (case, draw)."""
    m, k = len(draws), draws.shape[-1]
    w = normalised(weights, draws.new_empty(draws.shape[:-1])).reshape(m, -1)
    return draws.reshape(m, -1, k).transpose(0, 1).contiguous(), w.T
