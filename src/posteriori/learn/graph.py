"""Graph networks on a lattice: messages between neighbours, and smoothness over every node, measured or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posteriori.learn.hidden import LatticeNet, gathered, neighbours
from posteriori.learn.masked_convolution import stacked

ADJACENT = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))
PAIRED = ((2, 0), (-2, 0), (0, 2), (0, -2), (2, 2), (-2, -2), (2, -2), (-2, 2))


@dataclass(frozen=True)
class GraphNetwork:
    """The shape of a relational graph network: one relation to adjacent nodes, one to those of the same parities.

    Each layer: h ← h + silu(mean over adjacent · W + mean over paired · W′ + h₀ · W″). All nodes carry messages, those
    that are only asked for too, and the prediction f pays ``smoothness`` · f̄ᵀ L f over all of them, with L = 1 - D⁻¹A
    the Laplacian of the paired relation: semi-supervised learning on the unmeasured. What the net gives is added to
    the visible values as they spread along both relations (label propagation with learnt weights).

    Inductive bias: neighbours are alike, whichever direction they lie in; values travel ``layers`` edges.

    Args:
        width: channels.
        layers: rounds of messages.
        smoothness: price of roughness.

    Reference: Schlichtkrull et al. (2018), Modeling relational data with graph convolutional networks,
    arXiv:1703.06103; Zhu, Ghahramani & Lafferty (2003), Semi-supervised learning using Gaussian fields and harmonic
    functions, ICML.
    """

    width: int = 16
    layers: int = 3
    smoothness: float = 0.01

    def __call__(self, at: Tensor, features: int, nets: int) -> GraphNet:
        """New nets."""
        return GraphNet(at, features, nets, self.width, self.layers, self.smoothness)

    @staticmethod
    def example() -> GraphNetwork:
        """A small net."""
        return GraphNetwork(4, 1)


class GraphNet(LatticeNet):
    """``nets`` nets side by side on the graph of lattice points ``at`` (m, 2)."""

    def __init__(self, at: Tensor, features: int, nets: int, width: int, layers: int, smoothness: float) -> None:
        super().__init__()
        self.smoothness = smoothness
        self.adjacent, self.paired = Neighbourhood(at, ADJACENT), Neighbourhood(at, PAIRED)
        self.enter = nn.Parameter(stacked(nets, features + 2, width))
        self.start = nn.Parameter(torch.zeros(nets, 1, width))
        shape = nets, 3 * width, width
        self.weight = nn.ParameterList([stacked(*shape) for _ in range(layers)])
        self.bias = nn.ParameterList([torch.zeros(nets, 1, width) for _ in range(layers)])
        self.leave = nn.Parameter(0.1 * stacked(nets, width, 1))
        # weights of the values of adjacent and of paired nodes, and of zero
        self.log_weight = nn.Parameter(torch.tensor([1.0, 1.0, 0.3]).log().expand(nets, -1).clone())

    def forward(self, values: Tensor, visible: Tensor, features: Tensor) -> Tensor:
        """(b, k, m)."""
        seen = torch.stack([values, visible], -1)
        known = torch.cat([features.expand(*seen.shape[:-1], -1), seen], -1)
        first = h = torch.nn.functional.silu(known @ self.enter + self.start)
        for weight, bias in zip(self.weight, self.bias, strict=True):
            told = torch.cat([self.adjacent(h), self.paired(h), first], -1)
            h = h + torch.nn.functional.silu(told @ weight + bias)
        return (h @ self.leave)[..., 0] + self._spread(seen)

    def _spread(self, seen: Tensor) -> Tensor:
        """Values and visibilities (b, k, m, 2) handed on once for each layer; what reaches each node, (b, k, m)."""
        adjacent, paired, rest = self.log_weight.exp()[..., None].unbind(1)
        visible, state = seen[..., 1:], seen
        reached = torch.zeros_like(seen[..., 0])
        for _ in self.weight:
            told = adjacent[..., None] * self.adjacent(state) + paired[..., None] * self.paired(state)
            total, count = told.unbind(-1)
            reached, trust = total / (count + rest), count / (count + rest)
            state = seen + (1 - visible) * torch.stack([reached * trust, trust], -1)
        return reached

    def roughness(self, said: Tensor) -> Tensor:
        """smoothness · mean of f · (f - mean over paired f), (b, k)."""
        gap = said - self.paired(said[..., None])[..., 0]
        return self.smoothness * gap.square().mean(-1)


class Neighbourhood(nn.Module):
    """Means over the neighbours at ``steps``: D⁻¹A of the lattice graph; zero where there is no neighbour."""

    def __init__(self, at: Tensor, steps: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        index = neighbours(at, steps)
        self.register_buffer("index", index, persistent=False)
        degree = (index < len(at)).sum(-1).clamp_min(1).float()
        self.register_buffer("degree", degree[:, None], persistent=False)
        self.index: Tensor
        self.degree: Tensor

    def forward(self, h: Tensor) -> Tensor:
        """(b, k, m, c) → (b, k, m, c)."""
        return gathered(h, self.index).sum(-2) / self.degree
