"""A law of Ising spins that is drawn site by site: each spin from a small net of all spins before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Classes


class AutoregressiveSpins(nn.Module):
    """p(s) = Π p(sᵢ | s₁ … sᵢ₋₁), with log-odds that are odd in the spins, so that p(-s) = p(s).

    Log-odds of site i: Σ_j<i V_ij s_j + Σ_h a_ih tanh(Σ_j<i W_ihj s_j); each site has ``width`` hidden units.

    Args:
        space: of two classes, down and up, e.g. an Ising model's; sites in the order of its axes.
        width: hidden units of each site.

    Reference: Wu, Wang & Zhang (2019), Solving statistical mechanics using variational autoregressive networks, Phys.
    Rev. Lett. 122, 080602.
    """

    def __init__(self, space: Space, width: int = 8) -> None:
        super().__init__()
        self.space, self.width = space, width
        n = space.size
        self.straight = nn.Parameter(torch.zeros(n, n))
        self.inner = nn.Parameter(0.3 * torch.randn(n, width, n) / n**0.5)
        self.outer = nn.Parameter(0.1 * torch.randn(n, width))
        before = torch.arange(n)[:, None] > torch.arange(n)
        self.register_buffer("before", before.float(), persistent=False)
        self.before: Tensor

    def log_odds(self, spins: Tensor) -> Tensor:
        """Of every site being up given those before it, (*batch, n) of spins ±1 (*batch, n)."""
        straight = spins @ (self.straight * self.before).mT
        inner = (self.inner * self.before[:, None]).flatten(0, 1)
        hidden = (spins @ inner.mT).tanh().unflatten(-1, (-1, self.width))
        return straight + (hidden * self.outer).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p of classes (*batch, *space.shape), float64 (*batch,)."""
        spins = 2 * self.space.flat(x).to(self.straight.dtype) - 1
        return nn.functional.logsigmoid(spins * self.log_odds(spins)).double().sum(-1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, classes (n, *space.shape), one site after the other."""
        uniform = rng.uniform((self.space.size, n))
        spins = torch.zeros(n, self.space.size, dtype=self.straight.dtype)
        with torch.no_grad():
            for i in range(self.space.size):
                seen = spins[:, :i]
                hidden = (seen @ self.inner[i, :, :i].mT).tanh()
                odds = seen @ self.straight[i, :i] + hidden @ self.outer[i]
                spins[:, i] = torch.where(uniform[i] < odds.double().sigmoid(), 1.0, -1.0).to(spins)
        return self.space.unflat((spins + 1) / 2)

    @staticmethod
    def example() -> AutoregressiveSpins:
        """A torus of three by three, untrained."""
        with Rng(0).child("spins"):
            return AutoregressiveSpins(Space("spin", {"y": 3, "x": 3}, support=Classes(("down", "up"))), 2)
