"""Convolutions on the cells of a lattice that exist: missing neighbours count as nothing, and the rest for more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import torch
from torch import Tensor, nn

from posteriori.learn.hidden import LatticeNet, gathered, neighbours

WINDOW, REST = 1.5, 0.3
"""First reach [steps] of the weights in the window, and first w₀."""


@dataclass(frozen=True)
class MaskedConvolution:
    """The shape of a net of convolutions over the cells that exist.

    Visible values enter through a square window; ``dilations`` are the steps of the 3 x 3 convolutions after it. What
    the net gives is added to Σ w v / (Σ w + w₀), the mean of the visible values in the window with learnt weights.

    Inductive bias: the same local rule everywhere, one for each direction on the lattice; what lies beyond all windows
    follows from the features alone.

    Args:
        width: channels.
        reach: steps from the middle of the window to its edge.
        dilations: one for each convolution.

    Reference: Liu et al. (2018), Image inpainting for irregular holes using partial convolutions, arXiv:1804.07723.
    """

    width: int = 16
    reach: int = 3
    dilations: Sequence[int] = (1, 2)

    def __call__(self, at: Tensor, features: int, nets: int) -> MaskedNet:
        """New nets."""
        return MaskedNet(at, features, nets, self.width, self.reach, tuple(self.dilations))

    @staticmethod
    def example() -> MaskedConvolution:
        """A small net."""
        return MaskedConvolution(4, 1, (1,))


class MaskedNet(LatticeNet):
    """``nets`` nets side by side on lattice points ``at`` (m, 2): values, whether visible, features → (b, k, m)."""

    def __init__(self, at: Tensor, features: int, nets: int, width: int, reach: int, dilations: Sequence[int]) -> None:
        super().__init__()
        span = range(-reach, reach + 1)
        steps = [(a, b) for a in span for b in span]
        self.register_buffer("window", neighbours(at, steps), persistent=False)
        self.window: Tensor
        square = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        for layer, d in enumerate(dilations):
            index = neighbours(at, [(d * a, d * b) for a, b in square])
            self.register_buffer(f"index{layer}", index, persistent=False)
            share = (index < len(at)).float().mean(-1, keepdim=True)
            self.register_buffer(f"share{layer}", share, persistent=False)
        self.layers = len(dilations)
        self.enter = nn.Parameter(stacked(nets, features, width))
        self.look = nn.Parameter(stacked(nets, 2 * self.window.shape[1], width))
        self.start = nn.Parameter(torch.zeros(nets, 1, width))
        self.weight = nn.ParameterList([stacked(nets, len(square) * width, width) for _ in dilations])
        self.bias = nn.ParameterList([torch.zeros(nets, 1, width) for _ in dilations])
        self.leave = nn.Parameter(0.1 * stacked(nets, width, 1))
        distance = torch.tensor([-float(a * a + b * b) / (2 * WINDOW**2) for a, b in steps])
        self.log_weight = nn.Parameter(distance.expand(nets, -1).clone())
        self.log_rest = nn.Parameter(torch.full((nets, 1), log(REST)))

    def forward(self, values: Tensor, visible: Tensor, features: Tensor) -> Tensor:
        """(b, k, m)."""
        seen = gathered(torch.stack([values, visible], -1), self.window)
        h = torch.nn.functional.silu(features @ self.enter + seen.flatten(-2) @ self.look + self.start)
        for layer in range(self.layers):
            near = gathered(h, self.get_buffer(f"index{layer}")).flatten(-2)
            moved = (near @ self.weight[layer]) / self.get_buffer(f"share{layer}") + self.bias[layer]
            h = h + torch.nn.functional.silu(moved)
        weight, rest = self.log_weight.exp()[:, None, :, None], self.log_rest.exp()
        total, count = (weight * seen).sum(-2).unbind(-1)
        return (h @ self.leave)[..., 0] + total / (count + rest)

    def roughness(self, said: Tensor) -> Tensor:
        """Nothing is paid."""
        return torch.zeros_like(said[..., 0])


def stacked(nets: int, inputs: int, outputs: int) -> Tensor:
    """Weights of ``nets`` linear layers, (nets, inputs, outputs)."""
    return torch.randn(nets, inputs, outputs) / sqrt(inputs)
