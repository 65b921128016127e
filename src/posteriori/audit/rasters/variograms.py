"""Variograms along any lag, with gaps and areas, and the distance between two of them.

A lag is (rows, columns); fields (*case, y, x) with ``mask`` and ``weights`` as in ``cells``. A pair counts where both
cells do, with the product of their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posteriori.audit.rasters.cells import cell_weights
from posteriori.core.errors import DataError, OptionError

Lag = tuple[int, int]
POWERS = (1, 2, 4, 8, 16)


def axis_lags(shape: Sequence[int], steps: Sequence[int] = POWERS) -> list[Lag]:
    """Lags (0, s) along x, then (s, 0) along y, for those ``steps`` that fit twice into the side."""
    along_x = [(0, s) for s in steps if 2 * s <= shape[-1]]
    return along_x + [(s, 0) for s in steps if 2 * s <= shape[-2]]


def variogram(fields: Tensor, lags: Sequence[Lag], mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Half the mean squared difference over pairs of cells a lag apart, (*case, lag), in squared units.

    Raises:
        DataError: a field has no pair for a lag.
        OptionError: a lag of zero or beyond the field.
    """
    share = cell_weights(fields, mask, weights)
    x = torch.where(share > 0, fields, 0.0).to(torch.float64)
    return torch.stack([_at(x, share, lag) for lag in lags], dim=-1)


def variogram_ratio(
    fields: Tensor,
    reference: Tensor,
    lags: Sequence[Lag],
    mask: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean variogram of ``fields`` over that of ``reference``, (lag,), both over all their cases; one mask (y, x)."""
    ours, theirs = (
        variogram(part.reshape(-1, *part.shape[-2:]), lags, mask, weights).mean(0) for part in (fields, reference)
    )
    if (theirs <= 0).any():
        raise DataError("the reference does not vary over a lag: its fields are constant; leave the lag out.")
    return ours / theirs


def variogram_error(
    fields: Tensor,
    reference: Tensor,
    lags: Sequence[Lag],
    mask: Tensor | None = None,
    weights: Tensor | None = None,
) -> float:
    """Mean over lags of the relative error |ratio - 1| of the mean variogram: 0.05 is 5 %."""
    return (variogram_ratio(fields, reference, lags, mask, weights) - 1).abs().mean().item()


def pair_ends(x: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Views of the cells that start a pair ``rows`` and ``columns`` apart, and of those that end it."""
    height, width = x.shape[-2:]
    start = x[..., max(0, -rows) : height - max(0, rows), max(0, -columns) : width - max(0, columns)]
    end = x[..., max(0, rows) : height - max(0, -rows), max(0, columns) : width - max(0, -columns)]
    return start, end


def _at(x: Tensor, share: Tensor, lag: Lag) -> Tensor:
    rows, columns = lag
    if lag == (0, 0) or abs(rows) >= x.shape[-2] or abs(columns) >= x.shape[-1]:
        raise OptionError(f"lag {lag} does not fit fields of {tuple(x.shape[-2:])} cells.")
    near, far = pair_ends(x, rows, columns)
    one, other = pair_ends(share, rows, columns)
    pairs = one * other
    total = pairs.sum((-2, -1))
    if (total <= 0).any():
        raise DataError(f"no pair of scored cells lies {lag} apart in some field; leave the lag out.")
    return (pairs * (near - far).square()).sum((-2, -1)) / total / 2
