"""Cycle skipping: how wrong a start may be before the waveforms lead away from the truth."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor

import posteriori as po
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import TorchOperator
from posteriori.domains.geophysics.misfits import Correlation, Envelope, Transport
from posteriori.physics.wavelets import ricker

STEPS, DT = 600, 0.004
TRUE = torch.tensor([0.5], dtype=torch.float64)  # [s/km], that is 2 km/s


class Direct(TorchOperator):
    """The trace of a wave that went straight through a medium, of its slowness."""

    def __init__(self, frequency: float, offset: float) -> None:
        super().__init__()
        self.domain = po.Space("slowness", {"medium": 1}, "s/km")
        self.codomain = po.Space("pressure", {"time": DT * torch.arange(STEPS).numpy()})
        self.frequency, self.offset = frequency, offset

    def forward(self, m: Tensor) -> Tensor:
        """(*batch, 1) → (*batch, time)."""
        return ricker(self.frequency, DT * torch.arange(STEPS) - m * self.offset / 1000, 0.4)


def basin(misfit: Noise, frequency: float, offset: float) -> float:
    """How late [s] a start may arrive for the misfit to fall all the way from it to the truth."""
    waves = Direct(frequency, offset)
    late = torch.arange(0.0, 0.8, 0.0005, dtype=torch.float64)[:, None]
    energy = misfit.energy(waves(TRUE), waves(TRUE + 1000 * late / offset))
    rises = (energy.diff() > 0).long().cumprod(0)
    return float(late[int(rises.sum())])


MISFITS = {
    "least squares": Normal(1.0),
    "correlation": Correlation(STEPS),
    "envelope": Envelope(STEPS),
    "optimal transport": Transport(STEPS, quantiles=600),
}
for name, misfit in MISFITS.items():
    found = basin(misfit, 5.0, 1000.0)
    print(f"{name}: {found:.3f} s at 5 Hz, {5 * found:.2f} periods")

# A period counts, not a velocity: twice the offset allows half the error, half the frequency twice.
for offset, frequency in ((1000.0, 5.0), (2000.0, 5.0), (2000.0, 2.5)):
    allowed = basin(MISFITS["least squares"], frequency, offset) / (float(TRUE) * offset / 1000)
    print(f"{offset:.0f} m, {frequency} Hz: the slowness may be {100 * allowed:.1f} % too large")

print(f"closed form {sqrt(5 - sqrt(10)) / pi:.4f} periods")
print(f"basin of least squares [periods] = {5 * basin(MISFITS['least squares'], 5.0, 1000.0):.4f}")
