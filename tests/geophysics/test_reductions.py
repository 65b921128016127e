"""Reductions of gravity against closed forms and published values."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.domains.geophysics.reductions import (
    bouguer_plate,
    gravity_disturbance,
    normal_gravity,
    polynomial_basis,
    regional,
    terrain_effect,
)
from posteriori.physics.gravity import MGAL, G


def test_normal_gravity_is_the_published_one_of_wgs84() -> None:
    """NGA.STND.0036 (2014), table 3.6: 9.7803253359 and 9.8321849379 m/s²; Somigliana's formula between them."""
    assert normal_gravity([0.0, 90.0], 0.0) == pytest.approx([978032.53359, 983218.49379], abs=2e-5)
    phi = np.linspace(-90, 90, 13)
    s2 = np.sin(np.radians(phi)) ** 2
    somigliana = 978032.53359 * (1 + 0.00193185265241 * s2) / np.sqrt(1 - 0.00669437999014 * s2)
    np.testing.assert_allclose(normal_gravity(phi, 0.0), somigliana, atol=1e-4)


def test_normal_gravity_falls_with_height_as_the_series_of_second_order() -> None:
    """Heiskanen & Moritz (1967), eq. 2-123; its third-order term at 3 km is 0.003 mGal."""
    a, f, m = 6378137.0, 1 / 298.257223563, 0.00344978650684
    phi, h = np.array([0.0, -25.0, 60.0]), np.array([2500.0, 1200.0, 3000.0])
    surface = normal_gravity(phi, 0.0)
    series = surface * (1 - 2 / a * (1 + f + m - 2 * f * np.sin(np.radians(phi)) ** 2) * h + 3 * h**2 / a**2)
    np.testing.assert_allclose(normal_gravity(phi, h), series, atol=0.02)
    assert gravity_disturbance(normal_gravity(phi, h) + 7.0, phi, h) == pytest.approx(7.0)


def test_the_plate_is_the_textbook_one() -> None:
    """0.04193 mGal for a metre of density 1000, so 0.1119 for Hayford's (Blakely 1995, section 7.3)."""
    assert bouguer_plate(1000.0) == pytest.approx(111.9, abs=0.1)
    assert bouguer_plate([0.0, -10.0], 1000.0) == pytest.approx([0.0, -0.4193], abs=1e-4)


def dem(height: np.ndarray, axis: np.ndarray) -> xr.DataArray:
    return xr.DataArray(height, {"northing": axis, "easting": axis}, ("northing", "easting"))


def test_flat_ground_has_the_effect_of_a_disc() -> None:
    """A disc of radius R seen from its top: 2πGρ (h + R - √(R² + h²)); the square map's equal-area disc to 0.1 %."""
    axis = np.arange(-50e3, 50.1e3, 2e3)
    h, radius = 1000.0, 102e3 / np.sqrt(np.pi)
    found = terrain_effect(dem(np.full((len(axis),) * 2, h), axis), [0.0], [0.0], [h])
    disc = 2 * np.pi * G * MGAL * 2670 * (h + radius - np.hypot(radius, h))
    assert found == pytest.approx([disc], rel=1e-3)
    short = bouguer_plate(h) - found[0]
    assert short == pytest.approx(bouguer_plate(h) * h / (2 * radius), rel=0.02)  # as the docstring says


def test_a_cone_seen_from_its_tip() -> None:
    """A cone of height h and half-angle α seen from its tip: 2πGρ h (1 - cos α)."""
    half, h = 4000.0, 1000.0
    exact = 2 * np.pi * G * MGAL * 2670 * h * (1 - np.cos(np.arctan(half / h)))
    axis = np.arange(-4200.0, 4201.0, 100.0)
    cone = np.clip(h * (1 - np.hypot(*np.meshgrid(axis, axis)) / half), 0.0, None)
    assert terrain_effect(dem(cone, axis), [0.0], [0.0], [h]) == pytest.approx([exact], rel=1e-3)


def test_ground_below_zero_is_missing_rock() -> None:
    axis = np.arange(-50e3, 50.1e3, 2e3)
    pit = terrain_effect(dem(np.full((len(axis),) * 2, -100.0), axis), [0.0], [0.0], [0.0])
    assert pit == pytest.approx([-bouguer_plate(100.0)], rel=0.01)


def test_doubtful_maps_are_refused() -> None:
    axis = np.arange(0.0, 1000.0, 100.0)
    flat = np.zeros((10, 10))
    gap = flat.copy()
    gap[2, 3] = np.nan
    with pytest.raises(DataError, match=r"not finite at \(2, 3\)"):
        terrain_effect(dem(gap, axis), [0.0], [0.0], [0.0])
    with pytest.raises(DataError, match="station 1 lies beyond the map along northing"):
        terrain_effect(dem(flat, axis), [0.0, 0.0], [0.0, -500.0], [0.0, 0.0])
    with pytest.raises(ShapeError, match="northing and easting"):
        terrain_effect(dem(flat, axis).rename(easting="x"), [0.0], [0.0], [0.0])


def test_a_trend_is_taken_out_whole() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(2e5, 9e5, 60), rng.uniform(-3e5, 3e5, 60)
    u, v = x / 1e5, y / 1e5
    plane = 3 + 2 * u - 5 * v
    bowl = plane + 0.7 * u * v - 0.2 * v**2
    np.testing.assert_allclose(regional(x, y, plane, 1), plane, atol=1e-8)
    np.testing.assert_allclose(regional(x, y, bowl, 2), bowl, atol=1e-8)
    assert np.abs(regional(x, y, bowl, 1) - bowl).max() > 0.5
    assert polynomial_basis(x, y, 3).shape == (60, 10)
    with pytest.raises(OptionError, match="degree 9"):
        polynomial_basis(x, y, 9)
    with pytest.raises(DataError, match="6 numbers of a trend"):
        regional(x[:4], y[:4], bowl[:4], 2)
