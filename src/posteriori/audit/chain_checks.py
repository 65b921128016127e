"""Do rows hang together as they are said to: chains that agree, settle, stand in order; independent rows that are."""

from __future__ import annotations

from math import sqrt

import torch
from scipy.stats import f as fisher
from torch import Tensor

from posteriori.audit.finding import Finding, Remedy, judged, limited, probability
from posteriori.audit.report import Gate
from posteriori.audit.weighted_rows import WeightedRows
from posteriori.core.random import Rng
from posteriori.inference.free_energy import SHORTEST, inefficiency

VIEWS = 8
"""Coordinates, or random directions of many, that are followed beside the energy."""
LAGS = 64
WINDOWS = (0.05, 0.2, 0.5)
"""Beginnings of a chain that are held against its last half."""
MANY = 6
"""Chains from which their differences give the error."""
SLACK = 2.0
"""Ratio of variances between chains that is put down to the error of the correlation time."""
FROZEN = 1e-6
"""Variance of a chain over that of all, below which it has not moved."""


def views(rows: WeightedRows, rng: Rng) -> Tensor:
    """Energy and some coordinates (or random directions of many) as normal scores of their ranks, (row, j)."""
    return normal_scores(torch.cat([rows.energy[:, None], directions(rows.x, rng)], 1))


def directions(x: Tensor, rng: Rng) -> Tensor:
    """At most ``VIEWS`` columns of ``x`` (row, n), or random directions of them, (row, j)."""
    return x if x.shape[1] <= VIEWS else x @ rng.normal((x.shape[1], VIEWS)) / sqrt(x.shape[1])


def normal_scores(figures: Tensor) -> Tensor:
    """Ranks of each column (row, j) as quantiles of a normal law; ties share their middle rank."""
    columns = figures.mT.contiguous()
    ranked = columns.sort(-1).values
    low, high = (torch.searchsorted(ranked, columns, right=right) for right in (False, True))
    return torch.special.ndtri((0.5 * (low + high)) / len(figures)).clamp(-6, 6).mT


def chain_checks(rows: WeightedRows, rng: Rng) -> list[Finding]:
    """Independence where it is claimed; drift, agreement and order of chains where they are."""
    seen = views(rows, rng.child("views"))
    if rows.log_weights is not None:
        seen = torch.cat([seen, normal_scores(rows.log_weights[:, None])], 1)
    chains = rows.chains or 1
    by_chain = seen.reshape(chains, -1, seen.shape[1]).transpose(0, 1)
    if rows.chains is None:
        return [_independent(by_chain), _halves(by_chain)]
    found = [_settled(by_chain), _ordered(by_chain)]
    return [*found, *_agreement(rows, by_chain)] if chains > 1 else found


def _correlations(by_chain: Tensor, lags: int) -> Tensor:
    """Autocorrelation (lag, j) at lags 1 … ``lags``, averaged over chains (draw, chain, j), about the common mean."""
    n = by_chain.shape[0]
    x = by_chain - by_chain.mean((0, 1))
    variance = x.square().mean((0, 1)).clamp_min(1e-300)
    return (
        torch.stack([(x[lag:] * x[: n - lag]).sum((0, 1)) / (n * x.shape[1]) for lag in range(1, lags + 1)]) / variance
    )


def _independent(by_chain: Tensor) -> Finding:
    n = by_chain.shape[0]
    rho = _correlations(by_chain, min(LAGS, n // 4))
    return judged(
        "independence",
        (rho * sqrt(n)).flatten(),
        n,
        "rows that are said to be independent repeat what was {z} s.e. too near to earlier ones; pass them as chains",
        Remedy.LONGER,
        "autocorrelation at lags up to 64",
    )


def _halves(by_chain: Tensor) -> Finding:
    rows = by_chain[:, 0]
    half = len(rows) // 2
    first, last = rows[:half], rows[half:]
    error = (first.var(0) / half + last.var(0) / (len(rows) - half)).sqrt().clamp_min(1e-300)
    return judged(
        "halves",
        (first.mean(0) - last.mean(0)) / error,
        len(rows),
        "the first and the second half of the rows differ by {z} s.e.; their source has changed on the way",
        Remedy.REFUSE,
        "first less second",
    )


def _settled(by_chain: Tensor) -> Finding:
    n, chains = by_chain.shape[:2]
    last = by_chain[n // 2 :]
    cost = inefficiency(by_chain - by_chain.mean(0))
    scores = []
    for share in WINDOWS:
        first = by_chain[: max(1, int(share * n))]
        gap = first.mean(0) - last.mean(0)
        if chains >= MANY:
            error = gap.std(0) / sqrt(chains)
        else:
            parts = [by_chain.var((0, 1)) * (cost / len(part)).clamp_max(1.0) / chains for part in (first, last)]
            error = (parts[0] + parts[1]).sqrt()
        scores.append(gap.mean(0) / error.clamp_min(1e-12))
    freedom = chains if chains >= MANY else float(n * chains / cost.mean())
    return judged(
        "drift",
        torch.cat(scores),
        freedom,
        "chains begin {z} s.e. away from where they end: they had not settled",
        Remedy.WARMUP,
        "beginnings of the chains less their last half",
    )


def _ordered(by_chain: Tensor) -> Finding:
    """Correlation has to fall with the lag; a peak further on shows that the rows of several chains are interleaved."""
    n, chains = by_chain.shape[:2]
    if n < 3 * SHORTEST:
        return limited("order", 0.0, Gate(high=6.0), "", Remedy.NONE, "chains too short to tell", "s.e.")
    rho = _correlations(by_chain, min(LAGS, n // 3))
    before = torch.cummax(rho.abs(), 0).values
    peak = float((rho[1:] - before[:-1]).max() * sqrt(n * chains))
    reason = f"correlation returns at a longer lag by {peak:.0f} s.e.: rows of several chains are interleaved"
    return limited("order", peak, Gate(high=6.0), reason, Remedy.REFUSE, "rise of the autocorrelation", "s.e.")


def _agreement(rows: WeightedRows, by_chain: Tensor) -> list[Finding]:
    """One-way analysis of variance with the rows of each chain counted by their correlation time."""
    n, chains, columns = by_chain.shape
    within = by_chain - by_chain.mean(0)
    frozen = int((rows.x.reshape(chains, n, -1).var(1) < FROZEN * rows.spread.square()).all(1).sum())
    cost = inefficiency(within)
    cost = cost / (1 - cost / n).clamp_min(0.1)
    spread = within.square().sum((0, 1)) / (chains * max(n - 1, 1))
    between = n * by_chain.mean(0).var(0)
    ratio = between / (spread * cost).clamp_min(1e-300) / SLACK
    freedom = (n * chains / cost - chains).clamp_min(2.0)
    p = min(float(fisher.sf(float(r), chains - 1, float(d))) for r, d in zip(ratio, freedom, strict=True))
    agree = judged(
        "chains_agree",
        probability(min(1.0, p * columns)),
        torch.inf,
        f"the {chains} chains lie further apart ({{z}} s.e.) than their own motion explains: some are stuck",
        Remedy.LONGER,
        f"largest ratio of variances {float(ratio.max()):.2g}",
    )
    reason = f"{frozen} of {chains} chains have not moved at all"
    return [agree, limited("frozen_chains", frozen, Gate(high=0.0), reason, Remedy.REFUSE)]
