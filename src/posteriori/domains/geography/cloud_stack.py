"""Stacks as users give them: masks, dates, the domain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.raster import Raster
from posteriori.domains.geography.cloud_gaps import Booleans, GappyStack
from posteriori.domains.geography.raster import read_mask


def masked(raster: Raster, mask: Path | None, domain: Booleans | None) -> Raster:
    """The raster with what the mask hides, and what lies outside the domain, as gaps.

    It keeps its stored dtype, unless that is of whole numbers without one that stands for a gap.

    Raises:
        DataError: classes, too few dates, no value. ShapeError: a mask or a domain of other cells.
    """
    if raster.kind.classes:
        raise DataError(f"{raster.name} holds classes; a Gaussian law fills quantities alone.")
    if len(raster.stored) < 3:
        raise DataError(f"{raster.name} has {len(raster.stored)} layer(s); a stack of dates is needed.")
    if domain is not None and domain.shape != raster.grid.shape:
        raise ShapeError(
            f"the mask of the set-up file has {domain.shape} cells, {raster.name} has {raster.grid.shape}: "
            "give the stack that the file belongs to."
        )
    hidden = np.zeros(raster.stored.shape, bool) if mask is None else read_mask(mask, raster)
    hidden = hidden if domain is None else hidden | ~domain
    if not (raster.observed & ~hidden).any():
        raise DataError(f"{raster.name} has no value at all outside the mask: every cell is a gap.")
    if raster.nodata is None and raster.stored.dtype.kind != "f":
        return raster.derived(raster.name, np.where(hidden, np.nan, raster.values), raster.unit, raster.kind)
    return raster.hidden(hidden)


def stack_of(raster: Raster, times: Path | None, domain: Booleans | None) -> GappyStack:
    """The values of a raster at the days since its first layer; ``times`` names a file with their dates.

    Raises:
        DataError: dates that cannot be read, of another number, or not in order.
    """
    stamps = raster.times if times is None and raster.layers.timed else _dates(times, len(raster.stored))
    days = (stamps - stamps[0]) / np.timedelta64(1, "D") if stamps.dtype.kind == "M" else stamps
    if bool((np.diff(days) < 0).any()):
        raise DataError(f"the dates of {raster.name} are not in order; sort the layers by time.")
    values = torch.from_numpy(raster.values)
    inside = torch.isfinite(values).any(0) if domain is None else torch.from_numpy(domain)
    return GappyStack(values, torch.from_numpy(days.astype(np.float64)), inside)


def _dates(path: Path | None, layers: int) -> np.ndarray:
    """Times of the layers from a file; without one they are taken to be a day apart."""
    if path is None:
        return np.arange(layers, dtype=np.float64)
    try:
        text = path.read_text(encoding="utf-8")
        given = json.loads(text) if text.lstrip().startswith("[") else text.split()
        stamps = np.array(given, "datetime64[s]")
    except (OSError, ValueError, UnicodeDecodeError) as problem:
        raise DataError(
            f"cannot read dates from {path}: {problem}; give a JSON list or one ISO date a line."
        ) from problem
    if stamps.shape != (layers,) or bool(np.isnat(stamps).any()):
        raise DataError(f"{path.name} has {stamps.size} dates for {layers} layers.")
    return stamps
