"""Continuation, derivatives and reduction to the pole, against the field of the same body computed anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.space import Space
from posteriori.physics.gravity import EOTVOS, MGAL, Gravity, GravityGradient
from posteriori.physics.magnetics import Direction, Magnetics, Magnetised
from posteriori.physics.prism_mesh import mesh
from posteriori.physics.upward import GridFilter, continued, derivative, reduced_to_pole
from posteriori.testing import check_operator

EDGES = 100.0 * np.arange(61)
BODY = mesh("density", "kg/m^3", z=[300, 500, 700], y=EDGES, x=EDGES)
MODEL = torch.zeros(BODY.shape, dtype=torch.float64)
MODEL[0, 25:32, 28:36] = 400.0
MODEL[1, 30:36, 24:30] = -250.0
INSIDE = (slice(10, 50), slice(10, 50))


def gravity(height: float) -> Tensor:
    return Gravity(BODY, height=height)(MODEL)


def relative(found: Tensor, wanted: Tensor) -> float:
    """Largest error within the inner two thirds of the grid, as a share of the largest value."""
    return float((found - wanted)[INSIDE].abs().max() / wanted.abs().max())


def test_upwards_is_what_is_measured_higher_up() -> None:
    grid = Gravity(BODY).codomain
    assert relative(continued(grid, 200.0)(gravity(0.0)), gravity(200.0)) < 0.01


def test_downwards_goes_back() -> None:
    grid = Gravity(BODY).codomain
    assert relative(continued(grid, -200.0, damping=1e-3)(gravity(200.0)), gravity(0.0)) < 0.02


@pytest.mark.parametrize("along", ["x", "y", "z"])
def test_derivatives_are_the_gradient(along: str) -> None:
    wanted = GravityGradient(BODY, height=50.0, components=(f"{along}z",))(MODEL)[0] / EOTVOS * MGAL
    found = derivative(Gravity(BODY).codomain, along)(gravity(50.0))
    assert relative(found, wanted) < 0.02


@pytest.mark.parametrize(("inclination", "limit"), [(75.0, 0.02), (-45.0, 0.03), (-25.0, 0.05)])
def test_the_pole_is_where_both_are_vertical(inclination: float, limit: float) -> None:
    field = Direction(inclination, -14.0)
    slanted, upright = (Magnetics(_susceptible(), Magnetised(d, 3e4), height=50.0) for d in (field, Direction(90, 0)))
    found = reduced_to_pole(slanted.codomain, field)(slanted(MODEL / 1e4))
    assert relative(found, upright(MODEL / 1e4)) < limit


def _susceptible() -> Space:
    return mesh("susceptibility", "1", z=[300, 500, 700], y=EDGES, x=EDGES)


@pytest.mark.parametrize(
    "make",
    [lambda g: derivative(g, "x"), lambda g: reduced_to_pole(g, Direction(-10.0, 20.0), Direction(40.0, 3.0))],
    ids=["derivative", "pole"],
)
def test_all_keep_the_contract(make: Callable[[Space], GridFilter]) -> None:
    check_operator(make(GridFilter.example().domain))


def test_a_constant_stays_and_has_no_slope() -> None:
    grid = GridFilter.example().domain
    flat = torch.full(grid.shape, 7.0, dtype=torch.float64)
    torch.testing.assert_close(continued(grid, 100.0)(flat), flat)
    assert float(derivative(grid, "z")(flat).abs().max()) < 1e-12


def test_what_cannot_be_is_refused() -> None:
    grid = GridFilter.example().domain
    with pytest.raises(OptionError, match="the way down"):
        continued(grid, -10.0)
    with pytest.raises(OptionError, match="along="):
        derivative(grid, "up")
    with pytest.raises(ShapeError, match="even steps"):
        continued(Space("g", {"y": [0.0, 1.0, 3.0], "x": [0.0, 1.0]}), 1.0)
    with pytest.raises(ShapeError, match="no whole grid"):
        continued(Space("g", {"x": [0.0, 1.0]}), 1.0)
    with pytest.raises(OptionError, match="infinite"):
        reduced_to_pole(grid, Direction(0.0, 0.0), damping=0.0)


def test_downwards_too_a_constant_stays() -> None:
    grid = GridFilter.example().domain
    flat = torch.full(grid.shape, 978_000.0, dtype=torch.float64)
    torch.testing.assert_close(continued(grid, -10.0, damping=0.05)(flat), flat)
