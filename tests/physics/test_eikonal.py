"""First arrivals against closed forms, an independent code, and the laws that travel times and derivatives obey."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import skfmm
import torch
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.inference.curvature import dense_jacobian
from posteriori.physics.eikonal import Eikonal
from posteriori.testing import check_operator

LENGTH = 1000.0
SLOPE = 1.5
SOURCES = torch.tensor([[13.3, 471.0], [500.0, 500.0], [250.0, 250.0], [777.0, 0.0]], dtype=torch.float64)


def section(n: int, unit: str = "m/s") -> Space:
    labels = np.linspace(0, LENGTH, n)
    return Space("velocity", {"z": labels, "x": labels}, unit, Positive())


def depths(space: Space) -> Tensor:
    z = torch.from_numpy(space.labels("z"))
    return z.reshape(-1, *(1,) * (len(space.shape) - 1)).expand(space.shape)


def scattered(n: int, dims: int = 2, seed: int = 0) -> Tensor:
    return LENGTH * Rng(seed).uniform((n, dims)).double()


def gradient_time(sources: Tensor, receivers: Tensor) -> Tensor:
    """acosh(1 + g² R² / (2 v_s v_r)) / g for v = 1500 + g z (Slotnick 1959, Lessons in Seismic Computing)."""
    product = (1500 + SLOPE * sources[:, :1]) * (1500 + SLOPE * receivers[:, 0])
    return torch.acosh(1 + SLOPE**2 * torch.cdist(sources, receivers).square() / (2 * product)) / SLOPE


def rough(space: Space, seed: int, size: float = 0.25) -> Tensor:
    return 2000 * (size * Rng(seed).normal(space.shape).double()).exp()


def test_a_homogeneous_medium_has_straight_rays() -> None:
    """Exact from a source on a node; from anywhere else within a thirtieth of what one cell takes."""
    space, receivers = section(51), scattered(200)
    operator = Eikonal(space, SOURCES, receivers)
    wrong = operator(torch.full(space.shape, 2000.0).double()) - torch.cdist(SOURCES, receivers) / 2000
    assert float(wrong[1].abs().max()) < 1e-12
    assert float(wrong.abs().max()) < 0.06 * 20 / 2000


def test_the_error_halves_with_the_grid_where_velocity_grows_with_depth() -> None:
    receivers = scattered(200)
    wanted = gradient_time(SOURCES, receivers)
    errors = []
    for n in (26, 51, 101, 201):
        space = section(n)
        found = Eikonal(space, SOURCES, receivers)(1500 + SLOPE * depths(space))
        errors.append(float((found - wanted).abs().mean()))
    assert errors[-1] < 1.5e-4
    for coarse, fine in itertools.pairwise(errors):
        assert fine < 0.62 * coarse
    assert errors[-1] < errors[0] / 6


def test_three_dimensions_agree_with_the_closed_form_and_with_a_section() -> None:
    labels = np.linspace(0, LENGTH, 26)
    space = Space("velocity", {"z": labels, "y": labels[:11], "x": labels}, "m/s", Positive())
    sources, receivers = scattered(3, 3, 1) * torch.tensor([1, 0.4, 1]), scattered(50, 3, 2) * torch.tensor([1, 0.4, 1])
    found = Eikonal(space, sources, receivers)(1500 + SLOPE * depths(space))
    assert float((found - gradient_time(sources, receivers)).abs().max()) < 0.2 * 40 / 1500
    flat, model = section(26), rough(section(26), 3, 0.1)
    thick = model[:, None].expand(space.shape)
    within = torch.stack([SOURCES[:, 0], torch.full((4,), 160.0).double(), SOURCES[:, 1]], 1)
    at = torch.tensor([[300.0, 160.0, 720.0], [900.0, 160.0, 80.0]], dtype=torch.float64)
    in_plane = Eikonal(flat, SOURCES, at[:, [0, 2]])(model)
    assert torch.allclose(Eikonal(space, within, at)(thick), in_plane, rtol=1e-10)


def test_it_is_far_nearer_the_truth_than_scikit_fmm_and_both_converge_to_one_another() -> None:
    space = section(101)
    source = torch.tensor([[250.0, 250.0]], dtype=torch.float64)
    operator = Eikonal(space, source, scattered(3))
    velocity = 1500 + SLOPE * depths(space)
    nodes = torch.stack(torch.meshgrid(*(torch.from_numpy(space.labels(d)) for d in "zx"), indexing="ij"), -1)
    wanted = gradient_time(source, nodes.reshape(-1, 2)).reshape(space.shape).numpy()
    distance = np.hypot(*(nodes - source[0]).movedim(-1, 0).numpy())
    start = 10.0
    theirs = skfmm.travel_time(distance - start, velocity.numpy(), dx=10.0, order=2) + start / 1875
    ours = operator.fields(velocity)[0].numpy()
    assert np.abs(ours - wanted).mean() < np.abs(theirs - wanted).mean() / 3
    bumps = 1 + 0.2 * torch.sin(nodes / 90.0).prod(-1)
    theirs = skfmm.travel_time(distance - start, (velocity * bumps).numpy(), dx=10.0, order=2)
    start_time = start / float((velocity * bumps)[25, 25])
    gap = operator.fields(velocity * bumps)[0].numpy() - theirs - start_time
    assert np.abs(gap).mean() < 2.5e-3


@pytest.mark.parametrize("seed", range(4))
def test_derivatives_are_exact_on_rough_models(seed: int) -> None:
    """Central differences of all times along a random direction, away from ties; a hundred models of ±25 %."""
    space = section(13)
    operator = Eikonal(space, scattered(3, seed=10 + seed), scattered(7, seed=20 + seed))
    v = torch.stack([rough(space, 100 * seed + k) for k in range(25)])
    along = 2000 * Rng(seed).child("along").normal(v.shape).double()
    moved = operator.jvp(v, along)
    steps = [(operator(v + h * along) - operator(v - h * along)) / (2 * h) for h in (1e-5, 1e-6, 1e-7)]
    wrong = torch.stack([(s - moved).abs() for s in steps]).amin(0) / moved.abs().mean()
    assert float(wrong.quantile(0.99)) < 1e-6
    pull = Rng(seed).child("pull").normal(moved.shape).double()
    left, right = (moved * pull).sum((1, 2)), (operator.vjp(v, pull) * along).sum((1, 2))
    assert torch.allclose(left, right, rtol=1e-11, atol=1e-11 * float(left.abs().max()))


def test_a_time_is_the_sum_of_slowness_times_its_sensitivity() -> None:
    """Times are homogeneous of degree one in the slowness, so Σ s ∂t/∂s = -Σ v ∂t/∂v = t (Euler), to rounding."""
    space = section(31)
    operator = Eikonal(space, SOURCES, scattered(5))
    v = rough(space, 1)
    assert torch.allclose(operator.jvp(v, -v), operator(v), rtol=1e-12)
    rows = dense_jacobian(operator, v)
    assert torch.allclose(-rows @ v.flatten(), operator(v).flatten(), rtol=1e-12)


def test_rays_go_both_ways_and_no_slower_than_straight() -> None:
    """Reciprocity to first order in the spacing; Fermat: no arrival is later than along the straight line."""
    ends, gaps, late = scattered(12, seed=5), [], []
    share = torch.linspace(0, 1, 2001).double()[:, None, None, None]
    line = (1 - share) * ends[:, None] + share * ends
    straight = torch.trapezoid(1 / bumpy(line), dx=1 / 2000, dim=0) * torch.cdist(ends, ends)
    for n in (41, 81, 161):
        space = section(n)
        z, x = (torch.from_numpy(space.labels(d)) for d in "zx")
        times = Eikonal(space, ends, ends)(bumpy(torch.stack(torch.meshgrid(z, x, indexing="ij"), -1)))
        gaps.append(float((times - times.T).abs().max()))
        late.append(float((times - straight).max()))
    one_cell = 25 / 2000
    assert gaps[0] < 0.3 * one_cell
    assert gaps[2] < 0.4 * gaps[0]
    assert late[0] < 0.3 * one_cell
    assert late[2] < 0.1 * one_cell


def bumpy(points: Tensor) -> Tensor:
    return 2000 * (1 + 0.3 * torch.sin(points[..., 0] / 120) * torch.cos(points[..., 1] / 150))


def test_a_refracted_wave_arrives_first_beyond_the_crossover() -> None:
    """Two layers: t = x / v₂ + 2 h cos(θ) / v₁ with sin(θ) = v₁ / v₂ (Snell); the interface lies on half a cell."""
    x = np.linspace(0, 400, 401)
    space = Space("velocity", {"z": x[:61], "x": x}, "m/s", Positive())
    v = torch.where(depths(space) < 15.25, 500.0, 2000.0).double()
    offsets = torch.tensor([120.0, 200.0, 300.0, 390.0], dtype=torch.float64)
    ends = torch.stack([torch.zeros(4).double(), offsets], 1)
    found = Eikonal(space, torch.zeros(1, 2), ends)(v)[0]
    wanted = offsets / 2000 + 2 * 15.5 * np.sqrt(1 - 0.25**2) / 500
    assert float((found - wanted).abs().max()) < 1e-3


def test_threads_units_and_parts_change_nothing() -> None:
    space = section(21)
    sources, receivers = scattered(19, seed=7), scattered(6, seed=8)
    v = rough(space, 2)
    one = Eikonal(space, sources, receivers)
    pull = Rng(0).normal((19, 6)).double()
    alone = one(v), one.vjp(v, pull)
    torch.set_num_threads(3)
    try:
        assert torch.equal(one(v), alone[0])
        assert torch.equal(one.vjp(v, pull), alone[1])
    finally:
        torch.set_num_threads(1)
    kilo = Eikonal(section(21, "km/s"), sources, receivers)
    assert torch.allclose(kilo(v / 1000), one(v), rtol=1e-14)
    assert torch.allclose(kilo.vjp(v / 1000, pull), 1000 * one.vjp(v, pull), rtol=1e-12)
    part = one.select("receiver", [4, 0])
    assert torch.equal(part(v), one(v)[:, [4, 0]])
    check_operator(part, at=torch.stack([rough(space, k) for k in range(3)]))


def test_what_cannot_be_right_is_refused() -> None:
    space, ends = section(11), scattered(2)
    operator = Eikonal(space, ends, ends)
    v = torch.full(space.shape, 2000.0).double()
    for wrong in (float("nan"), -3.0, 0.0, 2.0, 1e6):
        broken = v.clone()
        broken[3, 4] = wrong
        with pytest.raises(DataError, match=r"z': 300\.0, 'x': 400\.0.*km/s"):
            operator(broken)
    with pytest.raises(DataError, match=r"receiver 1 lies at z = -5 m, outside the grid 0 to 1000 m"):
        Eikonal(space, ends, torch.tensor([[5.0, 5.0], [-5.0, 5.0]]))
    with pytest.raises(DataError, match="source 0 lies at x = nan"):
        Eikonal(space, torch.tensor([[5.0, float("nan")]]), ends)
    with pytest.raises(ShapeError, match=r"\(n, 2\)"):
        Eikonal(space, torch.zeros(3), ends)
    with pytest.raises(ShapeError, match="even steps"):
        Eikonal(Space("velocity", {"z": [0.0, 1.0, 3.0], "x": [0.0, 1.0]}, "m/s"), ends, ends)
    with pytest.raises(ShapeError, match="dims"):
        Eikonal(Space("velocity", {"x": [0.0, 1.0], "z": [0.0, 1.0]}, "m/s"), ends, ends)
