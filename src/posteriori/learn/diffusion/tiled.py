"""A field larger than memory, drawn by denoising overlapping windows together at every noise level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from posteriori.core.cell_noise import cell_normal
from posteriori.core.errors import OptionError, StoreError
from posteriori.core.random import Rng
from posteriori.core.run import Context, silent
from posteriori.core.store import Store
from posteriori.core.tasks import run_tasks
from posteriori.learn.diffusion.denoiser import Denoise
from posteriori.learn.diffusion.solvers import multistep
from posteriori.learn.diffusion.tiling import Place, Tiling, Window


class WindowDenoiser(Protocol):
    """A denoiser that is told where it looks, so that it can read what is given beside the field there."""

    def __call__(self, x: Tensor, sigma: Tensor, window: Window) -> Tensor:
        """E[x₀ | x₀ + σ·noise = x] of x (y, x), float32, of the cells in ``window``."""


@dataclass(frozen=True)
class Everywhere:
    """A denoiser of fields (*batch, channel, y, x) that needs nothing beside them, for windows."""

    denoiser: Denoise

    def __call__(self, x: Tensor, sigma: Tensor, window: Window) -> Tensor:
        """(y, x)."""
        return self.denoiser(x[None, None], sigma)[0, 0]


@dataclass(frozen=True)
class Blocks:
    """A field kept block by block in a store."""

    tiling: Tiling
    store: Store
    name: str = "x"
    level: int = 0

    def read(self, window: Window) -> Tensor:
        """The cells of ``window``, float32 (y, x)."""
        found = torch.empty(window.shape)
        for place in self.tiling.meeting(window):
            block = self.tiling.block(place)
            common = block.common(window)
            found[common.within(window)] = _load(self.store, _state(self.level, place))[self.name][common.within(block)]
        return found


def solve_tiled(
    denoiser: WindowDenoiser, tiling: Tiling, sigmas: Tensor, context: Context, shuffle: Rng | None = None
) -> Blocks:
    """A draw of the field on the grid of ``tiling`` by DPM-Solver++, in memory for one window.

    At each level x̂₀ of a cell is the weighted mean of the windows over it, then the step is taken everywhere. The first
    noise belongs to the cells (:func:`posteriori.core.cell_noise.cell_normal`), sums are added in one order and
    a window is denoised alone: any order of work, interrupted or not, gives the same bits.

    Args:
        denoiser: of windows; what another process can unpickle where ``context`` has an executor.
        tiling: of the grid.
        sigmas: falling levels; see :func:`posteriori.learn.diffusion.schedule.karras`.
        context: the stream of the noise, executor, progress, and the store (needed) that holds the field.
        shuffle: works in a random order.

    Raises:
        OptionError: no store. StoreError: the store holds another field.

    Reference: Bar-Tal, Yariv, Lipman & Dekel (2023), MultiDiffusion: fusing diffusion paths for controlled image
    generation, ICML.
    """
    if context.store is None:
        raise OptionError("tiles are kept in a store: give a context that has one.")
    _claim(context.store, tiling, sigmas, context.rng)
    steps = len(sigmas) - 1
    work = _steps(denoiser, tiling, sigmas, context, shuffle)
    for _ in context.progress(work, "tiles", 2 * steps * len(tiling.places())):
        pass
    return Blocks(tiling, context.store, level=steps)


def room(tiling: Tiling, members: int = 1) -> int:
    """Bytes that the store takes at most while ``members`` fields are drawn one after another."""
    cells = sum(a * b for a, b in (tiling.window(place).shape for place in tiling.places()))
    kept = tiling.shape[0] * tiling.shape[1]
    return 4 * (cells + 2 * kept + 2 * kept * members)


def _claim(store: Store, tiling: Tiling, sigmas: Tensor, rng: Rng) -> None:
    """Note what the store holds, or see that it holds this."""
    facts = {"tiling": repr(tiling), "sigmas": sigmas.tolist(), "seed": rng.seed, "stream": "/".join(rng.path)}
    found = store.load("field")
    if found is None:
        store.save("field", {}, facts)
    elif found[1] != facts:
        raise StoreError(f"{store.folder} holds the field {found[1]}, not {facts}; choose another folder.")


def _steps(
    denoiser: WindowDenoiser, tiling: Tiling, sigmas: Tensor, context: Context, shuffle: Rng | None
) -> Iterator[None]:
    """One yield for every window or block that is done, those of an earlier run included."""
    store, places = context.store, tiling.places()
    assert store is not None
    quiet = replace(context, store=None, progress=silent)
    for level in range(len(sigmas) - 1):
        if not store.has(f"done-{level}"):
            course = _Course(denoiser, tiling, sigmas, level, store, context.rng)
            for task in (_denoise_window, _step_block):
                order = (
                    places if shuffle is None else [places[i] for i in shuffle.child(level).permutation(len(places))]
                )
                yield from _run(task, course, order, quiet)
            store.save(f"done-{level}", {})
            for place in places:
                store.remove(_window(level, place))
                store.remove(_state(level, place))
        else:
            yield from [None] * (2 * len(places))


@dataclass(frozen=True)
class _Course:
    """What the windows of one level share."""

    denoiser: WindowDenoiser
    tiling: Tiling
    sigmas: Tensor
    level: int
    store: Store
    rng: Rng


def _run(task: Any, course: _Course, order: list[Place], context: Context) -> Iterator[None]:
    keys = [f"{i}-{j}" for i, j in order]
    if context.executor is not None:
        run_tasks(task, course, keys, context)
        yield from [None] * len(keys)
        return
    for key in keys:
        run_tasks(task, course, [key], context)
        yield None


def _denoise_window(course: _Course, context: Context) -> dict[str, Tensor]:
    """x̂₀ of one window at this level, into the store."""
    place = _place(context)
    if not course.store.has(_window(course.level, place)):
        window = course.tiling.window(place)
        with torch.no_grad():
            x0 = course.denoiser(_noisy(course, window), course.sigmas[course.level], window)
        course.store.save(_window(course.level, place), {"x0": x0.float()})
    return {}


def _step_block(course: _Course, context: Context) -> dict[str, Tensor]:
    """One block at the next level, into the store."""
    place, level, tiling = _place(context), course.level, course.tiling
    if course.store.has(_state(level + 1, place)):
        return {}
    block = tiling.block(place)
    x0 = torch.zeros(block.shape)
    for near in tiling.around(place):
        window = tiling.window(near)
        common = window.common(block)
        part = tiling.weight(near) * _load(course.store, _window(level, near))["x0"]
        x0[common.within(block)] += part[common.within(window)]
    before = None
    if level > 0:
        before = _load(course.store, _state(level, place))["x0"], course.sigmas[level - 1]
    now, then = course.sigmas[level], course.sigmas[level + 1]
    x = multistep(_noisy(course, block), x0, now, then, before)
    course.store.save(_state(level + 1, place), {"x": x, "x0": x0})
    return {}


def _noisy(course: _Course, window: Window) -> Tensor:
    if course.level == 0:
        return course.sigmas[0].float() * cell_normal(course.rng, window.rows, window.columns)
    return Blocks(course.tiling, course.store, level=course.level).read(window)


def _place(context: Context) -> Place:
    row, _, column = context.rng.key.partition("-")
    return int(row), int(column)


def _window(level: int, place: Place) -> str:
    return f"window-{level}-{place[0]}-{place[1]}"


def _state(level: int, place: Place) -> str:
    return f"state-{level}-{place[0]}-{place[1]}"


def _load(store: Store, name: str) -> dict[str, Tensor]:
    found = store.load(name)
    assert found is not None, f"{name} is missing from {store}"
    return found[0]
