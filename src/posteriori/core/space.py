"""What the axes of a tensor mean: names, labels, unit, support; the border between tensors and xarray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core import units
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.support import Real, Support

Labels = np.ndarray[Any, Any]
COORDINATE_TOLERANCE = 1e-3
"""Float labels agree when they differ by less than this share of the smallest spacing."""


@dataclass(frozen=True, eq=False)
class Space:
    """A rectangular set of named, labelled cells with one unit.

    Args:
        name: what the values are, e.g. ``"mass_excess"``.
        coords: labels of each dim, in the order of the axes; an integer ``n`` stands for 0 … n-1.
        unit: unit of the values, as pint reads it; ``"1"`` for pure numbers.
        support: where values may lie.
        mask: True where a cell is defined, shape ``shape``; None when all are.
        extra: further coordinates along a dim, ``{"Z": ("nuclide", Z)}``.

    Raises:
        ShapeError: duplicate labels, a label that is not finite, or a mask of another shape.
    """

    name: str
    coords: Mapping[str, Labels | Sequence[Any] | int] = field(default_factory=dict)
    unit: str = "1"
    support: Support = field(default_factory=Real)
    mask: Tensor | None = None
    extra: Mapping[str, tuple[str, Labels]] = field(default_factory=dict)
    parts: tuple[Space, ...] = ()

    def __post_init__(self) -> None:
        labels = {dim: _labels(self.name, dim, given) for dim, given in self.coords.items()}
        object.__setattr__(self, "coords", labels)
        object.__setattr__(self, "extra", {k: (dim, np.asarray(v)) for k, (dim, v) in self.extra.items()})
        for key, (dim, values) in self.extra.items():
            if dim not in labels or values.shape != labels[dim].shape:
                raise ShapeError(f"coordinate {key!r} of {self.name} must run along one of its dims {self.dims}.")
        if self.mask is not None and tuple(self.mask.shape) != self.shape:
            raise ShapeError(f"mask {tuple(self.mask.shape)} of {self.name} is not {self.shape}.")

    @staticmethod
    def of(**parts: Space) -> Space:
        """Join Spaces of other shapes and units into one: a single flat axis inside, a Dataset outside."""
        named = tuple(replace(part, name=name) for name, part in parts.items())
        labels = np.concatenate([[f"{p.name}[{i}]" for i in range(p.size)] for p in named])
        mask = None
        if any(p.mask is not None for p in named):
            whole = torch.ones(sum(p.size for p in named), dtype=torch.bool)
            pieces = torch.split(whole, [p.size for p in named])
            mask = torch.cat([w if p.mask is None else p.flat(p.mask) for w, p in zip(pieces, named, strict=True)])
        return Space("+".join(parts), {"element": labels}, mask=mask, parts=named)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes, in order."""
        return tuple(self.coords)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of labels along each axis."""
        return tuple(len(self.labels(dim)) for dim in self.coords)

    @property
    def size(self) -> int:
        """Number of cells."""
        return prod(self.shape)

    def labels(self, dim: str) -> Labels:
        """The labels of ``dim``."""
        if dim not in self.coords:
            raise ShapeError(f"{self.name} has dims {self.dims}, not {dim!r}.")
        found = self.coords[dim]
        assert isinstance(found, np.ndarray)
        return found

    def check(self, tensor: Tensor, what: str = "tensor") -> Tensor:
        """``tensor`` itself when it ends in this Space's shape.

        Raises:
            ShapeError: it does not.
        """
        n = len(self.shape)
        if tensor.ndim < n or tuple(tensor.shape[tensor.ndim - n :]) != self.shape:
            raise ShapeError(
                f"{what} {tuple(tensor.shape)} does not end in {self.shape}, the shape of {self.name} {self.dims}; "
                "pass a labelled array, or order the axes as the Space does."
            )
        return tensor

    def flat(self, tensor: Tensor) -> Tensor:
        """(*batch, *shape) → (*batch, size)."""
        self.check(tensor)
        return tensor.reshape(*tensor.shape[: tensor.ndim - len(self.shape)], self.size)

    def unflat(self, tensor: Tensor) -> Tensor:
        """(*batch, size) → (*batch, *shape)."""
        return tensor.reshape(*tensor.shape[:-1], *self.shape)

    def split(self, tensor: Tensor) -> dict[str, Tensor]:
        """The parts of a joined Space, each (*batch, *part.shape)."""
        pieces = torch.split(self.check(tensor), [p.size for p in self.parts], dim=-1)
        return {p.name: p.unflat(piece) for p, piece in zip(self.parts, pieces, strict=True)}

    def index(self, dim: str, labels: Any) -> Tensor:
        """Positions of ``labels`` along ``dim``, int64 (n,).

        Raises:
            ShapeError: a label that this Space lacks; the message names the first.
        """
        return _positions(self.labels(dim), np.atleast_1d(np.asarray(labels)), f"{self.name}.{dim}")

    def select(self, dim: str, labels: Any) -> Space:
        """The part of this Space with ``labels`` along ``dim``, in their order; of a joined one, its flat elements."""
        index = self.index(dim, labels)
        at = index.numpy()
        axis = self.dims.index(dim)
        return replace(
            self,
            coords={d: (self.labels(d)[at] if d == dim else c) for d, c in self.coords.items()},
            mask=None if self.mask is None else self.mask.index_select(axis, index),
            extra={k: (d, v[at] if d == dim else v) for k, (d, v) in self.extra.items()},
            parts=(),
        )

    def same(self, other: Space) -> bool:
        """Whether both have the same dims and labels (names and units may differ)."""
        return self.dims == other.dims and all(_agree(self.labels(d), other.labels(d)) for d in self.dims)

    def label(self, tensor: Tensor, leading: Mapping[str, Any] | None = None) -> xr.DataArray:
        """The tensor (*leading, *shape) as a labelled array with this Space's unit; undefined cells are NaN.

        A joined Space gives no single array: use :meth:`dataset`.
        """
        values = self.check(tensor).detach().cpu().numpy()
        if self.mask is not None:
            values = np.where(self.mask.cpu().numpy(), values, np.nan)
        leading = leading or {}
        coords: dict[str, Any] = {d: np.asarray(v) for d, v in leading.items() if v is not None}
        coords |= {d: self.labels(d) for d in self.dims}
        coords |= {k: (d, v) for k, (d, v) in self.extra.items()}
        return xr.DataArray(values, coords, (*leading, *self.dims), self.name, attrs={"units": self.unit})

    def dataset(self, tensor: Tensor, leading: Mapping[str, Any] | None = None) -> xr.Dataset:
        """One variable for each part (or one for a plain Space)."""
        if not self.parts:
            return self.label(tensor, leading).to_dataset()
        pieces = self.split(tensor)
        return xr.Dataset({p.name: p.label(pieces[p.name], leading) for p in self.parts})

    def align(self, array: xr.DataArray | xr.Dataset | Tensor, what: str = "array") -> Tensor:
        """A tensor (*extra dims, *shape) in this Space's order and unit, found **by label**.

        A plain tensor is taken to be aligned already; only its shape is checked.

        Raises:
            ShapeError: dims or labels are missing or double.
            UnitError: the unit cannot be converted.
            DataError: a defined cell is not finite; the message names the first.
        """
        if isinstance(array, Tensor):
            return self._finite(self.check(array, what), what)
        if self.parts and isinstance(array, xr.Dataset):
            pieces = [p.flat(p.align(_variable(array, p.name, what), f"{what}.{p.name}")) for p in self.parts]
            return torch.cat(pieces, dim=-1)
        if not isinstance(array, xr.DataArray):
            raise DataError(
                f"{what} is a {type(array).__name__} without labels; pass an xarray.DataArray with dims {self.dims} "
                "(space.label(tensor) makes one), or a torch tensor that is already in order."
            )
        missing = [d for d in self.dims if d not in array.dims]
        if missing:
            raise ShapeError(f"{what} has dims {array.dims} and lacks {missing}; {self.name} needs {self.dims}.")
        for dim in self.dims:
            if dim not in array.coords:
                raise ShapeError(f"{what} has no labels along {dim!r}; assign_coords({dim}=…) first.")
            given = np.asarray(array[dim].values)
            _labels(what, dim, given)
            array = array.isel({dim: _positions(given, self.labels(dim), f"{what}.{dim}").numpy()})
        array = array.transpose(..., *self.dims)
        scale = units.factor(str(array.attrs.get("units", self.unit)), self.unit)
        kept = array.dtype in (np.float32, np.float64)
        values = np.array(array.values, np.dtype(array.dtype.type if kept else np.float64), order="C")
        return self._finite(torch.from_numpy(values) * scale, what)

    def _finite(self, tensor: Tensor, what: str) -> Tensor:
        bad = ~torch.isfinite(tensor)
        if self.mask is not None:
            tensor = tensor.masked_fill(~self.mask, 0)
            bad = bad & self.mask
        if bool(bad.any()):
            where = tuple(int(i) for i in bad.nonzero()[0])
            cell = where[len(where) - len(self.shape) :]
            name = {d: self.labels(d)[i].item() for d, i in zip(self.dims, cell, strict=True)}
            raise DataError(
                f"{what} is not finite at {name} (index {where}; {int(bad.sum())} such cells): "
                "drop the row, or declare the gap in the Space's mask."
            )
        return tensor

    def __repr__(self) -> str:
        sizes = ", ".join(f"{d}={len(self.labels(d))}" for d in self.dims)
        return f"{self.name}({sizes}) [{self.unit}]"


def _labels(name: str, dim: str, given: Labels | Sequence[Any] | int) -> Labels:
    if isinstance(given, int) and given < 0:
        raise ShapeError(f"{name}.{dim} cannot have {given} labels; give their number or the labels themselves.")
    labels = np.arange(given) if isinstance(given, int) else _plain(np.asarray(given))
    if labels.ndim != 1:
        raise ShapeError(f"labels of {name}.{dim} have shape {labels.shape}; one axis is needed.")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ShapeError(f"label {int(np.argmin(np.isfinite(labels)))} of {name}.{dim} is not finite.")
    values, counts = np.unique(labels, return_counts=True)
    if len(values) != len(labels):
        raise ShapeError(
            f"label {_said(values[counts > 1][0])} stands {counts.max()} times along {name}.{dim}; "
            "repeated positions need two different ids."
        )
    return labels


def _positions(have: Labels, want: Labels, what: str) -> Tensor:
    """Where each wanted label stands among those at hand."""
    have, want = _plain(have), _plain(want)
    if len(want) == 0:
        return torch.zeros(0, dtype=torch.int64)
    if len(have) == 0:
        raise ShapeError(f"{what} has no labels at all, so not {_said(want[0])}.")
    numbers = {"i", "u", "f"}
    if have.dtype.kind != want.dtype.kind and {have.dtype.kind, want.dtype.kind} - numbers:
        raise ShapeError(f"labels of {what} are {have.dtype}, those asked for {want.dtype}; give both the same type.")
    order = np.argsort(have, kind="stable")
    ranked = have[order]
    right = np.clip(np.searchsorted(ranked, want), 0, len(ranked) - 1)
    if "f" in (have.dtype.kind, want.dtype.kind):
        left = np.clip(right - 1, 0, None)
        nearest = np.where(np.abs(ranked[left] - want) < np.abs(ranked[right] - want), left, right)
        missing = ~(np.abs(ranked[nearest] - want) <= COORDINATE_TOLERANCE * min(_spacing(ranked), _spacing(want)))
    else:
        nearest = right
        missing = ranked[nearest] != want
    if missing.any():
        first = _said(want[missing][0])
        raise ShapeError(f"{what} has no label {first} ({int(missing.sum())} of {len(want)} are missing).")
    return torch.from_numpy(order[nearest].astype(np.int64))


def _said(label: Any) -> str:
    """A label as one types it, not as NumPy shows it."""
    return repr(label.item() if isinstance(label, np.number | np.str_) else label)


def _plain(labels: Labels) -> Labels:
    """Strings that pandas keeps as objects, as NumPy strings."""
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        return labels.astype(str)
    return labels


def _spacing(labels: Labels) -> float:
    """The smallest gap between different labels; 1 for a single one."""
    gaps = np.diff(np.unique(labels[np.isfinite(labels)]).astype(float))
    return float(gaps.min()) if len(gaps) else 1.0


def _agree(a: Labels, b: Labels) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind == "f" and b.dtype.kind == "f" and len(a) > 1:
        return bool(np.abs(a - b).max() <= COORDINATE_TOLERANCE * np.abs(np.diff(np.sort(a))).min())
    return bool((a == b).all())


def _variable(dataset: xr.Dataset, name: str, what: str) -> xr.DataArray:
    if name not in dataset:
        raise ShapeError(f"{what} has variables {list(dataset.data_vars)} and lacks {name!r}.")
    return dataset[name]
