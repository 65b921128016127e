"""Sets of configurations with a border: where a reaction begins and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.operator import Operator


class Region(Protocol):
    """A closed set of configurations."""

    def gap(self, x: Tensor) -> Tensor:
        """How far ``x`` (*batch, *space.shape) lies outside, (*batch,); zero or less inside. Differentiable outside."""


@dataclass(frozen=True)
class Ball:
    """Configurations within ``radius`` of ``centre``, numbers of the flat configuration.

    Raises:
        OptionError: a radius that is not positive.
    """

    centre: tuple[float, ...]
    radius: float

    def __post_init__(self) -> None:
        if not 0 < self.radius < float("inf"):
            raise OptionError(f"radius={self.radius:g} must be positive.")

    def gap(self, x: Tensor) -> Tensor:
        """Distance from the border."""
        away = x.reshape(*x.shape[: x.ndim - 1], -1) - torch.tensor(self.centre, dtype=x.dtype)
        return away.square().sum(-1).clamp_min(1e-30).sqrt() - self.radius


@dataclass(frozen=True)
class Beyond:
    """Configurations where ``sign`` × a collective variable exceeds ``sign`` × ``level``.

    Attributes:
        collective: an Operator onto one number that grows about as fast as the distance.
        level: of the border.
        sign: 1 for above, -1 for below.
    """

    collective: Operator
    level: float
    sign: float = 1.0

    def gap(self, x: Tensor) -> Tensor:
        """Distance from the border along the collective variable."""
        s = self.collective.codomain.flat(self.collective(x))[..., 0]
        return self.sign * (self.level - s)
