"""How an answer was made, and what a method is given to make one."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib import metadata
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from posteriori.core.random import Rng
from posteriori.core.store import Store


class Progress(Protocol):
    """Shows how far long work is."""

    def __call__(self, steps: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        """Hand the steps on, one by one, showing ``label`` and the time left."""


def silent(steps: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """Progress that shows nothing."""
    yield from steps


@dataclass(frozen=True)
class Context:
    """What a method is given beside its target.

    Attributes:
        rng: the stream of everything random.
        device: where tensors live.
        executor: runs independent tasks; None means this process.
        progress: wraps long loops.
        store: keeps checkpoints; None keeps none.
    """

    rng: Rng = field(default_factory=lambda: Rng(0))
    device: str = "cpu"
    executor: Executor | None = None
    progress: Progress = silent
    store: Store | None = None

    def child(self, *key: str | int) -> Context:
        """The context of a part of the work: its own stream and its own corner of the store."""
        store = None if self.store is None else self.store.child(*key)
        return Context(self.rng.child(*key), self.device, self.executor, self.progress, store)


@dataclass(frozen=True)
class Run:
    """Enough to repeat an answer bit for bit."""

    method: str
    seed: int
    device: str
    threads: int
    versions: dict[str, str]
    hashes: dict[str, str]
    wall_seconds: float
    cpu_seconds: float
    references: tuple[str, ...] = ()

    def json(self) -> str:
        """As one line of JSON."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Run:
        """The inverse of :meth:`json`."""
        found = json.loads(text)
        return Run(**{**found, "references": tuple(found["references"])})


@cache
def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ("posteriori", "torch", "numpy", "scipy", "xarray")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values, dtype and shape; 16 hexadecimal digits."""
    held = tensor.detach().cpu().contiguous()
    found = hashlib.sha256(f"{held.dtype}{tuple(held.shape)}".encode())
    found.update(held.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def describe(thing: Any) -> str:
    """A method's class and hyper-parameters as one line, the same for equal methods."""
    if isinstance(thing, Run):
        return f"Run({thing.method}, seed={thing.seed})"
    if is_dataclass(thing) and not isinstance(thing, type):
        inner = ", ".join(f"{f.name}={describe(getattr(thing, f.name))}" for f in fields(thing))
        return f"{type(thing).__name__}({inner})"
    if isinstance(thing, nn.Module):
        weights = [digest(t) for t in thing.state_dict().values()]
        return f"{type(thing).__name__}<{hashlib.sha256(''.join(weights).encode()).hexdigest()[:12]}>"
    if isinstance(thing, Tensor):
        return f"tensor<{digest(thing)}>"
    if isinstance(thing, (list, tuple)):
        return "[" + ", ".join(describe(item) for item in thing) + "]"
    if isinstance(thing, Callable):  # type: ignore[arg-type]
        return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__name__)}"
    return repr(thing)


def references(*things: Any) -> tuple[str, ...]:
    """The ``references`` of everything a target, prior or method is made of, each once, in the order met."""
    found: dict[str, None] = {}
    seen: set[int] = set()

    def visit(thing: Any) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        own = getattr(type(thing), "references", ())
        if isinstance(own, tuple):
            found.update(dict.fromkeys(own))
        if isinstance(thing, nn.Module):
            inner: list[Any] = [*thing.children(), *(v for v in vars(thing).values() if is_dataclass(v))]
        elif is_dataclass(thing) and not isinstance(thing, type):
            inner = [getattr(thing, f.name) for f in fields(thing)]
        elif isinstance(thing, (list, tuple)):
            inner = list(thing)
        else:
            inner = []
        for part in inner:
            visit(part)

    for thing in things:
        visit(thing)
    return tuple(found)
