"""Averages of per-case values with their standard errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error; None where the error cannot be estimated (fewer than two blocks)."""

    value: float
    standard_error: float | None


def average(values: Tensor, blocks: Tensor | None = None) -> Estimate:
    """Mean of per-case ``values``, shape (*case), and its standard error.

    Cases are taken as independent; with ``blocks``, integer labels of shape (*case), only the blocks are, and the
    error is the cluster-robust one, B/(B-1) sum_b (sum_{i in b} (x_i - mean))^2 / n^2.
    """
    x = flat(values, "values")
    mean = x.mean()
    sums = x - mean if blocks is None else block_sums(x - mean, blocks)
    b = len(sums)
    if b < 2:
        return Estimate(mean.item(), None)
    return Estimate(mean.item(), (sums.square().sum() * b / (b - 1)).sqrt().item() / len(x))


def jackknife(values: Tensor, statistic: Callable[[Tensor], Tensor], blocks: Tensor | None = None) -> Estimate:
    """A smooth function of averages, ``statistic(mean)``, with its delete-one (delete-a-block) jackknife error.

    ``values`` are per-case terms, shape (case, term); ``statistic`` maps means, shape (*batch, term), to (*batch,).

    Reference: Efron & Stein (1981), the jackknife estimate of variance.
    """
    count = torch.ones(len(values), 1, dtype=torch.float64)
    terms = torch.cat([flat(values, "values").reshape(len(values), -1), count], dim=1)
    sums = terms if blocks is None else block_sums(terms, blocks)
    total, b = sums.sum(0), len(sums)
    value = statistic(total[:-1] / total[-1]).item()
    if b < 2:
        return Estimate(value, None)
    left = total - sums
    leave_one_out = statistic(left[:, :-1] / left[:, -1:])
    return Estimate(value, (leave_one_out.var(correction=0) * (b - 1)).sqrt().item())


def block_sums(x: Tensor, blocks: Tensor) -> Tensor:
    """Sums of ``x``, shape (case, …), over equal labels in ``blocks``, shape (case,)."""
    labels = blocks.reshape(-1)
    if len(labels) != len(x):
        raise ShapeError(f"{len(labels)} block labels for {len(x)} cases; give one label a case.")
    _, index = torch.unique(labels, return_inverse=True)
    sums = torch.zeros(int(index.max()) + 1, *x.shape[1:], dtype=x.dtype)
    return sums.index_add_(0, index, x)


def flat(values: Tensor, name: str) -> Tensor:
    """``values`` as one float64 axis, refused when empty or not finite."""
    x = finite(values, name).reshape(-1)
    if not len(x):
        raise DataError(f"{name} has no case; an audit needs at least one.")
    return x


def finite(values: Tensor, name: str) -> Tensor:
    """``values`` in float64, refused where not finite."""
    x = values.detach().to("cpu", torch.float64)
    bad = ~torch.isfinite(x)
    if bad.any():
        index = tuple(bad.nonzero()[0].tolist())
        raise DataError(f"{name}{list(index)} is {x[index].item()}; audit figures need finite numbers: mask the case.")
    return x
