"""Copying, freezing and fine-tuning."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.fit import fit, mean_loss
from posteriori.learn.losses import SquaredError
from posteriori.learn.network import MLP, Layers
from posteriori.learn.plan import Constant, Plan
from posteriori.learn.transfer import copied, falling_rates, fine_tune, frozen

X = torch.linspace(-1, 1, 64)[:, None]


def net(seed: int, outputs: int = 1) -> MLP:
    with Rng(seed):
        return Layers(16, 2)(1, outputs)


def test_copied_weights_are_those_of_the_source() -> None:
    source, into = net(0), net(1, outputs=2)
    made = copied(source, into, "layers.0.", "layers.3.")
    assert torch.equal(made.layers[0].weight, source.layers[0].weight)
    assert torch.equal(made.layers[6].weight, into.layers[6].weight)
    with pytest.raises(OptionError, match=r"layers\.6"):
        copied(source, into)
    with pytest.raises(OptionError, match="no name begins with 'head'"):
        copied(source, into, "head")


def test_frozen_layers_do_not_move() -> None:
    start = frozen(net(0), "layers.0.", "layers.3.")
    tuned = fit(start, SquaredError(), (X, X**2), Plan(epochs=5, batch=16, weight_decay=0.1), Context()).net
    pairs = zip(start.named_parameters(), tuned.parameters(), strict=True)
    still = {name for (name, a), b in pairs if torch.equal(a, b)}
    assert still == {"layers.0.weight", "layers.0.bias", "layers.3.weight", "layers.3.bias"}
    with pytest.raises(OptionError):
        frozen(net(0))


def test_rates_fall_with_the_distance_from_the_output() -> None:
    assert falling_rates(net(0), 0.5) == (("layers.0.", 0.25), ("layers.3.", 0.5), ("layers.6.", 1.0))
    plan = Plan(epochs=1, batch=64, rate=1e-2, schedule=Constant())
    tuned = fine_tune(net(0), SquaredError(), (X, X**2), plan, Context(), decay=0.5).net
    moved = [(a - b).abs().max().item() for a, b in zip(net(0).parameters(), tuned.parameters(), strict=True)]
    assert moved[::2] == pytest.approx([0.0025, 0.005, 0.01], rel=0.02)


def test_a_related_question_helps_where_data_are_few() -> None:
    """Pre-trained on sin(4x), six values of 1.2·sin(4x) are met better than from scratch."""
    few = (X[5::10], 1.2 * torch.sin(4 * X[5::10]))
    whole = (X, 1.2 * torch.sin(4 * X))
    first = fit(net(0), SquaredError(), (X, torch.sin(4 * X)), Plan(epochs=100, batch=16, rate=1e-2), Context()).net
    plan = Plan(epochs=60, batch=6, rate=1e-2)
    tuned = fine_tune(first, SquaredError(), few, plan, Context()).net
    scratch = fit(net(0), SquaredError(), few, plan, Context()).net
    assert mean_loss(tuned, SquaredError(), whole) < 0.2 * mean_loss(scratch, SquaredError(), whole)
