"""Plain facts about rows: finite, centred, distinct; weights and forces that belong to the energy they are said to."""

from __future__ import annotations

from math import isfinite

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.finding import Finding, Remedy, limited
from posteriori.audit.report import Gate
from posteriori.audit.weighted_rows import ROUNDING, WeightedRows, energies
from posteriori.core.random import Rng
from posteriori.core.weights import pareto_smooth

CENTRED = 1e-3
"""Largest distance of a centre of mass from zero over the spread of the rows: what single precision leaves."""
REPEATED = 1.1
"""Factor by which repeated rows may widen the variance of a mean."""
FEWEST = 100.0
"""Effective rows from which an interval is worth stating."""
FORCE = 1e-3
"""Largest relative gap between a force and the energy's differences."""
WEIGHT = 1e-3
"""Largest gap of a log-weight from -U - log q, over what single precision leaves [nat]."""
EQUAL = 1e-6
"""Log-weights that differ by less are equal [nat]: what their rounding leaves is no tail."""
ROUNDED = 1.0
"""Standard errors of the mean energy that the grain of the rows may move it."""


def row_checks(rows: WeightedRows, claimed: Tensor | None, given_weights: bool, rng: Rng) -> list[Finding]:
    """Everything that needs no statistics; ``claimed`` are energies that came with the rows (row,)."""
    found = [_broken(rows), _forces(rows, rng), _repeats(rows), _rounding(rows, rng.child("grain"))]
    if rows.frame is not None:
        found.append(_centred(rows))
    if claimed is not None:
        found.append(_claimed(rows, claimed))
    if rows.log_weights is not None:
        found += [_tied(rows), *_weights(rows)]
        if rows.log_q is not None and given_weights:
            found.append(_consistent(rows))
    return found


def _broken(rows: WeightedRows) -> Finding:
    reason = f"{rows.broken} rows of positive weight have an energy or a force that is not finite"
    return limited("broken_rows", rows.broken, Gate(high=0.0), reason, Remedy.REFUSE, f"of {len(rows.kept)}")


def _forces(rows: WeightedRows, rng: Rng) -> Finding:
    """Slopes along random directions against central differences of the energy; the median over rows."""
    some = rng.permutation(len(rows))[:32]
    x, scale = rows.x[some], rows.spread
    direction = rng.normal(x.shape) * scale
    step = 1e-5
    ends = [_energy_at(rows, x + sign * step * direction) for sign in (1, -1)]
    differences = (ends[0] - ends[1]) / (2 * step)
    slope = (rows.slope[some] * direction).sum(1)
    noise = 1e-13 * rows.energy[some].abs() / step
    size = (rows.slope[some] * scale).norm(dim=1).clamp_min(1e-3)
    gap = float((((differences - slope).abs() - noise).clamp_min(0.0) / size).median())
    gap = gap if isfinite(gap) else 1e6
    reason = f"forces differ from the energy's own differences by {100 * gap:.2g} %: one of them is wrong"
    return limited("force_error", gap, Gate(high=FORCE), reason, Remedy.REFUSE, "median of 32 rows, relative")


def _energy_at(rows: WeightedRows, x: Tensor) -> Tensor:
    space, frame = rows.target.space, rows.frame
    place = space.unflat(x) if frame is None else frame(frame.domain.unflat(x))
    return energies(rows.target, place)[0]


def _centred(rows: WeightedRows) -> Finding:
    reason = (
        f"rows are not centred (a centre of mass lies {rows.off_centre:.2g} spreads from zero) though the energy does "
        "not depend on it; take each row's centre of mass off"
    )
    return limited("off_centre", rows.off_centre, Gate(high=CENTRED), reason, Remedy.REFUSE, "over the spread")


