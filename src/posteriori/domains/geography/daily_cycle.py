"""The mean of every cell with its daily cycle, about which anomalies are taken."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from posteriori.core.errors import DataError

DAY = 24.0
"""Hours of a day."""
HARMONICS = 2
"""Waves a day that are fitted where the fields are dense enough in time."""


@dataclass(frozen=True, eq=False)
class DailyCycle:
    """a₀ + Σ_k (a_k cos kωt + b_k sin kωt) of each cell, ω one turn a day.

    Args:
        coefficients: (1 + 2 harmonics, cell).
    """

    coefficients: Tensor

    @staticmethod
    def fitted(hours: Tensor, fields: Tensor) -> DailyCycle:
        """By least squares to ``fields`` (n, cell) at ``hours`` (n,) from any midnight.

        As many harmonics, two at most, as fields a day can tell apart; none from fewer than three days.

        Raises:
            DataError: no field.
        """
        if not len(fields):
            raise DataError("a daily cycle needs at least one field.")
        waves = _waves(hours, _harmonics(hours))
        return DailyCycle(torch.linalg.lstsq(waves, fields.double(), driver="gelsd").solution)

    @property
    def harmonics(self) -> int:
        """Waves a day."""
        return (len(self.coefficients) - 1) // 2

    @property
    def amplitude(self) -> Tensor:
        """Half the way between the warmest and the coldest hour of the first harmonic, (cell,); zero without one."""
        if not self.harmonics:
            return torch.zeros_like(self.coefficients[0])
        return self.coefficients[1:3].square().sum(0).sqrt()

    def at(self, hours: Tensor) -> Tensor:
        """The cycle at ``hours`` (n,), (n, cell)."""
        return _waves(hours, self.harmonics) @ self.coefficients


def _harmonics(hours: Tensor) -> int:
    if float(hours.max() - hours.min()) < 3 * DAY:
        return 0
    phases = len(torch.unique((hours % DAY * 60).round()))
    return min(HARMONICS, (phases - 1) // 2)


def _waves(hours: Tensor, harmonics: int) -> Tensor:
    """1, cos, sin, … at the hours, (n, 1 + 2 harmonics)."""
    turn = 2 * pi / DAY * hours.double()
    columns = [torch.ones_like(turn)]
    for k in range(1, harmonics + 1):
        columns += [(k * turn).cos(), (k * turn).sin()]
    return torch.stack(columns, -1)
