"""Densities on the surface where constraints hold, the way back to it, and its area element."""

from __future__ import annotations

from math import gamma, pi
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from posteriori.core.errors import ShapeError, UnanswerableError
from posteriori.core.operator import Operator
from posteriori.core.target import Target

TOLERANCE = 1e-12
"""Largest residual of a constraint that counts as kept, in the constraint's own unit."""
ITERATIONS = 10
"""Newton steps before a point counts as not brought back; three or four are usual."""


@runtime_checkable
class HasRows(Protocol):
    """A constraint that knows its own derivative."""

    def jacobian(self, x: Tensor) -> Tensor:
        """J (*batch, constraints, numbers) at ``x`` (*batch, *domain.shape), differentiable."""


class Landed(NamedTuple):
    """Points on a surface.

    Attributes:
        x: (*batch, n).
        rows: J there, (*batch, k, n).
        ok: whether the residuals are below the tolerance, (*batch,).
    """

    x: Tensor
    rows: Tensor
    ok: Tensor


class Constrained(Target):
    """exp(-energy) on the surface where ``constraint(x) = 0``, which has no volume in the Space of x.

    Args:
        inner: the energy.
        constraint: an Operator from the same Space; independent constraints (its J has full rank on the surface).
        stiff: count volume as infinitely stiff springs do, exp(-energy) δ(constraint(x)) dx, which is the area
            divided by √det(J Jᵀ) (Fixman); without, count area, as rigid motion does in the metric of x.

    Raises:
        ShapeError: another Space, or more constraints than numbers.

    Reference: Fixman (1974), Classical statistical mechanics of constraints, PNAS 71, 3050.
    """

    references = ("Fixman (1974), Classical statistical mechanics of constraints, PNAS 71, 3050.",)

    def __init__(self, inner: Target, constraint: Operator, stiff: bool = False) -> None:
        super().__init__()
        if not inner.space.same(constraint.domain):
            raise ShapeError(f"the target speaks of {inner.space}, the constraint of {constraint.domain}.")
        if not 0 < constraint.codomain.size < inner.space.size:
            raise ShapeError(
                f"{constraint.codomain.size} constraints on {inner.space.size} numbers leave nothing to move; "
                "give at least one and fewer than the numbers."
            )
        self.inner, self.constraint, self.stiff, self.space = inner, constraint, stiff, inner.space

    def energy(self, x: Tensor) -> Tensor:
        """-log density with respect to area, float64 (*batch,); only on the surface does it mean something."""
        energy = self.inner.energy(x)
        return energy + log_stretch(rows_of(self.constraint, x)).double() if self.stiff else energy

    def residual(self, x: Tensor) -> Tensor:
        """Largest |constraint(x)|, (*batch,)."""
        return self.constraint.codomain.flat(self.constraint(x)).abs().amax(-1)


def rows_of(constraint: Operator, x: Tensor) -> Tensor:
    """J (*batch, k, n) of a constraint at ``x`` (*batch, *domain.shape): its own, or one adjoint of each constraint."""
    if isinstance(constraint, HasRows):
        return constraint.jacobian(x)
    k = constraint.codomain.size
    batch = x.shape[: x.ndim - len(constraint.domain.shape)]
    eye = torch.eye(k, dtype=x.dtype, device=x.device)
    found = [constraint.domain.flat(constraint.vjp(x, constraint.codomain.unflat(e.expand(*batch, k)))) for e in eye]
    return torch.stack(found, -2)


def log_stretch(rows: Tensor) -> Tensor:
    """½ log det(J Jᵀ), (*batch,): how much wider a shell of unit thickness in the constraints is than the surface."""
    if rows.shape[-2] == 1:
        return 0.5 * rows.square().sum((-2, -1)).log()
    return 0.5 * torch.linalg.slogdet(rows @ rows.mT)[1]


def land(constraint: Operator, x: Tensor, along: Tensor, tolerance: float = TOLERANCE) -> Landed:
    """The point x + Jᵀλ on the surface, by Newton steps in λ: SHAKE, with all constraints at once.

    Args:
        constraint: what has to vanish.
        x: where to begin, (*batch, n).
        along: J (*batch, k, n) at the point that x was reached from: its rows span the way back.
        tolerance: largest residual.

    Reference: Ryckaert, Ciccotti & Berendsen (1977), J. Comput. Phys. 23, 327.
    """
    space, shape = constraint.domain, x.shape
    x, along = x.reshape(-1, shape[-1]), along.reshape(-1, *along.shape[-2:])
    rows, ok = along.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    active = torch.arange(len(x), device=x.device)
    here, back = x, along
    for _ in range(ITERATIONS):
        c = constraint.codomain.flat(constraint(space.unflat(here)))
        jacobian = rows_of(constraint, space.unflat(here))
        near = c.abs().amax(-1) <= tolerance
        if bool(near.any()):
            done = active[near]
            x, rows, ok = (
                x.index_copy(0, done, here[near]),
                rows.index_copy(0, done, jacobian[near]),
                ok.index_fill(0, done, True),
            )
            active, here, back, c, jacobian = (t[~near] for t in (active, here, back, c, jacobian))
            if not len(active):
                break
        step = torch.linalg.solve_ex(jacobian @ back.mT, c[..., None])[0]
        here = here - (back.mT @ step)[..., 0]
    return Landed(x.reshape(shape), rows.reshape(*shape[:-1], *rows.shape[-2:]), ok.reshape(shape[:-1]))


