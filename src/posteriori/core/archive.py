"""Posteriors on disk: one netCDF or Zarr file in ArviZ's groups, and a ``law`` group that gives them back exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from posteriori.core import optional
from posteriori.core.errors import StoreError
from posteriori.core.law_file import Law, Rows, read_law, write_law
from posteriori.core.run import Run
from posteriori.core.store import renamed

FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """What a file holds of a posterior: its law, some of its rows, how it was made and what it had seen."""

    law: Law
    rows: Rows | None
    run: Run | None
    observed: xr.DataArray | xr.Dataset | None


def write(saved: Saved, path: Path) -> Path:
    """Write to ``path``; the file appears whole or not at all.

    Raises:
        StoreError: another ending than .nc or .zarr, or a folder that cannot be written.
    """
    tree = xr.DataTree.from_dict(dict(_groups(saved)))
    if path.suffix == ".nc":
        with renamed(path) as temporary:
            tree.to_netcdf(temporary, engine="h5netcdf")
    elif path.suffix == ".zarr":
        optional.require("zarr", "geography")
        if path.exists():
            raise StoreError(f"{path} exists; delete it or choose another name.")
        temporary = path.with_name(f".{path.name}.part")
        tree.to_zarr(temporary, mode="w", consolidated=False)
        temporary.replace(path)
    else:
        raise StoreError(f"{path} ends in {path.suffix!r}; a posterior is kept in .nc or .zarr.")
    return path


def read(path: Path) -> Saved:
    """What :func:`write` wrote, bit for bit; rows are not read, since the law has them.

    Raises:
        StoreError: no such file, a damaged one, or one that this package did not write.
    """
    if not path.exists():
        raise StoreError(f"{path} does not exist; give a file that save wrote.")
    if path.is_dir() and path.suffix != ".zarr":
        raise StoreError(f"{path} is a folder; give the file in it, {path / 'run.nc'} of a run.")
    try:
        zarr = path.suffix == ".zarr"
        how: dict[str, Any] = {"engine": "zarr", "consolidated": False} if zarr else {"engine": "h5netcdf"}
        with xr.open_datatree(path, **how) as tree:
            groups = {name.strip("/"): node.to_dataset().load() for name, node in tree.subtree_with_keys}
    except Exception as error:  # h5py, h5netcdf and zarr raise many classes
        raise StoreError(f"{path} cannot be read ({error}); it is damaged or no posterior.") from error
    groups = {("" if name == "." else name): group for name, group in groups.items()}
    root = groups.get("", xr.Dataset())
    if root.attrs.get("posteriori_format") != FORMAT:
        raise StoreError(f"{path} was not written by posteriori (format {root.attrs.get('posteriori_format')}).")
    try:
        law = read_law(groups, "law")
        run = Run.from_json(root.attrs["run"]) if root.attrs["run"] else None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise damaged(path, error) from error
    seen = groups.get("observed_data")
    one = seen is not None and len(seen.data_vars) == 1
    return Saved(law, None, run, seen[next(iter(seen.data_vars))] if seen is not None and one else seen)


def damaged(path: Path, error: Exception) -> StoreError:
    """The error of a file whose parts do not fit each other."""
    return StoreError(f"{path} does not hold together ({error!r}); it is damaged: make it again.")


def _groups(saved: Saved) -> Mapping[str, xr.Dataset]:
    run = "" if saved.run is None else saved.run.json()
    groups = {"/": xr.Dataset(attrs={"posteriori_format": FORMAT, "run": run})}
    if saved.rows is not None:
        groups["/posterior"] = _by_chain(saved.law, saved.rows)
        if saved.rows.stats:
            groups["/sample_stats"] = _stats(saved.law, saved.rows)
    if saved.observed is not None:
        seen = saved.observed
        groups["/observed_data"] = seen.to_dataset() if isinstance(seen, xr.DataArray) else seen
    write_law(saved.law, "/law", groups)
    return groups


def _by_chain(law: Law, rows: Rows) -> xr.Dataset:
    per = rows.values.shape[0] // rows.chains
    shaped = rows.values.reshape(rows.chains, per, *rows.values.shape[1:])
    lead = {"chain": np.arange(rows.chains), "draw": np.arange(per), **law.problems}
    return law.space.dataset(shaped, lead)


def _stats(law: Law, rows: Rows) -> xr.Dataset:
    variables = {}
    for name, values in rows.stats.items():
        shaped = _chains(values, rows.chains).cpu().numpy()
        dims = ("chain", "draw", *list(law.problems)[: shaped.ndim - 2])
        extra = tuple(f"{name}_dim_{i}" for i in range(shaped.ndim - len(dims)))
        variables[name] = ((*dims, *extra), shaped)
    return xr.Dataset(variables)


def _chains(values: Tensor, chains: int) -> Tensor:
    return values.reshape(chains, -1, *values.shape[1:])
