"""Weather that is made up over a real landscape, so that the law of every forecast is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, pi

import torch
from torch import Tensor

from posteriori.core.covariance import DenseCovariance, cholesky
from posteriori.core.errors import OptionError
from posteriori.core.map_grid import MapGrid
from posteriori.core.random import Rng
from posteriori.domains.geography.blocks import block_means, coarser, whole_blocks
from posteriori.domains.geography.daily_cycle import DAY
from posteriori.domains.geography.dem import load_dem

COARSER = 14
"""Cells of the elevation model along the side of one cell of this weather."""
LAPSE = 6.5e-3
"""Kelvin that a metre of height takes from the temperature (ICAO standard atmosphere)."""
SPIN_UP = 300
"""Hours that are thrown away before the first field."""


@dataclass(frozen=True, eq=False)
class MovingWeather:
    """x(t + 1 h) = M x(t) + noise over a mean that falls with height, and a daily cycle, stronger in valleys.

    M carries the anomaly x with a steady wind, spreads it and damps it; the noise is smooth in space and stronger over
    high ground. Given x(t), x(t + τ) is N(M^τ x, Σ_k M^k Q M^kᵀ), the Kalman forecast from a field known exactly.

    Args:
        elevation: [m], (y, x).
        wind: cells an hour, down the rows and along them.
        spread: of the anomaly in an hour [cells].
        memory: hours after which damping leaves 1/e.
        scale: of the noise [cells].
        size: standard deviation of an hour's noise [K] at mean height.
    """

    elevation: Tensor
    wind: tuple[float, float] = (0.1, 0.35)
    spread: float = 0.5
    memory: float = 60.0
    scale: float = 4.0
    size: float = 0.3

    @property
    def height(self) -> Tensor:
        """Elevation about its mean, of unit size, (cell,)."""
        z = self.elevation.reshape(-1)
        return (z - z.mean()) / z.std()

    @cached_property
    def step(self) -> Tensor:
        """M, (cell, cell): rows are weights of where the air comes from; beyond the border there is none."""
        position = self._positions
        away = position[:, None] - torch.tensor(self.wind, dtype=torch.float64) - position
        weights = (-0.5 * (away / self.spread).square().sum(-1)).exp()
        inside = weights.sum(1, keepdim=True)
        return weights / inside.max() * exp(-1 / self.memory)

    @cached_property
    def noise(self) -> Tensor:
        """Q [K²], (cell, cell)."""
        distance = torch.cdist(self._positions, self._positions)
        std = self.size * (1 + 0.3 * self.height).clamp_min(0.2)
        return std[:, None] * std * (-0.5 * (distance / self.scale).square()).exp()

    def cycle(self, hours: Tensor) -> Tensor:
        """The mean temperature [K] at ``hours`` from midnight, (n, cell)."""
        mean = 288.0 - LAPSE * (self.elevation - self.elevation.mean()).reshape(-1)
        swing = 3.0 - 0.7 * self.height
        return mean + swing * (2 * pi * (hours[:, None].double() - 15) / DAY).cos()

    def fields(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """Hours (n,) and temperatures [K] (n, cell) of one course of this weather.

        Raises:
            OptionError: fewer than one field.
        """
        if n < 1:
            raise OptionError(f"{n} hours of weather; give one at least.")
        root, x, found = cholesky(self.noise), torch.zeros(self.elevation.numel(), dtype=torch.float64), []
        push = rng.normal((SPIN_UP + n, len(x))) @ root.mT
        for noise in push:
            x = self.step @ x + noise
            found.append(x)
        hours = torch.arange(n, dtype=torch.float64)
        return hours, self.cycle(hours) + torch.stack(found[SPIN_UP:])

    def forecast(self, lead: int) -> tuple[Tensor, DenseCovariance]:
        """M^lead, and the covariance of what is not known that many hours ahead."""
        carried, covariance = torch.eye(self.elevation.numel(), dtype=torch.float64), torch.zeros_like(self.noise)
        for _ in range(lead):
            covariance = covariance + carried @ self.noise @ carried.mT
            carried = self.step @ carried
        return carried, DenseCovariance(covariance)

    @property
    def _positions(self) -> Tensor:
        rows, columns = (torch.arange(n, dtype=torch.float64) for n in self.elevation.shape)
        return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def over_the_dem() -> tuple[MovingWeather, MapGrid]:
    """This weather over the elevation model that ships, and the grid of its cells."""
    dem = whole_blocks(load_dem(), COARSER)
    return MovingWeather(torch.from_numpy(block_means(dem.values[0], COARSER))), coarser(dem.grid, COARSER)
