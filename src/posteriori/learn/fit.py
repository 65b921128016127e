"""``fit``: the one way to train a net in this package."""

from __future__ import annotations

import torch
from torch import nn

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.run import Context
from posteriori.core.threads import fixed_threads
from posteriori.learn.loop import Fitted, Job, mean_loss, run
from posteriori.learn.losses import Loss
from posteriori.learn.plan import Batch, Plan
from posteriori.learn.processes import run_together
from posteriori.learn.team import Alone

__all__ = ["Fitted", "Loss", "Plan", "fit", "mean_loss"]


def fit(
    net: nn.Module, loss: Loss, data: Batch, plan: Plan, context: Context, validation: Batch | None = None
) -> Fitted:
    """Train a copy of ``net``; the given one is not changed.

    Everything random (order of rows, dropout, augmentation) comes from ``context.rng`` and the epoch, so a run that
    was killed and started again with the same ``context.store`` equals the uninterrupted one bit for bit on the CPU,
    and the arrays are the same for any ``plan.processes``.

    Args:
        net: parameters with ``requires_grad=False`` stay as they are.
        loss: one number for each row of a batch; steps follow its mean.
        data: tensors with one common first axis, which is cut into batches.
        plan: the hyper-parameters.
        context: stream, device, progress, and the store for checkpoints.
        validation: held-out rows, for the history and for ``plan.patience``.

    Raises:
        ShapeError: tensors of different lengths, or a loss that is not one number a row.
        DataError: no rows, or a value that is not finite.
        OptionError: patience without validation; nothing that learns.
        DivergedError: the loss is no longer finite.
        StoreError: the store holds a checkpoint of another training.
    """
    _check(data, "data")
    if validation is not None:
        _check(validation, "validation data")
    if plan.patience is not None and validation is None:
        raise OptionError(f"patience={plan.patience} watches validation data, and none were given.")
    job = Job(net, loss, data, plan, context, validation)
    if plan.processes > 1:
        return run_together(job)
    with fixed_threads():
        return run(job, Alone())


def _check(data: Batch, what: str) -> None:
    lengths = [len(t) for t in data]
    if len(set(lengths)) != 1:
        raise ShapeError(f"{what} of lengths {lengths} have no common first axis.")
    if lengths[0] == 0:
        raise DataError(f"{what} have no rows.")
    for position, tensor in enumerate(data):
        finite = torch.isfinite(tensor).flatten(1).all(1) if tensor.ndim > 1 else torch.isfinite(tensor)
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            raise DataError(f"row {row} of tensor {position} of the {what} is not finite; drop it or mask the gap.")
