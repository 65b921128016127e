"""Diffusion of classes against a law whose probabilities are all known."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from posteriori import Rng
from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.learn.diffusion.categorical import (
    Chain,
    ClassDenoiser,
    ClassLoss,
    absorbing,
    chosen,
    generate,
    multinomial,
    only,
    reachable,
)
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.fit import fit
from posteriori.learn.plan import Plan

JOINT = torch.tensor([[0.30, 0.05, 0.05], [0.02, 0.25, 0.03], [0.10, 0.05, 0.15]], dtype=torch.float64)
"""Probabilities of two cells side by side."""


def exact(states: Tensor, t: int, chain: Chain) -> Tensor:
    """p(x₀ of each cell | both states) of the law JOINT, (n, class, 1, 2)."""
    a = chain.alpha_bar[t - 1]
    reach = (a * torch.eye(3, chain.states).double() + (1 - a) * chain.resting)[:, states[:, 0]]  # (class, n, cell)
    joint = JOINT[None] * reach[:, :, 0].T[:, :, None] * reach[:, :, 1].T[:, None, :]
    joint = joint / joint.sum((1, 2), keepdim=True)
    return torch.stack([joint.sum(2), joint.sum(1)], -1)[:, :, None]


@pytest.mark.parametrize("chain", [absorbing(3, 100), multinomial(3, 100)], ids=["absorbing", "multinomial"])
def test_the_law_comes_out(chain: Chain) -> None:
    """Nine outcomes, each share within 0.015: 4.5 standard errors of 20000 draws, and the steps' own error."""
    x = generate(partial(exact, chain=chain), chain, (20000, 1, 2), Rng(0))[:, 0]
    share = torch.bincount(3 * x[:, 0] + x[:, 1], minlength=9) / 20000
    assert float((share.double() - JOINT.flatten()).abs().max()) < 0.015


@pytest.mark.parametrize("chain", [absorbing(3, 10), multinomial(3, 10)], ids=["absorbing", "multinomial"])
def test_a_step_back_is_bayes_rule(chain: Chain) -> None:
    """Against the sum over all paths, with transition matrices written out."""
    t, k = 6, chain.states
    a, before = chain.alpha_bar[t - 1], chain.alpha_bar[t - 2]

    def matrix(keep: Tensor) -> Tensor:
        return keep * torch.eye(k).double() + (1 - keep) * chain.resting

    step, far = matrix(a / before), matrix(before)
    assert torch.allclose(far @ step, matrix(a))
    p0 = torch.tensor([0.2, 0.5, 0.3]).double()
    for state in range(k):
        wanted = sum(p0[c] * far[c] * step[:, state] / (far[c] @ step[:, state]) for c in range(3) if p0[c] > 0)
        possible = (far[:3] @ step[:, state]) > 0
        if not bool(possible.all()):
            continue
        found = chain.back(torch.full((1, 1, 1), state), p0.reshape(1, 3, 1, 1), t)[0, :, 0, 0]
        assert torch.allclose(found, wanted)


def test_gaussian_noise_on_class_codes_means_nothing() -> None:
    """Of fields that are all class 0 or all class 2 the mean of the codes is 1, a class that never was."""
    codes = 2.0 * (Rng(0).uniform((4000,)) < 0.5)
    best_at_high_noise = codes.mean()
    assert int(best_at_high_noise.round()) == 1
    never = torch.tensor([0.5, 0.0, 0.5]).double().reshape(1, 3, 1, 1)
    x = generate(lambda states, t: never.expand(len(states), 3, 1, 1), absorbing(3, 20), (4000, 1, 1), Rng(1))
    assert int((x == 1).sum()) == 0


def test_forbidden_changes_and_protected_cells() -> None:
    table = torch.tensor([[True, True, False], [False, True, False], [False, False, True]])
    now = Rng(0).integers(3, (200, 3, 3))
    allowed = reachable(now, table)
    chain = absorbing(3, 10)
    even = torch.full((200, 3, 3, 3), 1 / 3).double()
    then = generate(lambda states, t: even, chain, (200, 3, 3), Rng(1), allowed)
    assert bool(table[now, then].all())
    assert bool((then != now).any())
    assert float(only(torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1), allowed[:1, :, :1, :1]).sum()) == 1
    with pytest.raises(DataError, match="no allowed class"):
        only(even, torch.zeros(200, 3, 3, 3, dtype=torch.bool))
    with pytest.raises(DataError, match="table of transitions"):
        reachable(now + 1, table)


def test_chains_must_end_in_their_resting_law() -> None:
    with pytest.raises(OptionError, match="alpha_bar"):
        Chain(torch.tensor([0.9, 0.5]).double(), torch.ones(2) / 2)
    with pytest.raises(OptionError, match="resting"):
        Chain(torch.tensor([0.5, 0.0]).double(), torch.ones(2))


@pytest.mark.slow
@pytest.mark.parametrize("make", [absorbing, multinomial], ids=lambda f: f.__name__)
def test_learnt_probabilities_are_calibrated(make: object) -> None:
    """Class 1 where chance < p(c), p known from the condition; a fifth unknown. ECE of the drawn shares below 0.04."""
    chain = make(2, 16)  # type: ignore[operator]
    c = Rng(0).normal((900, 1, 4, 4)).float()
    p = torch.sigmoid(1.5 * c[:, 0])
    codes = chosen(torch.stack([1 - p, p], 1), Rng(1)).float()
    codes[Rng(2).uniform(codes.shape) < 0.2] = -1
    with Rng(3):
        net = ClassDenoiser(UNet(chain.states, 2, 1, width=8, multiples=(1, 2), heads=2), chain)
    fitted = fit(net, ClassLoss(), (codes, c), Plan(18, 50, 5e-3, average=0.97), Context())
    given = c[:100]
    drawn = torch.stack(
        [generate(partial(fitted.net, condition=given), chain, (100, 4, 4), Rng(7).child(i)) for i in range(30)]
    )
    share, truth = (drawn == 1).float().mean(0).flatten(), p[:100].flatten()
    bins = torch.bucketize(truth, torch.linspace(0.1, 0.9, 9))
    error = sum(
        float((share[bins == b].mean() - truth[bins == b].mean()).abs() * (bins == b).float().mean()) for b in range(10)
    )
    assert error < 0.04
