"""A law as plain parts: what any posterior is made of, ready for a file and read back from one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core import support
from posteriori.core.errors import StoreError
from posteriori.core.run import digest
from posteriori.core.space import Space


@dataclass(frozen=True)
class Rows:
    """Draws (draw, *problem, *space.shape), chain after chain, with figures of each row."""

    values: Tensor
    chains: int = 1
    stats: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Law:
    """Enough to make a posterior again: its kind, Space, problems, small facts, tensors and components."""

    kind: str
    space: Space
    problems: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Law, ...] = ()
    rows: Rows | None = None


def write_law(law: Law, at: str, groups: dict[str, xr.Dataset]) -> None:
    """Add ``law`` to the groups of a file, its components beside it; every tensor carries a checksum."""
    spaces = (law.space, *law.space.parts)
    masks = {f"mask_{k}": s.mask.to(torch.uint8) for k, s in enumerate(spaces) if s.mask is not None}
    tensors = {**law.tensors, **masks}
    facts = {
        "kind": law.kind,
        "space": describe_space(law.space),
        "problems": {k: None if v is None else listed(np.asarray(v)) for k, v in law.problems.items()},
        "own": dict(law.facts),
        "components": len(law.parts),
        "dtypes": {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()},
        "digests": {name: digest(tensor) for name, tensor in tensors.items()},
    }
    variables = {
        name: (tuple(f"{name}_{i}" for i in range(t.ndim)), t.detach().cpu().numpy()) for name, t in tensors.items()
    }
    text = json.dumps(facts).encode()
    attributes = {"facts_sha256": hashlib.sha256(text).hexdigest()}
    groups[at] = xr.Dataset({**variables, "facts": (("byte",), np.frombuffer(text, np.uint8))}, attrs=attributes)
    for k, part in enumerate(law.parts):
        write_law(part, f"{at}_{k}", groups)


def read_law(groups: Mapping[str, xr.Dataset], at: str) -> Law:
    """The inverse of :func:`write_law`.

    Raises:
        StoreError: a group is missing.
        ValueError: a checksum differs.
    """
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
    masks = {int(name[5:]): tensors.pop(name).bool() for name in [n for n in tensors if n.startswith("mask_")]}
    return Law(
        kind=facts["kind"],
        space=restore_space(facts["space"], masks),
        problems={k: None if v is None else unlisted(v) for k, v in facts["problems"].items()},
        tensors=tensors,
        facts=facts["own"],
        parts=tuple(read_law(groups, f"{at}_{k}") for k in range(facts["components"])),
    )


def describe_space(space: Space) -> dict[str, Any]:
    """Everything but the masks, as JSON can hold it."""
    kind = type(space.support).__name__
    return {
        "name": space.name,
        "coords": {dim: listed(space.labels(dim)) for dim in space.dims},
        "unit": space.unit,
        "support": [kind, vars(space.support)],
        "extra": {key: [dim, listed(values)] for key, (dim, values) in space.extra.items()},
        "parts": [describe_space(part) for part in space.parts],
    }


def restore_space(facts: Mapping[str, Any], masks: Mapping[int, Tensor]) -> Space:
    """The inverse of :func:`describe_space`; ``masks``: of the Space itself under 0, of its parts under 1, 2, …"""
    kind, fields = facts["support"]
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Space(
        facts["name"],
        {dim: unlisted(values) for dim, values in facts["coords"].items()},
        facts["unit"],
        getattr(support, kind)(**fields),
        masks.get(0),
        {key: (dim, unlisted(values)) for key, (dim, values) in facts["extra"].items()},
        tuple(restore_space(part, {0: masks[k]} if k in masks else {}) for k, part in enumerate(facts["parts"], 1)),
    )


def listed(labels: np.ndarray[Any, Any]) -> list[Any]:
    """Labels with their dtype, as JSON can hold them."""
    plain = labels.astype(np.int64) if labels.dtype.kind in "mM" else labels
    return [str(labels.dtype), plain.tolist()]


def unlisted(pair: list[Any]) -> np.ndarray[Any, Any]:
    """The inverse of :func:`listed`."""
    dtype, values = pair
    return np.asarray(values).astype(dtype)
