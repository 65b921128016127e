"""The coarse spin that tells most about its surroundings, learnt from samples; and what can be enumerated of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.learn.coarse_graining import BlockRule
from posteriori.learn.fit import fit
from posteriori.learn.losses import Loss
from posteriori.learn.plan import Plan

MOST_STATES = 16


class Informed(nn.Module):
    """A block rule, and what guesses its coarse spin from the surroundings e (n, k): log-odds a·tanh(W e) + b·e.

    Both are odd, so that the coarse spin is up as often as down and its entropy is log 2 whatever is learnt.
    """

    def __init__(self, rule: BlockRule, surroundings: int, width: int = 16) -> None:
        super().__init__()
        self.rule = rule
        self.hidden = nn.Linear(surroundings, width, bias=False)
        self.out = nn.Linear(width, 1, bias=False)
        self.straight = nn.Linear(surroundings, 1, bias=False)

    def forward(self, block: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds that the coarse spin is up: by the rule, and as guessed; (n,) each."""
        guessed = self.out(self.hidden(around).tanh()) + self.straight(around)
        return self.rule.field(block), guessed[:, 0]


@dataclass(frozen=True)
class CrossEntropy:
    """-log of the probability that the guess gives the coarse spin, rows (block, around); log 2 minus it is a bound.

    I(H; E) ≥ log 2 + ⟨log q(h | e)⟩, with equality where the guess q is right.

    Reference: Barber & Agakov (2003), The IM algorithm: a variational approach to information maximization, NeurIPS.
    """

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(n,) [nat]."""
        odds, guessed = net(*rows)
        up = odds.sigmoid()
        return up * nn.functional.softplus(-guessed) + (1 - up) * nn.functional.softplus(guessed)


@dataclass(frozen=True)
class Learnt:
    """A rule, its sign such that an up block is up, and on held-out rows its lower bound on I(H; E) [nat]."""

    rule: BlockRule
    bound: float


@dataclass(frozen=True)
class InformationMaximisation:
    """Learn the block rule whose coarse spin H tells most about its surroundings E: the largest bound on I(H; E).

    Args:
        plan: how it is trained.
        width: hidden units of the guess.

    Reference: Koch-Janusz & Ringel (2018), Mutual information, neural networks and the renormalization group, Nature
    Physics 14, 578; Gökmen, Ringel, Huber & Koch-Janusz (2021), Phys. Rev. Lett. 127, 240603.
    """

    plan: Plan = field(default_factory=lambda: Plan(epochs=12, batch=256, rate=2e-2))
    width: int = 16

    def __call__(self, rule: BlockRule, block: Tensor, around: Tensor, context: Context) -> Learnt:
        """Train on blocks (n, sites) and surroundings (n, k); a fifth of the rows is held out for the bound."""
        with context.rng.child("net"):
            net = Informed(rule, around.shape[1], self.width)
        cut = len(block) * 4 // 5
        loss: Loss = CrossEntropy()
        fitted = fit(net, loss, (block[:cut], around[:cut]), self.plan, context.child("fit"))
        assert isinstance(fitted.net, Informed)
        with torch.no_grad():
            held = loss(fitted.net, block[cut:], around[cut:]).double()
        found = fitted.net.rule.weights.detach()
        return Learnt(BlockRule(found * found.sum().sign()), log(2) - float(held.mean()))


def mutual_information(joint: Tensor) -> float:
    """I [nat] of a table of joint probabilities (a, b), float64."""
    p = joint.double()
    independent = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    return float((torch.special.xlogy(p, p) - torch.special.xlogy(p, independent)).sum())


def joint_table(spins: Tensor, p: Tensor, block: Tensor, around: Tensor) -> Tensor:
    """P(v, e), (states of the block, kinds of surroundings), from all states ``spins`` (m, n) with probabilities ``p``.

    Surroundings after which the block has the same law are one kind: they lose no information when joined. State i of
    the block has spin j up where bit j of i is set.
    """
    codes = [((spins[:, at] + 1) / 2).long() @ (2 ** torch.arange(len(at))) for at in (block, around)]
    sizes = [2 ** len(block), 2 ** len(around)]
    whole = torch.zeros(sizes[0] * sizes[1], dtype=torch.float64)
    table = whole.index_add_(0, codes[0] * sizes[1] + codes[1], p).reshape(*sizes)
    law = (table / table.sum(0)).mul(1e9).round().long()
    kinds, member = law.unique(dim=1, return_inverse=True)
    return torch.zeros(sizes[0], kinds.shape[1], dtype=torch.float64).index_add_(1, member, table)


def coarse_information(up: Tensor, joint: Tensor) -> Tensor:
    """I(H; E) [nat] of coarse spins that are up with probability ``up`` (*batch, states) after each block state."""
    both = torch.stack([up.double() @ joint, (1 - up.double()) @ joint])
    p, around = both.sum(-1), joint.sum(0)
    entropy = -torch.special.xlogy(p, p).sum(0)
    left = -torch.special.xlogy(both, both).sum((0, -1)) + torch.special.xlogy(around, around).sum()
    return entropy - left


def best_coarse(joint: Tensor) -> tuple[Tensor, float]:
    """The coarse spin, of all 2^states functions of the block, that tells most: up (states,) and its I(H; E) [nat].

    Raises:
        OptionError: too many states for all functions to be tried.
    """
    states = joint.shape[0]
    if states > MOST_STATES:
        raise OptionError(f"a block of {states} states has 2^{states} coarse spins; at most {MOST_STATES} states.")
    every = (torch.arange(2 ** (states - 1))[:, None] >> torch.arange(states) & 1).double()
    found = torch.cat([coarse_information(part, joint) for part in every.split(4096)])
    best = int(found.argmax())
    return every[best], float(found[best])
