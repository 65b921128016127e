"""The one verb: a target and a method give a posterior that knows how it was made."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import Executor
from copy import deepcopy
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.posterior import Labelled, Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Context, Progress, Run, describe, digest, references, silent, versions
from posteriori.core.store import Store
from posteriori.core.target import Inverse, Target
from posteriori.core.threads import THREADS, fixed_threads


class Method(Protocol):
    """A way to answer: a frozen dataclass of hyper-parameters."""

    def __call__(self, target: Target, context: Context) -> Posterior:
        """The posterior of ``target``.

        Raises:
            UnanswerableError: this method cannot answer this target.
        """


@runtime_checkable
class HasEvidence(Protocol):
    """A method that can give log ∫ exp(-energy) with a gradient in the target's parameters."""

    def log_evidence(self, target: Target) -> Tensor:
        """Float64 (*problem,), differentiable."""


@runtime_checkable
class Approximate(Protocol):
    """A method whose answer stays off the posterior, however long it runs; the contracts ask it for no exactness.

    Attributes:
        bias: how it errs, as one sentence.
    """

    bias: ClassVar[str]


def infer(
    target: Target,
    method: Method,
    seed: int = 0,
    device: str = "cpu",
    executor: Executor | None = None,
    progress: Progress = silent,
    store: Store | str | Path | None = None,
) -> Posterior:
    """What is believed about the unknown of ``target`` once its data are seen.

    Args:
        target: the question; never changed.
        method: the way to answer it.
        seed: of everything random; the same seed gives the same arrays for any number of workers.
        device: where tensors live while the method runs.
        executor: runs independent tasks; None means this process.
        progress: wraps long loops.
        store: a folder for checkpoints, from which an interrupted call goes on; None keeps none. Another target,
            method or seed has its own corner in it.

    Raises:
        UnanswerableError: the method cannot answer this target.
        OptionError: a method that is no object of one, or a device that is not here.
    """
    if not callable(method) or isinstance(method, type):
        raise OptionError(f"method {method!r} is no method; give an object of one, such as Exact().")
    require_device(device)
    hashes = {name: digest(tensor) for name, tensor in target.state_dict().items()}
    folder = Store(Path(store)) if isinstance(store, (str, Path)) else store
    if folder is not None:
        folder = folder.child(_key(target, method, seed, hashes))
    context = Context(Rng(seed), device, executor, progress, folder)
    moved = target if device == "cpu" else deepcopy(target).to(device)
    wall, cpu = time.perf_counter(), time.process_time()
    with fixed_threads():
        posterior = method(moved, context)
    run = Run(
        method=describe(method),
        seed=seed,
        device=device,
        threads=THREADS,
        versions=versions(),
        hashes=hashes,
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        references=references(target, method, posterior),
    )
    return posterior.made_by(run, _observed(target))


def require_device(device: str) -> None:
    """Make sure that tensors can live on ``device``; else ``OptionError``."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).partition("\n")[0]
        raise OptionError(f"device {device!r} cannot be used ({reason}); take cpu.") from None


def _key(target: Target, method: Method, seed: int, hashes: dict[str, str]) -> str:
    """16 hexadecimal digits that tell this question, method and seed from others."""
    parts = [f"{name}={type(part).__qualname__}" for name, part in target.named_modules()]
    text = json.dumps([parts, hashes, describe(method), seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _observed(target: Target) -> Labelled | None:
    if not isinstance(target, Inverse):
        return None
    space = target.operator.codomain
    return space.dataset(target.data, target.problems) if space.parts else space.label(target.data, target.problems)
