"""AdamW over one flat vector of all that learns: torch's own loads its compiler first, which takes seconds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MEMORY, SECOND_MEMORY, TINY = 0.9, 0.999, 1e-8


class AdamW:
    """Adaptive steps with decoupled weight decay.

    m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  θ ← θ - η (m̂ / (√v̂ + ε) + λ θ), with m̂, v̂ free of the start's bias
    and η the rate times each parameter's factor.

    Args:
        parameters: what learns.
        factors: of the rate, one for each parameter.
        weight_decay: λ.

    Reference: Loshchilov & Hutter (2019), Decoupled weight decay regularization, arXiv:1711.05101.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], factors: Sequence[float], weight_decay: float) -> None:
        self.parameters, self.weight_decay = list(parameters), weight_decay
        self.sizes = [p.numel() for p in parameters]
        flat = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.mean, self.square = torch.zeros_like(flat), torch.zeros_like(flat)
        self.steps = 0
        same = len(set(factors)) == 1
        each = [
            torch.full((n,), f, dtype=flat.dtype, device=flat.device) for n, f in zip(self.sizes, factors, strict=True)
        ]
        self.factor: Tensor | float = factors[0] if same else torch.cat(each)

    def step(self, gradient: Tensor, rate: float) -> None:
        """Move every parameter along the flat ``gradient`` at ``rate``."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - MEMORY)
        self.square.mul_(SECOND_MEMORY).addcmul_(gradient, gradient, value=1 - SECOND_MEMORY)
        root = self.square.sqrt().div_((1 - SECOND_MEMORY**self.steps) ** 0.5).add_(TINY)
        change = (self.mean / root).mul_(rate / (1 - MEMORY**self.steps))
        with torch.no_grad():
            if self.weight_decay:
                flat = torch.cat([p.reshape(-1) for p in self.parameters])
                change.add_(flat, alpha=rate * self.weight_decay)
            change = change * self.factor
            for parameter, piece in zip(self.parameters, change.split(self.sizes), strict=True):
                parameter.sub_(piece.view_as(parameter))

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on."""
        return {"mean": self.mean, "square": self.square, "steps": torch.tensor(self.steps)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a :meth:`state`."""
        self.mean, self.square = state["mean"].to(self.mean), state["square"].to(self.square)
        self.steps = int(state["steps"])
