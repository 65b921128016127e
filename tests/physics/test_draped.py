"""Fields on rough ground by interpolation: within the error that is stated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.physics.draped import Draped
from posteriori.physics.gravity import Gravity, GravityGradient, ScatteredGravity
from posteriori.physics.magnetics import Direction, Magnetics, Magnetised, ScatteredMagnetics
from posteriori.physics.prism_mesh import mesh

MESH = mesh("density", "kg/m^3", z=50.0 * np.arange(5), y=50.0 * np.arange(21), x=50.0 * np.arange(25))
RNG = np.random.default_rng(0)
EAST, NORTH, RISE = RNG.uniform(0, 1200, 120), RNG.uniform(0, 1000, 120), RNG.uniform(0, 150, 120)
SIGNED = torch.from_numpy(RNG.normal(0, 300, MESH.shape))
POSITIVE = torch.from_numpy(RNG.uniform(0, 500, MESH.shape))


@pytest.mark.parametrize(("lowest", "signed", "positive"), [(25, 1e-2, 1e-3), (50, 2e-3, 1e-4), (100, 1e-4, 5e-6)])
def test_gravity_within_the_stated_error(lowest: float, signed: float, positive: float) -> None:
    place = (EAST, NORTH, lowest + RISE)
    draped, exact = Draped(MESH, Gravity, *place), ScatteredGravity(MESH, *place)
    for m, limit in ((SIGNED, signed), (POSITIVE, positive)):
        assert float((draped(m) - exact(m)).abs().max()) < limit * float(exact(m).abs().max())


def test_finer_grids_are_better_and_magnetics_works_too() -> None:
    magnetised, space = Magnetised(Direction(-62.0, -16.0), 28600.0), replace(MESH, unit="1")
    place = (EAST, NORTH, 75.0 + RISE)
    exact = ScatteredMagnetics(space, magnetised, *place)(SIGNED)

    def error(refine: int) -> float:
        draped = Draped(space, lambda s, y, x, h: Magnetics(s, magnetised, y, x, h), *place, refine=refine)
        return float((draped(SIGNED) - exact).abs().max() / exact.abs().max())

    assert error(4) < 0.3 * error(2) < 2e-3


def test_level_stations_need_one_grid() -> None:
    place = (EAST, NORTH, 80.0)
    draped = Draped(MESH, Gravity, *place)
    assert len(draped.fields) == 1
    torch.testing.assert_close(draped(POSITIVE), ScatteredGravity(MESH, *place)(POSITIVE), rtol=1e-4, atol=0)


def test_bad_input_is_refused() -> None:
    place = (EAST, NORTH, 80.0)
    with pytest.raises(OptionError, match="even order"):
        Draped(MESH, Gravity, *place, order=3)
    with pytest.raises(ShapeError, match="one at a time"):
        Draped(MESH, lambda s, y, x, h: GravityGradient(s, y, x, h, ("xz", "zz")), *place)
    with pytest.raises(DataError, match="outside the mesh"):
        Draped(MESH, Gravity, EAST + 900.0, NORTH, 80.0)
