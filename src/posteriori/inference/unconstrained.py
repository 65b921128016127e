"""Coordinates in which a sampler may go anywhere, for unknowns whose support has borders."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from posteriori.core.errors import UnanswerableError
from posteriori.core.space import Space
from posteriori.core.support import Circular, Classes, Interval, Positive, Real, Support


class Unconstrained:
    """Flat coordinates ``u`` (*batch, size) of values ``x`` (*batch, *shape).

    Positive: x = exp(u); Interval: x = low + (high - low) / (1 + exp(-u)); Circular: x = u mod period; Real: x = u.

    Raises:
        UnanswerableError: classes have no such coordinates.
    """

    def __init__(self, space: Space, who: str) -> None:
        self.space = space
        self._pieces = _pieces(space, 0)
        for support, _ in self._pieces:
            if isinstance(support, Classes):
                raise UnanswerableError(f"{who} moves through numbers; {space.name} takes classes: use Importance.")
        self.everywhere = all(isinstance(support, Real) for support, _ in self._pieces)

    def values(self, u: Tensor) -> Tensor:
        """x of u."""
        if self.everywhere:
            return self.space.unflat(u)
        return self.space.unflat(torch.cat([_value(u[..., at], support) for support, at in self._pieces], -1))

    def log_jacobian(self, u: Tensor) -> Tensor | float:
        """log |dx / du|, (*batch,), float64."""
        if self.everywhere:
            return 0.0
        terms = [_log_slope(u[..., at].double(), support).sum(-1) for support, at in self._pieces]
        return torch.stack(terms).sum(0)

    def coordinates(self, x: Tensor) -> Tensor:
        """u of x."""
        flat = self.space.flat(x)
        if self.everywhere:
            return flat
        return torch.cat([_coordinate(flat[..., at], support) for support, at in self._pieces], -1)

    def inside(self, x: Tensor) -> Tensor:
        """Where all values lie in their support, booleans (*batch,)."""
        flat = self.space.flat(x)
        good = torch.isfinite(flat).all(-1)
        for support, at in self._pieces:
            if isinstance(support, Positive):
                good = good & (flat[..., at] > 0).all(-1)
            elif isinstance(support, Interval):
                good = good & ((flat[..., at] > support.low) & (flat[..., at] < support.high)).all(-1)
        return good


def _pieces(space: Space, start: int) -> list[tuple[Support, slice]]:
    if not space.parts:
        return [(space.support, slice(start, start + space.size))]
    found = []
    for inner in space.parts:
        found += _pieces(inner, start)
        start += inner.size
    return found


def _value(u: Tensor, support: Support) -> Tensor:
    if isinstance(support, Positive):
        return u.exp()
    if isinstance(support, Interval):
        return support.low + (support.high - support.low) * torch.sigmoid(u)
    if isinstance(support, Circular):
        return torch.remainder(u, support.period)
    return u


def _log_slope(u: Tensor, support: Support) -> Tensor:
    if isinstance(support, Positive):
        return u
    if isinstance(support, Interval):
        return log(support.high - support.low) + logsigmoid(u) + logsigmoid(-u)
    return torch.zeros_like(u)


def _coordinate(x: Tensor, support: Support) -> Tensor:
    if isinstance(support, Positive):
        return x.log()
    if isinstance(support, Interval):
        return torch.logit((x - support.low) / (support.high - support.low))
    return x
