"""Running averages of weights: what a net trained on noisy losses is used with."""

from __future__ import annotations

import torch
from torch import nn

WARM = 10
"""Steps after which an average starts to look back as far as its decay says."""


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, decay: float, steps: int) -> None:
    """Move the weights of ``average`` towards those of ``net``: θ̄ ← d θ̄ + (1 - d) θ, in their own precision.

    d is ``decay``, or less in the beginning: (1 + steps)/(10 + steps). Buffers are copied.

    Reference: Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging.
    """
    share = 1 - min(decay, (1 + steps) / (WARM + steps))
    for mean, now in zip(average.parameters(), net.parameters(), strict=True):
        mean.lerp_(now, share)
    for kept, buffer in zip(average.buffers(), net.buffers(), strict=True):
        kept.copy_(buffer)
