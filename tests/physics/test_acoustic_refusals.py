"""What an acoustic survey refuses before it runs, and that the message names the fix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori.core import memory
from posteriori.core.errors import DataError, MemoryBudgetError, OptionError, ShapeError
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.wavelets import highest_frequency, ricker

WAVELET = ricker(15.0, 1e-3 * torch.arange(300))
HERE = [[10.0, 100.0]]


def space(z: np.ndarray | None = None) -> Space:
    """20 × 30 nodes of 10 m."""
    return Space(
        "velocity", {"z": 10.0 * np.arange(20) if z is None else z, "x": 10.0 * np.arange(30)}, "m/s", Positive()
    )


def operator(dt: float = 1e-3, order: int = 4) -> Acoustic:
    """One shot and one receiver."""
    return Acoustic(space(), Survey.shots(HERE, HERE, WAVELET), dt, order)


def test_an_unstable_step_names_the_longest_that_is_stable() -> None:
    with pytest.raises(DataError, match=r"dt ≤ 0\.0015\d* s"):
        operator(dt=2e-3)(torch.full((20, 30), 4000.0))
    bound = operator().section.fastest
    assert operator()(torch.full((20, 30), 0.999 * bound)).isfinite().all()


@pytest.mark.parametrize("order", [2, 4, 8])
def test_the_fastest_velocity_is_stable_for_long(order: int) -> None:
    """At 99.9 % of the bound, ring and all, nothing grows in 3,000 steps."""
    wavelet = torch.zeros(3000, dtype=torch.float64)
    wavelet[:300] = WAVELET
    long = Acoustic(space(), Survey.shots(HERE, HERE, wavelet), 1e-3, order, nodes=0.1)
    traces = long(torch.full((20, 30), 0.999 * long.section.fastest).double())[0, 0]
    assert traces[-300:].abs().max() <= 1e-3 * traces.abs().max()


def test_too_coarse_a_mesh_names_spacing_and_frequency() -> None:
    with pytest.raises(DataError, match=r"take nodes ≤ [\d.]+ m apart, wavelets below [\d.]+ Hz"):
        operator()(torch.full((20, 30), 900.0))


@pytest.mark.parametrize("bad", [0.0, -1500.0, float("nan"), float("inf")])
def test_a_velocity_that_is_none_is_named_with_its_place(bad: float) -> None:
    model = torch.full((20, 30), 2000.0)
    model[3, 7] = bad
    with pytest.raises(DataError, match=r"\(3, 7\)"):
        operator()(model)


@pytest.mark.parametrize(("point", "said"), [([-5.0, 100.0], "z = -5 m"), ([10.0, 999.0], "x = 999 m")])
def test_a_point_outside_the_mesh_is_named(point: list[float], said: str) -> None:
    for sources, receivers in (([point], HERE), (HERE, [point])):
        with pytest.raises(DataError, match=said):
            Acoustic(space(), Survey.shots(sources, receivers, WAVELET), 1e-3)


def test_a_source_on_the_free_surface_is_refused() -> None:
    with pytest.raises(DataError, match="free surface"):
        Acoustic(space(), Survey.shots([[0.0, 100.0]], HERE, WAVELET), 1e-3, surface=True)


def test_dead_channels_and_odd_shapes_are_refused() -> None:
    broken = WAVELET.clone()
    broken[5] = float("nan")
    with pytest.raises(DataError, match="wavelet"):
        Survey.shots(HERE, HERE, broken)
    with pytest.raises(ShapeError, match="wavelets"):
        Survey(torch.zeros(2, 2), torch.zeros(2), torch.zeros(3, 10), torch.zeros(1, 2))
    with pytest.raises(DataError, match="shots are numbered"):
        Survey(torch.zeros(2, 2), torch.tensor([0, 2]), torch.zeros(2, 10), torch.zeros(1, 2))


def test_axes_that_run_upwards_or_unevenly_are_refused() -> None:
    for z in (-10.0 * np.arange(20), 10.0 * np.arange(20) ** 1.1):
        with pytest.raises(DataError, match="evenly"):
            Acoustic(space(z), Survey.shots(HERE, HERE, WAVELET), 1e-3)


def test_an_order_that_is_not_offered_is_refused() -> None:
    with pytest.raises(OptionError, match="2, 4, 8"):
        operator(order=6)


def test_too_little_memory_is_known_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**16)
    with pytest.raises(MemoryBudgetError):
        operator()(torch.full((20, 30), 2000.0))


def test_memory_of_the_adjoint_grows_with_the_perimeter() -> None:
    """Ten times the steps and four times the cells: the frames grow tenfold and twofold."""
    from posteriori.physics.acoustic_mesh import Section

    frames = [Section(n, n, 0, 0, 10, 10, 1e-3, 4, 10, 2000, False).frame for n in (100, 200)]
    assert frames[1] / frames[0] == pytest.approx(2, rel=0.02)


def test_the_highest_frequency_of_a_ricker_wavelet() -> None:
    """(f / f0)² exp(1 - (f / f0)²) = 0.05 at f = 2.39 f0."""
    assert highest_frequency(ricker(15.0, 1e-3 * torch.arange(600)), 1e-3) == pytest.approx(2.39 * 15, rel=0.02)
