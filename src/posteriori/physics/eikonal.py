"""First-arrival travel times in a velocity grid, with their exact discrete derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core import units
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.grid import EVEN, centres, even_step
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.threads import side_by_side
from posteriori.physics.eikonal_kernels import gather, march, spread

Floats = NDArray[np.float64]
SLOWEST, FASTEST = 50.0, 20000.0
"""Velocities [m/s] beyond these are another unit: no rock, soil or water lies there."""
SOURCES_AT_ONCE = 8
"""Sources in one task; a number of its own, so that sums do not depend on the number of threads."""
KEPT, BYTES = 2**29, 32
"""Bytes of marches that a gradient may keep, and bytes of a march for each node."""
START = 1
"""Nodes beyond the cell of the source that start with straight-line times."""


class Eikonal(Operator):
    """First-arrival times ``t`` [s], (source, receiver), in a velocity ``v`` given on a grid, (z, x) or (z, y, x).

    Solves |∇t| = 1 / v by fast marching with first-order upwind differences; each difference is corrected by what a
    spherical wave from the source has in curvature, and takes the mean slowness of its two nodes. A homogeneous
    medium is then nearly exact, and the error elsewhere falls at least as fast as the spacing. Every time hangs only on
    earlier ones, so that ``jvp`` is one pass in the order of arrival and ``vjp`` one pass backwards; both are exact
    derivatives of the computed times wherever those have one (not where two arrivals tie).

    Args:
        domain: velocities at the nodes, dims ("z", "x") or ("z", "y", "x") with evenly spaced labels [m]; any unit of
            velocity.
        sources: (s, 2) rows (z, x), or (s, 3) rows (z, y, x) [m], anywhere inside the grid.
        receivers: likewise, (r, 2) or (r, 3).
        mask: (s, r), False where there is no pick; all are predicted, the gaps do not count in a misfit.

    Raises:
        ShapeError, DataError: dims, spacing or positions that do not fit; velocities that are not finite and positive,
            or so slow or fast that their unit must be wrong.

    Reference: Sethian (1996), A fast marching level set method for monotonically advancing fronts, PNAS 93, 1591;
    Luo & Qian (2012), Fast sweeping methods for factored anisotropic eikonal equations, J. Sci. Comput. 52, 360;
    Treister & Haber (2016), A fast marching algorithm for the factored eikonal equation, J. Comput. Phys. 324, 210.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Sethian (1996), A fast marching level set method for monotonically advancing fronts, PNAS 93, 1591.",
        "Treister & Haber (2016), A fast marching algorithm for the factored eikonal equation, J. Comput. Phys. 324, "
        "210.",
    )

    def __init__(self, domain: Space, sources: Tensor, receivers: Tensor, mask: Tensor | None = None) -> None:
        super().__init__()
        if domain.dims not in (("z", "x"), ("z", "y", "x")):
            raise ShapeError(f"{domain} needs dims ('z', 'x') or ('z', 'y', 'x').")
        self.domain = domain
        self.per_unit = units.factor(domain.unit, "m/s")
        self.grid = _Grid(domain)
        self.sources, self.receivers = (
            self.grid.inside(p, w) for p, w in ((sources, "source"), (receivers, "receiver"))
        )
        self.reading = self.grid.corners(self.receivers)
        ids = {"source": np.arange(len(self.sources)), "receiver": np.arange(len(self.receivers))}
        extra = {
            f"{end}_{dim}": (end, points[:, 3 - len(domain.dims) :][:, i] + self.grid.origin[dim])
            for end, points in (("source", self.sources), ("receiver", self.receivers))
            for i, dim in enumerate(domain.dims)
        }
        self.codomain = Space("time", ids, "s", mask=mask, extra=extra)

    def forward(self, m: Tensor) -> Tensor:
        """First-arrival times [s], (*batch, source, receiver); equal models share one march, here and below."""
        flat, index = _distinct(self._slowness(m))
        out = np.empty((len(flat), *self.codomain.shape))

        def several(k: int, part: range) -> None:
            for i in part:
                out[k, i] = _Arrivals(self, flat[k], self.sources[i]).read()

        self._each(len(flat), several)
        return _tensor(out[index], m).reshape(*m.shape[: m.ndim - len(self.domain.shape)], *self.codomain.shape)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """Change of the times along ``v``."""
        flat, index = _distinct(self._slowness(m))
        change = (
            -(flat[index] ** 2)
            * self.per_unit
            * self.domain.flat(v).detach().cpu().reshape(-1, self.domain.size).double().numpy()
        )
        out = np.empty((len(index), *self.codomain.shape))

        def several(k: int, part: range) -> None:
            for i in part:
                ray = _Arrivals(self, flat[k], self.sources[i])
                for b in np.flatnonzero(index == k):
                    out[b, i] = ray.moved(change[b])

        self._each(len(flat), several)
        return _tensor(out, v).reshape(*v.shape[: v.ndim - len(self.domain.shape)], *self.codomain.shape)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """Jᵀ r; a source without residual is passed over."""
        flat, index = _distinct(self._slowness(m))
        return self._pulled(flat, index, r, lambda k, i: _Arrivals(self, flat[k], self.sources[i]))

    def pull(self, m: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """``forward(m)`` and ``r ↦ vjp(m, r)``, which keeps the marches where they fit into :data:`KEPT` bytes."""
        flat, index = _distinct(self._slowness(m))
        if len(flat) * len(self.sources) * self.domain.size * BYTES > KEPT:
            return super().pull(m)
        rays: dict[tuple[int, int], _Arrivals] = {}
        out = np.empty((len(flat), *self.codomain.shape))

        def several(k: int, part: range) -> None:
            for i in part:
                rays[k, i] = _Arrivals(self, flat[k], self.sources[i])
                out[k, i] = rays[k, i].read()

        self._each(len(flat), several)
        times = _tensor(out[index], m).reshape(*m.shape[: m.ndim - len(self.domain.shape)], *self.codomain.shape)
        return times, lambda r: self._pulled(flat, index, r, lambda k, i: rays[k, i])

    def fields(self, m: Tensor) -> Tensor:
        """Arrival times at every node, (*batch, source, *domain.shape) [s], for pictures and tables."""
        flat = self._slowness(m)
        times = [[_Arrivals(self, s, source).t for source in self.sources] for s in flat]
        lead = m.shape[: m.ndim - len(self.domain.shape)]
        return _tensor(np.array(times), m).reshape(*lead, len(self.sources), *self.domain.shape)

    def select(self, dim: str, labels: Any) -> Operator:
        """Fewer sources or receivers: only these are marched from, or read."""
        part = self.codomain.select(dim, labels)
        index = self.codomain.index(dim, labels).numpy()
        other = Eikonal.__new__(Eikonal)
        Operator.__init__(other)
        other.__dict__.update({k: v for k, v in self.__dict__.items() if not k.startswith("_")})
        other.codomain = part
        if dim == "source":
            other.sources = self.sources[index]
        else:
            other.receivers = self.receivers[index]
            other.reading = self.grid.corners(other.receivers)
        return other

    def _pulled(
        self, flat: Floats, index: NDArray[np.int64], r: Tensor, ray: Callable[[int, int], _Arrivals]
    ) -> Tensor:
        """Jᵀ r at the models ``flat[index]``, given the march through model k from source i."""
        pull = self.codomain.check(r).detach().cpu().reshape(-1, *self.codomain.shape).double().numpy()
        out = np.zeros((len(index), self.domain.size))

        def several(k: int, part: range) -> list[tuple[int, Floats]]:
            found: dict[int, Floats] = {}
            mine = np.flatnonzero(index == k)
            for i in part:
                rows = mine[pull[mine, i].any(1)].tolist()
                if rows:
                    march = ray(k, i)
                    for b in rows:
                        found[b] = found.get(b, 0.0) + march.pulled(pull[b, i])
            return list(found.items())

        for part in self._each(len(flat), several):
            for b, gradient in part:
                out[b] += gradient
        out *= -(flat[index] ** 2) * self.per_unit
        return _tensor(out, r).reshape(*r.shape[:-2], *self.domain.shape)

    def _slowness(self, m: Tensor) -> Floats:
        """Checked slowness of each model, (models, cells) [s/m]."""
        v = self.domain.flat(m).detach().cpu().double().reshape(-1, self.domain.size).numpy() * self.per_unit
        bad = ~((v >= SLOWEST) & (v <= FASTEST))
        if bad.any():
            where = np.unravel_index(int(np.flatnonzero(bad.any(0))[0]), self.domain.shape)
            node = {d: float(self.domain.labels(d)[i]) for d, i in zip(self.domain.dims, where, strict=True)}
            value = v[bad][0] / self.per_unit
            raise DataError(
                f"velocity {value:.4g} {self.domain.unit} at {node} is not a velocity of rock, soil or water "
                f"({SLOWEST:g} to {FASTEST:g} m/s): mend NaN and negative cells, give the unit of the values (km/s?) "
                "to the Space, and where a search leaves this range invert the logarithm of the velocity."
            )
        return 1.0 / v

    def _each(self, models: int, work: Callable[[int, range], Any]) -> list[Any]:
        """``work(model, sources)`` for every model and block of sources, in a fixed order of results."""
        many = len(self.sources)
        tasks = [
            (k, range(i, min(i + SOURCES_AT_ONCE, many)))
            for k in range(models)
            for i in range(0, many, SOURCES_AT_ONCE)
        ]
        return list(side_by_side(lambda task: work(*task), tasks))

    @staticmethod
    def example() -> Eikonal:
        """Two sources and three receivers in six by seven nodes of velocities about 1 km/s."""
        space = Space("velocity", {"z": 100.0 * np.arange(6), "x": 150.0 * np.arange(7)}, "km/s", Positive())
        sources = torch.tensor([[20.0, 70.0], [480.0, 800.0]], dtype=torch.float64)
        receivers = torch.tensor([[0.0, 880.0], [333.0, 410.0], [500.0, 0.0]], dtype=torch.float64)
        return Eikonal(space, sources, receivers)


class _Grid:
    """Nodes as the kernels want them: three axes, a single node where the section has none."""

    def __init__(self, space: Space) -> None:
        self.dims = space.dims
        self.origin, spacing = {}, {}
        for dim in space.dims:
            self.origin[dim], spacing[dim] = float(centres(space, dim)[0]), even_step(space, dim)
        full = dict.fromkeys("zyx", 1) | dict(zip(space.dims, space.shape, strict=True))
        self.shape = np.array([full[d] for d in "zyx"])
        self.spacing = np.array([spacing.get(d, 1.0) for d in "zyx"])
        self.cells = np.array([full["y"] * full["x"], full["x"], 1])

    def inside(self, points: Tensor, what: str) -> Floats:
        """Positions (n, 3) from the first node, checked."""
        given = np.asarray(points.detach().cpu().double().numpy())
        if given.ndim != 2 or given.shape[1] != len(self.dims) or len(given) == 0:
            raise ShapeError(f"{what}s {given.shape} should be (n, {len(self.dims)}), rows {self.dims} [m].")
        found = np.zeros((len(given), 3))
        for i, dim in enumerate(self.dims):
            axis = "zyx".index(dim)
            found[:, axis] = given[:, i] - self.origin[dim]
            end = (self.shape[axis] - 1) * self.spacing[axis]
            slack = EVEN * self.spacing[axis]
            out = ~((found[:, axis] >= -slack) & (found[:, axis] <= end + slack))
            if out.any():
                k = int(np.flatnonzero(out)[0])
                raise DataError(
                    f"{what} {k} lies at {dim} = {given[k, i]:g} m, outside the grid {self.origin[dim]:g} to "
                    f"{self.origin[dim] + end:g} m; check the order {self.dims}, the unit and that depth counts "
                    "downwards, or widen the grid."
                )
            found[:, axis] = found[:, axis].clip(0.0, end)
        return found

    def corners(self, points: Floats) -> tuple[NDArray[np.int64], Floats]:
        """The eight nodes about each point (n, 3) and their multilinear weights, (n, 8) each."""
        low = np.minimum((points / self.spacing).astype(np.int64), np.maximum(self.shape - 2, 0))
        share = points / self.spacing - low
        corner = np.indices((2, 2, 2)).reshape(3, 8).T
        weights = np.where(corner, share[:, None], 1 - share[:, None]).prod(-1)
        at = np.minimum(low[:, None] + corner, self.shape - 1)
        return at @ self.cells, weights

    def distance(self, point: Floats) -> Floats:
        """Distance of each node from a point, flat."""
        away = [np.square(np.arange(n) * h - p) for n, h, p in zip(self.shape, self.spacing, point, strict=True)]
        found: Floats = np.sqrt(away[0][:, None, None] + away[1][:, None] + away[2]).ravel()
        return found

    def about(self, point: Floats) -> NDArray[np.int64]:
        """The nodes of the cell about a point, and those ``START`` further on each side."""
        low = np.minimum((point / self.spacing).astype(np.int64), np.maximum(self.shape - 2, 0))
        first, last = np.maximum(low - START, 0), np.minimum(low + 1 + START, self.shape - 1)
        box = np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(first, last, strict=True)), indexing="ij")
        nodes: NDArray[np.int64] = sum(i * c for i, c in zip(box, self.cells, strict=True)).ravel()
        return nodes