def nearest(constraint: Operator, x: Tensor, tolerance: float = TOLERANCE) -> Landed:
    """A point of the surface near ``x`` (*batch, n), by Gauss-Newton steps along the rows where they stand.

    Raises:
        UnanswerableError: no row reaches the surface: constraints that contradict or repeat each other.
    """
    space = constraint.domain
    for _ in range(6 * ITERATIONS):
        rows = rows_of(constraint, space.unflat(x))
        c = constraint.codomain.flat(constraint(space.unflat(x)))
        if not bool((c.abs().amax(-1) > tolerance).any()):
            break
        step = torch.linalg.solve_ex(rows @ rows.mT, c[..., None])[0]
        moved = x - (rows.mT @ step)[..., 0]
        x = torch.where(torch.isfinite(moved).all(-1, keepdim=True), moved, x)
    ok = c.abs().amax(-1) <= tolerance
    if not bool(ok.any()):
        raise UnanswerableError(
            f"none of {ok.numel()} points reaches the surface of {constraint} (smallest residual "
            f"{float(c.abs().amax(-1).min()):.3g}): the constraints contradict each other, repeat each other, or the "
            "start is too far; check them, or give start=…."
        )
    return Landed(x, rows, ok)


def tangential(rows: Tensor, v: Tensor) -> Tensor:
    """``v`` (*batch, n) without its part along the rows (*batch, k, n)."""
    gram = rows @ rows.mT
    return v - (rows.mT @ torch.linalg.solve_ex(gram, rows @ v[..., None])[0])[..., 0]


def frame(rows: Tensor) -> Tensor:
    """An orthonormal basis (*batch, n, n - k) of the directions along the surface."""
    k = rows.shape[-2]
    return torch.linalg.qr(rows.mT, mode="complete").Q[..., k:]


class Chart(NamedTuple):
    """Points reached from one point by a step along its tangent plane and the way back to the surface.

    Attributes:
        x: (*batch, n).
        log_area: log of the area that a unit of the tangent plane covers there, (*batch,).
        ok: whether the way back was found, (*batch,).
    """

    x: Tensor
    log_area: Tensor
    ok: Tensor


def chart(constraint: Operator, origin: Tensor, v: Tensor) -> Chart:
    """The surface near ``origin`` (*batch, n) as a map of its tangent plane: x = origin + T v + Jᵀλ(v).

    A density f(v) of tangent steps (*batch, n - k), in the basis :func:`frame`, becomes f(v) / exp(log_area) on the
    surface: the area element is 1 / |det(T₀ᵀ T)|, T₀ and T the frames at both ends.

    Reference: Zappa, Holmes-Cerfon & Goodman (2018), Monte Carlo on manifolds, Comm. Pure Appl. Math. 71, 2609.
    """
    rows = rows_of(constraint, constraint.domain.unflat(origin))
    basis = frame(rows)
    found = land(constraint, origin + (basis @ v[..., None])[..., 0], rows)
    here = torch.where(found.ok[..., None, None], found.rows, rows)
    log_area = -torch.linalg.slogdet(basis.mT @ frame(here))[1]
    return Chart(found.x, log_area, found.ok)


def area(constraint: Operator, points: Tensor, other: Tensor, radius: float, steps: Tensor) -> tuple[float, float]:
    """Area of a closed surface from uniform draws of it, and its standard error.

    Two independent draws lie within ``radius`` of each other with the probability E[area of the surface in a ball] /
    area; the former is an integral over a :func:`chart`, the latter is counted over all pairs.

    Args:
        constraint: whose surface.
        points, other: independent uniform draws, (m, n) and (l, n).
        radius: below the smallest radius of curvature.
        steps: uniform draws (m, n - k) of the unit ball of the tangent plane.
    """
    d = steps.shape[-1]
    found = chart(constraint, points, radius * steps)
    ball = pi ** (d / 2) / gamma(d / 2 + 1) * radius**d
    inside = found.ok & ((found.x - points).norm(dim=-1) < radius)
    covered = torch.where(inside, found.log_area.exp(), 0.0) * ball
    near = [torch.cdist(part, other) < radius for part in points.split(1000)]
    close = torch.cat([rows.double().mean(1) for rows in near])
    closed = torch.stack([rows.double().sum(0) for rows in near]).sum(0) / len(points)
    ratio = float(covered.mean() / close.mean())
    relative = (covered / covered.mean() - close / close.mean()).var() / len(points)
    relative = relative + (closed / closed.mean()).var() / len(other)
    return ratio, ratio * float(relative.sqrt())
