"""Diffusion on the residual learns what the Gaussian answer misses."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.inference.local_amplitude import Conditioned, LocalAmplitude
from posteriori.inference.residual_diffusion import ResidualDiffusion, learn_residual
from posteriori.learn.plan import Plan

SHAPE = (6, 6)
AT = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0)).double()
K = torch.exp(-torch.cdist(AT, AT) / 2)


@pytest.mark.slow
def test_a_bias_of_the_gaussian_answer_is_found_and_kept_to_the_cells_not_seen() -> None:
    """Truths lie one standard deviation above the mean; members must gather there (repeatable for a seed)."""
    inner = LocalAmplitude(members=40)
    mean, std = torch.zeros(36, dtype=torch.float64), torch.ones(36, dtype=torch.float64)
    cases = []
    for i in range(96):
        hidden = Rng(0).child("hidden", i).uniform((36,)) < 0.4
        seen, rest = (~hidden).nonzero()[:, 0], hidden.nonzero()[:, 0]
        x = torch.linalg.cholesky(K) @ Rng(0).child("field", i).normal((36,))
        found = Conditioned.of(K, mean, 0.01, seen, rest, x[seen])
        cases.append((found, found.mean + inner.std(found, SHAPE), mean, std))
    plan = Plan(epochs=30, batch=16, rate=3e-3, average=0.9)
    denoiser = learn_residual(cases, inner, SHAPE, plan, Context(Rng(1)), width=8)
    found, truth, *_ = cases[0]
    drawn = ResidualDiffusion(inner, denoiser).draw(found, SHAPE, mean, std, Rng(2))
    before = (truth - found.mean).square().mean()
    after = (truth - drawn.mean(0)).square().mean()
    assert float(after) < 0.25 * float(before)
