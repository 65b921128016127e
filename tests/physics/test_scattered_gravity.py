"""Gravity of prisms at stations anywhere: against closed forms, an independent code, and bad input."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np
import pytest
import torch

from posteriori import Space
from posteriori.core.errors import DataError, PosterioriError, ShapeError
from posteriori.physics.gravity import MGAL, G, ScatteredGravity
from posteriori.physics.prism_mesh import borders, mesh
from posteriori.testing import check_operator

MESH = mesh("density", "kg/m^3", z=[0, 30, 80], y=[0, 40, 80, 120], x=[0, 50, 100, 150, 200])


def test_a_wide_slab_is_bouguers() -> None:
    """2 π G ρ h, less what lies beyond the edges: about h / (2 L) of it for a half-width L."""
    slab = mesh("density", "kg/m^3", z=[0, 100], y=[-5e7, 5e7], x=[-5e7, 5e7])
    found = ScatteredGravity(slab, 0.0, 0.0, 0.0)(torch.full(slab.shape, 2670.0, dtype=torch.float64))
    assert float(found) == pytest.approx(2 * pi * G * 2670 * 100 * MGAL, rel=1e-5)


def test_far_away_a_prism_is_a_point() -> None:
    cube = mesh("density", "kg/m^3", z=[1000, 1010], y=[0, 10], x=[0, 10])
    east, north, up = np.array([3000.0, -500.0]), np.array([100.0, 800.0]), np.array([50.0, 0.0])
    found = ScatteredGravity(cube, east, north, up, beyond=1e4)(torch.ones(cube.shape, dtype=torch.float64))
    away = np.stack([5 - east, 5 - north, 1005 + up])
    wanted = G * MGAL * 1000.0 * away[2] / (away**2).sum(0) ** 1.5
    np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-5)


def test_every_prism_agrees_with_choclo() -> None:
    choclo = pytest.importorskip("choclo")
    stations = np.array([[20.0, 10.0, 0.0], [170.0, 90.0, 3.0], [100.0, 40.0, 500.0]])
    kernel = ScatteredGravity(MESH, *stations.T).rows(torch.zeros(1).double()).reshape(3, *MESH.shape)
    x, y, z = (borders(MESH, dim) for dim in ("x", "y", "z"))
    for (s, k, j, i), found in np.ndenumerate(kernel.numpy()):
        prism = (x[i], x[i + 1], y[j], y[j + 1], -z[k + 1], -z[k])
        wanted = -MGAL * choclo.prism.gravity_u(*stations[s], *prism, 1.0)
        assert found == pytest.approx(wanted, rel=1e-9)


def test_rows_made_anew_are_those_kept() -> None:
    place = ([20.0, 170.0, 55.0], [10.0, 90.0, 60.0], [0.0, 3.0, 9.0])
    anew, kept = (ScatteredGravity(MESH, *place, keep=keep) for keep in (False, True))
    check_operator(anew)
    m = torch.randn(2, *MESH.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(anew(m), kept(m), rtol=1e-13, atol=0)
    part = anew.select("station", [2, 0])
    torch.testing.assert_close(part(m), kept(m)[:, [2, 0]], rtol=1e-13, atol=0)


def test_another_unit_of_density_is_converted() -> None:
    m = torch.rand(MESH.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    si = ScatteredGravity(MESH, 20.0, 10.0, 1.0)(1000 * m)
    torch.testing.assert_close(ScatteredGravity(replace(MESH, unit="g/cm^3"), 20.0, 10.0, 1.0)(m), si)


def test_stations_may_stand_in_masked_air_but_not_in_rock() -> None:
    air = torch.ones(MESH.shape, dtype=torch.bool)
    air[0, :, 2:] = False
    terrain = replace(MESH, mask=air)
    kernel = ScatteredGravity(terrain, 170.0, 60.0, -20.0).rows(torch.zeros(1).double()).reshape(MESH.shape)
    assert bool((kernel[~air] == 0).all())
    assert bool((kernel[1] > 0).all())  # rock below pulls down
    with pytest.raises(DataError, match="inside the mesh"):
        ScatteredGravity(terrain, 20.0, 60.0, -20.0)


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (([20.0, 900.0], 10.0, 0.0), DataError, "station 1 lies at easting 900 m, outside the mesh"),
        (([20.0, np.nan], 10.0, 0.0), DataError, "no finite position"),
        (([20.0, 30.0], [1.0, 2.0, 3.0], 0.0), ShapeError, "one number a station"),
        ((20.0, 10.0, -5.0), DataError, "inside the mesh"),
    ],
)
def test_stations_that_cannot_be_are_refused(place: tuple[object], error: type[PosterioriError], message: str) -> None:
    with pytest.raises(error, match=message):
        ScatteredGravity(MESH, *place)  # type: ignore[arg-type]


def test_meshes_know_their_borders() -> None:
    np.testing.assert_allclose(borders(MESH, "z"), [0, 30, 80])
    halfway = Space("density", {"z": [15.0, 45.0], "y": [0.0, 1.0], "x": [0.0, 1.0]}, "kg/m^3")
    np.testing.assert_allclose(borders(halfway, "z"), [0, 30, 60])
    with pytest.raises(ShapeError, match="must rise"):
        borders(Space("density", {"z": [45.0, 15.0]}), "z")
    with pytest.raises(ShapeError, match="no width"):
        borders(Space("density", {"z": [45.0]}), "z")
    with pytest.raises(ShapeError, match="rising"):
        mesh("density", "kg/m^3", z=[0, 0, 1], x=[0, 1])
