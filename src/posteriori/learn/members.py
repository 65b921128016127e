"""Learners of rows: many regressions at once, each a column with its own targets and its own weights of the rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from math import ceil, nan
from typing import Protocol

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context, describe
from posteriori.core.tasks import run_tasks
from posteriori.learn.crowd import Crowd
from posteriori.learn.fit import fit
from posteriori.learn.losses import CommonVariance, KnownVariance, LearntVariance
from posteriori.learn.network import Architecture, Layers, Scaling, Thinnable
from posteriori.learn.plan import Cosine, Plan

SMALLEST_BLOCK, LARGEST_BLOCK = 16, 64
"""Nets trained side by side in one batched product, which is one task."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What ``k`` regressions learn from, and where they are asked.

    Attributes:
        x: features of the rows, (n, f).
        y: targets, one column for each regression, (n, k).
        variance: known variance of a target's error, (n,).
        weight: how often a row counts for a regression, (n, k); rows of weight 0 are held out.
        cells: features of the cells that are asked for, (m, f).
    """

    x: Tensor
    y: Tensor
    variance: Tensor
    weight: Tensor
    cells: Tensor

    def __post_init__(self) -> None:
        if bool((self.weight.sum(0) <= 0).any()):
            raise DataError(f"{len(self.x)} rows leave a regression without any; hold out fewer, or give more data.")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What ``k`` regressions say in ``t`` passes each, float64.

    Attributes:
        rows: means at the rows, (k, t, n).
        cells: means at the cells, (k, t, m).
        row_variance: learnt variance beside the known one, (k, t, n); zeros where none is learnt.
        cell_variance: the same at the cells, (k, t, m).
    """

    rows: Tensor
    cells: Tensor
    row_variance: Tensor
    cell_variance: Tensor


class Learner(Protocol):
    """Turns rows into predictions; picklable."""

    def __call__(self, rows: Rows, context: Context) -> Predictions:
        """All regressions."""


class PointLearner(Protocol):
    """A learner that knows no uncertainty (trees, kernel ridge); picklable."""

    def fit_predict(self, x: Tensor, y: Tensor, variance: Tensor, x_all: Tensor, rng: Rng) -> Tensor:
        """Learn y (n,) of known error variance (n,) from features x (n, f); predict at x_all (m, f), (m,)."""


@dataclass(frozen=True)
class Nets:
    """Nets of one architecture, trained side by side in blocks on standardised features and targets.

    The blocks follow from the number of nets alone, so the arrays are the same for any number of workers.

    Args:
        net: the architecture.
        plan: how they are trained; patience watches each net's own held-out rows, summed over the block.
        loss: with a variance that is known, known but for one number, or known but for one in each cell.
        passes: random thinned nets taken of each trained one (Monte-Carlo dropout); 0 asks the whole net.
    """

    net: Architecture = field(default_factory=Layers)
    plan: Plan = field(default_factory=lambda: Plan(epochs=150, batch=64, rate=3e-3, schedule=Cosine(0.05)))
    loss: KnownVariance | CommonVariance | LearntVariance = field(default_factory=CommonVariance)
    passes: int = 0

    def __call__(self, rows: Rows, context: Context) -> Predictions:
        """In one task a block."""
        store = None if context.store is None else context.store.child(_digest(self, rows))
        blocks = range(ceil(rows.y.shape[1] / block_size(rows.y.shape[1])))
        found = run_tasks(_train_block, (self, rows), list(blocks), replace(context, store=store), "nets")
        return _joined(found)


@dataclass(frozen=True)
class Each:
    """A point learner asked once for each column, on rows repeated as often as their weight says."""

    learner: PointLearner

    def __call__(self, rows: Rows, context: Context) -> Predictions:
        """In one task a column."""
        store = None if context.store is None else context.store.child(_digest(self, rows))
        columns = list(range(rows.y.shape[1]))
        return _joined(run_tasks(_ask_column, (self, rows), columns, replace(context, store=store), "members"))


def _train_block(payload: tuple[Nets, Rows], context: Context) -> dict[str, Tensor]:
    """The columns of one block; the block's number is the last key of the context's stream."""
    nets, rows = payload
    device = context.device
    block, size = int(context.rng.key), block_size(rows.y.shape[1])
    columns = slice(block * size, (block + 1) * size)
    y, weight = rows.y[:, columns].double(), rows.weight[:, columns].double()
    centre = (weight * y).sum(0) / weight.sum(0)
    scale = ((weight * (y - centre).square()).sum(0) / weight.sum(0)).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    scaling = Scaling.of(rows.x)
    x, cells = scaling(rows.x).float(), scaling(rows.cells).float()
    data = (x, ((y - centre) / scale).float(), (rows.variance[:, None] / scale.square()).float(), weight.float())
    held = (*data[:3], (weight == 0).float()) if nets.plan.patience is not None else None
    trained = fit(_crowd(nets, x.shape[1], y.shape[1], context.rng), nets.loss, data, nets.plan, context, held).net
    assert isinstance(trained, Crowd)
    asked = torch.cat([x, cells]).to(device)
    with torch.no_grad():
        said = torch.stack([net(asked) for net in _passes(nets, trained, context.rng)], 1).double().to(y.device)
    unit = scale[:, None, None]
    mean = centre[:, None, None] + unit * said[..., 0]
    own = unit.square() * said[..., 1].exp() if nets.loss.outputs == 2 else torch.zeros_like(mean)
    n = len(x)
    return {
        "rows": mean[..., :n],
        "cells": mean[..., n:],
        "row_variance": own[..., :n],
        "cell_variance": own[..., n:],
    }


