"""Deep ensembles: near the truth, honest about it, less unsure with more data, and right after conformal repair."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import posteriori as po
from posteriori.audit.repeats import credible
from posteriori.core.algebra import Identity
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.random import Rng
from posteriori.core.target import Inverse
from posteriori.inference.conformal import Conformal
from posteriori.inference.ensemble import DeepEnsemble
from posteriori.inference.exact import Exact
from posteriori.inference.field import wave
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan

PLAN = Plan(epochs=300, batch=48, rate=1e-2)


def test_answer_comes_near_the_exact_one() -> None:
    """With 32 of 40 cells measured, its error is below twice the exact posterior's own spread."""
    features, target = wave(data=32)
    answer = po.infer(target, DeepEnsemble(features, Layers(32), 6, PLAN, 3))
    exact = po.infer(target, Exact())
    gap = (answer.center() - exact.center()).square().mean().sqrt()
    assert float(gap) < 2 * float(exact.spread().square().mean().sqrt())


def test_epistemic_part_falls_with_more_data() -> None:
    """Between the members: 12 of 60 cells against all of them, three fields."""
    ratios = []
    for seed in range(3):
        few_features, few = wave(60, 12, seed=seed)
        features, many = wave(60, 60, seed=seed)
        spreads = [
            po.infer(t, DeepEnsemble(f, Layers(32), 6, PLAN, 3)).between().square().mean().sqrt()
            for f, t in ((few_features, few), (features, many))
        ]
        ratios.append(float(spreads[1] / spreads[0]))
    assert max(ratios) < 0.7


def test_held_out_scatter_covers_what_the_net_cannot_say() -> None:
    """White scatter of 0.5 that no feature explains comes back as the members' own variance, to 4 standard errors."""
    rng, n = Rng(0), 400
    x = torch.linspace(-1, 1, n, dtype=torch.float64)[:, None]
    space = po.Space("m", {"x": n})
    prior = Gaussian(space, torch.zeros(n).double(), DiagonalCovariance(torch.ones(n).double()))
    data = torch.sin(3 * x[:, 0]) + 0.5 * rng.normal((n,))
    plan = Plan(epochs=60, batch=64, rate=1e-2)
    answer = po.infer(Inverse(Identity(space), prior, data, Normal(0.05)), DeepEnsemble(x, Layers(16), 6, plan, 3))
    own = answer.parts[0].spread()
    assert float(own.std()) < 1e-9
    assert abs(float(own[0]) - 0.5) < 4 * 0.5 / (2 * n) ** 0.5


def test_a_few_very_precise_data_do_not_decide_alone() -> None:
    """One row in 20 claims an error of 1e-4, and nothing is met better than 0.3: 1/σ² would leave 10 rows of 200."""
    n, x = 200, torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
    space = po.Space("m", {"x": n})
    prior = Gaussian(space, torch.zeros(n).double(), DiagonalCovariance(torch.ones(n).double()))
    truth = torch.sin(3 * x[:, 0])
    sigma = torch.where(torch.arange(n) % 20 == 7, 1e-4, 0.05).double()
    target = Inverse(Identity(space), prior, truth + 0.3 * Rng(1).normal((n,)), Normal(sigma))
    answer = po.infer(target, DeepEnsemble(x, Layers(16), 4, Plan(epochs=60, batch=50, rate=1e-2), 4))
    assert float((answer.center() - truth).square().mean().sqrt()) < 0.12


def test_seed_decides() -> None:
    method, target = DeepEnsemble.example()
    method = replace(method, plan=Plan(epochs=3, batch=12))
    first, again, other = (po.infer(target, method, seed=s).center() for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_coverage_holds_after_conformal_repair() -> None:
    """90 % intervals of fields from the prior: 87-93 %, with 3 standard errors of what 200 + 200 problems can tell."""
    method, target = DeepEnsemble.example()
    method = replace(method, plan=replace(method.plan, epochs=100))
    repaired = Conformal(method).fit(target.simulate, problems=200)
    figure = credible(repaired, target, problems=200, levels=(0.9,), rng=Rng(11)).figures[0]
    error = 2**0.5 * (figure.standard_error or 0.0)
    assert 0.87 - 3 * error < figure.value < 0.93 + 3 * error
