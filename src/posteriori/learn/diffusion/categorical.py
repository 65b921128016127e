"""Diffusion of classes: cells turn into a blank or into any class, and a net says which class each was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.learn.diffusion.unet import UNet

Classify = Callable[[Tensor, int], Tensor]
"""(states (n, y, x), t) → probabilities of the classes (n, class, y, x)."""


@dataclass(frozen=True, eq=False)
class Chain:
    """q(x_t | x₀) = ᾱ_t δ(x_t, x₀) + (1 - ᾱ_t) π(x_t), t = 1 … T; Gaussian noise on class codes would mean nothing.

    Args:
        alpha_bar: (T,), falling to 0.
        resting: π over the states, (states,): of a blank alone, or of all classes alike.

    Reference: Austin, Johnson, Ho, Tarlow & van den Berg (2021), Structured denoising diffusion models in discrete
    state-spaces, NeurIPS; Hoogeboom et al. (2021), Argmax flows and multinomial diffusion, NeurIPS.
    """

    alpha_bar: Tensor
    resting: Tensor

    def __post_init__(self) -> None:
        a = self.alpha_bar
        if a.ndim != 1 or bool((a.diff() >= 0).any()) or not 0 <= float(a[-1]) <= 1e-4 or float(a[0]) >= 1:
            raise OptionError("alpha_bar of a chain of classes must fall from below 1 to 0.")
        if bool((self.resting < 0).any()) or abs(float(self.resting.sum()) - 1) > 1e-6:
            raise OptionError("the resting law must be probabilities that sum to 1.")

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar)

    @property
    def states(self) -> int:
        """The classes, and the blank where there is one."""
        return len(self.resting)

    @property
    def blank(self) -> bool:
        """Whether cells turn into a blank, the last state, that is no class."""
        return float(self.resting[-1]) == 1

    def noised(self, x0: Tensor, t: Tensor, rng: Rng) -> Tensor:
        """x_t of classes ``x0`` int64 (n, y, x) for ``t`` (n,)."""
        kept = rng.child("kept").uniform(x0.shape) < self.alpha_bar[t - 1].reshape(-1, 1, 1)
        other = chosen(self.resting.expand(*x0.shape, -1).movedim(-1, 1), rng.child("other"))
        return torch.where(kept, x0, other)

    def back(self, x_t: Tensor, p0: Tensor, t: int) -> Tensor:
        """Σ_k q(x_{t-1} | x_t, x₀ = k) p₀(k), float64 (n, state, y, x), of ``p0`` (n, class, y, x)."""
        a, before = self.alpha_bar[t - 1], self.alpha_bar[t - 2] if t > 1 else self.alpha_bar.new_ones(())
        step = a / before
        pi = self.resting.double().reshape(1, -1, 1, 1)
        here = nn.functional.one_hot(x_t, self.states).movedim(-1, 1).double()
        p0 = nn.functional.pad(p0.double(), (0, 0, 0, 0, 0, self.states - p0.shape[1]))
        reached = a * here + (1 - a) * self.resting.double()[x_t][:, None]
        share = torch.where(p0 > 0, p0 / reached.clamp_min(1e-300), 0.0)
        came = step * here + (1 - step) * self.resting.double()[x_t][:, None]
        law = came * (before * share + (1 - before) * pi * share.sum(1, keepdim=True))
        return law / law.sum(1, keepdim=True)


def absorbing(classes: int, steps: int = 64) -> Chain:
    """Cells turn blank, at an even rate; the blank is state ``classes``."""
    share = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return Chain(1 - share, nn.functional.one_hot(torch.tensor(classes), classes + 1).double())


def multinomial(classes: int, steps: int = 64) -> Chain:
    """Cells turn into any class."""
    share = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return Chain(torch.cos(share * torch.pi / 2).square().clamp_min(0), torch.full((classes,), 1 / classes).double())


class ClassDenoiser(nn.Module):
    """Probabilities of the class of each cell given noisy states: a :class:`UNet` on states as channels.

    Args:
        net: ``chain.states`` channels in, ``classes`` out, and conditions as it likes.
        chain: what it was noised by.
    """

    def __init__(self, net: UNet, chain: Chain) -> None:
        super().__init__()
        self.net, self.chain = net, chain

    def logits(self, states: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """(n, class, y, x) of ``states`` (n, y, x) and ``t`` (n,)."""
        seen = nn.functional.one_hot(states, self.chain.states).movedim(-1, 1).float()
        level = 4 * (t.float() / self.chain.steps - 0.5)
        found: Tensor = self.net(seen, level, condition)
        return found.float()

    def forward(self, states: Tensor, t: int, condition: Tensor | None = None, allowed: Tensor | None = None) -> Tensor:
        """Probabilities (n, class, y, x), exactly 0 where not ``allowed`` (n, class, y, x)."""
        n = len(states)
        beside = None if condition is None else condition.expand(n, *condition.shape[-3:])
        logits = self.logits(states, torch.full((n,), t), beside).double()
        return only(logits.softmax(1), allowed)


@dataclass(frozen=True)
class ClassLoss:
    """Mean of -log p₀(x₀ | x_t) over the known cells of each field, t uniform: a proper score, so p₀ is calibrated.

    Rows: classes (b, y, x) as numbers, -1 where unknown (they are drawn at random and never scored), condition
    (b, k, y, x). With a blank, only blank cells are scored: the others are seen.
    """

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,)."""
        assert isinstance(net, ClassDenoiser)
        codes, condition = rows
        chain, n = net.chain, len(codes)
        rng = Rng(int(torch.randint(2**62, ()))) if net.training else Rng(0).child("validation")
        t = 1 + rng.integers(chain.steps, (n,))
        known = codes >= 0
        states = chain.noised(codes.long().clamp_min(0), t, rng)
        hidden = chosen(chain.resting.expand(*codes.shape, -1).movedim(-1, 1), rng.child("unknown"))
        states = torch.where(known, states, hidden)
        scored = known & (states == chain.states - 1) if chain.blank else known
        logits = net.logits(states, t, condition if condition.shape[1] else None)
        nll = nn.functional.cross_entropy(logits, codes.long().clamp_min(0), reduction="none")
        return (nll * scored).flatten(1).sum(1) / scored.flatten(1).sum(1).clamp_min(1)


