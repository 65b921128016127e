"""The autoregressive flow: draws and densities agree, it integrates to one, it learns a law that is known."""

from __future__ import annotations

from math import log, pi

import pytest
import torch

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.learn.flow.internal_flow import InternalFlow


def stirred(dims: int, bounded: bool) -> InternalFlow:
    flow = InternalFlow(dims, 2, 6, 2, 5, 3, bounded, Rng(1)).double()
    with torch.no_grad():
        for i, p in enumerate(flow.parameters()):
            p.add_(0.15 * Rng(2).child(i).normal(p.shape, p))
    return flow


@pytest.mark.parametrize("bounded", [False, True])
def test_draws_carry_their_density(bounded: bool) -> None:
    flow = stirred(4, bounded)
    features = Rng(3).normal((50, 2))
    z, log_q = flow.draw(features, Rng(4))
    assert float((flow.log_prob(z, features) - log_q).detach().abs().max()) < 1e-6


def test_the_density_integrates_to_one() -> None:
    flow = stirred(2, False)
    line = torch.linspace(-20, 20, 201, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="ij")
    z = torch.stack([x.flatten(), y.flatten()], -1)
    with torch.no_grad():
        total = flow.log_prob(z, torch.full((1, 2), 0.3).double().expand(len(z), 2)).exp().sum() * 0.2**2
    assert abs(float(total) - 1) < 5e-3
    flow = stirred(2, True)
    line = (torch.arange(200, dtype=torch.float64) + 0.5) / 100 - 1
    x, y = torch.meshgrid(line, line, indexing="ij")
    z = torch.stack([x.flatten(), y.flatten()], -1)
    with torch.no_grad():
        total = flow.log_prob(z, torch.full((1, 2), 0.3).double().expand(len(z), 2)).exp().sum() / 100**2
    assert abs(float(total) - 1) < 5e-3


@pytest.mark.slow
def test_it_learns_a_gaussian_whose_correlation_depends_on_the_features() -> None:
    """log q of fresh rows comes within 0.05 nats of the law's own."""
    rng = Rng(5)

    def rows(n: int, rng: Rng) -> tuple[torch.Tensor, torch.Tensor]:
        features = 2 * rng.child("f").uniform((n, 2)) - 1
        a, b = rng.child("z").normal((n, 2)).unbind(-1)
        return torch.stack([a, features[:, 0] * a + 0.5 * b], -1).float(), features.float()

    flow = InternalFlow(2, 2, 8, 1, 4, 4, rng=Rng(6))
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for i in range(150):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * (1 - i / 150)
        z, features = rows(256, rng.child(i))
        loss = -flow.log_prob(z, features).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    z, features = rows(5000, rng.child("fresh"))
    own = -(1 + log(2 * pi) + log(0.5))
    with torch.no_grad():
        assert abs(float(flow.log_prob(z, features).mean()) - own) < 0.05


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="positive"):
        InternalFlow(0, 2)
    flow = InternalFlow(3, 2)
    with pytest.raises(ShapeError, match="end in 3 and 2"):
        flow.log_prob(torch.zeros(4, 2), torch.zeros(4, 2))
