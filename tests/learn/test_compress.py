"""Pruned and rounded nets: what stays, what it costs, and bounds on the error."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.compress import RoundedLinear, cost, pruned, quantised
from posteriori.learn.fit import fit
from posteriori.learn.losses import SquaredError
from posteriori.learn.network import Layers
from posteriori.learn.plan import Plan

X = torch.linspace(-1, 1, 128)[:, None]
ROWS = (X, torch.sin(4 * X))
LOSS = SquaredError()


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    with Rng(0):
        net = Layers(64, 2)(1, 1)
    return fit(net, LOSS, ROWS, Plan(epochs=100, batch=32, rate=1e-2), Context()).net


def test_rounding_errs_by_half_a_step_at_most() -> None:
    with Rng(1):
        layer = nn.Linear(30, 7)
    small = RoundedLinear(layer)
    half = layer.weight.abs().amax(1, keepdim=True) / 254
    back = small.whole.float() * small.scale
    assert bool(((back - layer.weight).abs() <= half * (1 + 1e-5)).all())
    x = Rng(2).normal((5, 30), X)
    bound = (x.abs() @ half.expand(7, 30).mT) * (1 + 1e-4) + 1e-6
    assert bool(((small(x) - layer(x)).abs() <= bound).all())


def test_rounded_net_is_a_quarter_the_size_and_as_good(trained: nn.Module) -> None:
    found = quantised(trained, LOSS, ROWS)
    assert found.before == cost(trained, LOSS, ROWS) or found.before.loss == cost(trained, LOSS, ROWS).loss
    assert found.after.bytes < 0.35 * found.before.bytes
    assert found.after.loss < found.before.loss + 1e-3
    assert not any(isinstance(layer, nn.Linear) for layer in found.net.modules())
    assert quantised(nn.Linear(1, 1), LOSS, ROWS).net(X).shape == (128, 1)


def test_pruned_net_has_the_zeros_asked_for_and_is_as_good(trained: nn.Module) -> None:
    """Two thirds of 4224 weights gone; the sine still met to an RMS of 0.1."""
    found = pruned(trained, 0.667, LOSS, ROWS, Plan(epochs=40, batch=32, rate=5e-3), Context(), ROWS)
    weights = torch.cat([m.weight.flatten() for m in found.net.modules() if isinstance(m, nn.Linear)])
    assert float((weights == 0).double().mean()) == pytest.approx(0.667, abs=0.002)
    assert found.after.bytes < 0.5 * found.before.bytes
    assert found.after.loss < 0.01
    assert set(found.net.state_dict()) == set(trained.state_dict())


def test_nothing_to_make_smaller_is_refused(trained: nn.Module) -> None:
    with pytest.raises(OptionError, match="no linear layer"):
        quantised(nn.Tanh(), LOSS, ROWS)
    with pytest.raises(OptionError, match="outside"):
        pruned(trained, 1.0, LOSS, ROWS, Plan(), Context(), ROWS)
