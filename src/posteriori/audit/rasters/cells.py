"""Fields as cells: which are scored, what area each stands for, and means over them.

Fields have shape (*case, y, x). ``mask`` is True where a cell is scored, shape (y, x) or (*case, y, x); ``weights`` are
areas >= 0, (y, x) or (y, 1), in any unit; values outside the mask are never read, so that they may be NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError


def cell_weights(fields: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Weight of every cell in the shape of ``fields``, zero outside the mask, summing to one over each field.

    Raises:
        ShapeError: mask or weights do not fit the fields.
        DataError: a weight is negative or not finite, a field has no cell to score, or a scored cell is not finite.
    """
    if fields.ndim < 2:
        raise ShapeError(f"fields {tuple(fields.shape)} are not (*case, y, x).")
    share = torch.ones(fields.shape[-2:], dtype=torch.float64) if weights is None else weights.to(torch.float64)
    if not (torch.isfinite(share).all() and (share >= 0).all()):
        raise DataError("area weights must be finite and >= 0; give cell areas or cos(latitude).")
    share = _onto(share, fields, "weights")
    if mask is not None:
        if mask.dtype != torch.bool:
            raise DataError(f"the mask has dtype {mask.dtype}; give booleans, True where a cell is scored.")
        share = torch.where(_onto(mask, fields, "mask"), share, 0.0)
    total = share.sum((-2, -1), keepdim=True)
    if (total <= 0).any():
        raise DataError("a field has no cell to score: its mask is all False; leave the field out.")
    bad = (share > 0) & ~torch.isfinite(fields)
    if bad.any():
        index = tuple(bad.nonzero()[0].tolist())
        raise DataError(f"field{list(index)} is {fields[index].item()} in a scored cell; mask the cell.")
    return share / total


def field_mean(values: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Area-weighted mean over the scored cells of each field, shape (*case)."""
    share = cell_weights(values, mask, weights)
    return (torch.where(share > 0, values, 0.0).to(torch.float64) * share).sum((-2, -1))


def cos_latitude(latitude: Tensor) -> Tensor:
    """Area weights (y, 1) of rows at ``latitude`` [degrees], shape (y,), on a regular grid of longitude.

    Raises:
        DataError: a latitude beyond ±90.
    """
    if not (latitude.abs() <= 90).all():
        raise DataError(f"latitudes reach {latitude.abs().max().item():g} degrees; they must lie in [-90, 90].")
    return torch.deg2rad(latitude.to(torch.float64)).cos().clamp(min=0)[:, None]


def flat_cells(fields: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Scored cells of fields that share one mask, (*case, cell), and the cells' weights, (cell,), summing to one."""
    if mask is not None and mask.ndim != 2:
        raise ShapeError(f"mask {tuple(mask.shape)}: these fields are compared cell by cell and need one mask (y, x).")
    one = torch.zeros_like(fields[(0,) * (fields.ndim - 2)])
    share = cell_weights(one, mask, weights).reshape(-1)
    kept = share > 0
    cells = fields.reshape(*fields.shape[:-2], -1)[..., kept]
    if not torch.isfinite(cells).all():
        raise DataError("a field is not finite in a scored cell; mask the cell or fill it first.")
    return cells, share[kept]


def _onto(part: Tensor, fields: Tensor, name: str) -> Tensor:
    try:
        return part.expand(fields.shape)
    except RuntimeError as error:
        raise ShapeError(f"{name} {tuple(part.shape)} do not fit fields {tuple(fields.shape)}.") from error