class _Arrivals:
    """The march from one source through one slowness (n,), and what is read of it."""

    def __init__(self, operator: Eikonal, s: Floats, source: Floats) -> None:
        grid = operator.grid
        self.s, self.source = s, source
        self.r = grid.distance(source)
        nodes, weights = grid.corners(source[None])
        self.corners, self.weights = nodes[0], weights[0]
        self.s0 = float(s[self.corners] @ self.weights)
        self.geometry = (grid.shape, grid.spacing, grid.cells, source)
        self.t, self.order, self.code = march(s, self.r, grid.about(source), self.s0, self.geometry)
        self.nodes, self.shares = operator.reading
        # what a receiver is further away than its nodes are on average
        distance = np.sqrt(np.square(operator.receivers - source).sum(1))
        self.further = distance - (self.shares * self.r[self.nodes]).sum(1)

    def read(self) -> Floats:
        """Times (receivers,): what exceeds the straight line is read bilinearly, the line itself exactly."""
        return (self.shares * self.t[self.nodes]).sum(1) + self.s0 * self.further

    def moved(self, change: Floats) -> Floats:
        """Change of :meth:`read` by a change (n,) of the slowness."""
        whole = np.append(change, change[self.corners] @ self.weights)
        moved = spread(self.t, self.order, self.code, self.s, self.r, self.s0, self.geometry, whole)
        return (self.shares * moved[self.nodes]).sum(1) + whole[-1] * self.further

    def pulled(self, pull: Floats) -> Floats:
        """Transpose of :meth:`moved`."""
        weights = (pull[:, None] * self.shares).ravel()
        times = np.bincount(self.nodes.ravel(), weights, len(self.s)).astype(np.float64)
        back = gather(self.t, self.order, self.code, self.s, self.r, self.s0, self.geometry, times)
        np.add.at(back, self.corners, (back[-1] + pull @ self.further) * self.weights)
        found: Floats = back[:-1]
        return found


def _distinct(models: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The models that differ, and which of them each given one is."""
    seen: dict[bytes, int] = {}
    index = np.array([seen.setdefault(model.tobytes(), len(seen)) for model in models], np.int64)
    first = np.array([int(np.argmax(index == k)) for k in range(len(seen))], np.int64)
    return models[first], index


def _tensor(values: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype=like.dtype, device=like.device)
