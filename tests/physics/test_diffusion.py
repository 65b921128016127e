"""Diffusion against the heat kernel, its orders of convergence and what must be conserved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.support import Positive
from posteriori.physics.decades import PowerOfTen
from posteriori.physics.diffusion import Diffusion
from posteriori.testing import check_operator

RECEIVERS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [2.0, -1.0], [0.0, 0.0]], dtype=torch.float64)


def square(cells: int, side: float = 14.0) -> Space:
    centre = (np.arange(cells) + 0.5) * side / cells - side / 2
    return Space("diffusivity", {"z": centre, "x": centre}, "m^2/s", Positive())


def error(cells: int, steps: int, d: float = 0.7) -> float:
    """Largest distance from exp(-r²/4Dt) / 4πDt after a second, as a share of the largest value."""
    origin = torch.zeros(1, 2, dtype=torch.float64)
    operator = Diffusion(square(cells), origin, RECEIVERS, torch.ones(1), 1.0 / steps)
    found = operator(torch.full(operator.domain.shape, d, dtype=torch.float64))[0, :, 0]
    kernel = torch.exp(-RECEIVERS.square().sum(1) / (4 * d)) / (4 * np.pi * d)
    return float((found - kernel).abs().max() / kernel.max())


def test_the_heat_kernel_is_reached_with_fourth_order_in_space() -> None:
    coarse, fine = error(14, 160), error(28, 160)
    assert fine < 0.005
    assert coarse > 12 * fine


def test_time_steps_are_of_second_order() -> None:
    first, second, third = (error(56, steps) for steps in (5, 10, 20))
    assert third < 1e-3
    assert first > 3.5 * second > 3.5 * 3.0 * third


def test_what_is_released_stays_between_closed_borders() -> None:
    """After a long time a unit is spread evenly over the area, whatever the diffusivity; twice it after two seconds."""
    space = square(6, 3.0)
    m = 10 ** (0.3 * Rng(0).normal(space.shape))
    origin = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    once = Diffusion(space, origin, RECEIVERS[3:], torch.tensor([200.0]), 2.0)(m)
    torch.testing.assert_close(once.squeeze(), torch.tensor(1 / 9, dtype=torch.float64), rtol=1e-8, atol=0)
    steady = Diffusion(space, origin, RECEIVERS[3:], torch.tensor([200.0, 202.0]), 2.0, steady=True)(m).squeeze()
    torch.testing.assert_close(steady.diff()[0], torch.tensor(2 / 9, dtype=torch.float64), rtol=1e-8, atol=0)


def test_steady_sources_and_logarithms_keep_the_contract() -> None:
    operator = Diffusion.example()
    space = operator.domain
    steady = Diffusion(space, RECEIVERS[:1], RECEIVERS[3:] + 0.5, torch.tensor([0.5, 1.0]), 0.25, steady=True)
    check_operator(steady)
    check_operator(operator @ PowerOfTen(space))


def test_what_cannot_be_is_refused() -> None:
    space, point, one = square(4), RECEIVERS[:1], torch.ones(1)
    with pytest.raises(DataError, match=r"source 0 lies at z = 50 m, outside"):
        Diffusion(space, torch.tensor([[50.0, 0.0]]), point, one, 0.5)
    with pytest.raises(DataError, match="no whole number of steps"):
        Diffusion(space, point, point, one, 0.3)
    with pytest.raises(DataError, match="rising row"):
        Diffusion(space, point, point, torch.tensor([2.0, 1.0]), 0.5)
    with pytest.raises(OptionError, match="step=-1"):
        Diffusion(space, point, point, one, -1.0)
    with pytest.raises(ShapeError, match="even steps"):
        Diffusion(Space("d", {"z": [1.0, 2.0, 4.0], "x": [0.0, 1.0]}, "m^2/s"), point, point, one, 0.5)
    with pytest.raises(DataError, match="not positive and finite"):
        Diffusion(space, point, point, one, 0.5)(torch.zeros(space.shape))
