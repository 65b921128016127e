"""Covariances over the flat cells of a Space: structured, and made dense only where a block is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from posteriori.core import memory
from posteriori.core.errors import DataError
from posteriori.core.operator import Operator, Selection
from posteriori.core.random import Rng

M = TypeVar("M", bound=nn.Module)
PAIRS_AT_ONCE = 64
JITTER = 1e-10
"""First share of the mean variance added to a diagonal whose Cholesky factor fails."""


class Covariance(nn.Module, ABC):
    """A symmetric positive semi-definite (n, n) matrix, known by its blocks and products."""

    size: int

    @abstractmethod
    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The (r, c) block between two sets of positions."""

    @abstractmethod
    def diagonal(self) -> Tensor:
        """The variances, (n,)."""

    @abstractmethod
    def matmul(self, v: Tensor) -> Tensor:
        """Products with (*batch, n)."""

    @abstractmethod
    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws of mean zero, (n, size)."""

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor with this covariance's dtype and device."""

    def dense(self) -> Tensor:
        """The whole matrix.

        Raises:
            MemoryBudgetError: it does not fit.
        """
        memory.require(2 * self.size**2 * self.like.element_size(), f"a dense covariance of {self.size} cells")
        every = torch.arange(self.size, device=self.like.device)
        return self.block(every, every)

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Covariances of ``rows[i]`` with ``columns[i]``, (k,), without the whole matrix."""
        pieces = zip(rows.split(PAIRS_AT_ONCE), columns.split(PAIRS_AT_ONCE), strict=True)
        return torch.cat([self.block(r, c).diagonal(dim1=-2, dim2=-1) for r, c in pieces], -1)

    def under(self, operator: Operator) -> Tensor:
        """J Σ Jᵀ for a linear operator, dense (m, m)."""
        if isinstance(operator, Selection):
            return self.block(operator.index, operator.index)
        return operator.codomain.flat(operator.matmul(operator.domain.unflat(self.across(operator))))

    def across(self, operator: Operator) -> Tensor:
        """J Σ for a linear operator, dense (m, n)."""
        if isinstance(operator, Selection):
            return self.block(operator.index, torch.arange(self.size, device=self.like.device))
        return self.matmul(operator.rows(self.like))


class DiagonalCovariance(Covariance):
    """Independent cells of ``variance`` (n,)."""

    def __init__(self, variance: Tensor) -> None:
        super().__init__()
        if bool((variance < 0).any()):
            raise DataError(f"variance {float(variance.min()):.3g} is negative at {int(variance.argmin())}.")
        self.register_buffer("variance", variance)
        self.variance: Tensor
        self.size = len(variance)

    @property
    def like(self) -> Tensor:
        return self.variance

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        return torch.where(rows[:, None] == columns, self.variance[rows][:, None], 0.0)

    def diagonal(self) -> Tensor:
        return self.variance

    def matmul(self, v: Tensor) -> Tensor:
        return v * self.variance

    def sample(self, n: int, rng: Rng) -> Tensor:
        return rng.normal((n, self.size), self.variance) * self.variance.sqrt()


class DenseCovariance(Covariance):
    """A whole ``matrix`` (n, n), or one for each problem (*problem, n, n).

    Its Cholesky factor is made at the first draw and kept. With problems, ``sample(n)`` gives ``n`` rows that
    belong to the problems in turn, and ``n`` is a multiple of their number.
    """

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        if matrix.ndim < 2 or matrix.shape[-2] != matrix.shape[-1]:
            raise DataError(f"a covariance is square; {tuple(matrix.shape)} was given.")
        self.register_buffer("matrix", matrix)
        self.matrix: Tensor
        self.size = matrix.shape[-1]
        self._root: Tensor | None = None

    @property
    def like(self) -> Tensor:
        return self.matrix

    @property
    def root(self) -> Tensor:
        """L with L Lᵀ = Σ, (*problem, n, n)."""
        if self._root is None or not _alike(self._root, self.matrix):
            self._root = cholesky(self.matrix)
        return self._root

    def dense(self) -> Tensor:
        return self.matrix

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self.matrix[..., rows[:, None], columns]

    def diagonal(self) -> Tensor:
        return self.matrix.diagonal(dim1=-2, dim2=-1)

    def matmul(self, v: Tensor) -> Tensor:
        return v @ self.matrix

    def sample(self, n: int, rng: Rng) -> Tensor:
        problems = self.matrix.shape[:-2]
        white = rng.normal((n // problems.numel(), *problems, 1, self.size), self.matrix)
        return (white @ self.root.mT).reshape(n, self.size)


class LowRankCovariance(Covariance):
    """Σ = F Fᵀ + diag(variance) for a ``factor`` F (n, k)."""

    def __init__(self, factor: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)
        self.register_buffer("variance", variance)
        self.factor: Tensor
        self.variance: Tensor
        self.size = len(factor)

    @property
    def like(self) -> Tensor:
        return self.factor

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        own = torch.where(rows[:, None] == columns, self.variance[rows][:, None], 0.0)
        return self.factor[rows] @ self.factor[columns].mT + own

    def diagonal(self) -> Tensor:
        return self.factor.square().sum(-1) + self.variance

    def matmul(self, v: Tensor) -> Tensor:
        return (v @ self.factor) @ self.factor.mT + v * self.variance

    def sample(self, n: int, rng: Rng) -> Tensor:
        common = rng.normal((n, self.factor.shape[1]), self.factor) @ self.factor.mT
        return common + rng.normal((n, self.size), self.factor) * self.variance.sqrt()


class SumCovariance(Covariance):
    """Σ₁ + Σ₂ + … of independent parts."""

    def __init__(self, *parts: Covariance) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.size = parts[0].size
        if any(part.size != self.size for part in parts):
            raise DataError(f"covariances of {[part.size for part in parts]} cells cannot be added.")

    @property
    def terms(self) -> list[Covariance]:
        """The parts."""
        return list(self.parts)  # type: ignore[arg-type]

    @property
    def like(self) -> Tensor:
        return self.terms[0].like

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        first, *others = (part.block(rows, columns) for part in self.terms)
        return sum(others, first)

    def diagonal(self) -> Tensor:
        first, *others = (part.diagonal() for part in self.terms)
        return sum(others, first)

    def matmul(self, v: Tensor) -> Tensor:
        first, *others = (part.matmul(v) for part in self.terms)
        return sum(others, first)

    def sample(self, n: int, rng: Rng) -> Tensor:
        rng = rng.fresh()
        first, *others = (part.sample(n, rng.child(i)) for i, part in enumerate(self.terms))
        return sum(others, first)


class ScaledCovariance(Covariance):
    """diag(scale) Σ diag(scale): the same correlations, other spreads."""

    def __init__(self, inner: Covariance, scale: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("scale", scale.expand(inner.size).clone())
        self.scale: Tensor
        self.size = inner.size

    @property
    def like(self) -> Tensor:
        return self.inner.like

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self.scale[rows][:, None] * self.inner.block(rows, columns) * self.scale[columns]

    def diagonal(self) -> Tensor:
        return self.scale.square() * self.inner.diagonal()

    def matmul(self, v: Tensor) -> Tensor:
        return self.scale * self.inner.matmul(self.scale * v)

    def sample(self, n: int, rng: Rng) -> Tensor:
        return self.scale * self.inner.sample(n, rng)


class ConditionedCovariance(Covariance):
    """Σ - Cᵀ S⁻¹ C: what is left of ``prior`` once data with covariance S were seen.

    Args:
        prior: Σ over n cells.
        operator: the linear J that made the data.
        factor: Cholesky factor L (m, m) of S = J Σ Jᵀ + R.

    What ``prior`` and ``operator`` learn later no longer changes it.
    """

    def __init__(self, prior: Covariance, operator: Operator, factor: Tensor) -> None:
        super().__init__()
        self.prior, self.operator = frozen(prior), frozen(operator)
        self.register_buffer("factor", factor.detach())
        self.factor: Tensor
        self.size = prior.size
        self._whitened: Tensor | None = None
        self._removed: Tensor | None = None
        self._root: Tensor | None = None

    @property
    def like(self) -> Tensor:
        return self.factor

    @property
    def whitened(self) -> Tensor:
        """W = L⁻¹ J Σ, (m, n); made at the first whole product and kept."""
        if self._whitened is None or not _alike(self._whitened, self.factor):
            m, n = len(self.factor), self.size
            memory.require(2 * m * n * self.like.element_size(), f"{m} data against {n} cells")
            self._whitened = torch.linalg.solve_triangular(self.factor, self.prior.across(self.operator), upper=False)
        return self._whitened

    def _columns(self, cells: Tensor) -> Tensor:
        if len(cells) == self.size and bool((cells == torch.arange(self.size, device=cells.device)).all()):
            return self.whitened
        if self._whitened is not None or 2 * len(cells) > self.size:
            return self.whitened[:, cells]
        if isinstance(self.operator, Selection):
            cross = self.prior.block(self.operator.index, cells)
        else:
            units = torch.zeros(len(cells), self.size, dtype=self.like.dtype, device=self.like.device)
            units[torch.arange(len(cells)), cells] = 1.0
            seen = self.operator.matmul(self.operator.domain.unflat(self.prior.matmul(units)))
            cross = self.operator.codomain.flat(seen).mT
        return torch.linalg.solve_triangular(self.factor, cross, upper=False)

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        same = rows.shape == columns.shape and bool((rows == columns).all())
        left = self._columns(rows)
        right = left if same else self._columns(columns)
        return self.prior.block(rows, columns) - left.mT @ right

    def diagonal(self) -> Tensor:
        if self._removed is None or not _alike(self._removed, self.factor):
            self._removed = self.whitened.square().sum(0)
        return (self.prior.diagonal() - self._removed).clamp_min(0.0)

    def matmul(self, v: Tensor) -> Tensor:
        return self.prior.matmul(v) - (v @ self.whitened.mT) @ self.whitened

    def sample(self, n: int, rng: Rng) -> Tensor:
        if self._root is None or not _alike(self._root, self.factor):
            self._root = cholesky(self.dense(), float(self.prior.diagonal().mean()))
        return rng.normal((n, self.size), self.factor) @ self._root.mT


def frozen(module: M) -> M:
    """``module`` itself when nothing in it learns; else a copy with fixed parameters that shares every other tensor."""
    if not any(p.requires_grad for p in module.parameters()):
        return module
    shared: dict[int, Any] = {}
    for part in module.modules():
        for value in (*part.__dict__.values(), *part._buffers.values()):
            if isinstance(value, Tensor):
                shared[id(value)] = value.detach()
    for parameter in module.parameters():
        shared[id(parameter)] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
    return deepcopy(module, shared)


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.device == b.device


def stored(covariance: Covariance) -> tuple[str, dict[str, Tensor]]:
    """A covariance as a kind and tensors; what is neither diagonal nor low rank is written out whole."""
    if isinstance(covariance, DiagonalCovariance):
        return "diagonal", {"variance": covariance.variance}
    if isinstance(covariance, LowRankCovariance):
        return "low rank", {"factor": covariance.factor, "variance": covariance.variance}
    return "dense", {"matrix": covariance.dense()}


def restored(kind: str, tensors: Mapping[str, Tensor]) -> Covariance:
    """The inverse of :func:`stored`."""
    if kind == "diagonal":
        return DiagonalCovariance(tensors["variance"])
    if kind == "low rank":
        return LowRankCovariance(tensors["factor"], tensors["variance"])
    return DenseCovariance(tensors["matrix"])


def cholesky(matrix: Tensor, scale: float | None = None) -> Tensor:
    """The lower factor, after the least jitter on the diagonal that makes one exist.

    ``scale`` is the variance that the jitter is a share of: that of the prior, where ``matrix`` is a small difference.

    Raises:
        DataError: the matrix is not finite, or far from positive definite.
    """
    if not bool(torch.isfinite(matrix).all()):
        raise DataError("a covariance is not finite; look for a zero length, an overflow or a NaN in what made it.")
    factor, info = torch.linalg.cholesky_ex(matrix)
    jitter = JITTER * (float(matrix.diagonal(dim1=-2, dim2=-1).mean().detach()) if scale is None else scale)
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(6):
        if not bool(info.any()):
            return factor
        factor, info = torch.linalg.cholesky_ex(matrix + jitter * eye)
        jitter *= 10
    if not bool(info.any()):
        return factor
    raise DataError(
        f"a covariance of {len(eye)} cells is not positive definite (pivot {int(info.max())}, "
        f"jitter {jitter / 10:.1e}); add noise to the data, drop repeated rows, or use float64."
    )