@torch.no_grad()
def generate(
    classify: Classify, chain: Chain, shape: tuple[int, int, int], rng: Rng, allowed: Tensor | None = None
) -> Tensor:
    """Fields of classes int64 (n, y, x), t = T … 1; a class that is not ``allowed`` (n, class, y, x) never comes out.

    Give ``allowed`` one class where a cell is known or protected; ``functools.partial`` gives a net its condition.
    """
    x = chosen(chain.resting.expand(*shape, -1).movedim(-1, 1), rng.child("start"))
    for t in range(chain.steps, 0, -1):
        x = chosen(chain.back(x, only(classify(x, t), allowed), t), rng.child("t", t))
    return x


def only(p: Tensor, allowed: Tensor | None) -> Tensor:
    """Probabilities (n, class, y, x) with what is not allowed gone, and the rest raised to sum to 1.

    Raises:
        DataError: a cell where nothing is allowed.
    """
    if allowed is None:
        return p
    if not bool(allowed.any(-3).all()):
        raise DataError("a cell has no allowed class; allow at least the one it has.")
    kept = p.double() * allowed
    total = kept.sum(-3, keepdim=True)
    even = allowed.double() / allowed.double().sum(-3, keepdim=True)
    return torch.where(total > 0, kept / total.clamp_min(1e-300), even)


def reachable(now: Tensor, transitions: Tensor) -> Tensor:
    """Classes allowed after ``now`` int64 (n, y, x), by a table bool (from, to): (n, class, y, x).

    Raises:
        DataError: a class that the table does not have.
    """
    if bool((now < 0).any()) or bool((now >= len(transitions)).any()):
        raise DataError(
            f"classes {int(now.min())} … {int(now.max())}; the table of transitions has {len(transitions)}."
        )
    return transitions[now].movedim(-1, 1)


def chosen(p: Tensor, rng: Rng) -> Tensor:
    """One class of each cell, int64 (n, y, x), of probabilities (n, class, y, x)."""
    edges = p.double().cumsum(1)
    draws = rng.uniform((len(p), 1, *p.shape[2:])) * edges[:, -1:]
    return (draws >= edges).sum(1).clamp_max(p.shape[1] - 1)
