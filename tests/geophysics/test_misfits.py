"""Misfits of traces: exact derivatives, laws where they are laws, and basins of attraction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from posteriori.core.errors import ShapeError, UnanswerableError
from posteriori.core.noise import Noise, Normal, Student
from posteriori.core.random import Rng
from posteriori.domains.geophysics import misfit_basins
from posteriori.domains.geophysics.misfits import Correlation, Envelope, Huber, Phase, TraceMisfit, Transport
from posteriori.domains.geophysics.source_wavelet import FreeWavelet
from posteriori.physics.wavelets import ricker

STEPS = 128
TIMES = 0.01 * np.arange(STEPS)
EVERY: list[Noise] = [
    Normal(0.7),
    Student(0.7),
    Huber(0.7),
    Envelope(STEPS),
    Phase(STEPS),
    Correlation(STEPS),
    Transport(STEPS),
    FreeWavelet(STEPS),
]


def traces(rng: Rng, n: int = 3) -> Tensor:
    """Smooth random traces, flat (n · STEPS,)."""
    white = rng.normal((n, STEPS))
    frequency = torch.fft.rfftfreq(STEPS, 0.01)
    shape = (frequency / 8) * torch.exp(-((frequency / 8) ** 2))
    return torch.fft.irfft(torch.fft.rfft(white) * shape, STEPS).flatten()


@pytest.mark.parametrize("misfit", EVERY, ids=lambda m: type(m).__name__)
def test_gradients_are_exact(misfit: Noise) -> None:
    """Autograd against central differences in float64 along a random direction."""
    rng = Rng(3)
    d, p, v = (traces(rng.child(name)) for name in ("d", "p", "v"))
    p = p.requires_grad_()
    (g,) = torch.autograd.grad(misfit.energy(d, p), p)
    slope = float(g @ v)
    best = min(
        abs(float((misfit.energy(d, p + h * v) - misfit.energy(d, p - h * v)).detach()) / (2 * h) - slope)
        for h in (1e-4, 1e-5, 1e-6)
    )
    assert best <= 1e-5 * abs(slope)


@pytest.mark.parametrize("misfit", EVERY, ids=lambda m: type(m).__name__)
def test_equal_traces_are_a_minimum(misfit: Noise) -> None:
    rng = Rng(4)
    d = traces(rng.child("d"))
    at = d.clone().requires_grad_()
    energy = misfit.energy(d, at)
    (g,) = torch.autograd.grad(energy, at)
    other = misfit.energy(d, d + 0.3 * traces(rng.child("v")))
    assert float(other) > float(energy.detach())
    assert float(g.norm()) <= 1e-3 * float((other - energy).detach()) / float(0.3 * d.norm())


def test_huber_is_a_normalised_law_that_its_draws_follow() -> None:
    """Unit integral by quadrature; Kolmogorov-Smirnov of 20,000 draws, false alarm 1e-3."""
    law = Huber(1.0, knee=0.8)
    x = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    density = torch.exp(-law.energy(torch.zeros(1, dtype=torch.float64), x[:, None]))
    assert float(torch.trapezoid(density, x)) == pytest.approx(1.0, abs=1e-6)
    cumulative = torch.cumulative_trapezoid(density, x)
    draws = law.sample(torch.zeros(20_000, dtype=torch.float64), Rng(5)).numpy()
    test = stats.kstest(draws, lambda q: np.interp(q, x[1:].numpy(), cumulative.numpy()))
    assert test.pvalue > 1e-3


@pytest.mark.parametrize("misfit", [m for m in EVERY if isinstance(m, TraceMisfit)], ids=lambda m: type(m).__name__)
def test_what_is_no_law_says_so(misfit: TraceMisfit) -> None:
    with pytest.raises(UnanswerableError, match="not a law"):
        misfit.sample(torch.zeros(STEPS), Rng(0))
    with pytest.raises(UnanswerableError, match="whole traces"):
        misfit.part(torch.arange(3))
    with pytest.raises(ShapeError, match="whole number of traces"):
        misfit.energy(torch.zeros(STEPS + 1), torch.zeros(STEPS + 1))
    assert misfit.part(torch.arange(STEPS, 2 * STEPS)) is misfit


def test_each_misfit_has_its_basin_on_a_shifted_ricker() -> None:
    """Least squares skips cycles beyond half a period; envelopes reach further, transport all the way."""
    found = {name: misfit_basins.basin(misfit) for name, misfit in misfit_basins.every().items()}
    assert 0.3 < found["least squares"] < 0.6
    assert found["correlation"] == pytest.approx(found["least squares"], abs=0.11)
    assert found["envelope"] > 2 * found["least squares"]
    assert found["optimal transport"] > 4.9


def test_transport_of_a_shift_is_the_square_of_the_shift() -> None:
    """W2² of densities that are copies of each other shifted by n samples is n², but for softplus's background."""
    t = np.arange(400.0)
    bump = torch.from_numpy(np.exp(-(((t - 150) / 12) ** 2)))
    far = torch.from_numpy(np.exp(-(((t - 180) / 12) ** 2)))
    found = Transport(400, sharpness=200.0, quantiles=4000).energy(bump, far)
    assert float(found) == pytest.approx(900.0, rel=0.03)


def test_a_free_wavelet_forgives_another_signature() -> None:
    """Predictions that differ by a shift and a factor common to all traces cost (nearly) nothing."""
    d = torch.stack([ricker(8.0, torch.from_numpy(TIMES), 0.5 + 0.02 * k) for k in range(5)]).flatten()
    p = torch.stack([0.3 * ricker(8.0, torch.from_numpy(TIMES), 0.42 + 0.02 * k) for k in range(5)]).flatten()
    assert float(FreeWavelet(STEPS, water=1e-8).energy(d, p)) < 1e-3 * float(Normal(1.0).energy(d, 0 * p))
