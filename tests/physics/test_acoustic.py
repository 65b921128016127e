"""Acoustic waves against closed forms, independent codes and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import hankel2
from torch import Tensor

from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.acoustic_torch import AcousticTorch
from posteriori.physics.born import Born
from posteriori.physics.wavelets import ricker
from posteriori.testing.points import dot, gap, norm

DX = 10.0
SPEED = 2000.0


def section(nz: int, nx: int, dz: float = DX, dx: float = DX, z: float = 0.0, x: float = 0.0) -> Space:
    """Nodes of a velocity model."""
    return Space("velocity", {"z": z + dz * np.arange(nz), "x": x + dx * np.arange(nx)}, "m/s", Positive())


def small(order: int = 4, surface: bool = False, steps: int = 150, **options: Any) -> Acoustic:
    """Two shots, the second of two sources; receivers on and between nodes, near and far from the edges."""
    dt = 1.4e-3
    times = dt * torch.arange(steps, dtype=torch.float64)
    points = torch.tensor([[50.0, 420.0], [33.0, 527.0], [160.0, 461.0]])
    wavelets = torch.stack([ricker(30.0, times), ricker(25.0, times), -0.7 * ricker(30.0, times)])
    receivers = torch.tensor([[20.0, 410.0], [20.0, 486.5], [174.0, 600.0], [93.3, 555.1]])
    domain = section(19, 23, 10.0, 9.0, x=403.0)
    return Acoustic(domain, Survey(points, torch.tensor([0, 1, 1]), wavelets, receivers), dt, order, **options | {
        "surface": surface, "nodes": 1.0, "width": options.get("width", 6),
    })  # fmt: skip


def velocity(operator: Operator, seed: int = 0) -> Tensor:
    """A rough model, 1600 to 2400 m/s."""
    generator = torch.Generator().manual_seed(seed)
    return 1600 + 800 * torch.rand(operator.domain.shape, generator=generator, dtype=torch.float64)


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plane(order: int, nodes: float, courant: float, source: tuple[float, float] = (0.0, 0.0)) -> float:
    """Share by which traces miss f * H(t - r/v) / (2π sqrt(t² - r²/v²)); nodes to the wavelength of 50 Hz."""
    dx = SPEED / 50 / nodes
    dt, delay, far = courant * dx / SPEED, 0.09, 6.0
    seconds = delay + far / 50 + 0.07
    steps, margin = int(seconds / dt), int(seconds * SPEED / dx / 2) + 5
    wavelet = ricker(20.0, dt * torch.arange(steps, dtype=torch.float64), delay)
    away = far * nodes * np.array([[0.0, 0.5], [0.0, 1.0], [0.36, 0.36], [0.71, 0.71]])
    places = margin + (away if source != (0.0, 0.0) else away.round())
    n = int(far * nodes) + 2 * margin
    begin = np.array([[margin + source[0], margin + source[1]]])
    survey = Survey.shots(dx * begin, dx * places, wavelet)
    found = Acoustic(section(n, n, dx, dx), survey, dt, order, nodes=1.0)(torch.full((n, n), SPEED).double())[0].numpy()
    length = 16 * steps
    omega = 2 * np.pi * np.fft.rfftfreq(length, dt)[1:]
    distance = dx * np.hypot(*(places - begin).T)
    green = np.zeros((len(distance), len(omega) + 1), complex)
    green[:, 1:] = -0.25j * hankel2(0, omega * distance[:, None] / SPEED)
    truth = np.fft.irfft(green * np.fft.rfft(wavelet.numpy(), length), length)[:, :steps]
    return float(np.sqrt(((found - truth) ** 2).sum() / (truth**2).sum()))


@pytest.mark.parametrize(("order", "nodes", "courant"), [(4, 8.0, 0.25), (8, 6.0, 0.2)])
def test_traces_are_those_of_the_closed_form(order: int, nodes: float, courant: float) -> None:
    assert plane(order, nodes, courant) <= 0.01


def test_points_between_nodes_are_where_they_are() -> None:
    """A source 0.37 and 0.21 nodes off, receivers at fractions: the error stays that of the grid."""
    assert plane(8, 6.0, 0.2, source=(0.37, 0.21)) <= 0.01


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("surface", [False, True])
def test_the_torch_path_is_the_same_to_rounding(order: int, surface: bool) -> None:
    operator = small(order, surface)
    m, r = velocity(operator), random(operator.codomain.shape, 1)
    oracle = AcousticTorch(operator)
    assert gap(operator(m), oracle(m)) <= 1e-12
    assert gap(operator.vjp(m, r), oracle.vjp(m, r)) <= 1e-11


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("surface", [False, True])
def test_dot_tests(order: int, surface: bool) -> None:
    """⟨Jv, r⟩ = ⟨v, Jᵀr⟩ with the ring inside: 1e-12 in float64, 1e-6 in float32."""
    operator = small(order, surface)
    m, v, r = velocity(operator), random(operator.domain.shape, 1), random(operator.codomain.shape, 2)
    for dtype, most in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        a, b, c = m.to(dtype), v.to(dtype), r.to(dtype)
        forward, backward = operator.jvp(a, b), operator.vjp(a, c)
        assert abs(dot(forward, c) - dot(b, backward)) <= most * norm(forward) * norm(c)


@pytest.mark.parametrize(("order", "surface", "width"), [(4, False, 6), (8, True, 17), (2, False, 1)])
def test_gradient_is_the_central_difference(order: int, surface: bool, width: int) -> None:
    """Of a misfit, at a corner, at edges, inside, at the source and along a random direction, in float64."""
    operator = small(order, surface, width=width)
    m, data = velocity(operator), operator(velocity(operator, 1))

    def misfit(model: Tensor) -> Tensor:
        return 0.5 * (operator(model) - data).square().sum()

    point = m.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(misfit(point), point)
    directions = [random(m.shape, 5)]
    for z, x in ((0, 0), (18, 22), (9, 0), (0, 11), (5, 2), (10, 12)):
        directions.append(torch.zeros_like(m))
        directions[-1][z, x] = 1
    for v in directions:
        v = v / norm(v)
        steps = [float(misfit(m + h * v) - misfit(m - h * v)) / (2 * h) for h in (1.0, 0.1, 0.01)]
        size = max(abs(dot(gradient, v)), 1e-3 * norm(gradient))
        assert min(abs(s - dot(gradient, v)) for s in steps) <= 1e-5 * size


def test_the_gradient_in_float32_is_that_of_float64() -> None:
    operator = small(8, steps=400)
    m, r = velocity(operator), random(operator.codomain.shape, 1)
    assert gap(operator.vjp(m.float(), r.float()), operator.vjp(m, r)) <= 2e-5


def test_autograd_reuses_the_forward_run_and_may_go_back_twice() -> None:
    operator = small()
    m, r = velocity(operator).requires_grad_(), random(operator.codomain.shape, 1)
    traces = operator(m)
    wanted = operator.vjp(m, r)
    for _ in range(2):
        (found,) = torch.autograd.grad(traces, m, r, retain_graph=True)
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("order", [4, 8])
def test_the_edge_reflects_less_than_a_hundredth(order: int) -> None:
    """-40 dB of the wave that meets it, from 0 to 60 degrees, against a section too large to have an edge."""
    nodes, deep, far = {4: 8.0, 8: 6.0}[order], 12, 130
    dx = SPEED / 50 / nodes
    dt = 0.5 * dx / SPEED
    steps, offsets = 300, np.array([0, 14, 28, 40])
    wavelet = ricker(20.0, dt * torch.arange(steps, dtype=torch.float64))

    def traces(wide: int, below: int) -> np.ndarray:
        space = section(wide + 12 + below, 2 * wide + 80, dx, dx)
        places = dx * np.stack([np.full(len(offsets), wide + 11), wide + 15 + offsets], -1)
        operator = Acoustic(space, Survey.shots(places[:1], places, wavelet), dt, order, nodes=1.0)
        return operator(torch.full(space.shape, SPEED).double())[0].numpy()

    whole = traces(far, far)
    returned = np.abs(traces(far, deep) - whole).max(1)
    incident = np.abs(whole[-1]).max() * np.sqrt(offsets[-1] / np.hypot(offsets, 2 * deep))
    assert (20 * np.log10(returned / incident) <= -40).all()


def test_a_free_surface_is_a_source_of_opposite_sign_above_it() -> None:
    """The image principle: the same traces from a section without surface and a mirrored source."""
    dt, steps = 1.5e-3, 260
    wavelet = ricker(18.0, dt * torch.arange(steps, dtype=torch.float64))
    receivers = [[73.0, 400.0], [150.0, 233.3]]
    under = Acoustic(section(60, 70), Survey.shots([[44.0, 300.0]], receivers, wavelet), dt, 8, surface=True, nodes=1.0)
    pair = Survey(
        torch.tensor([[44.0, 300.0], [-44.0, 300.0]]),
        torch.zeros(2),
        torch.stack([wavelet, -wavelet]),
        torch.tensor(receivers),
    )
    whole = Acoustic(section(119, 70, z=-590.0), pair, dt, 8, nodes=1.0)
    found, wanted = (o(torch.full(o.domain.shape, SPEED).double()) for o in (under, whole))
    assert gap(found, wanted) <= 1e-3


def test_deepwave_agrees() -> None:
    """Traces and gradient over two layers; both absorb at their edges, each in its own way."""
    deepwave = pytest.importorskip("deepwave")
    n, steps, dt = 60, 500, 1e-3
    wavelet = ricker(15.0, dt * torch.arange(steps))
    source, receivers = torch.tensor([[5, 30]]), torch.stack([torch.full((n,), 3), torch.arange(n)], -1)
    survey = Survey.shots(DX * source, DX * receivers, wavelet)
    operator = Acoustic(section(n, n), survey, dt, 4, nodes=2.0, speed=2200.0, width=20)
    m = torch.full((n, n), 2000.0)
    m[n // 2 :] = 2600.0

    def peer(model: Tensor) -> Tensor:
        return deepwave.scalar(
            model, DX, dt, source_amplitudes=-wavelet[None, None] / DX**2, source_locations=source[None],
            receiver_locations=receivers[None], accuracy=4, pml_width=20, pml_freq=15.0, max_vel=2600.0,
        )[-1]  # fmt: skip

    found, wanted = operator(m), peer(m)
    assert norm(found - wanted) <= 0.01 * norm(wanted)
    gradients = []
    for code in (operator, peer):
        point = m.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(code(point).square().sum(), point)
        gradients.append(gradient)
    assert norm(gradients[0] - gradients[1]) <= 0.01 * norm(gradients[1])


def test_threads_change_nothing() -> None:
    operator = small()
    m, r = velocity(operator), random(operator.codomain.shape, 1)
    one = operator(m), operator.vjp(m, r)
    torch.set_num_threads(2)
    try:
        two = operator(m), operator.vjp(m, r)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_sources_that_fire_together_add_up() -> None:
    """Traces are linear in the wavelets: the encoded shot is the sum of its sources' shots."""
    operator = small()
    m, survey = velocity(operator), operator.survey
    alone = Acoustic(
        operator.domain, Survey(survey.points, torch.arange(3), survey.wavelets, survey.receivers), operator.dt,
        width=6, nodes=1.0,
    )(m)  # fmt: skip
    assert gap(operator(m), torch.stack([alone[0], alone[1] + alone[2]])) <= 1e-12


def test_selected_shots_alone_run() -> None:
    operator = small()
    part = operator.select("shot", [1])
    assert isinstance(part, Acoustic)
    assert part.survey.size == 1
    m = velocity(operator)
    assert torch.equal(part(m), operator(m)[1:])


def test_born_is_the_first_change_of_the_traces() -> None:
    operator = small()
    m, v = velocity(operator), random(operator.domain.shape, 3)
    born = Born(operator, m)
    change = (operator(m + 1e-3 * v) - operator(m - 1e-3 * v)) / 2e-3
    assert gap(born(v), change) <= 1e-6
    assert isinstance(born.select("shot", [0]), Born)
