"""Gravity of sections: against a cylinder's closed form, a slab, bodies of finite strike, and bad input."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, ShapeError
from posteriori.physics.gravity import MGAL, G
from posteriori.physics.level_section_gravity import LevelSectionGravity
from posteriori.physics.prism_mesh import mesh
from posteriori.physics.section_gravity import SectionGravity


def test_a_buried_cylinder() -> None:
    """2 π G ρ R² z / (x² + z²); squares of 5 m make its edge rough, which moves 3e-4 of the field at most."""
    section = mesh("density", "kg/m^3", z=np.arange(0, 405, 5), x=np.arange(-300, 305, 5))
    z, x = np.meshgrid(section.labels("z"), section.labels("x"), indexing="ij")
    density = 500.0 * (np.hypot(x, z - 200) < 100)
    at = np.array([-250.0, 0.0, 40.0])
    found = SectionGravity(section, at, 10.0)(torch.from_numpy(density)).numpy()
    mass = density.sum() * 25.0
    np.testing.assert_allclose(found, 2 * G * MGAL * mass * 210 / (at**2 + 210**2), rtol=3e-4)


def test_a_wide_slab_is_bouguers() -> None:
    slab = mesh("density", "kg/m^3", z=[0, 100], x=[-5e7, 5e7])
    found = SectionGravity(slab, 0.0)(torch.full(slab.shape, 2670.0, dtype=torch.float64))
    assert float(found) == pytest.approx(2 * pi * G * 2670 * 100 * MGAL, rel=1e-5)


def test_a_long_strike_is_an_infinite_one_and_a_short_one_weaker() -> None:
    section = SectionGravity.example().domain
    at, height = [0.0, 130.0, 400.0], [0.0, 20.0, 5.0]
    infinite = SectionGravity(section, at, height).matrix
    torch.testing.assert_close(SectionGravity(section, at, height, strike=1e7).matrix, infinite, rtol=1e-6, atol=0)
    short = SectionGravity(section, at, height, strike=300.0).matrix
    assert bool(((short > 0) & (short < infinite)).all())


@pytest.mark.parametrize("strike", [None, 700.0])
@pytest.mark.parametrize(("x", "height"), [(None, 0.0), ([-80.0, 20.0, 120.0], 13.0), ([50.0, 350.0, 650.0], 2.0)])
def test_the_level_form_is_the_dense_one(x: list[float] | None, height: float, strike: float | None) -> None:
    section = SectionGravity.example().domain
    level = LevelSectionGravity(section, x, height, strike, beyond=300.0)
    dense = SectionGravity(section, level.codomain.labels("x"), height, strike=strike, beyond=300.0).matrix
    one = torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close(level.rows(one), dense, rtol=0, atol=1e-13 * float(dense.max()))


def test_stations_closer_than_cells_need_the_dense_form() -> None:
    with pytest.raises(ShapeError, match="SectionGravity"):
        LevelSectionGravity(SectionGravity.example().domain, [0.0, 50.0])


@pytest.mark.parametrize(
    ("x", "height", "strike"), [(500.0, 0.0, None), (50.0, -1.0, None), (50.0, 0.0, -3.0), (50.0, 0.0, np.nan)]
)
def test_bad_input_is_refused(x: float, height: float, strike: float | None) -> None:
    with pytest.raises(DataError, match=r"not above the section|a strike of"):
        SectionGravity(SectionGravity.example().domain, x, height, strike=strike)
