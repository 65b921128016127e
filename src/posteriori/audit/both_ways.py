"""Rows held against independent rows of the target: who misses what, forward effective sample size, evidence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.chain_checks import directions
from posteriori.audit.finding import Finding, Remedy, judged, limited
from posteriori.audit.report import Figure, Gate
from posteriori.audit.weighted_rows import WeightedRows
from posteriori.core.errors import UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.weights import log_mean_exp
from posteriori.inference.mbar import mbar

LEVELS = (0.005, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.995)
"""Quantiles of all rows together at which both distributions are compared."""
SHORTFALL = 0.3
"""Least ratio of forward to reverse effective sample size."""


@dataclass(frozen=True)
class BothWays:
    """What forward rows told.

    Attributes:
        findings: with gates.
        log_z: estimates of log ∫ exp(-U) and their errors by name; empty without densities of the proposal.
        ess_forward: 1 / E_target[w] over w's mean, as a share of rows; None without densities.
    """

    findings: list[Finding]
    log_z: dict[str, tuple[float, float]]
    ess_forward: float | None


def both_ways(rows: WeightedRows, forward: WeightedRows, rng: Rng) -> BothWays:
    """Compare distributions of energy and coordinates; with the proposal's density at the forward rows, weights too."""
    found = [_distributions(rows, forward, rng)]
    if forward.log_q is None or rows.log_q is None:
        return BothWays(found, {}, None)
    here, there = -rows.energy - rows.log_q, -forward.energy - forward.log_q
    log_z, evidence = _evidence(rows, forward, here, there)
    mean, error = log_mean_exp(there)
    best = log_z["bar"][0] if "bar" in log_z else log_z["importance"][0]
    ess = float(torch.exp(best - mean).clamp_max(1.0))
    reverse = rows.effective / len(rows)
    reason = (
        f"forward rows see an effective sample size of {max(100 * ess, 1e-6):.2g} % where the rows' weights promise "
        f"{100 * reverse:.2g} %: the proposal hardly ever visits places that matter"
    )
    note = f"relative error {float(error):.2g}; reverse {reverse:.3g}"
    found += [
        Finding(Figure("ess_forward", ess, gate=Gate(low=SHORTFALL * reverse), note=note), reason, Remedy.WIDEN),
        _weights(rows, forward, here, there),
        *evidence,
    ]
    return BothWays(found, log_z, ess)


def _distributions(rows: WeightedRows, forward: WeightedRows, rng: Rng) -> Finding:
    """Weighted shares below common quantiles: of the energy, and of coordinates or random directions."""
    stream = rng.child("directions")
    both = torch.cat([rows.x, forward.x])
    seen = torch.cat([torch.cat([rows.energy, forward.energy])[:, None], directions(both, stream)], 1)
    edges = torch.quantile(seen[: 2**24 // seen.shape[1]], torch.tensor(LEVELS, dtype=torch.float64), 0)
    below = (seen[:, None, :] <= edges).double().flatten(1)
    mean, error = rows.mean(below[: len(rows)])
    other, other_error = forward.mean(below[len(rows) :])
    share = below.mean(0)
    # where few rows fall their own scatter says little: at least that of the common share, then
    own, theirs = (
        torch.maximum(e.square(), share * (1 - share) / part.effective_in_time)
        for e, part in ((error, rows), (other_error, forward))
    )
    z = (mean - other) / (own + theirs).sqrt()
    return judged(
        "same_distribution",
        z,
        min(rows.effective, len(forward)),
        "shares of energy or coordinates differ by {z} s.e. from those of independent rows of the target: regions are "
        "missed or over-counted",
        Remedy.REFUSE if rows.log_weights is None else Remedy.WIDEN,
        "shares below nine quantiles, of the rows less of the forward rows",
    )


def _weights(rows: WeightedRows, forward: WeightedRows, here: Tensor, there: Tensor) -> Finding:
    """P_target(log w > c) two ways: counted among forward rows, and weighted among the others."""
    both = torch.cat([here, there])
    edges = torch.quantile(both, torch.tensor(LEVELS, dtype=torch.float64))
    edges = torch.cat([edges, here.max()[None]])
    share = torch.softmax(here, 0)
    above = (here[:, None] > edges).double()
    mean = share @ above
    error = (share[:, None] * (above - mean)).square().sum(0)
    seen, seen_error = forward.mean((there[:, None] > edges).double())
    floor = share.max().square() + 1 / len(forward) ** 2
    z = (seen - mean) / (error + seen_error.square() + floor).sqrt()
    return judged(
        "weights_both_ways",
        z,
        min(rows.effective, len(forward)),
        "the weights of forward rows are {z} s.e. off what the rows' own weights predict: the proposal misses a region",
        Remedy.WIDEN,
        "shares of the target above ten weights",
    )


def _evidence(
    rows: WeightedRows, forward: WeightedRows, here: Tensor, there: Tensor
) -> tuple[dict[str, tuple[float, float]], list[Finding]]:
    mean, error = log_mean_exp(here)
    back, _ = log_mean_exp(-there)
    back_error = float(forward.error(torch.softmax(-there, 0)[:, None] * len(there) - 1.0)[0])
    log_z = {"importance": (float(mean), float(error)), "harmonic": (-float(back), back_error)}
    gaps = torch.cat([-here, -there])
    chains = (1, forward.chains or 1)
    try:
        joined = mbar(torch.stack([torch.zeros_like(gaps), gaps]), (len(here), len(there)), chains)
    except UnanswerableError as problem:
        reason = f"no evidence from both sides: {problem}"
        return log_z, [limited("shared_rows", 0.0, Gate(low=1.0), reason, Remedy.ANNEAL)]
    gap, its_error = joined.free_energies.difference(0, 1)
    log_z["bar"] = (-gap, its_error)
    # both estimates use the same rows, so their difference has an error of its own
    moved = joined.influence(joined.reduced)[1]
    apart = moved[1] - moved[0]
    apart[: len(here)] += torch.softmax(here, 0)
    spread = joined.series.variance_of_sum(apart[:, None]).sqrt()[0].clamp_min(1e-12)
    agree = judged(
        "evidence",
        ((mean + gap) / spread)[None],
        rows.effective,
        "log Z by importance and by BAR differ by {z} s.e.",
        Remedy.ANNEAL,
        f"importance {float(mean):.3f} ± {float(error):.3f}, BAR {-gap:.3f} ± {its_error:.3f}",
    )
    return log_z, [agree]
