"""Gaps that clouds make: cells hidden by real cloud shapes, how far the next value is, straight lines over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.random import Rng

FAR = 1e6
"""Distance [days or cells] where there is no other value at all."""
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GappyStack:
    """Values (time, y, x), float64, NaN in gaps, at ``days`` (time,), over the cells of ``domain`` (y, x)."""

    values: Tensor
    days: Tensor
    domain: Tensor

    @property
    def observed(self) -> Tensor:
        """Where there is a value, (time, y, x)."""
        return torch.isfinite(self.values)

    def without(self, hidden: Tensor) -> GappyStack:
        """The same stack, the hidden cells (time, y, x) being gaps."""
        return GappyStack(torch.where(hidden, torch.nan, self.values), self.days, self.domain)


def cloud_shapes(observed: Tensor, domain: Tensor) -> Tensor:
    """The gaps (shape, y, x) of dates that are partly seen: real shapes, with an edge.

    Raises:
        DataError: fewer than two dates are partly seen.
    """
    gaps = ~observed & domain
    share = gaps.double().sum((1, 2)) / domain.sum()
    found = gaps[(share > 0.01) & (share < 0.99)]
    if len(found) < 2:
        raise DataError(
            f"{len(found)} date(s) are partly clouded; two are needed to hide cells by the clouds of other dates: "
            "give hide=FILE instead."
        )
    return found


def hidden_by(shapes: Tensor, observed: Tensor, dates: Tensor, rng: Rng) -> Tensor:
    """Observed cells (time, y, x) under the shape of another date, one shape drawn for each of ``dates``.

    A shape that hides nothing of a date, or all that is seen of it, is passed over.
    """
    hidden = torch.zeros_like(observed)
    for date in dates.tolist():
        for i in rng.child(date).permutation(len(shapes)).tolist():
            covered = observed[date] & shapes[i]
            if bool(covered.any()) and bool((observed[date] & ~shapes[i]).any()):
                hidden[date] = covered
                break
    return hidden


def days_to_seen(stack: GappyStack) -> Tensor:
    """Days from each cell to the nearest other date at which it is seen, (time, y, x)."""
    before, after = _neighbours(stack)
    return torch.minimum(before.days, after.days)


def cells_to_seen(observed: Tensor) -> Tensor:
    """Cells from each cell to the nearest seen one of its date, (time, y, x)."""
    away = [distance_transform_edt(~seen) if seen.any() else np.full(seen.shape, FAR) for seen in np.asarray(observed)]
    return torch.from_numpy(np.stack(away))


def interpolated(stack: GappyStack) -> Tensor:
    """Each cell's straight line between the dates before and after, the nearest value beyond the ends."""
    before, after = _neighbours(stack)
    span = (before.days + after.days).clamp_min(1e-12)
    line = (before.values * after.days + after.values * before.days) / span
    line = torch.where(before.days >= FAR, after.values, torch.where(after.days >= FAR, before.values, line))
    overall = stack.values[stack.observed].mean()
    return torch.where(torch.isfinite(line), line, overall)


@dataclass(frozen=True, eq=False)
class _Other:
    values: Tensor
    days: Tensor


def _neighbours(stack: GappyStack) -> tuple[_Other, _Other]:
    """The nearest other value before and after each cell, with its distance in days."""
    return _carried(stack.values, stack.days), _flipped(_carried(stack.values.flip(0), -stack.days.flip(0)))


def _carried(values: Tensor, days: Tensor) -> _Other:
    held, since = torch.full_like(values[0], torch.nan), torch.full_like(values[0], -FAR)
    found, away = [], []
    for field, day in zip(values, days, strict=True):
        found.append(held)
        away.append(torch.where(torch.isfinite(held), day - since, FAR))
        seen = torch.isfinite(field)
        held, since = torch.where(seen, field, held), torch.where(seen, day, since)
    return _Other(torch.stack(found), torch.stack(away))


def _flipped(other: _Other) -> _Other:
    return _Other(other.values.flip(0), other.days.flip(0))
