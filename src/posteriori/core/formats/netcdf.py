"""Grids in netCDF: one variable with units, axes that rise, gaps that are spoken of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from posteriori.core import units
from posteriori.core.errors import DataError, ShapeError, UnitError


def read_grid(
    path: Path, dims: Sequence[str], unit: str, axis_unit: str = "m", name: str | None = None
) -> xr.DataArray:
    """One variable of a netCDF file on the axes ``dims``, in ``unit``, every axis rising and in ``axis_unit``.

    Values and axes are converted by their attribute ``units``, which both must have; a falling axis is turned round
    together with its values.

    Args:
        name: of the variable; the only one with these dims without.

    Raises:
        DataError: no file of this kind, no such variable, several, a gap, or an axis that turns back.
        ShapeError: other dims. UnitError: units that are missing or of another kind.
    """
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            grid = dataset[_variable(dataset, set(dims), name, path)].load()
    except (OSError, ValueError, KeyError) as problem:
        raise DataError(f"cannot read {path}: {problem}; give a netCDF-4 file.") from problem
    if set(grid.dims) != set(dims):
        raise ShapeError(f"{grid.name} in {path.name} has the dims {grid.dims}, not {tuple(dims)}; rename or cut them.")
    grid = grid.transpose(*dims)
    for dim in dims:
        grid = _rising(grid, dim, axis_unit, path)
    if not np.isfinite(grid.values).all():
        where = np.argwhere(~np.isfinite(grid.values))
        at = {dim: float(grid[dim][i]) for dim, i in zip(dims, where[0], strict=True)}
        raise DataError(f"{grid.name} in {path.name} has {len(where)} gaps, the first at {at}; fill or cut them.")
    values = grid.values.astype(np.float64) * units.factor(_unit(grid, path), unit)
    return xr.DataArray(values, grid.coords, grid.dims, grid.name, attrs={"units": unit})


def write_grid(grid: xr.DataArray, path: Path) -> None:
    """A grid as netCDF, whole or not at all.

    Raises:
        UnitError: the grid or an axis has no attribute ``units``.
    """
    for array in (grid, *(grid[dim] for dim in grid.dims)):
        _unit(array, path)
    partial = path.with_name(f"{path.name}.partial")
    grid.to_netcdf(partial, engine="h5netcdf")
    partial.replace(path)


def _variable(dataset: xr.Dataset, dims: set[str], name: str | None, path: Path) -> str:
    if name is not None:
        if name not in dataset:
            raise DataError(f"{path.name} holds {', '.join(map(str, dataset.data_vars)) or 'nothing'}, not {name!r}.")
        return name
    fitting = [str(v) for v in dataset.data_vars if set(dataset[v].dims) == dims]
    if len(fitting) != 1:
        raise DataError(
            f"{path.name} holds {len(fitting)} variables on {sorted(dims)} (all: "
            f"{', '.join(map(str, dataset.data_vars)) or 'none'}); name one."
        )
    return fitting[0]


def _rising(grid: xr.DataArray, dim: str, unit: str, path: Path) -> xr.DataArray:
    if dim not in grid.coords:
        raise ShapeError(f"{grid.name} in {path.name} has no coordinates along {dim!r}; write them, with units.")
    axis = grid[dim].values.astype(np.float64) * units.factor(_unit(grid[dim], path), unit)
    steps = np.diff(axis)
    if not (np.isfinite(axis).all() and ((steps > 0).all() or (steps < 0).all())):
        raise DataError(f"the axis {dim!r} of {path.name} neither rises nor falls throughout; sort it.")
    turned = grid.assign_coords({dim: (dim, axis, {"units": unit})})
    return turned.isel({dim: slice(None, None, -1)}) if len(steps) and steps[0] < 0 else turned


def _unit(array: xr.DataArray, path: Path) -> str:
    if not array.attrs.get("units"):
        raise UnitError(f"{array.name} in {path.name} has no units; set its attribute, such as units='m'.")
    return str(array.attrs["units"])
