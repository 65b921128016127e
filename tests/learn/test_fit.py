"""The training loop: against torch's own optimiser, through kills, over processes, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError, ShapeError, StoreError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.learn.fit import Fitted, fit, mean_loss
from posteriori.learn.losses import SquaredError
from posteriori.learn.network import MLP, Layers
from posteriori.learn.plan import Batch, Constant, Cosine, Plan, Precision

X = torch.linspace(-1, 1, 32)[:, None]
DATA = (X, torch.sin(4 * X))


def net(dropout: float = 0.0) -> MLP:
    with Rng(0).child("net"):
        return Layers(16, 2, dropout)(1, 1)


def same(a: Fitted, b: Fitted) -> bool:
    pairs = zip(a.net.state_dict().values(), b.net.state_dict().values(), strict=True)
    histories = torch.equal(a.train, b.train) and torch.equal(a.validation, b.validation)
    return histories and a.best == b.best and all(torch.equal(x, y) for x, y in pairs)


def test_tiny_set_is_over_fitted() -> None:
    data = tuple(t[::4] for t in DATA)
    fitted = fit(net(), SquaredError(), data, Plan(epochs=800, batch=8, rate=2e-2), Context())
    assert mean_loss(fitted.net, SquaredError(), data) < 1e-4
    assert fitted.train[-1] < fitted.train[0] / 1000


@pytest.mark.parametrize("clip", [None, 0.05])
def test_steps_are_those_of_torch(clip: float | None) -> None:
    """One batch an epoch, constant rate: torch.optim.AdamW and clip_grad_norm_ give the same weights."""
    plan = Plan(epochs=20, batch=32, rate=1e-2, schedule=Constant(), weight_decay=0.1, clip=clip)
    ours = fit(net(), SquaredError(), DATA, plan, Context()).net
    other = net()
    adam = torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(20):
        adam.zero_grad()
        nn.functional.mse_loss(other(DATA[0]), DATA[1]).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(other.parameters(), clip)
        adam.step()
    for a, b in zip(ours.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_shards_sum_to_the_whole_batch() -> None:
    plan = Plan(epochs=3, batch=30, rate=1e-2)
    whole = fit(net(), SquaredError(), DATA, plan, Context())
    cut = fit(net(), SquaredError(), DATA, replace(plan, shards=4), Context())
    torch.testing.assert_close(whole.train, cut.train, rtol=1e-5, atol=0.0)


def test_given_net_and_global_generator_are_left_alone() -> None:
    given, state = net(0.2), torch.get_rng_state()
    before = [p.clone() for p in given.parameters()]
    fit(given, SquaredError(), DATA, Plan(epochs=2), Context())
    assert all(torch.equal(a, b) for a, b in zip(before, given.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_same_seed_same_arrays_and_another_seed_others() -> None:
    plan = Plan(epochs=3, batch=8)
    runs = [fit(net(0.2), SquaredError(), DATA, plan, Context(Rng(seed))) for seed in (1, 1, 2)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_early_stopping_brings_the_best_weights_back() -> None:
    """Noise is learnt by heart, so the validation loss turns; the weights returned are those of its minimum."""
    noisy = (DATA[0], DATA[1] + Rng(3).normal((32, 1), X))
    plan = Plan(epochs=300, batch=32, rate=2e-2, schedule=Constant(), patience=15)
    fitted = fit(net(), SquaredError(), noisy, plan, Context(), DATA)
    assert fitted.best == int(fitted.validation.argmin())
    assert len(fitted.validation) == fitted.best + 1 + 15 < 300
    assert mean_loss(fitted.net, SquaredError(), DATA) == float(fitted.validation[fitted.best])


@pytest.mark.parametrize("patience", [None, 3])
def test_resumed_run_equals_the_uninterrupted(tmp_path: Path, patience: int | None) -> None:
    """Stopped by an exception after any epoch; the second call goes on."""
    plan = Plan(epochs=9, batch=8, patience=patience, every=2, schedule=Cosine(0.2))
    held = DATA if patience else None
    whole = fit(net(0.2), SquaredError(), DATA, plan, Context(), held)
    for stop in (1, 4, 8):
        context = Context(store=Store(tmp_path / str(stop)))
        with pytest.raises(KeyboardInterrupt):
            fit(net(0.2), SquaredError(), DATA, plan, replace(context, progress=Interrupted(stop)), held)
        assert same(whole, fit(net(0.2), SquaredError(), DATA, plan, context, held))
        assert same(whole, fit(net(0.2), SquaredError(), DATA, plan, context, held))


@dataclass(frozen=True)
class Interrupted:
    after: int

    def __call__(self, steps: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        for i, step in enumerate(steps):
            if i == self.after:
                raise KeyboardInterrupt
            yield step


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.learn.fit import fit
from posteriori.learn.losses import SquaredError
from posteriori.learn.network import Layers, save_net
from posteriori.learn.plan import Plan

def train(store, end):
    fitted = fit(net, SquaredError(), (x, torch.sin(4 * x)), Plan(epochs=60, batch=8, every=1), Context(store=store))
    save_net(fitted.net, end)

torch.set_num_threads(1)
x = torch.linspace(-1, 1, 64)[:, None]
with Rng(0):
    net = Layers(16, 2, 0.1)(1, 1)
here = Path(sys.argv[1])
began = time.perf_counter()
train(Store(here / "timed"), here / "whole.safetensors")
length, killed, moments = time.perf_counter() - began, 0, random.Random(0)
for _ in range(12):
    child = os.fork()
    if child == 0:
        train(Store(here / "store"), here / "resumed.safetensors")
        os._exit(0)
    time.sleep(moments.uniform(0, 0.2 * length))
    os.kill(child, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
train(Store(here / "store"), here / "resumed.safetensors")
print(killed)
"""


