"""What was seen before: past fields with gaps as channels beside the present one, by recurrence or by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from posteriori.core.errors import ShapeError
from posteriori.learn.diffusion.unet import Convolution, UNet


class ConvGRU(nn.Module):
    """Past fields (n, time, channel, y, x), oldest first, with ``seen`` (n, time, 1, y, x) → (n, width, y, x).

    A gated recurrence with 3 x 3 convolutions. Where a field has a gap its mask says so and the gates may keep what
    was there before.

    Reference: Ballas, Yao, Pal & Courville (2016), Delving deeper into convolutional networks for learning video
    representations, ICLR.
    """

    def __init__(self, channels: int, width: int = 16, periodic: bool = False) -> None:
        super().__init__()
        self.width = width
        self.gates = Convolution(channels + 1 + width, 2 * width, periodic)
        self.state = Convolution(channels + 1 + width, width, periodic)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """(n, width, y, x); gaps of ``past`` may hold any finite number."""
        h = past.new_zeros(len(past), self.width, *past.shape[-2:])
        for field, mask in zip(past.unbind(1), seen.unbind(1), strict=True):
            now = torch.cat([field * mask, mask], 1)
            forget, update = torch.sigmoid(self.gates(torch.cat([now, h], 1))).chunk(2, 1)
            h = torch.lerp(h, torch.tanh(self.state(torch.cat([now, forget * h], 1))).to(h), update.to(h))
        return h


class TemporalAttention(nn.Module):
    """As :class:`ConvGRU`, by attention of each cell over its own past; times where it was not seen get no weight.

    Lags are counted from the newest backwards, so that any number of past fields up to ``times`` will do. A cell that
    was never seen gets a learnt answer of its own.

    Reference: Vaswani et al. (2017), Attention is all you need.
    """

    def __init__(self, channels: int, times: int, width: int = 16, periodic: bool = False) -> None:
        super().__init__()
        self.width = width
        self.look = Convolution(channels + 1, width, periodic)
        self.lag = nn.Parameter(0.1 * torch.randn(times, width))
        self.nothing = nn.Parameter(0.1 * torch.randn(2, width))
        self.query, self.keys = nn.Linear(width, width), nn.Linear(width, 2 * width)

    def forward(self, past: Tensor, seen: Tensor) -> Tensor:
        """(n, width, y, x)."""
        n, times, _, height, width = past.shape
        if times > len(self.lag):
            raise ShapeError(f"{times} past fields were given; this context was made for up to {len(self.lag)}.")
        flat = torch.cat([past * seen, seen], 2).flatten(0, 1)
        each = functional.silu(self.look(flat)).reshape(n, times, self.width, height * width).permute(0, 3, 1, 2)
        each = each + self.lag[:times].flip(0)
        keys, values = self.keys(each).chunk(2, -1)
        none = self.nothing.to(keys).expand(n, height * width, 1, 2, self.width)
        keys, values = torch.cat([keys, none[..., 0, :]], 2), torch.cat([values, none[..., 1, :]], 2)
        visible = seen.reshape(n, times, height * width).transpose(1, 2) > 0
        visible = functional.pad(visible, (0, 1), value=True)
        query = self.query(each[:, :, -1:])
        found = functional.scaled_dot_product_attention(query, keys, values, visible[:, :, None])
        return found[:, :, 0].transpose(1, 2).reshape(n, self.width, height, width)


class WithContext(nn.Module):
    """A :class:`UNet` whose last conditions are past fields: first what the net sees as it is, then the past.

    Conditions are (n, k + times · (channels + 1), y, x): k of any kind, then ``times`` blocks, oldest first, each of
    ``channels`` values and one mask. It stands where the net would: ``Preconditioned(WithContext(…))``.

    Args:
        net: made for k + context.width conditions.
        context: :class:`ConvGRU` or :class:`TemporalAttention`.
        times, channels: of the past.
    """

    def __init__(self, net: UNet, context: ConvGRU | TemporalAttention, times: int, channels: int = 1) -> None:
        super().__init__()
        self.net, self.context, self.times, self.channels = net, context, times, channels

    def forward(
        self, x: Tensor, level: Tensor, condition: Tensor | None = None, vector: Tensor | None = None
    ) -> Tensor:
        """(n, out_channels, y, x)."""
        block = self.times * (self.channels + 1)
        if condition is None or condition.shape[1] < block:
            raise ShapeError(f"{self.times} past fields of {self.channels} channels and a mask each are needed beside.")
        past = condition[:, -block:].unflatten(1, (self.times, self.channels + 1))
        told = self.context(past[:, :, :-1], past[:, :, -1:])
        found: Tensor = self.net(x, level, torch.cat([condition[:, :-block], told.to(x)], 1), vector)
        return found
