"""How strong fields are: where some are a hundred times rougher than others, this is a law that diffusion is told."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.random import Rng

GOLDEN = 0.6180339887498949
NAMES = ("sizes.logs", "sizes.hours", "sizes.width")


@dataclass(frozen=True, eq=False)
class Sizes:
    """ln a of the training fields, u = ū + a · v with v of unit spread; drawn anew by a kernel about them.

    The kernel has Silverman's width for as many points as there are blocks, since fields of one block go together, and
    is shrunk to keep mean and variance.

    Attributes:
        logs: (n,), of the training fields.
        hours: (n,), when they were; of no length where that does not matter.
        width: of the kernel, in standard deviations of ``logs``, below 1.

    Reference: Silverman (1986), Density estimation for statistics and data analysis, 3.4 and 6.4.
    """

    logs: Tensor
    hours: Tensor
    width: float

    @staticmethod
    def of(unit: Tensor, hours: Tensor | None, blocks: int) -> Sizes:
        """Of u (n, 1, y, x) in so many blocks."""
        hours = torch.zeros(0) if hours is None else hours
        return Sizes(_spread(unit).log().double(), hours, min(0.99, 1.06 * blocks**-0.2))

    def tensors(self) -> dict[str, Tensor]:
        """To save."""
        return dict(zip(NAMES, (self.logs, self.hours, torch.tensor(self.width, dtype=torch.float64)), strict=True))

    @staticmethod
    def taken(tensors: dict[str, Tensor]) -> Sizes:
        """Out of ``tensors``, which lose them.

        Raises:
            KeyError: one is missing.
        """
        logs, hours, width = (tensors.pop(name) for name in NAMES)
        return Sizes(logs, hours, float(width))

    def draw(self, n: int, hour: Tensor | None, rng: Rng) -> Tensor:
        """ln a of ``n`` new fields, (n,), each by the law at the hour of the day nearest to its own, (n,).

        Those of an hour are stratified, in centre and kernel, and shuffled: a mean over them scatters less than one
        over independent draws.
        """
        asked = torch.zeros(n) if hour is None else hour
        std, mean = torch.std_mean(self.logs)
        drawn = torch.empty(n, dtype=torch.float64)
        for k, when in enumerate(asked.unique()):
            rows, centres = (asked == when).nonzero()[:, 0], self._near(when) - mean
            order = rng.child("order", k).permutation(len(rows))
            share = (order + rng.child("centre", k).uniform((len(rows),))) / len(rows)
            turn = (order * GOLDEN + rng.child("kernel", k).uniform((1,))) % 1
            kernel = torch.special.ndtri(turn.clamp(1e-6, 1 - 1e-6))
            shrunk = (1 - self.width**2) ** 0.5 * centres[(share * len(centres)).long().clamp(max=len(centres) - 1)]
            drawn[rows] = mean + shrunk + self.width * std * kernel
        return drawn

    def _near(self, hour: Tensor) -> Tensor:
        """ln a of the training fields of the nearest hour, in order; of all where hours do not matter."""
        if not len(self.hours):
            return self.logs.sort().values
        late = (hour - self.hours).abs()
        late = torch.minimum(late, 24 - late)
        return self.logs[late <= late.min() + 1e-6].sort().values

    def told(self, logs: Tensor) -> Tensor:
        """What the net sees of ln a, (n, 1) float32 of about unit size."""
        std, mean = torch.std_mean(self.logs)
        return ((logs - mean) / std.clamp(min=1e-9)).float()[:, None]


def evened(unit: Tensor) -> tuple[Tensor, Tensor]:
    """v (n, 1, y, x) and ln a (n,) of u."""
    size = _spread(unit)
    return sized(unit, -size.log()), size.log().double()


def sized(fields: Tensor, logs: Tensor) -> Tensor:
    """Fields (n, 1, y, x) of e^logs times the spread about their own means."""
    mean = fields.mean((1, 2, 3), keepdim=True)
    return mean + logs.exp().to(fields).reshape(-1, 1, 1, 1) * (fields - mean)


def _spread(unit: Tensor) -> Tensor:
    spread = unit.std((1, 2, 3))
    return spread.clamp(min=1e-3 * float(spread.mean()))
