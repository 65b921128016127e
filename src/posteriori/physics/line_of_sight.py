"""What an instrument sees along a straight line through a grid: a link, a limb, a transect."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from posteriori.core.algebra import Sparse
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.grid import centres, widths
from posteriori.core.space import Space

Floats = NDArray[np.float64]
GRAZE = 1e-12
"""Pieces of a line shorter than this share of it are rounding, not a visit to a cell."""


def line_of_sight(domain: Space, starts: ArrayLike, ends: ArrayLike, integral: bool = False) -> Sparse:
    """Means (or integrals) of a field that is constant in each cell, along straight lines; exact for such a field.

    Args:
        domain: a grid of any number of dims; cells end halfway between their centres.
        starts, ends: (lines, dims), in the labels of the grid's dims, in their order; one line at least.
        integral: ∫ field ds [unit of the field × unit of the labels] instead of the mean.

    Raises:
        ShapeError: points of another number of coordinates.
        DataError: a line that leaves the grid, has no length, or crosses an undefined cell.

    Reference: Siddon (1985), Fast calculation of the exact radiological path for a three-dimensional CT array, Med.
    Phys. 12, 252.
    """
    a, b = (np.atleast_2d(np.asarray(points, np.float64)) for points in (starts, ends))
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != len(domain.dims) or not len(a):
        raise ShapeError(f"starts {a.shape} and ends {b.shape} must both be (lines, {len(domain.dims)}), one at least.")
    edges = [_edges(domain, dim) for dim in domain.dims]
    flipped = [bool(centres(domain, dim)[0] > centres(domain, dim)[-1]) for dim in domain.dims]
    rows, columns, values = [], [], []
    for i, (start, end) in enumerate(zip(a, b, strict=True)):
        cells, lengths = _pieces(start, end, edges, flipped, domain.shape, i)
        rows.append(np.full(len(cells), i))
        columns.append(cells)
        values.append(lengths if integral else lengths / lengths.sum())
    column = torch.from_numpy(np.concatenate(columns))
    if domain.mask is not None and not bool(domain.flat(domain.mask)[column].all()):
        bad = int(np.concatenate(rows)[int((~domain.flat(domain.mask)[column]).nonzero()[0])])
        raise DataError(f"line {bad} crosses a cell that {domain.name} does not define; end it before, or drop it.")
    codomain = Space(domain.name, {"line": len(a)}, domain.unit)
    row = torch.from_numpy(np.concatenate(rows))
    return Sparse(domain, codomain, row, column, torch.from_numpy(np.concatenate(values)))


def _pieces(
    start: Floats, end: Floats, edges: list[Floats], flipped: list[bool], shape: tuple[int, ...], line: int
) -> tuple[NDArray[np.int64], Floats]:
    """Flat cells that one line visits, and its length in each."""
    length = float(np.linalg.norm(end - start))
    outside = [bool(min(p, q) < e[0] or max(p, q) > e[-1]) for p, q, e in zip(start, end, edges, strict=True)]
    if not length > 0 or any(outside) or not np.isfinite(length):
        raise DataError(f"line {line} from {start.tolist()} to {end.tolist()} has no length or leaves the grid.")
    cuts = [np.array([0.0, 1.0])]
    for p, q, e in zip(start, end, edges, strict=True):
        if p != q:
            t = (e - p) / (q - p)
            cuts.append(t[(t > 0) & (t < 1)])
    t = np.unique(np.concatenate(cuts))
    share = np.diff(t)
    middle = start + 0.5 * (t[1:] + t[:-1])[:, None] * (end - start)
    keep = share > GRAZE
    index = []
    for axis, (e, n) in enumerate(zip(edges, shape, strict=True)):
        at = np.clip(np.searchsorted(e, middle[keep, axis], side="right") - 1, 0, n - 1)
        index.append(n - 1 - at if flipped[axis] else at)
    return np.ravel_multi_index(index, shape).astype(np.int64), share[keep] * length


def _edges(space: Space, dim: str) -> Floats:
    """Borders of the cells in rising order, (n + 1,)."""
    labels, wide = centres(space, dim), widths(space, dim)
    if labels[0] > labels[-1]:
        labels, wide = labels[::-1], wide[::-1]
    return np.concatenate(
        [[labels[0] - 0.5 * wide[0]], 0.5 * (labels[1:] + labels[:-1]), [labels[-1] + 0.5 * wide[-1]]]
    )
