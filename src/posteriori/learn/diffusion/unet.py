"""A U-Net for fields of any size: convolutions on three scales, attention on the coarsest, noise level by FiLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.random import Rng

FREQUENCIES = 16
"""Sines and cosines through which the noise level is seen."""
FINAL = 1e-2
"""First size of what ends a branch, as a share of the usual one: nearly nothing, and yet it learns."""


class UNet(nn.Module):
    """(x, level, condition, vector) → (n, out_channels, y, x), for any height and width.

    Residual blocks of two 3 x 3 convolutions on ``len(multiples)`` scales, each half of the one before, spatial
    attention on the coarsest, and skips across. Level and vector scale and shift the channels of each block (FiLM).

    Inductive bias: the same local rule everywhere; a field wider than the coarsest scale's view is held together by the
    attention. Sides that do not divide are padded by their own edge and cut again.

    Args:
        in_channels, out_channels: of the field.
        condition_channels: of what is given beside it: masks, elevation, coordinates, past fields.
        vector: numbers that belong to the whole field: season, hour.
        width: channels on the finest scale.
        multiples: of ``width``, one a scale.
        blocks: residual blocks a scale, each way.
        heads: of the attention; 0 for none.
        periodic: the last axis is a circle of longitudes.

    Raises:
        OptionError: sizes below one, or a width that the heads do not divide.

    Reference: Ronneberger, Fischer & Brox (2015), U-Net; Ho, Jain & Abbeel (2020); Perez et al. (2018), FiLM.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        condition_channels: int = 0,
        vector: int = 0,
        width: int = 32,
        multiples: Sequence[int] = (1, 2, 4),
        blocks: int = 1,
        heads: int = 4,
        periodic: bool = False,
    ) -> None:
        super().__init__()
        counts = (in_channels, out_channels, width, blocks, *multiples)
        if min(counts) < 1 or not multiples or min(condition_channels, vector, heads) < 0:
            raise OptionError(f"a UNet needs channels, width, blocks and multiples of at least 1; {counts} were given.")
        if heads and (width * multiples[-1]) % heads:
            raise OptionError(
                f"{heads} heads do not divide the {width * multiples[-1]} channels of the coarsest scale."
            )
        self.shape = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "condition_channels": condition_channels,
            "vector": vector,
            "width": width,
            "multiples": list(multiples),
            "blocks": blocks,
            "heads": heads,
            "periodic": periodic,
        }
        self.multiple = 2 ** (len(multiples) - 1)
        self.periodic = periodic
        told = 4 * width
        self.level = Level(told)
        self.told = nn.Linear(vector, told) if vector else None
        self.enter = Convolution(in_channels + condition_channels, width, periodic)
        sizes = [width * m for m in multiples]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, now = [], width
        for size in sizes:
            for _ in range(blocks):
                self.down.append(Block(now, size, told, periodic))
                now = size
                kept.append(now)
        self.before, self.after = Block(now, now, told, periodic), Block(now, now, told, periodic)
        self.attention = Attention(now, heads) if heads else nn.Identity()
        self.narrow = nn.ModuleList()
        for scale, size in reversed(list(enumerate(sizes))):
            for _ in range(blocks):
                self.up.append(Block(now + kept.pop(), size, told, periodic))
                now = size
            if scale:
                self.narrow.append(nn.Conv2d(now, sizes[scale - 1], 1))
                now = sizes[scale - 1]
        self.blocks = blocks
        self.norm = _norm(now)
        self.leave = Convolution(now, out_channels, periodic)
        with torch.no_grad():
            self.leave.weight.mul_(FINAL)

    def forward(
        self, x: Tensor, level: Tensor, condition: Tensor | None = None, vector: Tensor | None = None
    ) -> Tensor:
        """(n, out_channels, y, x) of (n, in_channels, y, x), (n,), (n, condition_channels, y, x) and (n, vector)."""
        self._check(x, condition, vector)
        height, width = x.shape[-2:]
        h = x if condition is None else torch.cat([x, condition], 1)
        h = self._padded(h).contiguous(memory_format=torch.channels_last)
        told = self.level(level)
        if self.told is not None:
            told = told + self.told(vector)
        told = functional.silu(told)
        h, kept = self.enter(h), []
        scales = len(self.down) // self.blocks
        for scale in range(scales):
            for at in range(self.blocks):
                h = self.down[scale * self.blocks + at](h, told)
                kept.append(h)
            if scale + 1 < scales:
                h = halved(h)
        h = self.after(self.attention(self.before(h, told)), told)
        for scale in range(scales):
            for at in range(self.blocks):
                h = self.up[scale * self.blocks + at](torch.cat([h, kept.pop()], 1), told)
            if scale + 1 < scales:
                h = doubled(self.narrow[scale](h))
        left: Tensor = self.leave(functional.silu(self.norm(h)))
        return left[..., :height, :width]

    def config(self) -> dict[str, Any]:
        """All that ``from_config`` needs, JSON-able."""
        return dict(self.shape)

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> UNet:
        """A new net of the shape that ``config`` tells."""
        return UNet(**{**config, "multiples": tuple(config["multiples"])})

    @staticmethod
    def example() -> UNet:
        """A small net on two scales."""
        with Rng(0).child("unet"):
            return UNet(width=8, multiples=(1, 2), heads=2)

    def _check(self, x: Tensor, condition: Tensor | None, vector: Tensor | None) -> None:
        given = (x.shape[1], 0 if condition is None else condition.shape[1], 0 if vector is None else vector.shape[1])
        wanted = (self.shape["in_channels"], self.shape["condition_channels"], self.shape["vector"])
        if given != wanted:
            raise ShapeError(
                f"fields of {given[0]} channels with {given[1]} beside and {given[2]} numbers were given; this net "
                f"was made for {wanted[0]}, {wanted[1]} and {wanted[2]}."
            )

    def _padded(self, h: Tensor) -> Tensor:
        down, right = -h.shape[-2] % self.multiple, -h.shape[-1] % self.multiple
        if right:
            h = functional.pad(h, (0, right, 0, 0), mode="circular" if self.periodic else "replicate")
        if down:
            h = functional.pad(h, (0, 0, 0, down), mode="replicate")
        return h


