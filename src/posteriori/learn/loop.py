"""The one training loop, as one process of a team runs it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import ceil

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError, ShapeError, StoreError
from posteriori.core.random import Rng
from posteriori.core.run import Context, describe
from posteriori.core.store import Store
from posteriori.learn.adamw import AdamW
from posteriori.learn.ema import follow
from posteriori.learn.losses import Loss
from posteriori.learn.plan import Batch, Plan, Precision
from posteriori.learn.team import Team

CHECKPOINT = "fit"
ROWS_AT_ONCE = 8192
"""Rows that a loss is evaluated on at once outside training."""


class DivergedError(OptionError):
    """A training whose loss is no longer finite."""


@dataclass(frozen=True)
class Fitted:
    """A trained net and how it got there.

    Attributes:
        net: in evaluation mode; the best one where there was patience, else the last; averaged where the plan says so.
        train: mean loss of each epoch, float64 (epochs,), as the steps saw it (with dropout and augmentation).
        validation: mean loss after each epoch, float64 (epochs,); empty without validation data.
        best: the epoch, from 0, with the lowest validation loss; the last without validation data.
    """

    net: nn.Module
    train: Tensor
    validation: Tensor
    best: int


@dataclass(frozen=True)
class Job:
    """One training: what :func:`posteriori.learn.fit.fit` was given."""

    net: nn.Module
    loss: Loss
    data: Batch
    plan: Plan
    context: Context
    validation: Batch | None


@dataclass
class _Course:
    """What has happened so far."""

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best(self) -> int:
        seen = self.validation
        return min(range(len(seen)), key=seen.__getitem__) if seen else len(self.train) - 1

    def over(self, plan: Plan) -> bool:
        waited = len(self.train) - 1 - self.best
        return len(self.train) >= plan.epochs or (plan.patience is not None and waited >= plan.patience)


def run(job: Job, team: Team) -> Fitted:
    """Train a copy of the net; every process of the team ends with the same one."""
    plan, context = job.plan, job.context
    net = deepcopy(job.net).to(context.device)
    average = net if plan.average is None else deepcopy(net)
    data = tuple(t.to(context.device) for t in job.data)
    held = None if job.validation is None else tuple(t.to(context.device) for t in job.validation)
    optimiser = _optimiser(net, plan)
    fingerprint = "" if context.store is None else _fingerprint(job)
    course = _resume(context.store, net, average, optimiser, fingerprint)
    for _ in context.progress(range(len(course.train), plan.epochs), "training", plan.epochs - len(course.train)):
        if course.over(plan):
            break
        epoch = len(course.train)
        course.train.append(_epoch(net, average, job.loss, data, plan, epoch, context.rng, optimiser, team))
        if held is not None:
            course.validation.append(mean_loss(average, job.loss, held))
            if plan.patience is not None and course.best == epoch:
                course.weights = {name: t.detach().clone() for name, t in average.state_dict().items()}
        due = (epoch + 1) % plan.every == 0 or course.over(plan)
        if context.store is not None and due and team.rank == 0:
            _keep(context.store, net, average, optimiser, course, fingerprint)
    if course.weights:
        average.load_state_dict(course.weights)
    history = [torch.tensor(values, dtype=torch.float64) for values in (course.train, course.validation)]
    return Fitted(average.eval(), history[0], history[1], course.best)


def mean_loss(net: nn.Module, loss: Loss, data: Batch) -> float:
    """Mean over the rows of ``data``, in evaluation mode and full precision."""
    net.eval()
    with torch.no_grad():
        pieces = [loss(net, *rows).double() for rows in zip(*(t.split(ROWS_AT_ONCE) for t in data), strict=True)]
    return float(torch.cat(pieces).mean())


def _epoch(
    net: nn.Module,
    average: nn.Module,
    loss: Loss,
    data: Batch,
    plan: Plan,
    epoch: int,
    rng: Rng,
    optimiser: AdamW,
    team: Team,
) -> float:
    """One pass in an order that only seed and epoch decide; the mean loss of the rows."""
    net.train()
    n, stream = len(data[0]), rng.child("epoch", epoch)
    steps = ceil(n / plan.batch)
    order = stream.permutation(n).to(data[0].device)
    losses = []
    for step, rows in enumerate(order.split(plan.batch)):
        share = (epoch * steps + step + 1) / (plan.epochs * steps)
        rate = plan.rate * plan.schedule(share)
        here = stream.child("step", step)
        batch = tuple(t[rows] for t in data)
        if plan.augment is not None:
            batch = plan.augment(batch, here.child("augment"))
        losses.append(_step(net, loss, batch, plan, here, optimiser, team, rate) * len(rows))
        if plan.average is not None:
            follow(average, net, plan.average, optimiser.steps)
    seen = torch.stack(losses).double()
    if not bool(torch.isfinite(seen).all()):
        step = int((~torch.isfinite(seen)).nonzero()[0])
        raise DivergedError(
            f"the loss is no longer finite in step {step} of epoch {epoch}; lower the rate ({plan.rate:g}), "
            "set clip=1.0 in the Plan, warm up, or look for rows whose loss is infinite."
        )
    return float(seen.sum()) / n


def _step(
    net: nn.Module,
    loss: Loss,
    batch: Batch,
    plan: Plan,
    rng: Rng,
    optimiser: AdamW,
    team: Team,
    rate: float,
) -> Tensor:
    """One step along the gradient of the mean loss of ``batch``, which is summed over shards in fixed order."""
    pieces = [torch.tensor_split(t, plan.shards) for t in batch]
    own = [
        _shard(
            net,
            loss,
            tuple(p[s] for p in pieces),
            len(batch[0]),
            plan.precision,
            rng.child("shard", s),
            optimiser.parameters,
        )
        for s in team.own(plan.shards)
    ]
    every = team.gather(torch.stack(own), plan.shards)
    total = every[0]
    for part in every[1:]:
        total = total + part
    gradient, value = total[:-1], total[-1]
    if plan.clip is not None:
        gradient = gradient * (plan.clip / gradient.norm().clamp_min(plan.clip))
    optimiser.step(gradient, rate)
    return value


def _shard(
    net: nn.Module, loss: Loss, rows: Batch, n: int, precision: Precision, rng: Rng, parameters: Sequence[nn.Parameter]
) -> Tensor:
    """This shard's part of the gradient, and of the mean loss behind it, flat (p + 1,)."""
    if len(rows[0]) == 0:
        return torch.zeros(sum(p.numel() for p in parameters) + 1, device=parameters[0].device)
    low = precision is Precision.BFLOAT16
    with rng, torch.autocast(rows[0].device.type, torch.bfloat16, enabled=low):
        values = loss(net, *rows)
    if values.shape != (len(rows[0]),):
        raise ShapeError(f"a loss of {len(rows[0])} rows gave {tuple(values.shape)}; it must give one number a row.")
    value = values.sum() / n
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    flat = [(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(gradients, parameters, strict=True)]
    return torch.cat([*flat, value.detach().reshape(1).to(flat[0])])


def _optimiser(net: nn.Module, plan: Plan) -> AdamW:
    learnt = {name: p for name, p in net.named_parameters() if p.requires_grad and plan.factor(name) > 0}
    if not learnt:
        raise OptionError("no parameter of the net learns; unfreeze a part, or give a factor above zero.")
    return AdamW(list(learnt.values()), [plan.factor(name) for name in learnt], plan.weight_decay)


def _fingerprint(job: Job) -> str:
    """What a checkpoint belongs to; the number of processes does not count."""
    plan = replace(job.plan, processes=1, every=1)
    return describe([plan, job.loss, job.net, job.data, job.validation, job.context.rng])


def _keep(
    store: Store, net: nn.Module, average: nn.Module, optimiser: AdamW, course: _Course, fingerprint: str
) -> None:
    tensors = {f"net/{name}": t for name, t in net.state_dict().items()}
    if average is not net:
        tensors |= {f"average/{name}": t for name, t in average.state_dict().items()}
    tensors |= {f"best/{name}": t for name, t in course.weights.items()}
    tensors |= {f"optimiser/{name}": t for name, t in optimiser.state().items()}
    tensors["train"] = torch.tensor(course.train, dtype=torch.float64)
    tensors["validation"] = torch.tensor(course.validation, dtype=torch.float64)
    store.save(CHECKPOINT, tensors, {"fingerprint": fingerprint})


def _resume(store: Store | None, net: nn.Module, average: nn.Module, optimiser: AdamW, fingerprint: str) -> _Course:
    """Net, average and optimiser as the last checkpoint has them, and the course up to there.

    Raises:
        StoreError: the checkpoint is of another training.
    """
    found = None if store is None else store.load(CHECKPOINT)
    if store is None or found is None:
        return _Course()
    tensors, facts = found
    if facts.get("fingerprint") != fingerprint:
        raise StoreError(
            f"{store.folder} holds a checkpoint of a training with another net, loss, data, seed or plan; "
            "delete it or choose another store."
        )
    device = next(net.parameters()).device
    net.load_state_dict(_below(tensors, "net/"))
    if average is not net:
        average.load_state_dict(_below(tensors, "average/"))
    optimiser.restore(_below(tensors, "optimiser/"))
    weights = {name: t.to(device) for name, t in _below(tensors, "best/").items()}
    return _Course(tensors["train"].tolist(), tensors["validation"].tolist(), weights)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
