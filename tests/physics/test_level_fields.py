"""Fields on level grids: against exact sums, independent codes, the laws of Laplace and Poisson; bad input."""

from __future__ import annotations

from dataclasses import replace
from math import pi
from typing import Any

import numpy as np
import pytest
import torch

from posteriori.core import memory
from posteriori.core.errors import DataError, MemoryBudgetError, OptionError, PosterioriError, ShapeError
from posteriori.core.space import Space
from posteriori.physics.gravity import (
    COMPONENTS,
    EOTVOS,
    MGAL,
    G,
    Gravity,
    GravityGradient,
    ScatteredGravity,
    ScatteredGravityGradient,
)
from posteriori.physics.magnetics import COMPONENTS as MAGNETIC
from posteriori.physics.magnetics import (
    MU_0,
    NANOTESLA,
    Direction,
    Magnetics,
    Magnetised,
    ScatteredMagnetics,
)
from posteriori.physics.prism_mesh import borders, mesh
from posteriori.testing import check_operator

MESH = mesh("density", "kg/m^3", z=[0, 30, 80], y=[0, 40, 80, 120], x=[0, 50, 100, 150, 200])
SUSCEPTIBLE = replace(MESH, name="susceptibility", unit="1")
FIELD = Magnetised(Direction(-62.0, -14.0), 28500.0, Direction(20.0, 130.0), 0.7)
ONE = torch.zeros(1, dtype=torch.float64)


