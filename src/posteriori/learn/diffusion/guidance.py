"""Conditions that may be absent: dropped in training, weighed in sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.learn.diffusion.denoiser import Denoise
from posteriori.learn.plan import Batch


@dataclass(frozen=True)
class DropConditions:
    """Sets each group of conditions to zero in a share of the rows, for a ``Plan``'s ``augment``.

    A group should hold a channel that is 1 where it is given (a mask, or ones), so that absent is not taken for zero.

    Args:
        groups: (first, past the last) channels of each group that goes together.
        chance: that a row loses a group, of each group apart.
        vector: whether the vector is a group too.

    Raises:
        OptionError: a chance outside [0, 1).

    Reference: Ho & Salimans (2022), Classifier-free diffusion guidance, arXiv:2207.12598.
    """

    groups: tuple[tuple[int, int], ...]
    chance: float = 0.1
    vector: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.chance < 1:
            raise OptionError(f"chance={self.chance} of dropping a condition must lie in [0, 1).")

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """(values, weight, condition, vector) with some conditions gone."""
        values, weight, condition, vector = batch
        condition, n = condition.clone(), len(values)
        for i, (first, last) in enumerate(self.groups):
            kept = rng.child("group", i).uniform((n, 1, 1, 1), condition) >= self.chance
            condition[:, first:last] *= kept
        if self.vector:
            vector = vector * (rng.child("vector").uniform((n, 1), vector) >= self.chance)
        return values, weight, condition, vector


def guided(
    denoiser: Callable[..., Tensor],
    condition: Tensor,
    vector: Tensor | None = None,
    strength: float = 1.0,
    absent: Tensor | None = None,
) -> Denoise:
    """D(∅) + strength · (D(condition) - D(∅)), a callable (x, σ) → x̂₀.

    1 is the law given the condition as it was learnt; above 1 draws are nearer to the condition and **too narrow**, so
    that a spread which must be calibrated wants 1. Zeros, or ``absent``, stand for no condition.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        given = denoiser(x, sigma, condition, vector)
        if strength == 1.0:
            return given
        nothing = torch.zeros_like(condition) if absent is None else absent
        free = denoiser(x, sigma, nothing, None if vector is None else torch.zeros_like(vector))
        return free + strength * (given - free)

    return denoise