def block_size(columns: int) -> int:
    """Nets of one block: a quarter of them all, within limits."""
    return min(LARGEST_BLOCK, max(SMALLEST_BLOCK, ceil(columns / 4)))


def _crowd(nets: Nets, inputs: int, size: int, rng: Rng) -> Crowd:
    members = []
    for k in range(size):
        with rng.child("initial", k):
            members.append(nets.loss.net(nets.net, inputs))
    return Crowd(members)


def _passes(nets: Nets, trained: Crowd, rng: Rng) -> list[nn.Module]:
    """Crowds to be asked one after the other: the trained one, or thinned copies of it."""
    if nets.passes == 0:
        return [trained]
    members = []
    for k in range(trained.size):
        member = trained.member(k)
        if not isinstance(member, Thinnable):
            raise OptionError(f"a {type(member).__name__} cannot be thinned; use Layers(dropout=…).")
        members.append(member)
    streams = [rng.child("pass", t) for t in range(nets.passes)]
    return [Crowd([m.thinned(stream.child(k)) for k, m in enumerate(members)]).eval() for stream in streams]


def _ask_column(payload: tuple[Each, Rows], context: Context) -> dict[str, Tensor]:
    each, rows = payload
    column = int(context.rng.key)
    picked = torch.arange(len(rows.x)).repeat_interleave(rows.weight[:, column].long().cpu())
    asked = torch.cat([rows.x, rows.cells])
    said = each.learner.fit_predict(
        rows.x[picked], rows.y[picked, column], rows.variance[picked], asked, context.rng.child("learner")
    )
    if said.shape != (len(asked),) or not bool(torch.isfinite(said).all()):
        raise DataError(
            f"{type(each.learner).__name__} gave {tuple(said.shape)} predictions, "
            f"{int((~torch.isfinite(said)).sum())} of them not finite; {len(asked)} finite numbers are needed."
        )
    mean, n = said.double()[None, None], len(rows.x)
    nothing = torch.zeros_like(mean)
    return {
        "rows": mean[..., :n],
        "cells": mean[..., n:],
        "row_variance": nothing[..., :n],
        "cell_variance": nothing[..., n:],
    }


def _joined(parts: list[dict[str, Tensor]]) -> Predictions:
    return Predictions(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _digest(learner: Nets | Each, rows: Rows) -> str:
    """Names a corner of the store, so that finished tasks are never taken for those of another question."""
    return hashlib.sha256(describe([learner, rows]).encode()).hexdigest()[:16]


def left_over(residual: Tensor, variance: Tensor, held: Tensor) -> Tensor:
    """Variance τ² (p,) that held-out residuals of ``p`` problems ask for beyond what is known.

    Row i's law is the mixture of the components that did not see it, N(r; 0, v + τ²); τ² maximises the likelihood of
    all rows, from 1e-6 of their mean square up (no law may collapse to a point). Without a held-out row it is 0.

    Args:
        residual: data minus each component's mean, (p, c, n).
        variance: known plus learnt variance, (p, c, n).
        held: whether a component did not see the row, (p, c, n).
    """
    size = torch.where(held, residual.square(), nan).nanmean((1, 2)).nan_to_num(0.0)
    coarse = torch.logspace(-6, 1, 57, dtype=torch.float64)
    best = _most_likely(residual, variance, held, coarse[:, None] * size)
    fine = torch.linspace(0.75, 1.34, 60, dtype=torch.float64)
    return _most_likely(residual, variance, held, fine[:, None] * best)


def _most_likely(residual: Tensor, variance: Tensor, held: Tensor, grid: Tensor) -> Tensor:
    """The best τ² of each problem among ``grid`` (g, p)."""
    total = torch.stack([_log_likelihood(residual, variance, held, tau2) for tau2 in grid])
    return grid.gather(0, total.argmax(0, keepdim=True))[0]


def _log_likelihood(residual: Tensor, variance: Tensor, held: Tensor, tau2: Tensor) -> Tensor:
    """(p,) up to constants."""
    v = variance + tau2[:, None, None]
    terms = -0.5 * (residual.square() / v + v.log())
    mixed = torch.logsumexp(torch.where(held, terms, -torch.inf), 1)
    return torch.where(held.any(1), mixed, 0.0).sum(-1)