def scattered(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Easting and northing of every station of a grid."""
    y, x = np.meshgrid(space.labels("y"), space.labels("x"), indexing="ij")
    return x.ravel(), y.ravel()


GRIDS = {
    "cells": {},
    "shifted and wider": {"y": -87.0 + 40.0 * np.arange(7), "x": 13.0 + 50.0 * np.arange(6)},
    "finer": {"y": 20.0 * np.arange(5), "x": 5.0 + 12.5 * np.arange(9)},
    "coarser": {"y": [30.0, 110.0], "x": [10.0, 160.0]},
    "three to two": {"y": 60.0 * np.arange(3), "x": 75.0 * np.arange(3)},
    "one station": {"y": [31.0], "x": [77.0]},
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_gravity_is_the_exact_sum(grid: dict[str, Any]) -> None:
    level = Gravity(MESH, **grid, height=4.0)
    exact = ScatteredGravity(MESH, *scattered(level.codomain), 4.0, beyond=500.0)
    torch.testing.assert_close(level.rows(ONE), exact.rows(ONE), rtol=0, atol=1e-13 * float(exact.rows(ONE).max()))


def test_gradient_and_magnetics_are_the_exact_sums() -> None:
    gradient = GravityGradient(MESH, height=4.0, components=COMPONENTS)
    magnetic = Magnetics(SUSCEPTIBLE, FIELD, height=4.0, components=MAGNETIC)
    at = (*scattered(gradient.codomain), 4.0)
    for level, exact in (
        (gradient, ScatteredGravityGradient(MESH, *at, COMPONENTS)),
        (magnetic, ScatteredMagnetics(SUSCEPTIBLE, FIELD, *at, MAGNETIC)),
    ):
        wanted = exact.rows(ONE)
        torch.testing.assert_close(level.rows(ONE), wanted, rtol=0, atol=1e-13 * float(wanted.abs().max()))


def test_every_prism_agrees_with_choclo() -> None:
    choclo = pytest.importorskip("choclo")
    x, y, z = (borders(MESH, dim) for dim in ("x", "y", "z"))
    stations = np.array([[20.0, 10.0, 1.0], [170.0, 90.0, 30.0]])
    gradient = ScatteredGravityGradient(MESH, *stations.T, COMPONENTS).rows(ONE).reshape(6, 2, *MESH.shape).numpy()
    magnetic = ScatteredMagnetics(SUSCEPTIBLE, FIELD, *stations.T, MAGNETIC).rows(ONE).reshape(4, 2, *MESH.shape)
    moment, along = FIELD.moment(), FIELD.field.unit()
    signs = {"ee": 1, "en": 1, "eu": -1, "nn": 1, "nu": -1, "uu": 1}  # choclo counts z upwards
    for s, k, j, i in np.ndindex(2, *MESH.shape):
        prism = (*stations[s], x[i], x[i + 1], y[j], y[j + 1], -z[k + 1], -z[k])
        wanted = [EOTVOS * sign * getattr(choclo.prism, f"gravity_{c}")(*prism, 1.0) for c, sign in signs.items()]
        np.testing.assert_allclose(gradient[:, s, k, j, i], wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
        east, north, up = choclo.prism.magnetic_field(*prism, moment[0], moment[1], -moment[2])
        field = NANOTESLA * np.array([east, north, -up])
        wanted = [along @ field, *field]
        np.testing.assert_allclose(magnetic[:, s, k, j, i], wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


def test_the_gradient_is_that_of_gravity_and_has_no_trace() -> None:
    m = torch.rand(MESH.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    h = 0.01
    up, down = (ScatteredGravity(MESH, 70.0, 50.0, 20.0 + d)(m) for d in (h, -h))
    found = ScatteredGravityGradient(MESH, 70.0, 50.0, 20.0, COMPONENTS)(m)[:, 0]
    # z counts downwards: g_z falls with height
    assert float(found[5]) == pytest.approx(float((down - up) / (2 * h)) * EOTVOS / MGAL, rel=1e-7)
    assert abs(float(found[0] + found[3] + found[5])) < 1e-12 * float(found.abs().max())


def test_far_away_a_cell_is_a_dipole() -> None:
    """μ₀ / 4π (3 (m·r) r / r⁵ - m / r³), seen by the part along the field and in all components."""
    cube = mesh("magnetisation", "A/m", z=[1000, 1010], y=[0, 10], x=[0, 10])
    magnetised = Magnetised(Direction(-62.0, -14.0), remanence=Direction(20.0, 130.0))
    found = ScatteredMagnetics(cube, magnetised, 900.0, -400.0, 50.0, MAGNETIC, beyond=2e3)(
        torch.ones(1, 1, 1).double()
    )
    r = np.array([900.0 - 5, -400.0 - 5, -50.0 - 1005])
    moment, size = 1000 * Direction(20.0, 130.0).unit(), np.linalg.norm(r)
    dipole = MU_0 / (4 * pi) * NANOTESLA * (3 * (moment @ r) * r / size**5 - moment / size**3)
    wanted = [magnetised.field.unit() @ dipole, *dipole]
    np.testing.assert_allclose(found[:, 0].numpy(), wanted, rtol=0, atol=5e-5 * np.abs(wanted).max())


def test_magnetics_is_poissons_relation() -> None:
    """A vertical magnetisation seen vertically is the gradient T_zz times μ₀ / 4π G."""
    magnetised = Magnetised(Direction(90.0, 0.0))
    magnetic = Magnetics(replace(MESH, unit="A/m"), magnetised, height=4.0).rows(ONE)
    gradient = GravityGradient(MESH, height=4.0).rows(ONE)
    factor = MU_0 * NANOTESLA / (4 * pi * G * EOTVOS)
    torch.testing.assert_close(magnetic, factor * gradient, rtol=1e-12, atol=0)


def test_single_precision_is_held_and_batches_differ() -> None:
    level = Gravity(MESH, height=4.0, dtype=torch.float32)
    assert level.spectra.dtype == torch.float32
    m = torch.rand(2, 3, *MESH.shape, generator=torch.Generator().manual_seed(0))
    wanted = Gravity(MESH, height=4.0)(m.double())
    assert level(m).dtype == torch.float32
    assert float((level(m) - wanted).abs().max()) < 1e-6 * float(wanted.max())


def test_the_adjoint_can_be_learnt_through() -> None:
    """An unrolled scheme needs the derivative of the adjoint itself: it is the forward product."""
    level = Magnetics(SUSCEPTIBLE, FIELD, height=4.0, components=MAGNETIC)
    r = torch.randn(level.codomain.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    m = torch.randn(level.domain.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad((level.adjoint(r.requires_grad_()) * m).sum(), r)
    torch.testing.assert_close(found, level(m), rtol=1e-12, atol=1e-12 * float(found.abs().max()))


def test_masked_cells_are_empty() -> None:
    mask = torch.ones(MESH.shape, dtype=torch.bool)
    mask[0, 1] = False
    level = Gravity(replace(MESH, mask=mask), height=4.0)
    check_operator(level)
    kernel = level.rows(ONE).reshape(-1, *MESH.shape)
    assert float(kernel[:, ~mask].abs().max()) == 0
    wanted = Gravity(MESH, height=4.0).rows(ONE).reshape(-1, *MESH.shape)[:, mask]
    torch.testing.assert_close(kernel[:, mask], wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Gravity(MESH, height=-1.0), DataError, "not above the mesh"),
        (lambda: GravityGradient(MESH, height=0.0), DataError, "not above the mesh"),
        (lambda: Gravity(MESH, x=[0.0, 49.0], height=1.0), ShapeError, "share no lattice"),
        (lambda: Gravity(MESH, x=[50.0, 0.0], height=1.0), ShapeError, "even steps"),
        (lambda: Gravity(mesh("d", "kg/m^3", z=[0, 1], y=[0, 1, 2], x=[0, 1, 3])), ShapeError, "even steps"),
        (lambda: Gravity(Space("density", {"z": 2, "x": 3}, "kg/m^3")), ShapeError, "needs the dims"),
        (lambda: Gravity(MESH, dtype=torch.float16), OptionError, "float32 or"),
        (lambda: GravityGradient(MESH, height=1.0, components=("zy",)), OptionError, "components"),
        (lambda: Magnetics(SUSCEPTIBLE, FIELD, height=1.0, components=("up",)), OptionError, "components"),
        (lambda: Magnetised(Direction(60.0, 0.0), 0.05), DataError, "check the unit"),
        (lambda: Magnetised(Direction(60.0, 0.0), 5e4, koenigsberger=0.5), OptionError, "remanence"),
        (lambda: Direction(120.0, 0.0), DataError, "degrees"),
        (lambda: Direction(float("nan"), 0.0), DataError, "degrees"),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[PosterioriError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_too_large_a_mesh_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**14)
    with pytest.raises(MemoryBudgetError, match="float32"):
        Gravity(MESH, height=1.0)
    with pytest.raises(MemoryBudgetError, match="keep=False"):
        ScatteredGravity(mesh("d", "kg/m^3", z=np.arange(9), y=np.arange(9), x=np.arange(9)), [1.0] * 9, 1.0, 1.0)


def test_directions_go_to_vectors_and_back() -> None:
    np.testing.assert_allclose(Direction(90.0, 0.0).unit(), [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(Direction(0.0, 90.0).unit(), [1, 0, 0], atol=1e-15)
    back = Direction.of(3.0 * Direction(-31.0, 17.0).unit())
    assert (back.inclination, back.declination) == pytest.approx((-31.0, 17.0))