def _repeats(rows: WeightedRows) -> Finding:
    """Σ m² / n over the multiplicities m of equal rows; those next to each other in a chain are rejected moves."""
    of = rows.distinct[0].numpy()
    if rows.chains is not None:
        new = np.ones(len(of), dtype=bool)
        new[1:] = of[1:] != of[:-1]
        new[:: len(of) // rows.chains] = True
        of = of[new]
    counts = np.bincount(of)
    counts = counts[counts > 0]
    factor = float((counts.astype(float) ** 2).sum() / counts.sum())
    share = len(counts) / counts.sum()
    reason = f"only {100 * share:.0f} % of the rows are distinct: errors are {factor**0.5:.2g} times too small"
    return limited("repeats", factor, Gate(high=REPEATED), reason, Remedy.REFUSE, f"{len(counts)} distinct rows")


def _rounding(rows: WeightedRows, rng: Rng) -> Finding:
    """How far noise as fine as the rows' own grain moves the mean energy, in its standard errors."""
    ranked = rows.x.sort(0).values
    gaps = ranked.diff(dim=0)
    grain = torch.where(gaps > ROUNDING * rows.spread, gaps, torch.inf).amin(0)
    grain = torch.where(torch.isfinite(grain), grain, 0.0)
    moved = _energy_at(rows, rows.x + grain * (rng.uniform(rows.x.shape) - 0.5)) - rows.energy
    moved = torch.where(torch.isfinite(moved), moved, 0.0)
    error = float(rows.mean(rows.energy[:, None])[1][0])
    shift = abs(float(rows.weights @ moved)) / max(error, 1e-300)
    reason = f"the rows are rounded: their grain alone moves the mean energy by {shift:.2g} standard errors"
    return limited("rounding", shift, Gate(high=ROUNDED), reason, Remedy.REFUSE, "by noise as fine as the rows' grain")


def _claimed(rows: WeightedRows, claimed: Tensor) -> Finding:
    """The slope of the energies that came with the rows in the target's own: 1 if both mean the same."""
    own = rows.energy - rows.energy.mean()
    slope = float((own * (claimed - claimed.mean())).sum() / own.square().sum().clamp_min(1e-300))
    rest = float((claimed - claimed.mean() - own).abs().max() / own.abs().max().clamp_min(1e-300))
    reason = (
        f"the energies that came with the rows are {slope:.3g} times the target's: another sign, unit or convention"
    )
    if abs(slope - 1) < 1e-3:
        reason = (
            f"the energies that came with the rows differ from the target's by up to {100 * rest:.2g} % of their range"
        )
    return limited("claimed_energy", rest, Gate(high=1e-3), reason, Remedy.REFUSE, f"slope {slope:.4g}")


def _consistent(rows: WeightedRows) -> Finding:
    assert rows.log_weights is not None
    assert rows.log_q is not None
    gap = rows.log_weights + rows.energy + rows.log_q
    gap = (gap - gap.median()).abs()
    allowed = 1e-5 * (rows.energy.abs() + rows.log_q.abs())
    worst = float((gap - allowed).clamp_min(0.0).max())
    opposite = float((rows.log_weights - rows.energy - rows.log_q).std())
    reason = f"log-weights differ from -U - log q by up to {worst:.2g} nat"
    reason += ": their sign is wrong" if opposite < 1e-3 else ": another energy, other rows, or cut weights"
    return limited("weight_gap", worst, Gate(high=WEIGHT), reason, Remedy.REFUSE, "from -U - log q", "nat")


def _tied(rows: WeightedRows) -> Finding:
    """Rows that share exactly the largest weight though their energies differ."""
    assert rows.log_weights is not None
    top = rows.log_weights == rows.log_weights.max()
    different = len(torch.unique(rows.energy[top]))
    all_equal = float(rows.log_weights.max() - rows.log_weights.min()) < EQUAL
    reason = (
        f"{different} different rows share the largest weight: the weights were cut off there, and k̂ is blind to it"
    )
    return limited("tied_weights", 0 if all_equal else different, Gate(high=2.0), reason, Remedy.REFUSE)


def _weights(rows: WeightedRows) -> list[Finding]:
    assert rows.log_weights is not None
    k, note = _tail(rows.log_weights)
    share = rows.effective / len(rows)
    reason = f"the weights have a tail so heavy (k̂ = {k:.2f}) that their mean may not settle"
    few = f"{rows.effective:.0f} effective rows of {len(rows)} carry no interval"
    cure = Remedy.ANNEAL if share < 0.1 else Remedy.WIDEN
    return [
        limited("pareto_k", k, Gate(high=0.7), reason, cure, note),
        limited("effective_rows", rows.effective, Gate(low=FEWEST), few, Remedy.ANNEAL, f"{100 * share:.3g} % of all"),
    ]


def _tail(log_weights: Tensor) -> tuple[float, str]:
    """k̂ and how to read it: 0 where there is no tail to fit, since the largest weights are equal or few."""
    if float(log_weights.max() - log_weights.quantile(0.9)) < EQUAL:
        return 0.0, "the largest weights are equal: no tail"
    k = float(pareto_smooth(log_weights)[1])
    return (k, "raw weights") if isfinite(k) else (0.0, "too few distinct large weights to fit")
