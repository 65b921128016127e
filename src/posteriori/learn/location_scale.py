"""Regression of mean and log-scale on the same columns, and one-dimensional mixtures of binned residuals."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

STARTS, STEPS, HALVINGS = 3, 40, 12
"""Rounds of the first guess, steps of Fisher scoring, and halvings of one of them, at most."""
SETTLED = 1e-7
"""Gain of log-likelihood a row [nat] below which scoring ends."""
MOST = 12.0
"""Largest log-scale, up and down."""
TINY = 1e-12
REACH, BINS = 10.0, 1000
"""Residuals are binned from -REACH to REACH."""
ROUNDS = 150
"""Of expectation-maximisation."""
NARROWEST, RAREST = 0.03, 1e-5
"""Smallest width and share of a part."""


def location_scale(y: Tensor, columns: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients b, c (k + 1,), constants first, of highest likelihood of y ~ N(b·[1, x], exp(2 c·[1, x])).

    The logarithms of squared residuals give the first guess of c, Fisher scoring the rest; b follows by least squares.
    Coefficients that the rows do not bear out are then set to zero, and the others found again: those that gain less
    (twice the log-likelihood, errors robust to other laws of y) than log(rows) + 2 log(columns), the extended Bayesian
    information criterion.

    Args:
        y: (n,).
        columns: x, (n, k).
        weights: of the rows, (n,), not negative; they sum to the number of independent rows that these are worth.

    Reference: Harvey (1976), Estimating regression models with multiplicative heteroscedasticity, Econometrica 44, 461;
    Chen & Chen (2008), Extended Bayesian information criteria for model selection, Biometrika 95, 759.
    """
    design = torch.cat([torch.ones_like(y)[:, None], columns], 1)
    share = weights / weights.sum()
    everything = torch.ones(2, design.shape[1], dtype=torch.bool)
    b, c = _scored(y, design, share, everything)
    kept = _telling(y, design, weights, b, c)
    if not bool(kept.all()):
        b, c = _scored(y, design, share, kept)
    return b, c


def _scored(y: Tensor, design: Tensor, share: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of the likelihood, coefficients outside ``kept`` (2, k + 1) being zero."""
    first, second = design[:, kept[0]], design[:, kept[1]]
    inside = _inverse(second.mT @ (share[:, None] * second))
    c = torch.zeros(second.shape[1], dtype=y.dtype)
    for _ in range(STARTS):
        _, _, r2 = _profile(y, first, second, share, c)
        c = c + 0.5 * inside @ (second.mT @ (share * ((r2 + TINY).log() + 1.27)))
    value, b, r2 = _profile(y, first, second, share, c)
    for _ in range(STEPS):
        step = 0.5 * inside @ (second.mT @ (share * (r2 - 1)))
        before = value
        for halving in range(HALVINGS):
            trial = c + 0.5**halving * step
            found = _profile(y, first, second, share, trial)
            if found[0] < value:
                c, (value, b, r2) = trial, found
                break
        if before - value < SETTLED:
            break
    full = torch.zeros(2, design.shape[1], dtype=y.dtype)
    full[0, kept[0]], full[1, kept[1]] = b, c
    return full[0], full[1]


def _profile(y: Tensor, first: Tensor, second: Tensor, share: Tensor, c: Tensor) -> tuple[float, Tensor, Tensor]:
    """Negative log-likelihood a row less a constant, the best b given c, and squared residuals over their scale."""
    s = (second @ c).clamp(-MOST, MOST)
    heavy = share * (-2 * s).exp()
    moment = first.mT @ (heavy[:, None] * first)
    b = _inverse(moment) @ (first.mT @ (heavy * y))
    r2 = (y - first @ b).square() * (-2 * s).exp()
    return float((share * (s + 0.5 * r2)).sum()), b, r2


def _telling(y: Tensor, design: Tensor, weights: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Which coefficients (2, k + 1) differ from zero by more than their robust errors explain; constants always."""
    share, worth = weights / weights.sum(), weights.sum()
    related = (1 / (share.square().sum() * worth)).clamp_min(1.0)
    least = worth.clamp_min(1.0).log() + 2 * log(2 * design.shape[1])
    s = (design @ c).clamp(-MOST, MOST)
    r = (y - design @ b) * (-s).exp()
    kept = []
    for coefficients, score, info in ((b, r * (-s).exp(), (-2 * s).exp()), (c, r.square() - 1, 2 + 0 * s)):
        bread = _inverse(design.mT @ ((share * info)[:, None] * design))
        meat = design.mT @ ((share * score).square()[:, None] * design)
        variance = torch.einsum("ij,jk,ki->i", bread, meat, bread)
        kept.append(coefficients.square() > least * related * variance)
        kept[-1][0] = True
    return torch.stack(kept)


def _inverse(moment: Tensor) -> Tensor:
    """Inverse of a matrix of second moments, made safe by a part in 10¹²."""
    scale = moment.diagonal().clamp_min(1e-300).rsqrt()
    unit = moment * scale[:, None] * scale + TINY * torch.eye(len(moment), dtype=moment.dtype)
    return torch.linalg.pinv(unit, hermitian=True) * scale[:, None] * scale


def binned_mixtures(
    r: Tensor, weights: Tensor, logits: Tensor, centres: Tensor, log_widths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, centres and log-widths (cells, parts) of a mixture of Gaussians for each column, by EM from those given.

    Args:
        r: residuals of about unit spread, (n, cells).
        weights: of the rows, (n,), not negative.
        logits, centres, log_widths: where EM begins.
    """
    share = weights / weights.sum()
    at = ((r + REACH) * (BINS / (2 * REACH))).long().clamp(0, BINS - 1)
    held = torch.stack([torch.bincount(column, share, BINS) for column in at.mT])
    middles = torch.linspace(-REACH, REACH, BINS + 1, dtype=r.dtype)[:-1] + REACH / BINS
    logs, m, w = torch.log_softmax(logits, -1), centres.clone(), log_widths.exp()
    for _ in range(ROUNDS):
        away = (middles - m[..., None]) / w[..., None]
        parts = (logs - w.log())[..., None] - 0.5 * away.square()
        belongs = torch.softmax(parts, 1) * held[:, None]
        total = belongs.sum(-1).clamp_min(RAREST)
        m = (belongs @ middles) / total
        spread = (belongs * (middles - m[..., None]).square()).sum(-1) / total
        w = spread.sqrt().clamp_min(NARROWEST)
        logs = (total / total.sum(-1, keepdim=True)).log()
    return logs, m, w.log()
