"""Features that a denoising net finds: what passes its narrowest layer when it takes noise off samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posteriori.core.errors import ShapeError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.fit import Plan, fit

LEVELS = (0.1, 1.0)
"""Noise over the spread of the data: training draws its logarithm evenly in between; features are read at the first."""


class Bottleneck(nn.Module):
    """A denoiser D(x, ln sigma) of rows of unit variance whose middle layer has few numbers.

    Args:
        inputs: numbers of a row.
        codes: numbers of the middle layer.
        width: of the other hidden layers.
    """

    def __init__(self, inputs: int, codes: int = 6, width: int = 96) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Linear(inputs + 1, width), nn.SiLU(), nn.Linear(width, codes))
        self.up = nn.Sequential(nn.Linear(codes + 1, width), nn.SiLU(), nn.Linear(width, inputs))

    def codes(self, x: Tensor, level: Tensor) -> Tensor:
        """What passes, (n, codes), for rows (n, inputs) and ln sigma (n, 1)."""
        found: Tensor = self.down(torch.cat([x, level], 1))
        return found

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The rows without their noise, (n, inputs)."""
        found: Tensor = self.up(torch.cat([self.codes(x, level), level], 1))
        return found


@dataclass(frozen=True)
class Denoising:
    """Mean squared error of the rows that come back, the noise level drawn anew for each row and step."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,)."""
        (x,) = rows
        rng = Rng(int(torch.randint(2**62, ()))) if net.training else Rng(0)
        low, high = torch.tensor(LEVELS).log().tolist()
        level = low + (high - low) * rng.child("level").uniform((len(x), 1), x)
        noise = rng.child("noise").normal(x.shape, x)
        found: Tensor = (net(x + level.exp() * noise, level) - x).square().mean(1)
        return found


def bottleneck_features(rows: Tensor, context: Context, codes: int = 6, epochs: int = 150) -> Tensor:
    """Codes (n, codes) of rows (n, number), float64, by a net that is trained on them.

    Raises:
        ShapeError: rows that are not (n, number). DataError: a value that is not finite.
    """
    if rows.ndim != 2 or len(rows) < 8:
        raise ShapeError(f"rows {tuple(rows.shape)}: features are learnt from eight rows of numbers at least.")
    scaled = ((rows - rows.mean(0)) / rows.std().clamp_min(1e-12)).float()
    with context.rng.child("start"):
        net = Bottleneck(rows.shape[1], codes)
    plan = Plan(epochs=epochs, batch=64, rate=3e-3)
    found = fit(net, Denoising(), (scaled,), plan, context.child("bottleneck")).net
    assert isinstance(found, Bottleneck)
    level = torch.full((len(scaled), 1), LEVELS[0]).log()
    with torch.no_grad():
        return found.codes(scaled, level).double()
