"""The denoiser of tiles: trained on patches under clouds, told at each window what is known there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.tiles_scene import BORDER, Scene, clouds
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.tiling import Tiling, Window
from posteriori.learn.diffusion.training import Fields, LogUniform, NoiseLoss, train
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.network import load_net
from posteriori.learn.plan import Batch, Cosine, Plan, Precision
from posteriori.learn.pull_push import pull_push

WEIGHTS = Path(__file__).parent / "weights" / "tiles.safetensors"
PATCH = 64
"""Side of the patches that are learnt from [cells]."""
SEEN = 0.9
"""Share of a patch that must be known to be learnt from."""
LOW, HIGH = 0.01, 80.0
"""First and last noise level, of fields of unit size."""
FAINT = 0.05
"""What a known cell counts in training, a hidden one counting 1."""
PLAN = Plan(
    epochs=24,
    batch=16,
    rate=2e-3,
    schedule=Cosine(warm_up=0.03),
    average=0.995,
    clip=1.0,
    precision=Precision.BFLOAT16,
)
"""Of training; steps are epochs · patches / batch."""


@dataclass(frozen=True)
class Scale:
    """From values to numbers of unit size: (value - mean) / std."""

    mean: float
    std: float


@dataclass(frozen=True)
class Filling:
    """A denoiser of windows that looks up what is known there.

    Args:
        net: trained by :func:`learnt`, told what :func:`beside` gives.
        scene: where it looks.
        scale: of the values.
    """

    net: Preconditioned
    scene: Scene
    scale: Scale

    def __call__(self, x: Tensor, sigma: Tensor, window: Window) -> Tensor:
        """(y, x)."""
        values = torch.from_numpy(self.scene.known(window).values[0])
        seen = torch.isfinite(values)
        known = ((values - self.scale.mean) / self.scale.std).nan_to_num(0.0)
        with torch.autocast("cpu", torch.bfloat16):
            found: Tensor = self.net(x[None, None], sigma, beside(known[None, None], seen[None, None]))[0, 0]
        return found


def beside(known: Tensor, seen: Tensor) -> Tensor:
    """What the net is told of known values (n, 1, y, x): they themselves, where they are, and their gaps filled."""
    mask = seen.float()
    return torch.cat([known.float() * mask, mask, pull_push(known.float() * mask, mask)], 1)


def clouded(shape: tuple[int, ...], rng: Rng) -> Tensor:
    """Masks (n, y, x), True where a cell is seen: clouds over a uniform share; a quarter are seen nowhere."""
    shares, corners = rng.child("share").uniform((shape[0],)), rng.child("corner").integers(10**6, (shape[0], 2))
    masks = []
    for share, (row, column) in zip(shares.tolist(), corners.tolist(), strict=True):
        window = Window(slice(row, row + shape[1]), slice(column, column + shape[2]))
        masks.append(~clouds(rng.child("clouds"), window, 1.0 if share > 0.75 else share / 0.75))
    return torch.from_numpy(np.stack(masks))


def scale_of(scene: Scene, tiling: Tiling) -> Scale:
    """Mean and standard deviation of all that is known, block by block.

    Raises:
        DataError: nothing is known, or all of it is one number.
    """
    count, total, squares = 0, 0.0, 0.0
    shift = None
    for place in tiling.places():
        values = scene.known(tiling.block(place)).values
        values = values[np.isfinite(values)]
        if len(values):
            shift = float(values[0]) if shift is None else shift
            count += len(values)
            total += float((values - shift).sum())
            squares += float(np.square(values - shift).sum())
    variance = 0.0 if count < 2 else squares / count - (total / count) ** 2
    if shift is None or not variance > 0:
        raise DataError(f"{count} cells are known and vary by {variance:g}: there is nothing to learn from.")
    return Scale(shift + total / count, sqrt(variance))


def patches(scene: Scene, scale: Scale, number: int, rng: Rng) -> Tensor:
    """``number`` patches of what is known, scaled, NaN in gaps, (n, 1, PATCH, PATCH).

    Raises:
        DataError: a raster smaller than a patch, or hardly a place that is known enough.
    """
    shape = scene.source.grid.shape
    if min(shape) < PATCH:
        raise DataError(f"a raster of {shape} cells is smaller than the patches of {PATCH} that are learnt from.")
    corners = rng.numpy.integers(0, np.array(shape) - PATCH + 1, (20 * number, 2))
    found: list[Tensor] = []
    for row, column in corners.tolist():
        window = Window(slice(row, row + PATCH), slice(column, column + PATCH))
        values = torch.from_numpy(scene.known(window).values).float()
        if float(torch.isfinite(values).float().mean()) >= SEEN:
            found.append((values - scale.mean) / scale.std)
        if len(found) == number:
            return torch.stack(found)
    raise DataError(
        f"only {len(found)} of {len(corners)} places are known to {SEEN:.0%}; give a net by model= that was trained "
        "elsewhere, or hide less."
    )


def elevation_patches(number: int, rng: Rng) -> tuple[Tensor, Scale]:
    """Patches of the west of the shipped elevation model, and their scale."""
    west = load_dem().values[0, :, :BORDER]
    scale = Scale(float(west.mean()), float(west.std()))
    field = torch.from_numpy((west - scale.mean) / scale.std).float()
    corners = rng.numpy.integers(0, np.array(west.shape) - PATCH + 1, (number, 2)).tolist()
    return torch.stack([field[None, row : row + PATCH, at : at + PATCH] for row, at in corners]), scale


@dataclass(frozen=True)
class Clouded:
    """Rows turned and mirrored at random, then hidden by clouds; what the clouds hide is what counts."""

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """(values, weight, condition, vector)."""
        values, weight, _, vector = batch
        turns = rng.child("turn").integers(8, (len(values),)).tolist()
        both = torch.stack([_turned(field, turn) for field, turn in zip(torch.cat([values, weight], 1), turns)])
        values, weight = both[:, :1], both[:, 1:]
        seen = clouded((len(values), *values.shape[2:]), rng.child("clouds"))[:, None] & (weight > 0)
        hidden = weight * torch.where(seen, FAINT, 1.0)
        return values, hidden, beside(values, seen), vector


def untrained() -> Preconditioned:
    """The net of tiles: 0.15 million numbers on three scales, no attention, so that it sees no farther than it must."""
    with Rng(0).child("tiles"):
        return Preconditioned(UNet(condition_channels=3, width=16, multiples=(1, 2, 2), heads=0))


def learnt(fields: Tensor, plan: Plan, context: Context) -> Preconditioned:
    """A net trained on patches (n, 1, y, x), NaN in gaps, under clouds."""
    rows = Fields(fields, condition=torch.zeros(len(fields), 3, *fields.shape[2:]))
    loss = NoiseLoss(LogUniform(LOW, HIGH))
    net = train(untrained(), rows, replace(plan, augment=Clouded()), context, loss=loss).net
    assert isinstance(net, Preconditioned)
    return net.requires_grad_(False).eval()


def loaded(path: Path = WEIGHTS) -> Preconditioned:
    """A net that was kept; the one of the shipped elevation model without a path."""
    return Preconditioned(load_net(UNet.from_config, path)).requires_grad_(False).eval()


def _turned(field: Tensor, turn: int) -> Tensor:
    return torch.rot90(field if turn < 4 else field.flip(-1), turn % 4, (-2, -1))
