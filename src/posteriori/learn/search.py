"""Hyper-parameters chosen by their loss on held-out data: random trials, of which the better half-way ones go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import ceil, exp, inf, log
from typing import Any, Protocol

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.tasks import run_tasks
from posteriori.learn.fit import fit
from posteriori.learn.loop import DivergedError
from posteriori.learn.losses import Loss
from posteriori.learn.network import Layers
from posteriori.learn.plan import Batch, Plan

Options = Mapping[str, Any]


class Range(Protocol):
    """What one hyper-parameter may be."""

    def draw(self, rng: Rng) -> Any:
        """One value."""


@dataclass(frozen=True)
class Between:
    """A number between ``low`` and ``high``, every one as likely."""

    low: float
    high: float

    def draw(self, rng: Rng) -> float:
        """One value."""
        return self.low + (self.high - self.low) * float(rng.uniform(()))


@dataclass(frozen=True)
class Scale:
    """A number between ``low`` and ``high``, every factor as likely."""

    low: float
    high: float

    def draw(self, rng: Rng) -> float:
        """One value."""
        return exp(log(self.low) + log(self.high / self.low) * float(rng.uniform(())))


@dataclass(frozen=True)
class OneOf:
    """One of some values."""

    values: tuple[Any, ...]

    def draw(self, rng: Rng) -> Any:
        """One value."""
        return self.values[int(rng.integers(len(self.values), ()))]


class Trial(Protocol):
    """Something whose hyper-parameters are searched; picklable."""

    def __call__(self, options: Options, epochs: int, context: Context) -> float:
        """The loss on held-out data after ``epochs`` with these options."""


@dataclass(frozen=True, eq=False)
class Training:
    """The held-out loss of an MLP; options are fields of its :class:`Layers` or of its :class:`Plan`, by name.

    A training whose loss is no longer finite counts as infinitely bad.
    """

    loss: Loss
    data: Batch
    validation: Batch
    plan: Plan
    net: Layers

    def __call__(self, options: Options, epochs: int, context: Context) -> float:
        """Lowest validation loss within ``epochs``."""
        known = {f.name for f in fields(Layers)}, {f.name for f in fields(Plan)}
        if unknown := set(options) - known[0] - known[1]:
            raise OptionError(f"{sorted(unknown)} are no fields of Layers or Plan.")
        shape = replace(self.net, **{k: v for k, v in options.items() if k in known[0]})
        plan = replace(self.plan, **{k: v for k, v in options.items() if k in known[1]}, epochs=epochs)
        with context.rng.child("initial"):
            net = shape(self.data[0].shape[-1], self.data[1].shape[-1])
        fitted = fit(net, self.loss, self.data, plan, context, self.validation)
        return float(fitted.validation.min())


@dataclass(frozen=True)
class Tried:
    """One set of options and its loss at the largest number of epochs it came to."""

    options: Options
    epochs: int
    loss: float


@dataclass(frozen=True)
class Found:
    """The best options, and all that were tried, best first among equals in epochs."""

    best: Options
    tried: tuple[Tried, ...]


def search(
    trial: Trial,
    space: Mapping[str, Range],
    context: Context,
    trials: int = 27,
    epochs: tuple[int, int] = (20, 180),
    keep: int = 3,
) -> Found:
    """Draw ``trials`` sets of options; train all for few epochs and, again and again, the best ``1/keep`` for more.

    Every training is a task of its own, with a stream that depends on the seed and its number alone, and with a store
    it is done once.

    Args:
        trial: what is trained.
        space: the ranges, by name.
        epochs: of the first round and of the last; each round has ``keep`` times those of the one before.

    Raises:
        OptionError: fewer than one trial, epochs that do not rise, or no trial with a finite loss.

    Reference: Jamieson & Talwalkar (2016), Non-stochastic best arm identification and hyperparameter optimization,
    AISTATS, arXiv:1502.07943.
    """
    few, most = epochs
    if trials < 1 or not 1 <= few <= most or keep < 2 or not space:
        raise OptionError(f"trials={trials}, epochs={epochs}, keep={keep} over {sorted(space)} cannot be searched.")
    streams = [context.rng.child("options", i) for i in range(trials)]
    drawn = [{name: space[name].draw(stream.child(name)) for name in sorted(space)} for stream in streams]
    alive, budget = list(range(trials)), few
    tried: dict[int, Tried] = {}
    while True:
        payload = (trial, drawn, budget)
        found = run_tasks(_try, payload, alive, context.child("round", budget), f"{budget} epochs")
        for i, result in zip(alive, found, strict=True):
            tried[i] = Tried(drawn[i], budget, float(result["loss"]))
        alive.sort(key=lambda i: tried[i].loss)
        if budget == most:
            break
        alive = sorted(alive[: max(1, ceil(len(alive) / keep))])
        budget = min(budget * keep, most)
    ranked = sorted(tried.values(), key=lambda t: (-t.epochs, t.loss))
    if ranked[0].loss == inf:
        raise OptionError("every trial diverged; give smaller rates.")
    return Found(ranked[0].options, tuple(ranked))


def _try(payload: tuple[Trial, list[Options], int], context: Context) -> dict[str, Tensor]:
    trial, drawn, epochs = payload
    try:
        loss = trial(drawn[int(context.rng.key)], epochs, context)
    except DivergedError:
        loss = inf
    return {"loss": torch.tensor(loss, dtype=torch.float64)}