def narrow(condition_channels: int = 0, vector: int = 0, periodic: bool = False) -> UNet:
    """A net of 0.4 million parameters for one channel of up to some 50 x 50 cells: minutes of training on two cores."""
    return UNet(condition_channels=condition_channels, vector=vector, width=24, multiples=(1, 2, 2), periodic=periodic)


class Convolution(nn.Conv2d):
    """3 x 3, the size kept: zeros beyond the border, or the other side where the last axis is a circle."""

    def __init__(self, inputs: int, outputs: int, periodic: bool = False) -> None:
        super().__init__(inputs, outputs, 3, padding=(1, 0) if periodic else 1)
        self.periodic = periodic

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, y, x) → (n, outputs, y, x)."""
        if self.periodic:
            x = torch.cat([x[..., -1:], x, x[..., :1]], -1)
        return super().forward(x)


class Level(nn.Module):
    """Noise levels ln σ / 4, (n,), as ``outputs`` features."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.register_buffer("frequency", 2 * pi * torch.logspace(-2, 0.6, FREQUENCIES), persistent=False)
        self.frequency: Tensor
        self.layers = nn.Sequential(nn.Linear(2 * FREQUENCIES, outputs), nn.SiLU(), nn.Linear(outputs, outputs))

    def forward(self, level: Tensor) -> Tensor:
        """(n, outputs)."""
        turn = level[:, None] * self.frequency
        features: Tensor = self.layers(torch.cat([turn.cos(), turn.sin()], 1))
        return features


class Block(nn.Module):
    """Two convolutions beside a way around, the second's input scaled and shifted by what is told."""

    def __init__(self, inputs: int, outputs: int, told: int, periodic: bool) -> None:
        super().__init__()
        self.first, self.second = Convolution(inputs, outputs, periodic), Convolution(outputs, outputs, periodic)
        self.norm_in, self.norm_out = _norm(inputs), _norm(outputs)
        self.film = nn.Linear(told, 2 * outputs)
        self.around = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        with torch.no_grad():
            self.second.weight.mul_(FINAL)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(n, inputs, y, x) → (n, outputs, y, x)."""
        h = self.first(functional.silu(self.norm_in(x)))
        scale, shift = self.film(told)[:, :, None, None].chunk(2, 1)
        h = functional.silu(torch.addcmul(shift, self.norm_out(h), 1 + scale))
        return self.around(x) + self.second(h)


class Attention(nn.Module):
    """Every cell looks at every other."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels)
        self.look, self.leave = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        with torch.no_grad():
            self.leave.weight.mul_(FINAL * sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, y, x) → the same."""
        n, c, height, width = x.shape
        cells = self.norm(x).permute(0, 2, 3, 1).reshape(n, height * width, c)
        q, k, v = self.look(cells).reshape(n, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, -1, c)
        return x + self.leave(seen).reshape(n, height, width, c).permute(0, 3, 1, 2)


def halved(x: Tensor) -> Tensor:
    """Means of 2 x 2 cells, (n, c, y/2, x/2); torch's pooling is slow in bfloat16."""
    n, c, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, height // 2, 2, width // 2, 2 * c).sum(2)
    return (0.25 * (rows[..., :c] + rows[..., c:])).permute(0, 3, 1, 2)


def doubled(x: Tensor) -> Tensor:
    """Every cell as 2 x 2 of itself, (n, c, 2 y, 2 x), in the precision of ``x``."""
    n, c, height, width = x.shape
    cells = x.permute(0, 2, 3, 1)[:, :, None, :, None].expand(n, height, 2, width, 2, c)
    return cells.reshape(n, 2 * height, 2 * width, c).permute(0, 3, 1, 2)


def _norm(channels: int) -> nn.GroupNorm:
    groups = next(g for g in (8, 6, 4, 3, 2, 1) if g == 1 or (channels % g == 0 and channels // g > 1))
    return nn.GroupNorm(groups, channels)
