"""The information bottleneck of a block of spins: a noisy code that keeps what tells about the block's surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, pi
from typing import Protocol

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.learn.coarse_graining import Block, BlockRule, Offsets
from posteriori.learn.fit import fit
from posteriori.learn.losses import Loss
from posteriori.learn.plan import Plan


class Question(Protocol):
    """What the code shall tell of the surroundings."""

    def __call__(self, around: Tensor, offsets: Offsets) -> Tensor:
        """Y (n, k) of surroundings (n, sites) at ``offsets`` (row, column) from the block's first site."""


@dataclass(frozen=True)
class BlockAverages:
    """Y = the averages of the surroundings in eight sectors: above, below, left, right and the four corners.

    Args:
        shape: rows and columns of the block in the middle.
    """

    shape: Block

    def __call__(self, around: Tensor, offsets: Offsets) -> Tensor:
        """(n, 8)."""
        sector = [3 * _third(r, self.shape[0]) + _third(c, self.shape[1]) for r, c in offsets]
        found = [around[:, [i for i, s in enumerate(sector) if s == k]].mean(1) for k in sorted(set(sector))]
        return torch.stack(found, 1)


@dataclass(frozen=True)
class FourierModes:
    """Y = the lowest Fourier modes of the surroundings about the block: their mean, and one wave along each axis.

    Args:
        period: sites of the wave.
    """

    period: int

    def __call__(self, around: Tensor, offsets: Offsets) -> Tensor:
        """(n, 5): mean, cosine and sine along rows, cosine and sine along columns."""
        at = 2 * pi * torch.tensor(offsets, dtype=around.dtype) / self.period
        waves = [torch.ones(len(at)), at[:, 0].cos(), at[:, 0].sin(), at[:, 1].cos(), at[:, 1].sin()]
        return around @ torch.stack(waves, 1).to(around) / len(at)


class Bottleneck(nn.Module):
    """Code z ~ N(f(x), 1) of ``codes`` numbers, and a local decoder: Y = z D plus errors with a learnt covariance.

    The noise has size one: how far f stretches is how much the code keeps. Encoder (a linear filter) and decoder are
    odd. The decoder sees the code of its own block alone, and is linear, so that what is learnt lies in the code.
    """

    def __init__(self, inputs: int, outputs: int, codes: int = 1) -> None:
        super().__init__()
        self.encoder = nn.Linear(inputs, codes, bias=False)
        self.decoder = nn.Linear(codes, outputs, bias=False)
        self.whitening = nn.Parameter(torch.zeros(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The mean of the code, (n, codes)."""
        mean: Tensor = self.encoder(x)
        return mean

    def parts(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What the code costs, KL(N(f, 1) | N(0, 1 + ⟨f²⟩)), and -⟨log q(y | z)⟩, both (n,) [nat]; no sampling.

        The Gaussian of the codes' own size is the best prior of that shape; both expectations have closed forms.
        """
        mean = self(x)
        size = 1 + mean.square().mean(0)
        cost = 0.5 * (size.log() + (1 + mean.square()) / size - 1).sum(-1)
        scale = self.whitening.diagonal()
        white = self.whitening.tril(-1) + scale.exp().diag()
        miss = ((y - self.decoder(mean)) @ white.mT).square().sum(-1) + (white @ self.decoder.weight).square().sum()
        return cost, 0.5 * (miss + y.shape[1] * log(2 * pi)) - scale.sum()


@dataclass(frozen=True)
class BottleneckLoss:
    """cost / beta - ⟨log q(y | z)⟩: small I(X; Z), large I(Z; Y); rows (x, y)."""

    beta: float

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(n,) [nat]."""
        assert isinstance(net, Bottleneck)
        cost, miss = net.parts(*rows)
        return cost / self.beta + miss


@dataclass(frozen=True)
class Squeezed:
    """A trained bottleneck and its figures on held-out rows.

    Attributes:
        cost: at least I(X; Z) [nat].
        information: what the code takes off -log q(Y) of the best Gaussian q [nat]; at most I(Z; Y) of a Gaussian Y.
    """

    net: Bottleneck
    cost: float
    information: float

    def rule(self, shape: Block) -> BlockRule:
        """The first code's filter as a block rule, its sign such that an up block has a positive code."""
        weights = self.net.encoder.weight.detach()[0].reshape(shape)
        return BlockRule(weights * weights.sum().sign())


@dataclass(frozen=True)
class InformationBottleneck:
    """A variational auto-encoder from X to Y whose code is charged for what it keeps of X.

    Args:
        beta: nats of X that one nat about Y is worth; below some value the code keeps nothing.
        codes: numbers in the code.
        plan: how it is trained.

    Reference: Tishby, Pereira & Bialek (1999), The information bottleneck method, Allerton; Alemi, Fischer, Dillon &
    Murphy (2017), Deep variational information bottleneck, ICLR.
    """

    beta: float = 50.0
    codes: int = 1
    plan: Plan = field(default_factory=lambda: Plan(epochs=12, batch=256, rate=2e-2))

    def __post_init__(self) -> None:
        if not self.beta > 1 or self.codes < 1:
            raise OptionError(
                f"beta={self.beta:g}, codes={self.codes}: beta above 1 (else nothing is kept), codes ≥ 1."
            )

    def __call__(self, x: Tensor, y: Tensor, context: Context) -> Squeezed:
        """Train on rows x (n, a) and y (n, b), both of mean zero; a fifth of the rows is held out for the figures."""
        with context.rng.child("net"):
            net = Bottleneck(x.shape[1], y.shape[1], self.codes)
        cut = len(x) * 4 // 5
        loss: Loss = BottleneckLoss(self.beta)
        fitted = fit(net, loss, (x[:cut], y[:cut]), self.plan, context.child("fit"))
        assert isinstance(fitted.net, Bottleneck)
        with torch.no_grad():
            cost, miss = (part.double().mean() for part in fitted.net.parts(x[cut:], y[cut:]))
            alone = 0.5 * (torch.logdet(torch.atleast_2d(y[cut:].double().mT.cov())) + y.shape[1] * (1 + log(2 * pi)))
        return Squeezed(fitted.net, float(cost), float(alone - miss))


def _third(at: int, side: int) -> int:
    return 0 if at < 0 else 1 if at < side else 2
