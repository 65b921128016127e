"""A flow over angles learns laws of torsions whose density is known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import i0

from posteriori.core.errors import ShapeError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular
from posteriori.learn.flow.circular import CircularFlow

TORSIONS = Space("torsion", {"angle": ["phi", "psi"]}, "rad", Circular(2 * math.pi))


def test_density_is_of_mass_one_and_periodic() -> None:
    flow = CircularFlow.example()
    line = -math.pi + 2 * math.pi * (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        density = flow.log_prob(grid).exp()
        assert float(density.mean()) * (2 * math.pi) ** 2 == pytest.approx(1.0, abs=2e-3)
        torch.testing.assert_close(flow.log_prob(grid[:50] + 2 * math.pi), flow.log_prob(grid[:50]))


@pytest.mark.slow
def test_a_law_across_the_seam_is_learnt() -> None:
    """ψ = φ + von Mises about π: mean Kullback-Leibler divergence from fresh draws within 0.03 nat."""
    kappa, rng = 4.0, Rng(3)
    flow = CircularFlow(TORSIONS, 3, (32, 32), 8, rng.child("flow")).double()
    law = torch.distributions.VonMises(torch.tensor(math.pi, dtype=torch.float64), torch.tensor(kappa).double())

    def draws(n: int) -> torch.Tensor:
        phi = (2 * torch.rand(n, dtype=torch.float64) - 1) * math.pi
        return torch.stack([phi, torch.remainder(phi + law.sample((n,)) + math.pi, 2 * math.pi) - math.pi], -1)

    with rng.child("data"):
        optimiser = torch.optim.Adam(flow.parameters(), 5e-3)
        for _ in range(400):
            loss = -flow.log_prob(draws(512)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        fresh = draws(20_000)
    apart = torch.remainder(fresh[:, 1] - fresh[:, 0], 2 * math.pi)
    truth = kappa * torch.cos(apart - math.pi) - math.log(2 * math.pi * i0(kappa)) - math.log(2 * math.pi)
    with torch.no_grad():
        assert float((truth - flow.log_prob(fresh)).mean()) < 0.03
        drawn = flow.sample(4000, Rng(4))
    apart = drawn[:, 1] - drawn[:, 0] - math.pi
    assert abs(float(torch.cos(apart).mean()) - 0.8635) < 0.03  # I1(4)/I0(4)


def test_cells_that_are_no_angles_are_refused() -> None:
    with pytest.raises(ShapeError, match="period 2π"):
        CircularFlow(Space("x", {"axis": 2}))
