"""Means over parts of a grid, weighted by the areas of the cells: districts, footprints, coarse cells."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from posteriori.core.algebra import Sparse
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.grid import centres
from posteriori.core.space import Space

NOWHERE = -1
"""The region of a cell that belongs to none."""


def areal_means(domain: Space, regions: Tensor, weights: Tensor | None = None) -> Sparse:
    """Σ w m / Σ w over the defined cells of each region.

    Args:
        domain: a grid.
        regions: whole numbers, domain.shape; the cell's region, :data:`NOWHERE` for none.
        weights: of each cell, > 0, domain.shape: areas, or :func:`cos_latitude`; equal without.

    Raises:
        ShapeError: regions or weights of another shape.
        DataError: no region at all, or weights that are not positive numbers.
    """
    labels = domain.flat(domain.check(regions, "regions")).long()
    w = torch.ones(domain.size).double() if weights is None else domain.flat(domain.check(weights, "weights")).double()
    inside = labels != NOWHERE
    if domain.mask is not None:
        inside = inside & domain.flat(domain.mask)
    cells = inside.nonzero()[:, 0]
    if not len(cells):
        raise DataError(f"no defined cell of {domain} belongs to a region.")
    if not bool((torch.isfinite(w[cells]) & (w[cells] > 0)).all()):
        raise DataError("weights of the cells must be finite and positive; give areas, or none.")
    names, row = torch.unique(labels[cells], return_inverse=True)
    total = torch.zeros(len(names), dtype=torch.float64).index_add(0, row, w[cells])
    codomain = Space(domain.name, {"region": names.numpy()}, domain.unit)
    return Sparse(domain, codomain, row, cells, w[cells] / total[row])


def blocks(domain: Space, size: int) -> Tensor:
    """Regions of ``size`` × ``size`` × … cells, counted row by row; borders keep what is left of a block.

    Raises:
        OptionError: a size below one cell.
    """
    if size < 1:
        raise OptionError(f"blocks of {size} cells; take at least 1.")
    whole = torch.zeros(domain.shape, dtype=torch.int64)
    for axis, n in enumerate(domain.shape):
        along = (torch.arange(n) // size).reshape([-1 if a == axis else 1 for a in range(len(domain.shape))])
        whole = whole * (-(-n // size)) + along
    return whole


def cos_latitude(domain: Space, dim: str = "latitude") -> Tensor:
    """Weights cos(latitude [degrees]) of the cells, domain.shape: their areas on a regular grid of angles.

    Raises:
        ShapeError: the grid has no such dim.
        DataError: labels that are no latitudes inside the poles.
    """
    if dim not in domain.dims:
        raise ShapeError(f"{domain} has no dim {dim!r}; name the one that holds latitudes, of {domain.dims}.")
    latitude = centres(domain, dim)
    if not np.abs(latitude).max() < 90:
        raise DataError(f"{dim} reaches {np.abs(latitude).max():g}; centres of cells lie inside (-90, 90) degrees.")
    w = torch.from_numpy(np.cos(np.deg2rad(latitude)))
    return w.reshape([-1 if d == dim else 1 for d in domain.dims]).expand(domain.shape)
