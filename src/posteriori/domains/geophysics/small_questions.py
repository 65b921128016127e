"""Small nonlinear questions with real operators, for methods to be tried on: a magnetotelluric sounding, two wells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from posteriori.core.covariance import DenseCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.eikonal import Eikonal
from posteriori.physics.magnetotellurics import Magnetotellurics


class LogSounding(TorchOperator):
    """ln ρ of layers → ln ρ_a and phase [rad] at each period: a sounding in the units in which its errors are even.

    Args:
        tops: of the layers [m], from 0 downwards.
        periods: [s].
    """

    def __init__(self, tops: Tensor, periods: Tensor) -> None:
        super().__init__()
        coords = {"z": tops.numpy()}
        self.domain = Space("log_resistivity", coords)
        self.sounding = Magnetotellurics(Space("resistivity", coords, "ohm m"), periods)
        both: dict[str, Any] = {"kind": ["log_apparent_resistivity", "phase"], "period": periods.numpy()}
        self.codomain = Space("sounding", both)

    def forward(self, m: Tensor) -> Tensor:
        """(*batch, 2, periods)."""
        apparent, phase = self.sounding(m.exp()).unflatten(-1, (2, -1)).unbind(-2)
        return torch.stack([apparent.log(), torch.deg2rad(phase)], -2)

    @staticmethod
    def example() -> LogSounding:
        """Three layers at four periods."""
        return LogSounding(torch.tensor([0.0, 200.0, 900.0]).double(), torch.logspace(-2, 1, 4, dtype=torch.float64))


def sounding(spread: float = 1.0, error: float = 0.05, layers: int = 10, periods: int = 12, seed: int = 0) -> Inverse:
    """A magnetotelluric sounding of layers whose ln ρ scatters by ``spread`` about 100 ohm m.

    Args:
        spread: standard deviation of ln ρ; 1 is a factor of e.
        error: standard deviation of ln ρ_a; that of the phase is half of it, in radians, as its error follows.
        layers: their tops grow from 100 m to 10 km.
        periods: from 0.01 to 100 s.
        seed: of the truth and its data.
    """
    tops = torch.cat([torch.zeros(1).double(), torch.logspace(2, 4, layers - 1, dtype=torch.float64)])
    operator = LogSounding(tops, torch.logspace(-2, 2, periods, dtype=torch.float64))
    gap = (torch.arange(layers)[:, None] - torch.arange(layers)).abs().double()
    covariance = DenseCovariance(spread**2 * torch.exp(-gap / 2))
    prior = Gaussian(operator.domain, torch.full((layers,), np.log(100.0), dtype=torch.float64), covariance)
    sigma = torch.tensor([[error], [error / 2]], dtype=torch.float64).expand(2, periods).contiguous()
    target = Inverse(operator, prior, torch.zeros(2, periods, dtype=torch.float64), sigma)
    return target.given(target.simulate(1, Rng(seed).child("sounding"))[1].data[0])


def crosswell(spread: float = 0.15, error: float = 0.001, shots: int = 4, receivers: int = 5, seed: int = 0) -> Inverse:
    """First arrivals [s] across 140 m between two wells 180 m deep, in velocities that scatter by ``spread`` of 2 km/s.

    8 by 8 nodes; rays bend towards the fast parts, so that the times are no linear function of the velocities.

    Args:
        spread: standard deviation of the velocity, as a share of its mean.
        error: standard deviation of a time [s]; the times are near 0.07 s.
        shots: in the left well.
        receivers: in the right well.
        seed: of the truth and its data.
    """
    grid = Space("velocity", {"z": 20.0 + 20.0 * np.arange(8), "x": 20.0 * np.arange(8)}, "m/s")
    operator = Eikonal(grid, _well(shots, 0.0), _well(receivers, 140.0))
    prior = Smoothness(grid, 2000.0 * spread, {"z": 40.0, "x": 80.0}, mean=2000.0).requires_grad_(False)
    target = Inverse(operator, prior, torch.zeros(operator.codomain.shape, dtype=torch.float64), error)
    return target.given(target.simulate(1, Rng(seed).child("crosswell"))[1].data[0])


def _well(instruments: int, x: float) -> Tensor:
    z = torch.linspace(25.0, 155.0, instruments, dtype=torch.float64)
    return torch.stack([z, torch.full_like(z, x)], 1)
