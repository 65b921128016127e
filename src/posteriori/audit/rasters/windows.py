"""Scores over square windows of cells: fractions skill score and structural similarity, by integral images.

Fields have shape (*case, y, x); ``mask`` is True where a cell exists, (y, x) or (*case, y, x). Time does not depend on
the width of the window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.audit.rasters.cells import cell_weights
from posteriori.core.errors import DataError, OptionError, ShapeError


def fractions(event: Tensor, width: int, mask: Tensor | None = None) -> Tensor:
    """Share of the existing cells in the ``width`` x ``width`` window about each cell where ``event`` holds.

    ``event`` is boolean or a probability (an ensemble's share of members), (*case, y, x). Windows are cut at the border
    and at gaps; the value outside the mask is NaN.

    Raises:
        OptionError: an even or non-positive width.
    """
    if width < 1 or width % 2 == 0:
        raise OptionError(f"a window of {width} cells has no middle; give an odd width.")
    exists = torch.ones(event.shape[-2:], dtype=torch.bool) if mask is None else mask
    exists = exists.expand(event.shape)
    chance = torch.where(exists, event.to(torch.float64), 0.0)
    if not ((chance >= 0) & (chance <= 1)).all():
        raise DataError("an event is True or False, or a probability in [0, 1]: compare the field with a threshold.")
    count = _window_sums(exists.to(torch.float64), width)
    share = _window_sums(chance, width) / count.clamp(min=1)
    return torch.where(exists, share, torch.nan)


def fractions_skill_terms(
    forecast: Tensor, truth: Tensor, width: int, mask: Tensor | None = None, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Per-case terms (*case): mean squared difference of fractions, and the largest that it could be.

    Both inputs are events (``x >= threshold``), the forecast's also an ensemble's share of members. Skill over many
    cases is 1 - sum / sum: bootstrap 1 - the ratio of the two.
    """
    if forecast.shape != truth.shape:
        raise ShapeError(f"forecast {tuple(forecast.shape)} and truth {tuple(truth.shape)} differ.")
    share = cell_weights(truth.to(torch.float64), mask, weights)
    p, o = (torch.where(share > 0, fractions(part, width, mask), 0.0) for part in (forecast, truth))
    return ((p - o).square() * share).sum((-2, -1)), ((p.square() + o.square()) * share).sum((-2, -1))


def fractions_skill(
    forecast: Tensor, truth: Tensor, width: int, mask: Tensor | None = None, weights: Tensor | None = None
) -> float:
    """Fractions skill score over all cases: 1 perfect, 0 no overlap at this scale.

    Reference: Roberts & Lean (2008), scale-selective verification of rainfall accumulations.

    Raises:
        DataError: the event happens neither in the forecast nor in truth.
    """
    error, largest = fractions_skill_terms(forecast, truth, width, mask, weights)
    if not largest.sum() > 0:
        raise DataError("the event happens nowhere, in forecast or truth; take a lower threshold.")
    return 1 - (error.sum() / largest.sum()).item()


def structural_similarity(
    fields: Tensor, reference: Tensor, data_range: float, mask: Tensor | None = None, width: int = 7
) -> Tensor:
    """Mean structural similarity, (*case), over windows that lie wholly in the field and in the mask.

    ``data_range`` is the span of values that matters, in the field's unit; constants 0.01 and 0.03 of it, uniform
    windows, sample variances (n - 1).

    Reference: Wang et al. (2004), image quality assessment: from error visibility to structural similarity.

    Raises:
        OptionError: an even width, or a data range that is not positive.
        DataError: no window lies wholly in the mask, or a scored cell is not finite.
    """
    if width < 3 or width % 2 == 0 or width > min(fields.shape[-2:]) or not data_range > 0:
        raise OptionError(f"window {width}, data_range {data_range}: an odd width within the field, a range > 0.")
    if fields.shape != reference.shape:
        raise ShapeError(f"fields {tuple(fields.shape)} and reference {tuple(reference.shape)} differ.")
    scored = (cell_weights(fields, mask) > 0) & (cell_weights(reference, mask) > 0)
    centre = torch.where(scored, reference, 0.0).to(torch.float64).mean()  # sums of squares about it cancel less
    x, y = (torch.where(scored, part.to(torch.float64) - centre, 0.0) for part in (fields, reference))
    n = width**2
    whole = _inner_sums(scored.to(torch.float64), width).round() == n
    mx, my = _inner_sums(x, width) / n, _inner_sums(y, width) / n
    vx, vy, vxy = (
        (_inner_sums(product, width) - n * mean) / (n - 1)
        for product, mean in ((x * x, mx * mx), (y * y, my * my), (x * y, mx * my))
    )
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = mx + centre, my + centre
    score = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx.square() + my.square() + c1) * (vx + vy + c2))
    if not whole.any(-1).any(-1).all():
        raise DataError(f"a field has no {width} x {width} window without a gap; take a smaller window.")
    return torch.where(whole, score, 0.0).sum((-2, -1)) / whole.sum((-2, -1))


def _window_sums(x: Tensor, width: int) -> Tensor:
    """Sums over the window about each cell, cut at the border."""
    half = width // 2
    return _inner_sums(torch.nn.functional.pad(x, (half, half, half, half)), width)


def _inner_sums(x: Tensor, width: int) -> Tensor:
    """Sums over all windows that lie inside, (*case, y - width + 1, x - width + 1)."""
    for dim in (-2, -1):
        total = torch.cat([x.new_zeros(*x.narrow(dim, 0, 1).shape), x.cumsum(dim)], dim)
        size = x.shape[dim] - width + 1
        x = total.narrow(dim, width, size) - total.narrow(dim, 0, size)
    return x
