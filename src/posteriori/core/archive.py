"""Posteriors on disk: one netCDF or Zarr file in ArviZ's groups, and a ``law`` group that gives them back exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core import optional, support
from posteriori.core.categorical import Categorical
from posteriori.core.covariance import Covariance, DenseCovariance, DiagonalCovariance, LowRankCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import StoreError
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Run, digest
from posteriori.core.space import Space
from posteriori.core.store import renamed

FORMAT = 1
SHOWN_DRAWS = 200
"""Rows that the ``posterior`` group of a law without rows of its own holds, for programs that read draws."""


def save(posterior: Posterior, path: Path) -> Path:
    """Write ``posterior`` to ``path``; the file appears whole or not at all.

    Raises:
        StoreError: another ending than .nc or .zarr, or a folder that cannot be written.
    """
    tree = xr.DataTree.from_dict(dict(_groups(posterior)))
    if path.suffix == ".nc":
        with renamed(path) as temporary:
            tree.to_netcdf(temporary, engine="h5netcdf")
    elif path.suffix == ".zarr":
        optional.require("zarr", "scale")
        if path.exists():
            raise StoreError(f"{path} exists; delete it or choose another name.")
        temporary = path.with_name(f".{path.name}.part")
        tree.to_zarr(temporary, mode="w")
        temporary.replace(path)
    else:
        raise StoreError(f"{path} ends in {path.suffix!r}; a posterior is kept in .nc or .zarr.")
    return path


def load(path: str | Path) -> Posterior:
    """Read back what :meth:`Posterior.save` wrote, bit for bit.

    Raises:
        StoreError: no such file, a damaged one, or one that this package did not write.
    """
    path = Path(path)
    if not path.exists():
        raise StoreError(f"{path} does not exist.")
    try:
        engine = "zarr" if path.suffix == ".zarr" else "h5netcdf"
        with xr.open_datatree(path, engine=engine) as tree:
            groups = {name.strip("/"): node.to_dataset().load() for name, node in tree.subtree_with_keys}
    except Exception as error:  # h5py, h5netcdf and zarr raise many classes
        raise StoreError(f"{path} cannot be read ({error}); it is damaged or no posterior.") from error
    groups = {("" if name == "." else name): group for name, group in groups.items()}
    root = groups.get("", xr.Dataset())
    if root.attrs.get("posteriori_format") != FORMAT:
        raise StoreError(f"{path} was not written by posteriori (format {root.attrs.get('posteriori_format')}).")
    try:
        posterior = _read_law(groups, "law")
        posterior.run = Run.from_json(root.attrs["run"]) if root.attrs["run"] else None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} does not hold together ({error!r}); it is damaged: make it again.") from error
    if "observed_data" in groups:
        found = groups["observed_data"]
        posterior.observed = found[next(iter(found.data_vars))] if len(found.data_vars) == 1 else found
    return posterior


def _groups(posterior: Posterior) -> Mapping[str, xr.Dataset]:
    run = "" if posterior.run is None else posterior.run.json()
    groups = {"/": xr.Dataset(attrs={"posteriori_format": FORMAT, "run": run})}
    rows = posterior if isinstance(posterior, Draws) else _shown(posterior)
    groups["/posterior"] = _by_chain(rows, rows.values)
    if rows.log_weights is not None:
        groups["/sample_stats"] = _stats(rows, {"log_weight": rows.log_weights, **rows.stats})
    elif rows.stats:
        groups["/sample_stats"] = _stats(rows, rows.stats)
    if posterior.observed is not None:
        seen = posterior.observed
        groups["/observed_data"] = seen.to_dataset() if isinstance(seen, xr.DataArray) else seen
    _write_law(posterior, "/law", groups)
    return groups


def _shown(posterior: Posterior) -> Draws:
    rows = posterior.sample(SHOWN_DRAWS, Rng(0).child("shown"))
    return Draws(posterior.space, rows, problems=posterior.problems)


def _by_chain(rows: Draws, values: Tensor) -> xr.Dataset:
    per = values.shape[0] // rows.chains
    shaped = values.reshape(rows.chains, per, *values.shape[1:])
    lead = {"chain": np.arange(rows.chains), "draw": np.arange(per), **rows.problems}
    return rows.space.dataset(shaped, lead)


def _stats(rows: Draws, stats: Mapping[str, Tensor]) -> xr.Dataset:
    variables = {}
    for name, values in stats.items():
        shaped = values.reshape(rows.chains, -1, *values.shape[1:]).cpu().numpy()
        dims = ("chain", "draw", *list(rows.problems)[: shaped.ndim - 2])
        extra = tuple(f"{name}_dim_{i}" for i in range(shaped.ndim - len(dims)))
        variables[name] = ((*dims, *extra), shaped)
    return xr.Dataset(variables)


def _write_law(posterior: Posterior, at: str, groups: dict[str, xr.Dataset]) -> None:
    facts: dict[str, Any] = {
        "kind": type(posterior).__name__,
        "space": _describe_space(posterior.space),
        "problems": {k: None if v is None else _listed(np.asarray(v)) for k, v in posterior.problems.items()},
    }
    tensors: dict[str, Tensor] = {}
    if posterior.log_evidence is not None:
        tensors["log_evidence"] = posterior.log_evidence
    if posterior.log_evidence_error is not None:
        tensors["log_evidence_error"] = posterior.log_evidence_error
    for k, space in enumerate((posterior.space, *posterior.space.parts)):
        if space.mask is not None:
            tensors[f"mask_{k}"] = space.mask.to(torch.uint8)
    if isinstance(posterior, Draws):
        facts["chains"] = posterior.chains
        facts["stats"] = list(posterior.stats)
        tensors["values"] = posterior.values
        tensors |= {f"stat_{name}": values for name, values in posterior.stats.items()}
        if posterior.log_weights is not None:
            tensors["log_weights"] = posterior.log_weights
    elif isinstance(posterior, Gaussian):
        tensors["location"] = posterior.location
        tensors |= _write_covariance(posterior.covariance, facts)
    elif isinstance(posterior, Categorical):
        tensors["probabilities"] = posterior.probabilities
    elif isinstance(posterior, Mixture):
        tensors["weights"] = posterior.weights
        facts["components"] = len(posterior.parts)
        for k, part in enumerate(posterior.parts):
            _write_law(part, f"{at}_{k}", groups)
    else:
        raise StoreError(f"a {type(posterior).__name__} cannot be saved.")
    facts["dtypes"] = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    variables = {
        name: (tuple(f"{name}_{i}" for i in range(t.ndim)), t.detach().cpu().numpy()) for name, t in tensors.items()
    }
    facts["digests"] = {name: digest(tensor) for name, tensor in tensors.items()}
    text = json.dumps(facts).encode()
    attributes = {"facts_sha256": hashlib.sha256(text).hexdigest()}
    groups[at] = xr.Dataset({**variables, "facts": (("byte",), np.frombuffer(text, np.uint8))}, attrs=attributes)


def _write_covariance(covariance: Covariance, facts: dict[str, Any]) -> dict[str, Tensor]:
    if isinstance(covariance, DiagonalCovariance):
        facts["covariance"] = "diagonal"
        return {"variance": covariance.variance}
    if isinstance(covariance, LowRankCovariance):
        facts["covariance"] = "low rank"
        return {"factor": covariance.factor, "variance": covariance.variance}
    facts["covariance"] = "dense"
    return {"matrix": covariance.dense()}


def _read_law(groups: Mapping[str, xr.Dataset], at: str) -> Posterior:
    if at not in groups:
        raise StoreError(f"the group {at!r} is missing; the file is cut short.")
    group = groups[at]
    text = group["facts"].values.astype(np.uint8).tobytes()
    if hashlib.sha256(text).hexdigest() != group.attrs["facts_sha256"]:
        raise ValueError("the facts differ from their checksum")
    facts = json.loads(text.decode())
    tensors = {
        name: torch.from_numpy(np.array(group[name].values)).to(getattr(torch, dtype))
        for name, dtype in facts["dtypes"].items()
    }
    for name, tensor in tensors.items():
        if digest(tensor) != facts["digests"][name]:
            raise ValueError(f"{name} differs from its checksum")
    masks = {int(name[5:]): tensors[name].bool() for name in tensors if name.startswith("mask_")}
    space = _restore_space(facts["space"], masks)
    problems = {k: None if v is None else _unlisted(v) for k, v in facts["problems"].items()}
    kind = facts["kind"]
    posterior: Posterior
    if kind == "Draws":
        stats = {name: tensors[f"stat_{name}"] for name in facts["stats"]}
        weights = tensors.get("log_weights")
        posterior = Draws(space, tensors["values"], weights, chains=facts["chains"], problems=problems, stats=stats)
    elif kind == "Gaussian":
        posterior = Gaussian(space, tensors["location"], _read_covariance(facts, tensors), problems=problems)
    elif kind == "Categorical":
        posterior = Categorical(space, tensors["probabilities"], problems=problems)
    else:
        parts = [_read_law(groups, f"{at}_{k}") for k in range(facts["components"])]
        posterior = Mixture(parts, tensors["weights"])
        posterior.weights = tensors["weights"]
    posterior.log_evidence = tensors.get("log_evidence")
    posterior.log_evidence_error = tensors.get("log_evidence_error")
    return posterior


def _read_covariance(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Covariance:
    if facts["covariance"] == "diagonal":
        return DiagonalCovariance(tensors["variance"])
    if facts["covariance"] == "low rank":
        return LowRankCovariance(tensors["factor"], tensors["variance"])
    return DenseCovariance(tensors["matrix"])


def _describe_space(space: Space) -> dict[str, Any]:
    kind = type(space.support).__name__
    return {
        "name": space.name,
        "coords": {dim: _listed(space.labels(dim)) for dim in space.dims},
        "unit": space.unit,
        "support": [kind, vars(space.support)],
        "extra": {key: [dim, _listed(values)] for key, (dim, values) in space.extra.items()},
        "parts": [_describe_space(part) for part in space.parts],
    }


def _restore_space(facts: Mapping[str, Any], masks: Mapping[int, Tensor]) -> Space:
    """``masks``: of the Space itself under 0, of its parts under 1, 2, …"""
    kind, fields = facts["support"]
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Space(
        facts["name"],
        {dim: _unlisted(values) for dim, values in facts["coords"].items()},
        facts["unit"],
        getattr(support, kind)(**fields),
        masks.get(0),
        {key: (dim, _unlisted(values)) for key, (dim, values) in facts["extra"].items()},
        tuple(_restore_space(part, {0: masks[k]} if k in masks else {}) for k, part in enumerate(facts["parts"], 1)),
    )


def _listed(labels: np.ndarray[Any, Any]) -> list[Any]:
    plain = labels.astype(np.int64) if labels.dtype.kind in "mM" else labels
    return [str(labels.dtype), plain.tolist()]


def _unlisted(pair: list[Any]) -> np.ndarray[Any, Any]:
    dtype, values = pair
    return np.asarray(values).astype(dtype)
