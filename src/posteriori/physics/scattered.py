"""Potential fields of a prism mesh at stations anywhere: exact sums over all prisms, kept or made anew."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from posteriori.core import memory, units
from posteriori.core.errors import ShapeError
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.core.threads import free_threads, side_by_side
from posteriori.physics.prism import prism_rows
from posteriori.physics.prism_mesh import (
    Floats,
    borders,
    positions,
    require_dims,
    require_near,
    require_outside,
)

KEPT = 2**30
"""Bytes of kernel that are kept rather than made anew at each product, unless one says so."""
AT_ONCE = 32 * 2**20
"""Bytes of rows in one task; a number of its own, so that sums do not depend on the number of threads."""


class StationField(Operator, ABC):
    """d = K m with one row of K for each datum, in float64 whatever the input; a subclass says which field.

    Args:
        domain: a mesh of prisms ("z", "y", "x"); cells outside its mask count as empty.
        unit: of the strengths the kernel is made for; other units of the domain are converted.
        kernel: weights of the derivatives of U, (components, 9), see :func:`prism.weights`.
        codomain: with the dim "station", after "component" where there are several.
        stations: (n, 3), see :func:`prism_mesh.positions`.
        keep: whether to keep K; True where it takes at most 1 GiB without.
    """

    linear = True

    def __init__(
        self,
        domain: Space,
        unit: str,
        kernel: Floats,
        codomain: Space,
        stations: Floats,
        keep: bool | None,
    ) -> None:
        super().__init__()
        self.domain, self.codomain = domain, codomain
        self.stations = stations
        self.edges = tuple(borders(domain, dim) for dim in ("x", "y", "z"))
        self.kernel = kernel * units.factor(domain.unit, unit)
        size = 8.0 * codomain.size * domain.size
        keep = size <= KEPT if keep is None else keep
        cheaper = "pass keep=False to make the rows anew at each product, or take fewer cells"
        memory.require(size if keep else 2 * AT_ONCE * free_threads(), f"{self}", cheaper)
        self.register_buffer("matrix", self._matrix() if keep else None, persistent=False)
        self.matrix: Tensor | None

    def forward(self, m: Tensor) -> Tensor:
        """K m."""
        flat = self.domain.flat(m).double()
        if self.matrix is not None:
            return self.codomain.unflat(flat @ self.matrix.mT).to(m.dtype)
        parts = [flat @ block.flatten(0, 1).to(flat.device).mT for block in self._blocks()]
        return self.codomain.unflat(self._joined(parts)).to(m.dtype)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """K v."""
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """Kᵀ r."""
        flat = self.codomain.flat(r).double()
        if self.matrix is not None:
            return self.domain.unflat(flat @ self.matrix).to(r.dtype)
        total = torch.zeros(*flat.shape[:-1], self.domain.size, dtype=flat.dtype, device=flat.device)
        parts = flat.unflatten(-1, (len(self.kernel), len(self.stations)))
        done = 0
        for block in self._blocks():
            some = parts[..., done : done + block.shape[1]].flatten(-2)
            total = total + some @ block.flatten(0, 1).to(flat.device)
            done += block.shape[1]
        return self.domain.unflat(total).to(r.dtype)

    def rows(self, like: Tensor) -> Tensor:
        """The dense K, (codomain.size, domain.size)."""
        return (self._matrix() if self.matrix is None else self.matrix).to(like)

    def select(self, dim: str, labels: Any) -> Operator:
        """Fewer stations: their rows of K."""
        if dim != "station":
            return super().select(dim, labels)
        index = self.codomain.index(dim, labels)
        other = type(self).__new__(type(self))
        Operator.__init__(other)
        other.__dict__.update({k: v for k, v in self.__dict__.items() if not k.startswith("_")})
        other.codomain, other.stations = self.codomain.select(dim, labels), self.stations[index.numpy()]
        kept = self.matrix
        if kept is not None:
            kept = kept.reshape(len(self.kernel), len(self.stations), -1)[:, index].flatten(0, 1)
        other.register_buffer("matrix", kept, persistent=False)
        return other

    def _joined(self, parts: list[Tensor]) -> Tensor:
        """Blocks of (*batch, component · some stations) along the flat codomain."""
        components = len(self.kernel)
        split = [p.unflatten(-1, (components, p.shape[-1] // components)) for p in parts]
        return torch.cat(split, dim=-1).flatten(-2)

    def _matrix(self) -> Tensor:
        whole = torch.empty(len(self.kernel), len(self.stations), self.domain.size, dtype=torch.float64)
        done = 0
        for block in self._blocks():
            whole[:, done : done + block.shape[1]] = block
            done += block.shape[1]
        return whole.flatten(0, 1)

    def _blocks(self) -> Iterator[Tensor]:
        """Rows of K, (component, some stations, cells), in the order of the stations."""
        some = max(1, int(AT_ONCE // (8 * len(self.kernel) * self.domain.size)))
        starts = list(range(0, len(self.stations), some))
        threads = free_threads()
        for i in range(0, len(starts), threads):
            yield from side_by_side(lambda s: self._block(self.stations[s : s + some]), starts[i : i + threads])

    def _block(self, stations: Floats) -> Tensor:
        out = np.empty((len(self.kernel), len(stations), *self.domain.shape))
        for component, w in zip(out, self.kernel, strict=True):
            prism_rows(self.edges[0], self.edges[1], self.edges[2], stations, w, component)
        if self.domain.mask is not None:
            out *= self.domain.mask.cpu().numpy()
        return torch.from_numpy(out).flatten(2)


def station_space(name: str, unit: str, stations: Floats, labels: ArrayLike | None) -> Space:
    """A codomain with one dim "station" and the positions beside it."""
    ids = np.arange(len(stations)) if labels is None else np.asarray(labels)
    if len(ids) != len(stations):
        raise ShapeError(f"{len(ids)} labels do not fit {len(stations)} stations.")
    place = {"easting": stations[:, 0], "northing": stations[:, 1], "height": -stations[:, 2]}
    return Space(name, {"station": ids}, unit, extra={k: ("station", v) for k, v in place.items()})


def with_components(space: Space, names: tuple[str, ...]) -> Space:
    """The same codomain for several components; "component" in front."""
    return replace(space, coords={"component": np.array(names), **space.coords})


def placed(
    domain: Space, easting: ArrayLike, northing: ArrayLike, height: ArrayLike, beyond: float, touch: bool
) -> Floats:
    """Checked stations (n, 3) above a mesh."""
    require_dims(domain, ("z", "y", "x"))
    stations = positions(easting, northing, height)
    require_near(stations, borders(domain, "x"), borders(domain, "y"), beyond)
    require_outside(stations, domain, touch)
    return stations
