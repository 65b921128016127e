"""Totals and bounds that every draw keeps exactly: the nearest field with given linear sums, between given limits."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import Covariance, cholesky
from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import Operator
from posteriori.core.random import Rng

EXACT = 1e-10
"""Largest residual of a constraint, as a share of the sizes in it, that counts as kept."""
STEPS = 200


def conserve(x: Tensor, operator: Operator, values: Tensor, covariance: Covariance | None = None) -> Tensor:
    """x + K Aᵀ (A K Aᵀ)⁻¹ (b - A x): the field nearest to each x, in the metric K⁻¹, with operator(field) = values.

    Draws of N(μ, K) become draws of it given that operator(field) = values; K spreads what is missing to where the
    field is uncertain.

    Args:
        x: (*batch, *domain.shape), float64.
        operator: linear: areal means, totals, any sums.
        values: (*batch, *codomain.shape), or without the batch.
        covariance: K over the domain; independent cells of one variance without.

    Raises:
        UnanswerableError: the operator is not linear.
        DataError: values that are not finite, or constraints that cannot be met together.
    """
    wanted = _checked(x, operator, values)
    domain, codomain = operator.domain, operator.codomain
    found = x.double()
    if covariance is None:
        rows = _disjoint(operator, found)
        if rows is not None:
            return domain.unflat(rows.moved(domain.flat(found), wanted))
    memory.require(3 * 8 * codomain.size * domain.size, f"{codomain.size} constraints on {domain.size} cells")
    rows_of = operator.rows(found) if covariance is None else covariance.across(operator).to(found)
    s = rows_of @ rows_of.mT if covariance is None else covariance.under(operator).to(found)
    factor = cholesky(s)
    for _ in range(3):
        missing = wanted - codomain.flat(operator(found))
        pull = torch.cholesky_solve(missing.reshape(-1, codomain.size).mT, factor).mT.reshape(missing.shape)
        found = found + domain.unflat(pull @ rows_of)
    _require_kept(found, operator, wanted)
    return found


def conserve_within(
    x: Tensor,
    operator: Operator,
    values: Tensor,
    low: float = 0.0,
    high: float = inf,
    variance: Tensor | None = None,
) -> Tensor:
    """The field nearest to each x, Σ (field - x)²/variance least, with operator(field) = values and low ≤ field ≤ high.

    Its form is clamp(x + variance · Aᵀλ); λ is found by Newton steps on the convex dual, which end on the exact piece.
    Where each cell belongs to one sum at most (areal means, totals) the sums are solved one by one, all draws at once.

    Args:
        x, operator, values: as for :func:`conserve`.
        low, high: of every cell.
        variance: of the cells, domain.shape, > 0: which of them give way; equal without.

    Raises:
        UnanswerableError: the operator is not linear.
        OptionError: limits that leave nothing, or variances that are not positive.
        DataError: values that no field within the limits has.

    Reference: Boyd & Vandenberghe (2004), Convex Optimization, section 5.5; Qi & Sun (1993), A nonsmooth version of
    Newton's method, Math. Program. 58, 353.
    """
    if not low < high:
        raise OptionError(f"no field lies between {low} and {high}.")
    wanted = _checked(x, operator, values)
    domain = operator.domain
    flat = domain.flat(x.double())
    v = torch.ones(domain.shape, dtype=flat.dtype) if variance is None else domain.check(variance, "variance").double()
    v = domain.flat(v)
    if not bool((torch.isfinite(v) & (v > 0)).all()):
        raise OptionError("variances of the cells must be finite and positive.")
    rows = _disjoint(operator, flat)
    if rows is not None:
        rows.require_reachable(wanted, low, high)
        found = rows.within(flat, wanted, v, low, high)
    else:
        sums = wanted - operator.codomain.flat(operator.offset(flat))
        found = _newton(operator.rows(flat), flat, sums, v, low, high)
    _require_kept(domain.unflat(found), operator, wanted)
    return domain.unflat(found)


@dataclass(frozen=True, eq=False)
class Disjoint:
    """Sums that share no cell: cell i enters sum ``row[i]`` with ``weight[i]`` (0 where it enters none)."""

    row: Tensor
    weight: Tensor
    offset: Tensor

    def sums(self, x: Tensor) -> Tensor:
        """(*batch, k) of (*batch, n), without the offset."""
        return torch.zeros(*x.shape[:-1], len(self.offset), dtype=x.dtype).index_add(-1, self.row, x * self.weight)

    def moved(self, x: Tensor, wanted: Tensor) -> Tensor:
        """The affine projection."""
        norm = self.sums(self.weight).clamp_min(1e-300)
        for _ in range(2):
            pull = (wanted - self.offset - self.sums(x)) / norm
            x = x + self.weight * pull[..., self.row]
        return x

    def require_reachable(self, wanted: Tensor, low: float, high: float) -> None:
        """Refuse sums beyond those of the limits."""
        ends = torch.stack([_times(self.weight, low), _times(self.weight, high)])
        least, most = self._total(ends.amin(0)), self._total(ends.amax(0))
        b = wanted - self.offset
        slack = EXACT * (1 + b.abs())
        bad = (b < least - slack) | (b > most + slack)
        if bool(bad.any()):
            where = tuple(int(i) for i in bad.nonzero()[0])
            raise DataError(
                f"the value {float(b[where]):.6g} of sum {where[-1]} is beyond what fields between {low:g} and "
                f"{high:g} can have, {float(least[where[-1]]):.6g} to {float(most[where[-1]]):.6g}."
            )

    def _total(self, terms: Tensor) -> Tensor:
        return torch.zeros(len(self.offset), dtype=terms.dtype).index_add(0, self.row, terms)

    def within(self, x: Tensor, wanted: Tensor, v: Tensor, low: float, high: float) -> Tensor:
        """Newton steps on each monotone sum of λ, kept inside a bracket."""
        b, slope = wanted - self.offset, v * self.weight
        inside = self.weight != 0
        at = self.sums(torch.zeros_like(x))
        lower, upper = torch.full_like(at, -inf), torch.full_like(at, inf)
        reach = 1.0 + (b - self.sums(x)).abs()
        for _ in range(STEPS):
            z = (x + slope * at[..., self.row]).clamp(low, high)
            gap = b - self.sums(z)
            scale = self._sizes(z, b)
            if bool((gap.abs() <= 1e-15 * scale).all()):
                break
            lower, upper = torch.where(gap > 0, at, lower), torch.where(gap < 0, at, upper)
            free = (z > low) & (z < high) & inside
            rise = self.sums(torch.where(free, slope, torch.zeros_like(z)))
            newton = at + gap / rise.clamp_min(1e-300)
            outside = (newton <= lower) | (newton >= upper) | (rise <= 0)
            middle = _middle(lower, upper, at, gap, reach)
            moved = torch.where(outside, middle, newton)
            at, reach = torch.where(gap == 0, at, moved), reach * 2
        return torch.where(inside, self._polished(z, b, slope, low, high), x.clamp(low, high))

    def _polished(self, z: Tensor, b: Tensor, slope: Tensor, low: float, high: float) -> Tensor:
        """The last rounding taken off what is free: x + λ loses digits where sums are small against x."""
        for _ in range(3):
            free = torch.where((z > low) & (z < high), slope, torch.zeros_like(z))
            pull = (b - self.sums(z)) / self.sums(free).clamp_min(1e-300)
            z = (z + free * pull[..., self.row]).clamp(low, high)
        return z

    def _sizes(self, z: Tensor, b: Tensor) -> Tensor:
        total = torch.zeros(*z.shape[:-1], len(self.offset), dtype=z.dtype)
        return b.abs() + total.index_add(-1, self.row, (z * self.weight).abs()) + 1e-300


def _middle(lower: Tensor, upper: Tensor, at: Tensor, gap: Tensor, reach: Tensor) -> Tensor:
    """Half-way inside a bracket; outwards where one side is open."""
    both = 0.5 * (lower + upper)
    return torch.where(torch.isfinite(both), both, at + torch.sign(gap) * reach)


def _newton(rows: Tensor, x: Tensor, wanted: Tensor, v: Tensor, low: float, high: float) -> Tensor:
    """Newton steps with halving on the dual of sums that share cells; ``wanted`` (*batch, k) of ``rows`` (k, n)."""
    lead = x.shape[:-1]
    flat, b = x.reshape(-1, x.shape[-1]), wanted.expand(*lead, -1).reshape(-1, wanted.shape[-1])
    v = v.expand_as(x).reshape(flat.shape)
    at = torch.zeros_like(b)

    def look(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        free = flat + v * (at @ rows)
        z = free.clamp(low, high)
        dual = (0.5 * (free.square() - (free - z).square()) / v - 0.5 * flat.square() / v).sum(-1) - (at * b).sum(-1)
        return z, z @ rows.mT - b, dual

    z, gap, dual = look(at)
    whole = (rows * v[:, None, :]) @ rows.mT
    for _ in range(STEPS):
        share = gap.abs().amax(-1) / (b.abs() + z.abs() @ rows.mT.abs()).amax(-1).clamp_min(1e-300)
        if bool((share <= 1e-15).all()):
            break
        free = v * ((z > low) & (z < high))
        curvature = (rows * free[:, None, :]) @ rows.mT + (1e-14 + 1e-3 * share.clamp_max(1.0))[:, None, None] * whole
        step = -torch.linalg.solve(curvature, gap[..., None])[..., 0]
        falls, length = (gap * step).sum(-1), torch.ones(len(b), 1, dtype=x.dtype)
        for _ in range(40):
            new = look(at + length * step)
            bad = new[2] > dual + 1e-4 * length[:, 0] * falls + 1e-14 * dual.abs()
            if not bool(bad.any()):
                break
            length = torch.where(bad[:, None], 0.5 * length, length)
        at = at + length * step
        z, gap, dual = new
    return z.reshape(x.shape)


def _disjoint(operator: Operator, x: Tensor) -> Disjoint | None:
    """The operator as sums that share no cell, if it is one; asked by three adjoints and a forward run."""
    domain, codomain = operator.domain, operator.codomain
    k = codomain.size
    numbers = torch.stack([torch.ones(k), 1 + torch.arange(k)]).to(x)
    weight, counted = domain.flat(operator.adjoint(codomain.unflat(numbers)))
    row = (counted / torch.where(weight == 0, torch.ones_like(weight), weight)).round().long() - 1
    row = row.clamp(0, k - 1)
    offset = codomain.flat(operator.offset(x))
    rows = Disjoint(row, weight, offset)
    probe = Rng(0).child("probe").normal((2, domain.size), x)
    found, own = codomain.flat(operator(domain.unflat(probe))), rows.sums(probe) + offset
    return rows if bool(torch.allclose(found, own, rtol=1e-12, atol=1e-12 * float(1 + own.abs().max()))) else None


def _checked(x: Tensor, operator: Operator, values: Tensor) -> Tensor:
    """The flat values wanted, float64."""
    operator.require_linear("a projection onto operator(field) = values")
    operator.domain.check(x, "fields")
    wanted = operator.codomain.flat(operator.codomain.check(values, "values")).double()
    for name, tensor in (("values", wanted), ("fields", x)):
        if not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{name} to project are not finite at {(~torch.isfinite(tensor)).nonzero()[0].tolist()}.")
    return wanted


def _require_kept(found: Tensor, operator: Operator, wanted: Tensor) -> None:
    codomain = operator.codomain
    seen = codomain.flat(operator(found))
    size = 1e-300 + wanted.abs().amax() + seen.abs().amax()
    worst = float((seen - wanted).abs().max() / size)
    if not worst <= EXACT:
        raise DataError(
            f"the constraints are missed by {worst:.1e} of their size: they cannot be met together within the limits; "
            "look for sums that contradict each other or lie beyond what the limits allow."
        )


def _times(weight: Tensor, limit: float) -> Tensor:
    """weight · limit with 0 · inf = 0."""
    return torch.where(weight == 0, torch.zeros_like(weight), weight * limit)
