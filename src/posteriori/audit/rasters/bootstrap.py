"""Block bootstrap: figures over cases of which only blocks (days, regions) are independent, with intervals.

Per-case values and ``blocks``, their labels, have shape (case,): see ``splits.time_blocks``, ``splits.space_blocks``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy import special, stats
from torch import Tensor

from posteriori.audit.estimate import block_sums, finite
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng

CHUNK = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A figure, its standard error over blocks and its two-sided interval at ``level``."""

    value: float
    standard_error: float
    low: float
    high: float
    level: float = 0.95

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the interval."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def bootstrap(
    terms: Tensor,
    statistic: Callable[[Tensor], Tensor],
    blocks: Tensor,
    rng: Rng,
    repeats: int = 2000,
    level: float = 0.95,
) -> Interval:
    """A function of averages over cases, ``statistic(means)``, with its interval over resampled blocks.

    ``terms`` are per-case values (case, term); ``statistic`` maps means (*batch, term) to (*batch,). Whole blocks are
    drawn with replacement. The percentiles are those that cover at ``level`` for few blocks too: Phi(-sqrt(B / (B - 1))
    t) in place of (1 - level) / 2, with the t quantile of B - 1 degrees of freedom.

    Reference: Hesterberg (2015), what teachers should know about the bootstrap (expanded percentiles).

    Raises:
        DataError: fewer than three blocks, or a statistic that is not finite for a resample.
    """
    if not 0 < level < 1 or repeats < 100:
        raise OptionError(f"level {level} must lie in (0, 1) and repeats {repeats} be at least 100.")
    x = finite(terms.reshape(len(terms), -1), "terms")
    sums = block_sums(torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1), blocks)
    number = len(sums)
    if number < 3:
        raise DataError(f"{number} block(s): an interval over blocks needs at least three; use shorter blocks.")
    resampled = []
    for part in torch.arange(repeats).split(max(1, CHUNK // number)):
        drawn = torch.from_numpy(rng.numpy.multinomial(number, [1 / number] * number, len(part)))
        total = drawn.to(x.dtype) @ sums
        resampled.append(statistic(total[:, :-1] / total[:, -1:]))
    found = finite(torch.cat(resampled), "bootstrap statistic")
    t = stats.t.isf((1 - level) / 2, number - 1)
    tail = float(special.ndtr(-((number / (number - 1)) ** 0.5) * t))
    low, high = torch.quantile(found, torch.tensor([tail, 1 - tail], dtype=found.dtype)).tolist()
    total = sums.sum(0)
    value = statistic(total[None, :-1] / total[-1]).item()
    return Interval(value, found.std().item() * (number / (number - 1)) ** 0.5, low, high, level)


def bootstrap_mean(values: Tensor, blocks: Tensor, rng: Rng) -> Interval:
    """Mean over cases."""
    return bootstrap(values[:, None], lambda mean: mean[..., 0], blocks, rng)


def bootstrap_root(squares: Tensor, blocks: Tensor, rng: Rng) -> Interval:
    """Root of the mean over cases, for RMSE from mean squared errors."""
    return bootstrap(squares[:, None], lambda mean: mean[..., 0].sqrt(), blocks, rng)


def bootstrap_difference(ours: Tensor, theirs: Tensor, blocks: Tensor, rng: Rng) -> Interval:
    """Mean of ``ours`` less ``theirs``, paired case by case."""
    _paired(ours, theirs)
    return bootstrap((ours - theirs)[:, None], lambda mean: mean[..., 0], blocks, rng)


def bootstrap_ratio(ours: Tensor, theirs: Tensor, blocks: Tensor, rng: Rng) -> Interval:
    """Mean of ``ours`` over mean of ``theirs``, the same cases drawn for both: a score against a reference's."""
    _paired(ours, theirs)
    return bootstrap(torch.stack([ours, theirs], 1), lambda mean: mean[..., 0] / mean[..., 1], blocks, rng)


def bootstrap_root_ratio(ours: Tensor, theirs: Tensor, blocks: Tensor, rng: Rng) -> Interval:
    """Root of the ratio of means: RMSE against a reference's, or spread over skill, from mean squares."""
    _paired(ours, theirs)
    return bootstrap(torch.stack([ours, theirs], 1), lambda mean: (mean[..., 0] / mean[..., 1]).sqrt(), blocks, rng)


def _paired(ours: Tensor, theirs: Tensor) -> None:
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ShapeError(f"{tuple(ours.shape)} and {tuple(theirs.shape)} are not paired cases of shape (case,).")
