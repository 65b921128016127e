"""Curves of density against velocity agree with published values; links and cross-gradients with closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from posteriori import Gaussian, Rng, Space, infer
from posteriori.core.algebra import Identity, Stack
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.noise import Normal
from posteriori.core.target import Inverse
from posteriori.inference.low_rank_laplace import LowRankLaplace
from posteriori.physics.cross_gradient import CrossGradient
from posteriori.physics.petrophysics import Departure, Gardner, NafeDrake

GRID = {"z": 50.0 * np.arange(6), "x": 100.0 * np.arange(8)}


def section() -> Space:
    return Space.of(velocity=Space("v", GRID, "m/s"), density=Space("rho", GRID, "kg/m^3"))


def joined(v: Tensor, rho: Tensor) -> Tensor:
    return torch.cat([v.flatten(), rho.flatten()])


def test_curves_give_published_densities() -> None:
    """Brocher (2005), equation 1, in which 6 km/s, the upper crust, has 2.72 g/cm³; Gardner: 310 · 10 at 10⁴ m/s."""
    space = Space("v", {"x": 3}, "km/s")
    v = torch.tensor([2.0, 6.0, 7.0], dtype=torch.float64)
    found = NafeDrake(space)(v)
    assert float(found[1]) == pytest.approx(2720.0, abs=10.0)
    equation = np.polyval([0.000106, -0.0043, 0.0671, -0.4721, 1.6612, 0.0], v.numpy())
    assert found.tolist() == pytest.approx((1000 * equation).tolist())
    assert Gardner(Space("v", {"x": 1}, "m/s"))(torch.tensor([1e4]).double()).tolist() == pytest.approx([3100.0])
    with pytest.raises(DataError, match="-2000 m/s is negative"):
        Gardner(space)(torch.tensor([1.0, -2.0, 3.0]))
    assert Gardner(space).slope(v).tolist() == pytest.approx((0.25 * Gardner(space)(v) / v).tolist())


def test_a_departure_is_what_velocity_does_not_tell() -> None:
    space = section()
    v = torch.full((6, 8), 3000.0, dtype=torch.float64)
    off = Departure(space, Gardner)(joined(v, Gardner(space.parts[0])(v) + 12.0))
    assert float((off - 12.0).abs().max()) < 1e-9
    with pytest.raises(ShapeError, match="on one grid"):
        Departure(Space.of(velocity=Space("v", {"x": 2}, "m/s"), density=Space("r", {"x": 3}, "kg/m^3")), Gardner)


def test_cross_gradients_of_planes_are_their_cross_product_and_vanish_for_parallel_ones() -> None:
    space = section()
    z, x = (torch.from_numpy(GRID[dim]) for dim in ("z", "x"))
    plane = 2.0 * z[:, None] + 3.0 * x
    other = 5.0 * z[:, None] - 1.0 * x
    found = CrossGradient(space, (1.0, 10.0))(joined(plane, other))
    assert float((found - (2.0 * -1.0 - 3.0 * 5.0) / 10).abs().max()) < 1e-12
    assert float(CrossGradient(space)(joined(plane, -4 * plane + 7)).abs().max()) < 1e-9
    smooth = (plane / 300).sin()
    assert float(CrossGradient(space)(joined(smooth, smooth.double() * 2)).abs().max()) < 1e-12


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="two parts"):
        CrossGradient(Space("v", GRID))
    with pytest.raises(DataError, match="positive"):
        CrossGradient(section(), (1.0, 0.0))


def test_shared_structure_sharpens_a_blurred_image() -> None:
    """One image is seen well, the other through heavy noise; parallel gradients bring the second nearer the truth.

    Paired over six fields: the mean error falls by a tenth at least.
    """
    grid = {"z": np.arange(6.0), "x": np.arange(8.0)}
    space = Space.of(velocity=Space("v", grid), density=Space("rho", grid))
    rng = Rng(0)
    z, x = (torch.from_numpy(grid[dim]) for dim in ("z", "x"))
    gap = ((z[:, None, None, None] - z[:, None]) ** 2 + (x[:, None, None] - x) ** 2).reshape(48, 48)
    root = torch.linalg.cholesky(torch.exp(-gap / 8) + 1e-6 * torch.eye(48))
    fields = rng.normal((6, 48)) @ root.mT
    truth = torch.cat([fields, fields.square()], 1)
    sigma = torch.cat([torch.full((48,), 0.05), torch.full((48,), 0.7)]).double()
    data = truth + sigma * rng.normal(truth.shape)
    prior = Gaussian(space, torch.zeros(96).double(), DiagonalCovariance(torch.full((96,), 4.0).double()))
    corners = CrossGradient(space)
    both = Stack(image=Identity(space), structure=corners)
    zeros = torch.zeros(6, corners.codomain.size, dtype=torch.float64)
    errors = torch.cat([sigma, torch.full_like(zeros[0], 0.1)])
    coupled = infer(Inverse(both, prior, torch.cat([data, zeros], 1), Normal(errors)), LowRankLaplace(rank=96))
    apart = infer(Inverse(Identity(space), prior, data, Normal(sigma)), LowRankLaplace(rank=96))
    with_, without = ((p.center() - truth)[:, 48:].square().mean(1).sqrt() for p in (coupled, apart))
    assert float(with_.mean()) < 0.9 * float(without.mean())
