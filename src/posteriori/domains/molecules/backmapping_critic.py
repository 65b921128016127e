"""A critic that tries to tell back-mapped configurations from true ones, whichever way they are turned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import Tensor, nn

from posteriori.core.run import Context
from posteriori.learn.fit import fit
from posteriori.learn.network import MLP
from posteriori.learn.plan import Plan
from posteriori.learn.symmetry.averaging import Averaged, PrincipalFrames


@dataclass(frozen=True)
class Verdict:
    """What a critic found on rows that it was not trained on.

    Attributes:
        accuracy: share told rightly; one half where nothing can be told.
        p_value: probability of such an accuracy or a better one by chance.
        rows: how many.
    """

    accuracy: float
    p_value: float
    rows: int


@dataclass(frozen=True)
class Logistic:
    """-log of the probability given to the right label (0 or 1), rows (x, label)."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,)."""
        x, label = rows
        sign = 1 - 2 * label.double()
        return torch.nn.functional.softplus(sign * net(x)[..., 0])


def criticised(true: Tensor, made: Tensor, epochs: int, context: Context) -> Verdict:
    """Train a critic on half of the configurations (row, particle, 3), judge it on the other half.

    The critic is averaged over principal frames, so that it is the same for a configuration and all its rotations,
    reflections and shifts: it cannot learn an orientation that means nothing.
    """
    half = min(len(true), len(made)) // 2
    with context.rng.child("weights"):
        net = Averaged(MLP(true.shape[-1] * true.shape[-2], 1, 64), PrincipalFrames(true.shape[-1]))
    label = torch.cat([torch.ones(half), torch.zeros(half)]).double()
    seen, held = (torch.cat([true[part], made[part]]) for part in (slice(0, half), slice(half, 2 * half)))
    plan = Plan(epochs=epochs, batch=200, rate=2e-3)
    critic = fit(net, Logistic(), (seen, label), plan, context.child("fit")).net
    with torch.no_grad():
        right = int(((critic(held)[..., 0] > 0) == (label > 0.5)).sum())
    return Verdict(right / (2 * half), float(binom.sf(right - 1, 2 * half, 0.5)), 2 * half)
