"""Nets: closed forms of their layers, exact files, and crowds that equal their members."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from posteriori.core.errors import DataError, OptionError, StoreError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.crowd import Crowd
from posteriori.learn.fit import fit
from posteriori.learn.losses import KnownVariance, LearntVariance, SquaredError, gaussian_nll
from posteriori.learn.network import MLP, Activation, Layers, Scaling, load_net, save_net
from posteriori.learn.plan import Constant, Plan


def test_scaling_has_mean_zero_and_spread_one() -> None:
    x = Rng(0).normal((50, 3)) * torch.tensor([5.0, 0.1, 0.0]) + torch.tensor([3.0, -1.0, 7.0])
    scaled = Scaling.of(x)(x)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3).double(), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(
        scaled.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]).double(), atol=1e-5, rtol=1e-5
    )
    with pytest.raises(DataError, match="feature 1 of row 4"):
        Scaling.of(x.index_put((torch.tensor(4), torch.tensor(1)), torch.tensor(torch.nan).double()))


def test_gradient_reaches_every_parameter() -> None:
    net = MLP.example()
    net(torch.randn(5, 2, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in net.parameters())


@pytest.mark.parametrize("activation", list(Activation))
def test_saved_net_comes_back_bit_for_bit(tmp_path: Path, activation: Activation) -> None:
    with Rng(1):
        net = Layers(8, 3, 0.2, activation)(4, 2)
    net.scaling = Scaling.of(Rng(2).normal((9, 4)))
    path = save_net(net, tmp_path / "net.safetensors")
    back = load_net(MLP.from_config, path)
    assert back.config() == net.config()
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), back.state_dict().values(), strict=True))


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        load_net(MLP.from_config, tmp_path / "none.safetensors")
    with pytest.raises(StoreError, match=r"\.pt"):
        save_net(MLP.example(), tmp_path / "net.pt")
    path = save_net(MLP.example(), tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match="damaged"):
        load_net(MLP.from_config, path)
    with pytest.raises(OptionError):
        MLP(0, 1)


def test_thinned_nets_average_to_the_whole_linear_one() -> None:
    """With ReLU on positive units the net is linear, so thinning keeps the mean: within 4 standard errors."""
    net = MLP(1, 1, width=40, depth=1, dropout=0.3, activation=Activation.RELU)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(p.abs())
    x = torch.tensor([[1.0], [2.0]])
    said = torch.stack([net.thinned(Rng(0).child(i))(x) for i in range(400)]).detach()
    error = said.std(0) / 20
    assert bool(((said.mean(0) - net.eval()(x)).abs() < 4 * error).all())
    assert torch.equal(net.thinned(Rng(7))(x), net.thinned(Rng(7))(x))


def test_thinning_is_one_function_for_all_rows() -> None:
    """Two equal rows get equal answers to rounding (sums may be added in another order), unlike from dropout layers."""
    with Rng(0):
        net = Layers(32, 2, 0.5)(1, 1)
    x = torch.ones(2, 1)
    first, second = net.thinned(Rng(3))(x)
    assert torch.allclose(first, second, rtol=1e-5)
    with Rng(3):
        first, second = net.train()(x)
    assert not torch.allclose(first, second, rtol=1e-3)


def test_crowd_equals_its_members_and_trains_them_as_if_alone() -> None:
    nets = []
    for k in range(3):
        with Rng(0).child(k):
            nets.append(Layers(8, 1)(1, 1))
    crowd = Crowd(nets)
    x = torch.linspace(-1, 1, 20)[:, None]
    for k in range(3):
        torch.testing.assert_close(crowd(x)[k], nets[k](x), atol=1e-6, rtol=1e-5)
    y = torch.cat([torch.sin(3 * x), x, x**2], 1)
    plan = Plan(epochs=30, batch=20, rate=1e-2, schedule=Constant())
    ones = torch.ones_like(y)
    together = fit(crowd, KnownVariance(), (x, y, ones, ones), plan, Context()).net
    assert isinstance(together, Crowd)
    for k in range(3):
        alone = fit(nets[k], HalfSquared(), (x, y[:, k : k + 1]), plan, Context()).net
        torch.testing.assert_close(together.member(k)(x), alone(x), atol=2e-4, rtol=1e-3)


class HalfSquared:
    """The Gaussian loss of variance one, by itself."""

    def __call__(self, net: nn.Module, *rows: torch.Tensor) -> torch.Tensor:
        return 0.5 * SquaredError()(net, *rows)


def test_crowd_refuses_batch_normalisation() -> None:
    with pytest.raises(OptionError, match="LayerNorm"):
        Crowd([nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))])


def test_losses_are_those_of_the_normal_law() -> None:
    """Against torch.distributions; β = 0 of the learnt variance, and the clamp far below it."""
    rng = Rng(4)
    y, mean, variance = rng.normal((5,)), rng.normal((5,)), rng.uniform((5,)) + 0.1
    law = torch.distributions.Normal(mean, variance.sqrt())
    torch.testing.assert_close(gaussian_nll(y, mean, variance), -law.log_prob(y))
    net = Fixed(torch.stack([mean, variance.log()], -1)[None].float())
    rows = (mean[:, None], y[:, None], torch.full((5, 1), 0.3), torch.ones(5, 1))
    wide = torch.distributions.Normal(mean, (variance + 0.3).sqrt())
    torch.testing.assert_close(LearntVariance(0.0)(net, *rows), -wide.log_prob(y), rtol=1e-5, atol=1e-6)
    scaled = (variance + 0.3).sqrt() * -wide.log_prob(y)
    torch.testing.assert_close(LearntVariance(0.5)(net, *rows), scaled, rtol=1e-5, atol=1e-6)


class Fixed(nn.Module):
    """Says the same whatever it is asked."""

    def __init__(self, said: torch.Tensor) -> None:
        super().__init__()
        self.said = said

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.said
