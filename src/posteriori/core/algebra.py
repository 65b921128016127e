"""A small algebra of operators: identity, scale, stack, part, block average, dense and sparse matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.operator import Operator, TorchOperator
from posteriori.core.space import Space


class Identity(TorchOperator):
    """The unknown itself."""

    linear = True

    def __init__(self, domain: Space) -> None:
        super().__init__()
        self.domain = self.codomain = domain

    def forward(self, m: Tensor) -> Tensor:
        """m."""
        return m

    @staticmethod
    def example() -> Identity:
        """Four cells."""
        return Identity(Space("m", {"x": 4}))


class Scale(TorchOperator):
    """``factor · m + shift``, cell by cell; numbers or tensors that broadcast to the domain."""

    linear = True

    def __init__(
        self, domain: Space, factor: Tensor | float, shift: Tensor | float = 0.0, unit: str | None = None
    ) -> None:
        super().__init__()
        self.domain = domain
        self.codomain = Space(domain.name, domain.coords, unit or domain.unit, mask=domain.mask, extra=domain.extra)
        self.register_buffer("factor", torch.as_tensor(factor, dtype=torch.float64))
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float64))
        self.factor: Tensor
        self.shift: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """factor · m + shift."""
        return self.factor.to(m.dtype) * m + self.shift.to(m.dtype)

    @staticmethod
    def example() -> Scale:
        """Another factor for each cell, and a shift."""
        return Scale(Space("m", {"x": 4}), torch.tensor([1.0, -2.0, 0.5, 3.0]), 0.7)


class Stack(TorchOperator):
    """Several operators on one unknown, their predictions joined: ``Stack(wave=…, gravity=…)``.

    Raises:
        ShapeError: the operators do not share one domain.
    """

    def __init__(self, **operators: Operator) -> None:
        super().__init__()
        first, *others = operators.values()
        for other in others:
            if not other.domain.same(first.domain):
                raise ShapeError(f"{other} and {first} act on different Spaces; a stack needs one.")
        self.operators = torch.nn.ModuleDict(operators)
        self.domain = first.domain
        self.codomain = Space.of(**{name: operator.codomain for name, operator in operators.items()})
        self.linear = all(operator.linear for operator in operators.values())

    def forward(self, m: Tensor) -> Tensor:
        """All predictions along one flat axis."""
        parts: Mapping[str, Operator] = self.operators  # type: ignore[assignment]
        return torch.cat([o.codomain.flat(o(m)) for o in parts.values()], dim=-1)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """Those of all, so that foreign operators may be among them."""
        parts: Mapping[str, Operator] = self.operators  # type: ignore[assignment]
        return torch.cat([o.codomain.flat(o.jvp(m, v)) for o in parts.values()], dim=-1)

    @staticmethod
    def example() -> Stack:
        """A matrix beside the unknown itself."""
        dense = Dense.example()
        return Stack(dense=dense, direct=Identity(dense.domain))


class Part(TorchOperator):
    """One part of a joined Space: the density of ``Space.of(velocity=…, density=…)``.

    Raises:
        ShapeError: the Space has no such part.
    """

    linear = True

    def __init__(self, domain: Space, name: str) -> None:
        super().__init__()
        names = [part.name for part in domain.parts]
        if name not in names:
            raise ShapeError(f"{domain} has the parts {names}, not {name!r}.")
        self.domain, self.name = domain, name
        self.codomain = domain.parts[names.index(name)]

    def forward(self, m: Tensor) -> Tensor:
        """The part in its own shape."""
        return self.domain.split(m)[self.name]

    @staticmethod
    def example() -> Part:
        """The second of two parts."""
        return Part(Space.of(velocity=Space("v", {"x": 3}, "m/s"), density=Space("rho", {"z": 2, "x": 2})), "density")


class BlockAverage(TorchOperator):
    """Means over blocks of ``size`` cells along each dim: a sensor's footprint, a coarse grid.

    Raises:
        ShapeError: a block size that does not divide its dim.
    """

    linear = True

    def __init__(self, domain: Space, size: Mapping[str, int]) -> None:
        super().__init__()
        coords: dict[str, Any] = {}
        for dim in domain.dims:
            labels, block = domain.labels(dim), size.get(dim, 1)
            if block < 1 or len(labels) % block:
                raise ShapeError(f"blocks of {block} do not divide the {len(labels)} cells along {dim!r}.")
            grouped = labels.reshape(-1, block)
            coords[dim] = labels if block == 1 else grouped.mean(1) if labels.dtype.kind in "fiu" else grouped[:, 0]
        if unknown := set(size) - set(domain.dims):
            raise ShapeError(f"{domain} has no dims {sorted(unknown)}.")
        self.domain, self.codomain = domain, Space(domain.name, coords, domain.unit, domain.support)
        self.size = tuple(size.get(dim, 1) for dim in domain.dims)

    def forward(self, m: Tensor) -> Tensor:
        """The block means."""
        batch = m.shape[: m.ndim - len(self.size)]
        split = [n for length, block in zip(self.codomain.shape, self.size, strict=True) for n in (length, block)]
        axes = tuple(len(batch) + 2 * i + 1 for i in range(len(self.size)))
        return m.reshape(*batch, *split).mean(axes)

    @staticmethod
    def example() -> BlockAverage:
        """Pairs along one of two dims."""
        return BlockAverage(Space("m", {"y": 2, "x": 6}), {"x": 2})


class Dense(TorchOperator):
    """``matrix @ m (+ offset)``; the matrix is (codomain.size, domain.size)."""

    linear = True

    def __init__(self, domain: Space, codomain: Space, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        if tuple(matrix.shape) != (codomain.size, domain.size):
            raise ShapeError(f"matrix {tuple(matrix.shape)} should be {(codomain.size, domain.size)}.")
        if not bool(torch.isfinite(matrix).all()):
            raise DataError(f"matrix is not finite at {tuple(int(i) for i in (~torch.isfinite(matrix)).nonzero()[0])}.")
        self.domain, self.codomain = domain, codomain
        self.register_buffer("matrix", matrix)
        self.register_buffer("constant", torch.zeros(codomain.shape) if offset is None else codomain.check(offset))
        self.matrix: Tensor
        self.constant: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """matrix · m + offset."""
        return self.jvp(m, m) + self.constant.to(m.dtype)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """matrix · v."""
        return self.codomain.unflat(self.domain.flat(v) @ self.matrix.to(v.dtype).mT)

    def rows(self, like: Tensor) -> Tensor:
        """The matrix."""
        return self.matrix.to(like)

    @staticmethod
    def example() -> Dense:
        """Three data of four cells."""
        generator = torch.Generator().manual_seed(0)
        matrix = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        return Dense(Space("m", {"x": 4}), Space("d", {"station": 3}), matrix, torch.tensor([0.5, 0.0, -1.0]))


class Sparse(TorchOperator):
    """``matrix @ m + offset`` for a matrix given by its entries: rows, columns and values, each (k,)."""

    linear = True

    def __init__(
        self,
        domain: Space,
        codomain: Space,
        rows: Tensor,
        columns: Tensor,
        values: Tensor,
        offset: Tensor | None = None,
    ) -> None:
        super().__init__()
        if len(rows) and (int(rows.max()) >= codomain.size or int(columns.max()) >= domain.size):
            raise ShapeError(f"entries reach ({int(rows.max())}, {int(columns.max())}) outside {codomain} × {domain}.")
        if not rows.shape == columns.shape == values.shape:
            raise ShapeError(f"rows {rows.shape}, columns {columns.shape} and values {values.shape} differ in length.")
        self.domain, self.codomain = domain, codomain
        for name, tensor in (("row", rows), ("column", columns), ("value", values)):
            self.register_buffer(name, tensor)
        self.register_buffer("constant", torch.zeros(codomain.shape) if offset is None else codomain.check(offset))
        self.row: Tensor
        self.column: Tensor
        self.value: Tensor
        self.constant: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """matrix · m + offset."""
        flat = self.domain.flat(m)
        empty = torch.zeros(*flat.shape[:-1], self.codomain.size, dtype=m.dtype, device=m.device)
        sums = empty.index_add(-1, self.row, flat[..., self.column] * self.value.to(m.dtype))
        return self.codomain.unflat(sums) + self.constant.to(m.dtype)

    @staticmethod
    def example() -> Sparse:
        """First differences of five cells."""
        rows = torch.arange(4).repeat(2)
        columns = torch.cat([torch.arange(4), torch.arange(1, 5)])
        values = torch.cat([-torch.ones(4), torch.ones(4)]).double()
        return Sparse(Space("m", {"x": 5}), Space("difference", {"x": 4}), rows, columns, values)
