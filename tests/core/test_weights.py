"""How far weighted draws can be trusted, against known tails, known autocorrelations and ArviZ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori import Rng
from posteriori.core import weights


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9, 1.3])
def test_the_shape_of_a_pareto_tail_is_found(k: float) -> None:
    """Standard error about (1 + k) / sqrt(tail rows), the maximum-likelihood one; five of them, tail of 600."""
    n = 40_000
    log_w = -k * Rng(0).child(str(k)).uniform((n,)).log()
    _, found = weights.pareto_smooth(log_w)
    assert abs(float(found) - k) < 5 * (1 + k) / 600**0.5 + 0.02


def test_bounded_weights_are_sound() -> None:
    _, k = weights.pareto_smooth(Rng(1).uniform((5000, 3)))
    assert bool((k < 0.1).all())


def test_weights_that_differ_by_rounding_have_no_tail() -> None:
    _, k = weights.pareto_smooth(Rng(6).normal((4000,)) * 1e-14)
    assert float(k) == -np.inf


def test_smoothing_tames_the_mean_weight_and_keeps_the_order() -> None:
    log_w = Rng(2).normal((2000,)) * 2.0
    smooth, k = weights.pareto_smooth(log_w)
    assert 0.4 < float(k) < 1.2
    assert torch.equal(smooth.argsort(), log_w.argsort())
    assert float(smooth.max()) <= float(log_w.max())


def test_rejected_and_tied_rows_are_no_tail() -> None:
    log_w = torch.full((1000,), -torch.inf, dtype=torch.float64)
    log_w[:30] = 0.0
    assert float(weights.pareto_smooth(log_w)[1]) == -np.inf
    log_w[5:] = -torch.inf
    assert np.isnan(float(weights.pareto_smooth(log_w)[1]))
    half = torch.cat([torch.zeros(500), Rng(0).normal((500,)).abs()]).double()
    assert np.isfinite(float(weights.pareto_smooth(half)[1]))


def test_pareto_k_is_that_of_arviz() -> None:
    arviz = pytest.importorskip("arviz")
    log_w = Rng(3).normal((1000, 2)) * torch.tensor([0.7, 2.0])
    smooth, k = weights.pareto_smooth(log_w)
    for i in range(2):
        theirs, shape = arviz.psislw(log_w[:, i].numpy())
        assert float(k[i]) == pytest.approx(float(shape), abs=1e-10)
        assert (smooth[:, i] - smooth[:, i].logsumexp(0)).numpy() == pytest.approx(theirs, abs=1e-10)


def test_the_mean_weight_has_its_error() -> None:
    """E[w] = 1 of log-normal weights; z-scores of 300 repeats have spread 1 within five standard errors."""
    z = []
    for seed in range(300):
        found, error = weights.log_mean_exp(Rng(seed).normal((500,)) - 0.5)
        z.append(float(found / error))
    assert np.std(z) == pytest.approx(1.0, abs=5 / 600**0.5 + 0.1)


def test_effective_sizes_of_weights() -> None:
    assert float(weights.ess(torch.zeros(40))) == pytest.approx(40.0)
    assert float(weights.ess(torch.tensor([0.0, -torch.inf, 0.0]))) == pytest.approx(2.0)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.4])
def test_effective_size_of_an_autoregressive_chain(rho: float) -> None:
    """n (1 - ρ) / (1 + ρ); within 20 % for 4 chains of 5000."""
    n, chains = 5000, 4
    e = Rng(0).normal((n, chains)) * (1 - rho**2) ** 0.5
    x = torch.empty_like(e)
    x[0] = Rng(1).normal((chains,))
    for t in range(1, n):
        x[t] = rho * x[t - 1] + e[t]
    assert float(weights.chain_ess(x)) == pytest.approx(n * chains * (1 - rho) / (1 + rho), rel=0.2)
    assert float(weights.split_rhat(x)) == pytest.approx(1.0, abs=0.02)


def test_chains_that_disagree_are_seen() -> None:
    x = Rng(2).normal((500, 4, 2))
    x[:, 0, 0] += 1.0
    drift = x[:, :, 1] + torch.linspace(0, 2, 500).double()[:, None]
    rhat = weights.split_rhat(torch.stack([x[..., 0], x[..., 1], drift], -1))
    assert float(rhat[0]) > 1.1
    assert float(rhat[1]) < 1.02
    assert float(rhat[2]) > 1.1
    assert float(weights.chain_ess(x)[0]) < 200


def test_rhat_and_effective_size_are_those_of_arviz() -> None:
    arviz = pytest.importorskip("arviz")
    x = Rng(4).normal((300, 4, 2)).cumsum(0) * 0.05 + Rng(5).normal((300, 4, 2))
    x[..., 1] = x[..., 1].round()
    for i in range(2):
        theirs = x[..., i].numpy().T
        assert float(weights.split_rhat(x)[i]) == pytest.approx(float(arviz.rhat(theirs, method="z_scale")), abs=1e-6)
        assert float(weights.chain_ess(x)[i]) == pytest.approx(float(arviz.ess(theirs, method="mean")), rel=0.1)


def test_constant_chains_have_no_rhat() -> None:
    """Nothing moves, so nothing disagrees."""
    assert not float(weights.split_rhat(torch.ones(20, 2, dtype=torch.float64))) > 1.0
