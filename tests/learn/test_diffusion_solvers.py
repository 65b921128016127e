"""Solvers against the closed form of a Gaussian law: agreement, orders, and the peers' schedulers."""

from __future__ import annotations

import pytest
import torch

from posteriori import Rng
from posteriori.core.errors import OptionError
from posteriori.learn.diffusion.gaussian_denoiser import GaussianDenoiser
from posteriori.learn.diffusion.schedule import karras
from posteriori.learn.diffusion.solvers import DDIM, Churn, DPMSolver2M, Heun, Solver, solve

SHAPE = (1, 4, 5)


def law() -> GaussianDenoiser:
    """A field whose neighbours go together, mean 0.3, sd about one."""
    at = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0)).double()
    covariance = torch.exp(-torch.cdist(at, at) / 3)
    return GaussianDenoiser(torch.full(SHAPE, 0.3), covariance)


def error(solver: Solver, steps: int, low: float = 0.002, high: float = 80.0) -> float:
    """Largest distance from where the exact flow ends."""
    noise = Rng(0).normal((3, *SHAPE))
    found = solve(law(), noise, karras(steps, low, high), solver)
    return float((found - law().flowed(noise, high)).abs().max())


@pytest.mark.parametrize("solver", [Heun(), DPMSolver2M()], ids=lambda s: type(s).__name__)
def test_solvers_reach_the_exact_flow(solver: Solver) -> None:
    assert error(solver, 35) < 2e-2
    assert solver.evaluations(18) in (18, 35)


def test_churn_and_fresh_noise_need_a_stream() -> None:
    for solver in (Heun(Churn(10.0)), DDIM(1.0)):
        with pytest.raises(OptionError, match="rng"):
            solve(law(), Rng(0).normal((1, *SHAPE)), karras(4), solver)


def test_levels_must_fall() -> None:
    with pytest.raises(OptionError, match="fall"):
        solve(law(), Rng(0).normal((1, *SHAPE)), karras(4).flip(0))
