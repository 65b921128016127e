"""Independent tasks here, in spawned processes or on a cluster: cut the same way and giving the same numbers."""

from __future__ import annotations

import importlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, StoreError
from posteriori.core.run import Context
from posteriori.core.threads import fixed_threads

Task = Callable[[Any, Context], dict[str, Tensor]]


@contextmanager
def workers(n: int) -> Iterator[Executor | None]:
    """``n`` spawned processes (forking is unsafe after OpenMP); None, this process, for one."""
    if n < 1:
        raise OptionError(f"{n} workers cannot work; ask for one or more.")
    if n == 1:
        yield None
        return
    with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def run_tasks(
    function: Task, payload: Any, keys: Sequence[str | int], context: Context, label: str = "tasks"
) -> list[dict[str, Tensor]]:
    """``function(payload, context.child(key))`` for every key, in the order of ``keys``.

    The payload reaches a worker once, as a file; a task is that file's path and a key. With a store, each finished
    task is kept under its key and not done again.

    Args:
        function: a module-level function; gives named tensors.
        payload: what all tasks share.

    Raises:
        OptionError: a lambda or inner function, which another process could not find.
        StoreError: the store holds results of another function or seed.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    if "<" in name:
        raise OptionError(f"{name} cannot be found by another process; pass a function of a module.")
    made_with = {"function": name, "seed": context.rng.seed, "stream": "/".join(context.rng.path)}
    done: dict[str | int, dict[str, Tensor]] = {}
    waiting = []
    for key in keys:
        found = None if context.store is None else context.store.load(f"task-{key}")
        if found is None:
            waiting.append(key)
        elif found[1] != made_with:
            raise StoreError(
                f"task {key} in {context.store} was made by {found[1]}, not by {made_with}; choose another folder."
            )
        else:
            done[key] = found[0]
    for key, result in context.progress(_results(function, name, payload, waiting, context), label, len(waiting)):
        done[key] = result
        if context.store is not None:
            context.store.save(f"task-{key}", result, made_with)
    return [done[key] for key in keys]


def _results(
    function: Task, name: str, payload: Any, keys: Sequence[str | int], context: Context
) -> Iterator[tuple[str | int, dict[str, Tensor]]]:
    if context.executor is None or not keys:
        with fixed_threads():
            for key in keys:
                yield key, function(payload, context.child(key))
        return
    with tempfile.TemporaryDirectory(prefix="posteriori-") as folder:
        path = Path(folder) / "payload.pt"
        torch.save(payload, path)
        alone = Context(context.rng, context.device)
        futures = {context.executor.submit(_work, name, str(path), alone.child(key)): key for key in keys}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


_payloads: dict[str, Any] = {}


def _work(name: str, path: str, context: Context) -> dict[str, Tensor]:
    """One task in a worker, which reads each payload once."""
    if path not in _payloads:
        _payloads.clear()
        _payloads[path] = torch.load(path, weights_only=False)
    module, _, qualname = name.partition(":")
    function: Any = importlib.import_module(module)
    for part in qualname.split("."):
        function = getattr(function, part)
    torch.set_num_threads(1)  # the other workers have the other cores
    with fixed_threads():
        result: dict[str, Tensor] = function(_payloads[path], context)
    return result
