"""A gridded field at points between the centres of its cells: stations, buoys, moving sensors."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import ArrayLike

from posteriori.core.algebra import Sparse
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.grid import centres
from posteriori.core.space import Space


def point_values(domain: Space, points: ArrayLike) -> Sparse:
    """Multilinear interpolation between the nearest centres; give each point its own error by the noise of the target.

    Args:
        domain: a grid of any number of dims.
        points: (points, dims), in the labels of the grid's dims, in their order.

    Raises:
        ShapeError: points of another number of coordinates.
        DataError: a point beyond the outermost centres, or next to an undefined cell.
    """
    at = np.atleast_2d(np.asarray(points, np.float64))
    if at.ndim != 2 or at.shape[1] != len(domain.dims) or not len(at):
        raise ShapeError(f"points {at.shape} must be (points, {len(domain.dims)}), one at least, one column a dim.")
    low, share = [], []
    for axis, dim in enumerate(domain.dims):
        place = _place(centres(domain, dim), at[:, axis], dim)
        node = np.clip(np.floor(place).astype(np.int64), 0, max(len(domain.labels(dim)) - 2, 0))
        low.append(node)
        share.append(place - node)
    rows, columns, values = [], [], []
    for corner in product((0, 1), repeat=len(domain.dims)):
        weight = np.prod([s if up else 1 - s for up, s in zip(corner, share, strict=True)], axis=0)
        keep = weight != 0
        index = [(node + up)[keep] for node, up in zip(low, corner, strict=True)]
        rows.append(np.nonzero(keep)[0])
        columns.append(np.ravel_multi_index(index, domain.shape).astype(np.int64))
        values.append(weight[keep])
    row, column = (torch.from_numpy(np.concatenate(part)) for part in (rows, columns))
    if domain.mask is not None and not bool(domain.flat(domain.mask)[column].all()):
        bad = int(row[int((~domain.flat(domain.mask)[column]).nonzero()[0])])
        raise DataError(f"point {bad} lies next to a cell that {domain.name} does not define; drop or move it.")
    codomain = Space(domain.name, {"point": len(at)}, domain.unit)
    return Sparse(domain, codomain, row, column, torch.from_numpy(np.concatenate(values)))


def _place(labels: np.ndarray, wanted: np.ndarray, dim: str) -> np.ndarray:
    """Positions in cells."""
    if len(labels) > 1 and labels[0] > labels[-1]:
        return len(labels) - 1 - _place(labels[::-1], wanted, dim)
    bad = ~((wanted >= labels[0]) & (wanted <= labels[-1]))
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(f"point {first} at {dim} = {wanted[first]:g} is outside {labels[0]:g} … {labels[-1]:g}.")
    return np.interp(wanted, labels, np.arange(len(labels)))
