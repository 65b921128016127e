"""How a net is trained: the hyper-parameters of the one training loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import cos, pi
from typing import Protocol

from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng

Batch = tuple[Tensor, ...]


class Precision(Enum):
    """The arithmetic of the matrix products in training; weights and their sums stay as the net has them."""

    FULL = "float32"
    BFLOAT16 = "bfloat16"


class Schedule(Protocol):
    """The course of the learning rate."""

    def __call__(self, done: float) -> float:
        """Factor of the rate once the share ``done`` in (0, 1] of all steps is reached."""


@dataclass(frozen=True)
class Constant:
    """The full rate, after a linear rise over the share ``warm_up`` of all steps."""

    warm_up: float = 0.0

    def __call__(self, done: float) -> float:
        """Rise, then one."""
        return min(1.0, done / self.warm_up) if self.warm_up else 1.0


@dataclass(frozen=True)
class Cosine:
    """A linear rise over the share ``warm_up`` of all steps, then half a cosine down to ``floor``.

    Reference: Loshchilov & Hutter (2017), SGDR, arXiv:1608.03983.
    """

    warm_up: float = 0.0
    floor: float = 0.0

    def __call__(self, done: float) -> float:
        """Rise, then fall."""
        if done < self.warm_up:
            return done / self.warm_up
        share = (done - self.warm_up) / (1.0 - self.warm_up)
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + cos(pi * share))


class Augment(Protocol):
    """Changes a batch at random in a way that keeps its meaning."""

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """A batch of the same number of rows."""


@dataclass(frozen=True)
class Plan:
    """Hyper-parameters of :func:`posteriori.learn.fit.fit`, which trains with AdamW.

    Args:
        epochs: passes over the data, at most.
        batch: rows of a step.
        rate: largest learning rate.
        schedule: the course of the rate.
        weight_decay: decoupled pull of every weight to zero, as a share of the rate.
        patience: epochs without a better validation loss before training stops and the best weights come back; None
            goes to the end and keeps the last weights.
        clip: largest norm of a step's gradient; None for no limit.
        augment: changes each batch; it must be picklable where there are several processes.
        precision: of the matrix products.
        average: decay a step of the running average of the weights, which is what is validated and comes back; None
            for the weights themselves.
        factors: (prefix of parameter names, factor of the rate); the first that fits counts.
        shards: parts of a batch whose gradients are added in fixed order; with several processes at least one each.
        processes: how many share the shards of each step; the arrays do not depend on it.
        every: epochs between checkpoints.

    Raises:
        OptionError: a number out of its range.

    Reference: Loshchilov & Hutter (2019), Decoupled weight decay regularization, arXiv:1711.05101.
    """

    epochs: int = 200
    batch: int = 64
    rate: float = 1e-3
    schedule: Schedule = field(default_factory=Cosine)
    weight_decay: float = 0.0
    patience: int | None = None
    clip: float | None = None
    augment: Augment | None = None
    precision: Precision = Precision.FULL
    average: float | None = None
    factors: tuple[tuple[str, float], ...] = ()
    shards: int = 1
    processes: int = 1
    every: int = 10

    def __post_init__(self) -> None:
        counts = {"epochs": self.epochs, "batch": self.batch, "shards": self.shards, "every": self.every}
        for name, value in {**counts, "processes": self.processes, "patience": self.patience or 1}.items():
            if value < 1:
                raise OptionError(f"{name}={value} in a Plan must be at least 1.")
        for name, number in {"rate": self.rate, "clip": self.clip or 1.0}.items():
            if not number > 0:
                raise OptionError(f"{name}={number} in a Plan must be positive.")
        if self.average is not None and not 0 < self.average < 1:
            raise OptionError(f"average={self.average} in a Plan must lie between 0 and 1, e.g. 0.999.")
        if self.weight_decay < 0:
            raise OptionError(f"weight_decay={self.weight_decay} in a Plan must not be negative.")
        if self.processes > self.shards:
            raise OptionError(
                f"{self.processes} processes share {self.shards} shards; set shards to {self.processes} or more "
                "(the number of shards changes the last digits, the number of processes does not)."
            )

    def factor(self, name: str) -> float:
        """Factor of the rate for the parameter ``name``."""
        return next((factor for prefix, factor in self.factors if name.startswith(prefix)), 1.0)
