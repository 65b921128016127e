"""How many threads may work: one for whatever adds numbers up, all that are free for tasks that never meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

THREADS = 1
"""Threads of torch in every task: fixed, so that sums are added in the same order however many workers there are."""


class _Here(threading.local):
    busy = False


_here = _Here()
_outside: list[int] = []


@contextmanager
def fixed_threads() -> Iterator[None]:
    """Torch on :data:`THREADS` threads inside, as before outside."""
    before = torch.get_num_threads()
    _outside.append(before)
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        _outside.pop()
        torch.set_num_threads(before)


def free_threads() -> int:
    """Threads for tasks that do not touch one another: what torch may use outside :func:`fixed_threads`.

    ``OMP_NUM_THREADS`` or ``torch.set_num_threads`` lowers it. Inside such a task it is one.
    """
    if _here.busy:
        return 1
    return _outside[0] if _outside else torch.get_num_threads()


def side_by_side(work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    """``work`` of every task, in their order, on as many threads as are free; for code that lets go of Python's lock.

    What is found does not depend on the number of threads, as long as no task sees another.
    """
    many = min(free_threads(), len(tasks))
    if many < 2:
        yield from map(work, tasks)
        return
    with ThreadPoolExecutor(many, initializer=_begin) as pool:
        yield from pool.map(work, tasks)


def _begin() -> None:
    _here.busy = True
