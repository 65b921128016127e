"""What is usual at an hour of the day or a day of the year: a mean field that turns with a period."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError
from posteriori.core.space import Space


class Climatology(nn.Module):
    """mean(t) = c₀ + Σ_k c_k cos(2π k t / period) + s_k sin(2π k t / period), cell by cell.

    Args:
        space: the grid.
        coefficients: (1 + 2·harmonics, *space.shape).
        period: in the unit of the times, e.g. 24 [h].
    """

    def __init__(self, space: Space, coefficients: Tensor, period: float) -> None:
        super().__init__()
        self.space, self.period = space, period
        self.register_buffer("coefficients", space.check(coefficients, "coefficients"))
        self.coefficients: Tensor

    @staticmethod
    def of(space: Space, history: Tensor, times: Tensor, period: float, harmonics: int) -> Climatology:
        """Least squares over ``history`` (n, *space.shape) at ``times`` (n,); ``harmonics=0`` is the plain mean.

        Raises:
            OptionError: a period or number of harmonics that the times cannot tell.
            DataError: as many times as fields are needed.
        """
        if not period > 0 or harmonics < 0:
            raise OptionError(f"period {period} must be positive and harmonics {harmonics} at least 0.")
        if len(times) != len(history):
            raise DataError(f"{len(times)} times for {len(history)} fields; give one each.")
        fields = space.flat(space.align(history, "history")).double()
        design = _waves(times, period, harmonics)
        if int(torch.linalg.matrix_rank(design)) < design.shape[1]:
            raise OptionError(
                f"{len(times)} times cannot tell {harmonics} harmonics of a period of {period}; take fewer."
            )
        coefficients = torch.linalg.lstsq(design, fields).solution
        return Climatology(space, space.unflat(coefficients), period)

    def at(self, times: Tensor) -> Tensor:
        """The mean fields at ``times`` (n,), (n, *space.shape)."""
        waves = _waves(times, self.period, (len(self.coefficients) - 1) // 2).to(self.coefficients)
        return self.space.unflat(waves @ self.space.flat(self.coefficients))


def _waves(times: Tensor, period: float, harmonics: int) -> Tensor:
    angle = 2 * pi / period * times.double()[:, None] * torch.arange(1, harmonics + 1, dtype=torch.float64)
    return torch.cat([torch.ones(len(times), 1, dtype=torch.float64), angle.cos(), angle.sin()], 1)
