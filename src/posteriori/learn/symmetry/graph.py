"""Graph layers on particles in space that turn, shift and permute with them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.learn.network import MLP


class GraphLayer(nn.Module):
    """Positions ``x`` (*batch, n, d) and invariant features ``h`` (*batch, n, f) → the same, moved and renewed.

    m_ij = φ(h_i, h_j, |x_i - x_j|²), x_i + Σ_j (x_i - x_j) ψ(m_ij) / ((n - 1) (1 + |x_i - x_j|)), h_i + χ(h_i, Σ m_ij).
    Turning, reflecting, shifting or permuting the particles does the same to the new positions; features only permute.
    Weights are float64: the identities hold to rounding, and inputs are taken as float64.

    Args:
        features: f, at least one.
        width: of the messages and hidden layers.

    Reference: Satorras, Hoogeboom & Welling (2021), E(n) equivariant graph neural networks, ICML.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Satorras, Hoogeboom & Welling (2021), E(n) equivariant graph neural networks, ICML.",
    )

    def __init__(self, features: int, width: int = 32) -> None:
        super().__init__()
        if min(features, width) < 1:
            raise OptionError(f"features={features}, width={width}: at least one each.")
        self.features = features
        self.message = MLP(2 * features + 1, width, width, depth=1).double()
        self.push = MLP(width, 1, width, depth=1).double()
        self.renew = MLP(features + width, features, width, depth=1).double()

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """New positions and features.

        Raises:
            ShapeError: other than one row of f features for each particle.
        """
        x, h = x.double(), h.double()
        if h.shape != (*x.shape[:-1], self.features):
            raise ShapeError(f"features {tuple(h.shape)} do not give {self.features} to each of {tuple(x.shape[:-1])}.")
        n = x.shape[-2]
        apart = x[..., :, None, :] - x[..., None, :, :]
        squared = apart.square().sum(-1, keepdim=True)
        pair = torch.cat(
            [h[..., :, None, :].expand(*apart.shape[:-1], -1), h[..., None, :, :].expand(*apart.shape[:-1], -1)], -1
        )
        others = (1.0 - torch.eye(n, dtype=x.dtype, device=x.device))[..., None]
        m = torch.nn.functional.silu(self.message(torch.cat([pair, squared], -1))) * others
        away = apart / (1.0 + (squared + 1.0 - others).sqrt())
        moved = x + (away * self.push(m) * others).sum(-2) / max(n - 1, 1)
        return moved, h + self.renew(torch.cat([h, m.sum(-2)], -1))


class GraphNet(nn.Module):
    """Some :class:`GraphLayer` in a row: positions (*batch, n, d), kinds (n,) → new positions and features.

    Args:
        kinds: a number for each particle; particles of one kind are exchangeable.
        features: invariant numbers that each particle carries.
        layers: how many.
        width: of each layer.
    """

    def __init__(self, kinds: Tensor, features: int = 16, layers: int = 2, width: int = 32) -> None:
        super().__init__()
        if kinds.ndim != 1 or kinds.is_floating_point() or len(kinds) < 1 or int(kinds.min()) < 0:
            raise ShapeError(f"kinds {tuple(kinds.shape)} of {kinds.dtype}: one integer from 0 for each particle.")
        self.register_buffer("kinds", kinds.clone())
        self.kinds: Tensor
        self.start = nn.Embedding(int(kinds.max()) + 1, features, dtype=torch.float64)
        self.layers = nn.ModuleList([GraphLayer(features, width) for _ in range(layers)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(*batch, n, d) → positions (*batch, n, d) and features (*batch, n, f)."""
        h = self.start(self.kinds).expand(*x.shape[:-1], -1)
        x = x.double()
        for layer in self.layers:
            x, h = layer(x, h)
        return x, h

    @staticmethod
    def example() -> GraphNet:
        """Two kinds of particle."""
        with Rng(0).child("graph"):
            return GraphNet(torch.tensor([0, 0, 1]), features=4, width=8)
