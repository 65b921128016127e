"""One question of several sources: a raster with gaps, sensors at points and a table by districts see one field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core import units
from posteriori.core.algebra import Stack
from posteriori.core.errors import DataError
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator, Selection
from posteriori.core.prior import Prior
from posteriori.core.raster import Raster, readable_unit
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geography.footprints import at_points, over_districts
from posteriori.domains.geography.vectors import Districts, Points

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Source:
    """What one source sees of the field: ``values = operator(field) + errors``, of deviation ``sd``, each (m,)."""

    operator: Operator
    values: Tensor
    sd: Tensor


def pixels(raster: Raster, sd: float | Floats, layer: int = 0) -> Source:
    """The observed cells of one layer, with errors of standard deviation ``sd`` [unit], one number or (y, x).

    Raises:
        DataError: no cell is observed, or classes, which have no errors in a unit.
    """
    if raster.kind.classes:
        raise DataError(f"{raster.name} holds classes; only quantities can be fused.")
    seen = raster.observed[layer]
    if not seen.any():
        raise DataError(f"no cell of layer {layer} of {raster.name} is observed; leave that source out.")
    space = raster.space
    keep = Selection.where(space, torch.from_numpy(seen), "pixel")
    errors = np.broadcast_to(np.asarray(sd, np.float64), seen.shape)[seen]
    return Source(keep, torch.from_numpy(raster.values[layer][seen]), torch.from_numpy(errors.copy()))


def sensors(points: Points, raster: Raster) -> Source:
    """Measurements at points of the field that lives on the grid of ``raster``.

    Raises:
        DataError: another coordinate system, or a point outside. UnitError: another quantity.
    """
    return _in_unit(at_points(points, raster.grid, raster.space), points, raster.space)


def districts(regions: Districts, raster: Raster) -> Source:
    """Means over regions of the field that lives on the grid of ``raster``.

    Raises:
        DataError: another coordinate system, or a region beyond the grid. UnitError: another quantity.
    """
    return _in_unit(over_districts(regions, raster.grid, raster.space), regions, raster.space)


def fused(prior: Prior, **sources: Source) -> Inverse:
    """The field given all sources at once, under their names: ``fused(prior, satellite=…, stations=…)``.

    Raises:
        DataError: no source. ShapeError: sources of other fields than the prior's.
    """
    if not sources:
        raise DataError("nothing to fuse; give at least one source by name.")
    stack = Stack(**{name: source.operator for name, source in sources.items()})
    data = torch.cat([source.values for source in sources.values()])
    return Inverse(stack, prior, data, Normal(torch.cat([source.sd for source in sources.values()])))


def _in_unit(operator: Operator, table: Points | Districts, space: Space) -> Source:
    """The table's numbers in the unit of the field, whose zero may be another (degC)."""
    factor, shift = units.line(readable_unit(table.unit), space.unit)
    return Source(operator, torch.from_numpy(table.values * factor + shift), torch.from_numpy(table.sd * abs(factor)))
