"""Umbrella windows against potentials of mean force that are known: a line, a circle, a double well."""

from __future__ import annotations

from math import log, pi, sqrt

import pytest
import torch
from torch import Tensor

from posteriori.core.algebra import Identity
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection, TorchOperator
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann
from posteriori.inference.hmc import HMC
from posteriori.inference.umbrella import Umbrella, Windows, joined, umbrella
from posteriori.physics.double_well import DoubleWell

PLANE = Space("position", {"axis": ["x", "y"]})
SCALAR = Space("energy")


class Bowl(TorchOperator):
    """½ x² on a line."""

    def __init__(self) -> None:
        super().__init__()
        self.domain, self.codomain = Space("x", {"axis": 1}), SCALAR

    def forward(self, m: Tensor) -> Tensor:
        return m[..., 0].square() / 2


class Ring(TorchOperator):
    """A stiff ring of radius one with the energy 2 cos φ around it."""

    def __init__(self) -> None:
        super().__init__()
        self.domain, self.codomain = PLANE, SCALAR

    def forward(self, m: Tensor) -> Tensor:
        r = m.norm(dim=-1)
        return 60 * (r - 1).square() + 2 * m[..., 0] / r


class Angle(TorchOperator):
    """φ of a point of the plane, in (-π, π]."""

    def __init__(self) -> None:
        super().__init__()
        self.domain, self.codomain = PLANE, Space("phi", unit="rad")

    def forward(self, m: Tensor) -> Tensor:
        return torch.atan2(m[..., 1], m[..., 0])


def exact_windows(seed: int, n: int = 400) -> Umbrella:
    """Exact rows of springs of stiffness 3 on a bowl: normal, variance 1/4, mean 3/4 of the centre."""
    centres = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    bowl = Boltzmann(Bowl(), 1.0)
    windows = Windows(Identity(bowl.space), centres, 3.0)
    rng = Rng(seed)
    rows = [0.75 * c + 0.5 * rng.child("window", i).normal((n, 1)) for i, c in enumerate(centres)]
    return joined(bowl, windows, rows)


def test_windows_of_exact_rows_give_the_normal_law() -> None:
    """-log density x²/2 + ½ log 2π at 12 bins within 4.5 errors; false alarm 1e-4."""
    found = exact_windows(0).profile(torch.linspace(-3, 3, 13))
    edges = torch.linspace(-3, 3, 13, dtype=torch.float64)
    exact = -(torch.special.ndtr(edges).diff() / 0.5).log()
    assert bool(((found.values - exact).abs() < 4.5 * found.errors).all())
    assert float(found.errors.max()) < 0.3
    assert float(found.shifted.min()) == 0.0


def test_difference_mean_and_draws() -> None:
    """Halves are equal, <x²> = 1; false alarm 1e-4 each."""
    found = exact_windows(1)
    value, error = found.difference(found.collective < 0, found.collective >= 0)
    assert abs(value) < 4 * error
    mean, its_error = found.mean(found.collective.square())
    assert abs(float(mean) - 1) < 4 * float(its_error)
    draws = found.draws()
    assert float(draws.center()) == pytest.approx(float(found.mean(found.collective)[0]), abs=1e-9)
    with pytest.raises(DataError, match="no row lies in one of the two basins"):
        found.difference(found.collective < -50, found.collective > 0)


def test_windows_that_make_no_sense_are_refused() -> None:
    bowl = Boltzmann(Bowl(), 1.0)
    with pytest.raises(OptionError, match="one stiffness"):
        Windows(Identity(bowl.space), [0.0, 1.0], [1.0])
    with pytest.raises(OptionError, match="period"):
        Windows(Identity(bowl.space), [0.0], 1.0, period=0.0)
    with pytest.raises(OptionError, match="a window needs one"):
        Windows(Identity(PLANE), [0.0], 1.0)
    far = Windows(Identity(bowl.space), [0.0, 40.0], 100.0)
    rows = [c * 100 / 101 + Rng(2).normal((100, 1)) / sqrt(101) for c in (0.0, 40.0)]
    with pytest.raises(UnanswerableError, match="Add states between"):
        joined(bowl, far, rows)
    with pytest.raises(DataError, match="one for each"):
        joined(bowl, far, rows[:1])
    with pytest.raises(OptionError, match="ascending"):
        exact_windows(3, 100).profile(torch.tensor([0.0, 0.0]))


def test_springs_go_round_a_circle() -> None:
    windows = Windows(Angle(), [3.0], 2.0, period=2 * pi)
    assert float(windows.bias(torch.tensor(-3.0))[0]) == pytest.approx((2 * pi - 6) ** 2)


@pytest.mark.slow
def test_a_ring_has_the_potential_of_mean_force_it_was_given() -> None:
    """2 cos φ less a constant at 18 bins within 4.5 errors; false alarm 1e-4."""
    target = Boltzmann(Ring(), 1.0)
    windows = Windows(Angle(), torch.linspace(-pi, pi, 8)[:-1].tolist(), 6.0, period=2 * pi)
    start = Gaussian(PLANE, torch.tensor([-1.0, 0.0]).double(), DiagonalCovariance(torch.full((2,), 0.02).double()))
    sampler = HMC(draws=60, warmup=60, chains=16, steps=8)
    found = umbrella(target, windows, start, Context(Rng(4)), sampler).profile(torch.linspace(-pi, pi, 19))
    phi = torch.linspace(-pi, pi, 1801, dtype=torch.float64)
    density = torch.exp(-2 * phi[:-1].cos()).reshape(18, 100).mean(1)
    exact = -(density / density.mean() / (2 * pi)).log()
    assert bool(((found.values - exact).abs() < 4.5 * found.errors).all())


@pytest.mark.slow
def test_a_barrier_of_nine_kt_is_crossed() -> None:
    """ΔF = 4.777 kT by quadrature within 4 errors; false alarm 1e-4."""
    target = Boltzmann(DoubleWell(), 1.0)
    windows = Windows(Selection.along(target.space, "axis", ["x"]), torch.linspace(-3.2, 3.2, 12).tolist(), 10.0)
    start = Gaussian(
        target.space, torch.tensor([-3.0, 0.0]).double(), DiagonalCovariance(torch.full((2,), 0.1).double())
    )
    found = umbrella(target, windows, start, Context(Rng(5)), HMC(draws=60, warmup=60, chains=16, steps=5))
    x = torch.linspace(-6, 6, 120001, dtype=torch.float64)
    p = torch.exp(-(x**4 / 4 - 3 * x.square() + x))
    value, error = found.difference(found.collective < 0, found.collective >= 0)
    assert abs(value - log(float(p[x < 0].sum() / p[x >= 0].sum()))) < 4 * error
    assert error < 0.4
