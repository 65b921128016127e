"""Solvers against the closed form of a Gaussian law: agreement, orders, and a peer's schedulers."""

from __future__ import annotations

from math import log2, pi
from typing import Any

import pytest
import torch
from torch import Tensor

from posteriori import Rng
from posteriori.core.errors import DataError, OptionError
from posteriori.learn.diffusion.gaussian_denoiser import GaussianDenoiser
from posteriori.learn.diffusion.schedule import geometric, karras, reach
from posteriori.learn.diffusion.solvers import DDIM, Adams, Churn, DPMSolver2M, Heun, Solver, solve

SHAPE = (1, 4, 5)


def law() -> GaussianDenoiser:
    """A field whose neighbours go together, mean 0.3, sd one."""
    at = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0)).double()
    return GaussianDenoiser(torch.full(SHAPE, 0.3), torch.exp(-torch.cdist(at, at) / 3))


def error(solver: Solver, levels: Tensor) -> float:
    """Largest distance, in sd of a cell, from where the exact flow ends."""
    noise = Rng(0).normal((3, *SHAPE))
    found = solve(law(), noise, levels, solver)
    return float((found - law().flowed(noise, float(levels[0]))).abs().max())


@pytest.mark.parametrize(
    ("solver", "steps", "wanted"),
    [(Adams(), 15, 1e-3), (Adams(), 35, 1e-3), (DPMSolver2M(), 35, 4e-3), (Heun(), 18, 4e-2), (DDIM(), 35, 0.1)],
    ids=str,
)
def test_the_exact_flow_is_reached_within_35_evaluations(solver: Solver, steps: int, wanted: float) -> None:
    assert solver.evaluations(steps) <= 35
    assert error(solver, geometric(steps, 0.02, 20.0)) < wanted


@pytest.mark.parametrize(
    ("solver", "order"), [(DDIM(), 1), (Heun(), 2), (DPMSolver2M(), 2), (Adams(1), 2), (Adams(3), 4)], ids=str
)
def test_orders_of_convergence(solver: Solver, order: int) -> None:
    """Halving the steps between two fixed levels divides the error by 2^order, within 15 %."""
    v = torch.tensor([0.03, 0.3, 1.0, 3.0], dtype=torch.float64)

    def off(steps: int) -> Tensor:
        levels = 5.0 * (0.05 / 5.0) ** torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        exact = ((v + 0.05**2) / (v + 25.0)).sqrt() * 5.0
        return (solve(lambda x, s: x * v / (v + s.square()), torch.ones(4).double(), levels, solver) - exact).abs()

    coarse, fine = off(100), off(200)
    measured = log2(float(coarse.norm() / fine.norm()))
    assert abs(measured - order) < 0.15 * order + 0.1


def test_no_first_order_solver_is_right_to_a_thousandth_in_35_steps() -> None:
    """The relative error of n Euler steps in σ on N(0, v) is at least π²/8n, however the levels are placed."""
    bound = pi**2 / 8 / 35
    for low, high in ((0.002, 80.0), (0.02, 20.0)):
        assert error(DDIM(), geometric(35, low, high)) > 0.5 * bound > 1e-2


@pytest.mark.parametrize("solver", [Heun(Churn(20.0)), DDIM(1.0)], ids=str)
def test_noise_on_the_way_keeps_the_law(solver: Solver) -> None:
    """Standard deviations within 5 %, of 120 steps and 4 standard errors of 4000 draws of a correlated field."""
    drawn = solve(law(), Rng(0).normal((4000, *SHAPE)), geometric(120, 0.01, 60.0), solver, Rng(1))
    assert float((drawn.std(0) - 1).abs().mean()) < 0.05


def test_noise_on_the_way_needs_a_stream() -> None:
    for solver in (Heun(Churn(10.0)), DDIM(1.0)):
        with pytest.raises(OptionError, match="rng"):
            solve(law(), Rng(0).normal((1, *SHAPE)), karras(4), solver)


def test_levels_must_fall() -> None:
    with pytest.raises(OptionError, match="fall"):
        solve(law(), Rng(0).normal((1, *SHAPE)), karras(4).flip(0), Heun())
    with pytest.raises(OptionError, match="low"):
        karras(4, 1.0, 0.5)
    with pytest.raises(OptionError, match="finite"):
        karras(4, 0.1, float("inf"))
    with pytest.raises(OptionError, match="fall"):
        solve(law(), Rng(0).normal((1, *SHAPE)), torch.tensor([float("nan"), 1.0]), Heun())
    with pytest.raises(OptionError, match="low"):
        geometric(0)
    with pytest.raises(OptionError, match="points"):
        Adams(0)


def test_the_reach_of_smooth_fields_is_far_above_their_cells_spread() -> None:
    """A pattern of variance λ starts 1 % too wide from σ² = 50 λ; here λ = n, all cells being the same number."""
    same = Rng(0).normal((4000, 1)) * torch.ones(100).double()
    assert reach(same) == pytest.approx((50 * 100) ** 0.5, rel=0.05)
    with pytest.raises(DataError, match="finite"):
        reach(torch.full((3, 2), torch.nan))


def _scheduler(name: str, **options: Any) -> Any:
    diffusers = pytest.importorskip("diffusers")
    return getattr(diffusers, name)(**options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "solver"),
    [
        ("EDMDPMSolverMultistepScheduler", {"solver_order": 2, "final_sigmas_type": "zero"}, DPMSolver2M()),
        ("EDMEulerScheduler", {"final_sigmas_type": "zero"}, DDIM()),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_diffusers_takes_the_same_way(name: str, options: dict[str, Any], solver: Solver) -> None:
    """Same levels, same denoiser, same noise: the peer's scheduler ends where ours does (it computes in float32)."""
    steps = 12
    peer = _scheduler(name, sigma_min=0.02, sigma_max=20.0, sigma_data=1.0, prediction_type="epsilon", **options)
    peer.set_timesteps(steps)
    denoiser, noise = law(), Rng(0).normal((2, *SHAPE))
    ours = solve(denoiser, noise, karras(steps, 0.02, 20.0), solver)
    x = noise.float() * peer.sigmas[0]
    for i, t in enumerate(peer.timesteps):
        s = peer.sigmas[i]
        x0 = denoiser(x, s)
        skip, out = 1 / (s**2 + 1), s / (s**2 + 1) ** 0.5
        peer.scale_model_input(x, t)
        raw = (x0 - skip * x) / out
        x = peer.step(raw, t, x).prev_sample
    assert torch.allclose(x.double(), ours, atol=2e-4)
