"""Large rasters judged block by block: members, scores of hidden cells, seams, memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from torch import Tensor

from posteriori.audit.rasters.ensemble import student_interval
from posteriori.audit.scores import crps_fair
from posteriori.domains.geography.tiles_net import Scale
from posteriori.domains.geography.tiles_scene import Scene
from posteriori.domains.picture import Floats
from posteriori.learn.diffusion.tiled import Blocks
from posteriori.learn.diffusion.tiling import Place, Tiling, Window

SCORED = 36
"""Most blocks that are scored, spread evenly over the raster."""
BESIDE = (4, 6, 8, 10, 12)
"""Distances [cells] from a seam at which gradients are compared with those across it."""


@dataclass(frozen=True)
class Filled:
    """Members of a raster in blocks; what is known is the same in all of them.

    Args:
        scene: what is known.
        members: fields of unit size.
        scale: from those to values.
    """

    scene: Scene
    members: Sequence[Blocks]
    scale: Scale

    @property
    def tiling(self) -> Tiling:
        """How it is cut."""
        return self.members[0].tiling

    def read(self, window: Window) -> Floats:
        """Values of the members, float64 (member, y, x)."""
        drawn = torch.stack([blocks.read(window) for blocks in self.members]).double().numpy()
        known = self.scene.known(window).values[0]
        return np.where(np.isfinite(known), known, self.scale.mean + self.scale.std * drawn)


@dataclass(frozen=True)
class BlockScores:
    """Sums over the scored cells of one block; ``covered`` by 90 % intervals, ``linear`` interpolation beside."""

    cells: float
    crps: float
    squared_error: float
    variance: float
    covered: float
    squared_error_linear: float
    error_linear: float


def scored(filled: Filled) -> Iterator[BlockScores]:
    """Scores of the hidden cells of blocks all over the raster; blocks without any are left out."""
    for place in spread_evenly(filled.tiling.places(), SCORED):
        block = filled.tiling.block(place)
        truth = filled.scene.truth(block)
        judged = filled.scene.hidden(block) & np.isfinite(truth)
        if judged.any() and not judged.all():
            yield _block_scores(filled, block, truth, judged)


def spread_evenly(places: Sequence[Place], most: int) -> list[Place]:
    """At most ``most`` of the places, evenly."""
    count = min(most, len(places))
    return [places[at * len(places) // count] for at in range(count)]


def seams(filled: Filled) -> Iterator[tuple[float, float, float]]:
    """(cells, Σ |gradient| across edges of blocks and windows, the same beside them) of stretches one block long."""
    tiling = filled.tiling
    for axis in (0, 1):
        for line in _edges(tiling, axis):
            for start in range(0, tiling.shape[1 - axis], tiling.stride):
                along = slice(start, min(start + tiling.stride, tiling.shape[1 - axis]))
                across = slice(line - BESIDE[-1] - 1, line + BESIDE[-1] + 1)
                window = Window(across, along) if axis == 0 else Window(along, across)
                yield from _stretch(filled, window, axis)


def peak_memory() -> float:
    """The most memory that this process and its workers have held [MiB]."""
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def linear(values: Floats) -> Floats:
    """Gaps of one window (y, x) filled by lines over a Delaunay triangulation, by the nearest cell outside of it."""
    known = np.isfinite(values)
    at, gaps = np.argwhere(_rim(known)), np.argwhere(~known)
    heights = values[at[:, 0], at[:, 1]]
    found = LinearNDInterpolator(at, heights)(gaps) if len(at) > 3 else np.full(len(gaps), np.nan)
    outside = np.isnan(found)
    if outside.any():
        found[outside] = NearestNDInterpolator(at, heights)(gaps[outside])
    filled = values.copy()
    filled[~known] = found
    return filled


def _block_scores(filled: Filled, block: Window, truth: Floats, judged: NDArray[np.bool_]) -> BlockScores:
    members = torch.from_numpy(filled.read(block)[:, judged])
    y = torch.from_numpy(truth[judged])
    mean, n = members.mean(0), len(members)
    crps, variance, inside = (mean - y).abs(), torch.zeros_like(y), torch.zeros_like(y)
    if n > 1:
        low, high = student_interval(members[..., None], 0.9)
        crps, variance = crps_fair(members, y), members.var(0) * (n + 1) / n
        inside = ((low[..., 0] <= y) & (y <= high[..., 0])).to(y)
    lines = torch.from_numpy(linear(filled.scene.known(block).values[0])[judged])
    return BlockScores(
        len(y),
        float(crps.sum()),
        float((mean - y).square().sum()),
        float(variance.sum()),
        float(inside.sum()),
        float((lines - y).square().sum()),
        float((lines - y).abs().sum()),
    )


def _edges(tiling: Tiling, axis: int) -> list[int]:
    """Rows or columns where a block begins or a window over it ends."""
    cells = tiling.shape[axis]
    lines = [at * tiling.stride + more for at in range(1, tiling.counts[axis]) for more in (0, tiling.overlap)]
    return [line for line in lines if BESIDE[-1] < line < cells - BESIDE[-1]]


def _stretch(filled: Filled, window: Window, axis: int) -> Iterator[tuple[float, float, float]]:
    drawn = torch.from_numpy(filled.read(window))
    gap = torch.from_numpy(~np.isfinite(filled.scene.known(window).values[0]))
    if axis == 1:
        drawn, gap = drawn.transpose(1, 2), gap.transpose(0, 1)
    step = drawn.diff(dim=1).abs().mean(0)
    both = gap[1:] & gap[:-1]
    middle = BESIDE[-1]
    beside = [middle + sign * far for far in BESIDE for sign in (1, -1)]
    use: Tensor = both[middle] & both[beside].all(0)
    if bool(use.any()):
        yield float(use.sum()), float(step[middle][use].sum()), float(step[beside][:, use].mean(0).sum())


def _rim(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Known cells with a gap among their neighbours: lines between gaps end there."""
    gap = np.pad(~known, 1)
    near = np.zeros_like(known)
    for down in range(3):
        for right in range(3):
            near |= gap[down : down + known.shape[0], right : right + known.shape[1]]
    return known & near