@pytest.mark.slow
def test_killed_run_equals_the_uninterrupted(tmp_path: Path) -> None:
    """SIGKILL at twelve moments of one training, each time started again from its store."""
    told = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, capture_output=True, text=True)
    assert int(told.stdout) >= 6
    assert (tmp_path / "resumed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.slow
def test_processes_give_the_same_arrays(tmp_path: Path) -> None:
    """1, 2 and 4 processes, the third resuming what two began; dropout and a last small batch included."""
    plan = Plan(epochs=4, batch=12, rate=1e-2, shards=4, every=1)
    alone = fit(net(0.2), SquaredError(), DATA, plan, Context(), DATA)
    assert same(alone, fit(net(0.2), SquaredError(), DATA, replace(plan, processes=2), Context(), DATA))
    context = Context(store=Store(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        fit(net(0.2), SquaredError(), DATA, plan, replace(context, progress=Interrupted(2)), DATA)
    assert same(alone, fit(net(0.2), SquaredError(), DATA, replace(plan, processes=4), context, DATA))


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    context = Context(store=Store(tmp_path))
    fit(net(), SquaredError(), DATA, Plan(epochs=2), context)
    with pytest.raises(StoreError, match="another net, loss, data, seed or plan"):
        fit(net(), SquaredError(), DATA, Plan(epochs=3), context)


def test_frozen_weights_do_not_move() -> None:
    given = net()
    given.layers[0].requires_grad_(False)
    plan = Plan(epochs=3, weight_decay=0.5, factors=(("layers.3", 0.0),))
    trained = fit(given, SquaredError(), DATA, plan, Context()).net
    moved = {
        n for (n, a), b in zip(given.named_parameters(), trained.parameters(), strict=True) if not torch.equal(a, b)
    }
    assert moved == {"layers.6.weight", "layers.6.bias"}


def test_factors_scale_the_rate() -> None:
    """The first step of Adam is the rate itself, up to its ε, so its size is known."""
    plan = Plan(epochs=1, batch=32, rate=1e-2, schedule=Constant(), factors=(("layers.0", 0.1),))
    given = net()
    trained = fit(given, SquaredError(), DATA, plan, Context()).net
    moves = [(a - b).abs().max() for a, b in zip(given.parameters(), trained.parameters(), strict=True)]
    assert float(moves[0].detach()) == pytest.approx(1e-3, rel=1e-2)
    assert float(moves[-1].detach()) == pytest.approx(1e-2, rel=1e-2)


def test_augmentation_sees_every_batch_once() -> None:
    shift = Shift()
    fit(net(), SquaredError(), DATA, Plan(epochs=2, batch=10, augment=shift), Context())
    assert [len(x) for x in shift.seen] == [10, 10, 10, 2] * 2
    first = torch.cat(shift.seen[:4])
    assert torch.equal(first.sort(0).values, X.sort(0).values)
    assert not torch.equal(first, torch.cat(shift.seen[4:]))


class Shift:
    """Adds nothing, and notes what passes."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        self.seen.append(batch[0])
        return batch


def test_schedules() -> None:
    """Closed forms: a straight rise, half a cosine, its floor."""
    cosine = Cosine(warm_up=0.2, floor=0.1)
    assert [cosine(s) for s in (0.1, 0.6, 1.0)] == pytest.approx([0.5, 0.55, 0.1])
    assert [Constant(0.5)(s) for s in (0.25, 0.75)] == [0.5, 1.0]


def test_bfloat16_trains_in_full_weights() -> None:
    plan = Plan(epochs=300, batch=32, rate=2e-2, precision=Precision.BFLOAT16)
    fitted = fit(net(), SquaredError(), DATA, plan, Context())
    assert {p.dtype for p in fitted.net.parameters()} == {torch.float32}
    assert mean_loss(fitted.net, SquaredError(), DATA) < 0.02


def test_broken_input_is_refused() -> None:
    x, y = DATA
    plan, context = Plan(epochs=30), Context()
    with pytest.raises(ShapeError, match="no common first axis"):
        fit(net(), SquaredError(), (x, y[:3]), plan, context)
    with pytest.raises(DataError, match="no rows"):
        fit(net(), SquaredError(), (x[:0], y[:0]), plan, context)
    bad = y.clone()
    bad[5] = torch.nan
    with pytest.raises(DataError, match="row 5 of tensor 1 of the data"):
        fit(net(), SquaredError(), (x, bad), plan, context)
    with pytest.raises(OptionError, match="patience=3"):
        fit(net(), SquaredError(), DATA, Plan(patience=3), context)
    with pytest.raises(OptionError, match=r"epoch \d+; lower the rate \(1e\+30\)"):
        fit(net(), SquaredError(), DATA, Plan(epochs=30, rate=1e30), context)
    with pytest.raises(OptionError, match="no parameter"):
        fit(net().requires_grad_(False), SquaredError(), DATA, plan, context)
    with pytest.raises(ShapeError, match="one number a row"):
        fit(net(), mean_of_all, DATA, plan, context)


def mean_of_all(given: nn.Module, *rows: Tensor) -> Tensor:
    return (given(rows[0]) - rows[1]).square().mean()


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"rate": -1.0}, {"processes": 2}, {"weight_decay": -1.0}, {"patience": -2}]
)
def test_plan_refuses(bad: dict) -> None:
    with pytest.raises(OptionError):
        Plan(**bad)
