"""The mean of every cell with its daily and yearly cycle, about which anomalies are taken."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from posteriori.core.errors import DataError

DAY = 24.0
"""Hours of a day."""
YEAR = 365.2425 * DAY
"""Hours of a year of everyday life."""
HARMONICS = 2
"""Waves of each cycle that are fitted where the fields are dense enough in time."""
TURNS = 3
"""Days or years that the fields must span before a cycle is told from chance."""


@dataclass(frozen=True, eq=False)
class DailyCycle:
    """a₀ + Σ_P Σ_k (a_Pk cos kωt + b_Pk sin kωt) of each cell, ω one turn in P: a day, a year.

    Args:
        coefficients: (1 + 2 waves, cell).
        periods: of the waves [h], the day's before the year's, each cycle's longest first.
    """

    coefficients: Tensor
    periods: tuple[float, ...]

    @staticmethod
    def fitted(hours: Tensor, fields: Tensor, year: float = YEAR) -> DailyCycle:
        """By least squares to ``fields`` (n, cell) at ``hours`` (n,) from any midnight, rising.

        As many harmonics of each cycle, two at most, as fields a turn can tell apart; none from fewer than three turns.

        Args:
            year: its hours in the calendar of the fields.

        Raises:
            DataError: no field.
        """
        if not len(fields):
            raise DataError("a daily cycle needs at least one field.")
        periods = tuple(turn / k for turn in (DAY, year) for k in range(1, _harmonics(hours, turn) + 1))
        waves = _waves(hours, periods)
        return DailyCycle(torch.linalg.lstsq(waves, fields.double(), driver="gelsd").solution, periods)

    @property
    def amplitude(self) -> Tensor:
        """Half the way between the highest and the lowest of the first wave, (cell,); zero without one."""
        if not self.periods:
            return torch.zeros_like(self.coefficients[0])
        return self.coefficients[1:3].square().sum(0).sqrt()

    def at(self, hours: Tensor) -> Tensor:
        """The cycle at ``hours`` (n,), (n, cell)."""
        return _waves(hours, self.periods) @ self.coefficients


def _harmonics(hours: Tensor, turn: float) -> int:
    times = hours.unique()
    if len(times) < 2 or float(times[-1] - times[0]) < TURNS * turn:
        return 0
    a_turn = round(turn / float(times.diff().min()))
    return max(0, min(HARMONICS, (a_turn - 1) // 2))


def _waves(hours: Tensor, periods: tuple[float, ...]) -> Tensor:
    """1, cos, sin, … at the hours, (n, 1 + 2 waves)."""
    columns = [torch.ones_like(hours, dtype=torch.float64)]
    for period in periods:
        angle = 2 * pi / period * hours.double()
        columns += [angle.cos(), angle.sin()]
    return torch.stack(columns, -1)
