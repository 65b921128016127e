"""A conditional flow over the stiff coordinates of a molecule: fully autoregressive, yet quick both ways."""

from __future__ import annotations

from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.random import Rng

REACH = 4.0
"""Splines act on [-REACH, REACH]; beyond, the line is left alone."""
LEAST = 1e-3
"""Least width, height and slope of a spline's bin, as shares."""
EMBEDDED = 64


class InternalFlow(nn.Module):
    """q(z | features) of ordered numbers z (*batch, dims): each given those before it and the features.

    Number i is an affine map and a rational-quadratic spline away from a standard normal one (from a uniform one on
    [-1, 1] where ``bounded``). Its mean is linear in the numbers before it, with coefficients that depend on the
    features, plus what a net adds; all parameters of the spline come from the net. Hidden units stand in groups, one
    for each number, that see earlier groups alone: draws then cost no more than densities, for each step works out one
    group.

    Args:
        dims: how many numbers.
        features: length of the condition.
        width: hidden units of each number.
        layers: hidden layers.
        bins: of each spline.
        mixed: linear maps that the features mix.
        bounded: numbers on [-1, 1], without affine map.
        rng: the stream of the first weights.

    Raises:
        OptionError: numbers that are not positive.

    Reference: Germain, Gregor, Murray & Larochelle (2015), MADE: masked autoencoder for distribution estimation, ICML;
    Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows, NeurIPS.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Germain, Gregor, Murray & Larochelle (2015), MADE: masked autoencoder for distribution estimation, ICML.",
        "Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows, NeurIPS.",
    )

    def __init__(
        self,
        dims: int,
        features: int,
        width: int = 8,
        layers: int = 2,
        bins: int = 8,
        mixed: int = 32,
        bounded: bool = False,
        rng: Rng | None = None,
    ) -> None:
        super().__init__()
        if min(dims, features, width, layers, bins - 1, mixed) < 1:
            raise OptionError(
                f"dims {dims}, features {features}, width {width}, layers {layers}: positive; bins {bins}: 2."
            )
        self.dims, self.features, self.width, self.bins, self.bounded = dims, features, width, bins, bounded
        self.shape = 3 * bins + 1  # widths and heights; then all slopes, or those inside, a log scale and a shift
        hidden = dims * width
        with rng or Rng(0):
            self.embed = nn.Sequential(nn.Linear(features, 128), nn.SiLU(), nn.Linear(128, EMBEDDED), nn.SiLU())
            self.gate = nn.Linear(EMBEDDED, mixed)
            self.mix = nn.Parameter(torch.zeros(mixed, dims, dims))
            first = nn.Linear(dims, hidden)
            self.inner = nn.ModuleList([first] + [nn.Linear(hidden, hidden) for _ in range(layers - 1)])
            self.outer = nn.ModuleList([nn.Linear(EMBEDDED, hidden, bias=False) for _ in range(layers)])
            self.head = nn.Parameter(0.1 * torch.randn(dims, width, self.shape) / width**0.5)
            self.bias = nn.Linear(EMBEDDED, dims * self.shape)
            nn.init.zeros_(self.bias.weight)
            nn.init.zeros_(self.bias.bias)
        group = torch.arange(dims).repeat_interleave(width)
        self.register_buffer("before", (torch.arange(dims) < torch.arange(dims)[:, None]).float(), persistent=False)
        self.register_buffer("see_first", (torch.arange(dims) < group[:, None]).float(), persistent=False)
        self.register_buffer("see", (group <= group[:, None]).float(), persistent=False)
        self.before: Tensor
        self.see_first: Tensor
        self.see: Tensor

    def log_prob(self, z: Tensor, features: Tensor) -> Tensor:
        """log q, (*batch,)."""
        if z.shape[-1] != self.dims or features.shape[-1] != self.features:
            raise ShapeError(f"{tuple(z.shape)} and {tuple(features.shape)}: end in {self.dims} and {self.features}.")
        context = self.embed(features)
        h = z
        for k, (inner, outer) in enumerate(zip(self._linear(), self.outer, strict=True)):
            mask = self.see_first if k == 0 else self.see
            new = F.silu(F.linear(h, inner.weight * mask, inner.bias) + outer(context))
            h = new if k == 0 else h + new
        shape = torch.einsum("...gw,gwp->...gp", h.unflatten(-1, (self.dims, self.width)), self.head)
        shape = shape + self.bias(context).unflatten(-1, (self.dims, self.shape))
        maps = (z @ self._flat_mix()).unflatten(-1, (-1, self.dims))
        mixed = (maps * self.gate(context)[..., None]).sum(-2)
        u, slope = self._whiten(z, shape, mixed)
        return (slope + self._base(u)).sum(-1)

    def draw(self, features: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """Draws (n, dims) for ``features`` (n, features) and their log q (n,), without graph."""
        return self.push(self.base(len(features), rng).to(features), features)

    def base(self, n: int, rng: Rng) -> Tensor:
        """``n`` base points (n, dims): uniform on [-1, 1] where bounded, else standard normal."""
        return 2 * rng.uniform((n, self.dims)) - 1 if self.bounded else rng.normal((n, self.dims))

    def push(self, u: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Base points (n, dims) → z and log q there, (n,), without graph."""
        with torch.no_grad():
            context = self.embed(features)
            gate, bias = self.gate(context), self.bias(context).unflatten(-1, (self.dims, self.shape))
            outer = [layer(context) for layer in self.outer]
            z, total, mix = torch.zeros_like(u), torch.zeros_like(u[:, 0]), self.mix * self.before
            hidden = [u.new_zeros(len(u), self.dims * self.width) for _ in self.inner]
            for i in range(self.dims):
                some = self._hidden(i, z, hidden, outer)
                shape = hidden[-1][:, some] @ self.head[i] + bias[:, i]
                mean = ((z[:, :i] @ mix[:, i, :i].mT) * gate).sum(-1)
                z[:, i], slope = self._colour(u[:, i], shape, mean)
                total += slope + self._base(u[:, i])
        return z, total

    def _hidden(self, i: int, z: Tensor, hidden: list[Tensor], outer: list[Tensor]) -> slice:
        """Work out the hidden units of number i in every layer, in place; which those are."""
        some = slice(i * self.width, (i + 1) * self.width)
        for k, layer in enumerate(self._linear()):
            given = z[:, :i] if k == 0 else hidden[k - 1][:, : some.stop]
            new = F.linear(given, layer.weight[some, : given.shape[1]], layer.bias[some]) + outer[k][:, some]
            hidden[k][:, some] = F.silu(new) if k == 0 else hidden[k - 1][:, some] + F.silu(new)
        return some

    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self.inner if isinstance(layer, nn.Linear)]

    def _flat_mix(self) -> Tensor:
        return (self.mix * self.before).permute(2, 0, 1).flatten(1)

    def _base(self, u: Tensor) -> Tensor:
        return torch.full_like(u, -log(2.0)) if self.bounded else -0.5 * u.square() - 0.5 * log(2 * pi)

    def _whiten(self, z: Tensor, shape: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """z → base numbers, and log |du/dz|."""
        knots = self._knots(shape)
        if self.bounded:
            return spline(z, *knots, inverse=False)
        scale = shape[..., -2].clamp(-6.0, 6.0)
        u, slope = spline((z - mean - shape[..., -1]) * (-scale).exp() / REACH, *knots, inverse=False)
        return u * REACH, slope - scale

    def _colour(self, u: Tensor, shape: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Base numbers → z, and log |du/dz|."""
        knots = self._knots(shape)
        if self.bounded:
            z, slope = spline(u, *knots, inverse=True)
            return z, -slope
        scale = shape[..., -2].clamp(-6.0, 6.0)
        z, slope = spline(u / REACH, *knots, inverse=True)
        return z * REACH * scale.exp() + mean + shape[..., -1], -slope - scale

    def _knots(self, shape: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Widths and heights (…, bins) that sum to 2, and slopes (…, bins + 1)."""
        k = self.bins
        widths, heights = (
            2 * (LEAST + (1 - LEAST * k) * part.softmax(-1)) for part in shape[..., : 2 * k].split(k, -1)
        )
        raw = shape[..., 2 * k : 3 * k + 1] if self.bounded else shape[..., 2 * k : 3 * k - 1]
        slopes = LEAST + (1 - LEAST) * F.softplus(raw + log(torch.e - 1.0))
        return widths, heights, slopes if self.bounded else F.pad(slopes, (1, 1), value=1.0)


def spline(x: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """A monotone rational-quadratic spline of [-1, 1] onto itself, the identity outside, and log |derivative|.

    Reference: Gregory & Delbourgo (1982), Piecewise rational quadratic interpolation to monotonic data, IMA J. Numer.
    Anal. 2, 123.
    """
    right, top = widths.cumsum(-1) - 1, heights.cumsum(-1) - 1
    inside = (x > -1) & (x < 1)
    at = x.clamp(-1 + 1e-6, 1 - 1e-6)
    bin_ = ((top if inverse else right)[..., :-1] <= at[..., None]).sum(-1, keepdim=True)
    w, h, x1, y1 = (part.gather(-1, bin_)[..., 0] for part in (widths, heights, right, top))
    d0, d1 = slopes.gather(-1, bin_)[..., 0], slopes.gather(-1, bin_ + 1)[..., 0]
    s = h / w
    bend = d0 + d1 - 2 * s
    if inverse:
        rise = at - (y1 - h)
        a, b, c = h * (s - d0) + rise * bend, h * d0 - rise * bend, -s * rise
        share = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0.0).sqrt())
    else:
        share = (at - (x1 - w)) / w
    rest = share * (1 - share)
    below = s + bend * rest
    slope = (s.square() * (d1 * share.square() + 2 * s * rest + d0 * (1 - share).square()) / below.square()).log()
    found = x1 - w + share * w if inverse else y1 - h + h * (s * share.square() + d0 * rest) / below
    return torch.where(inside, found, x), torch.where(inside, -slope if inverse else slope, 0.0)
