"""A net made into a denoiser: scaled so that its inputs and targets keep unit size at every noise level."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError, ShapeError

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x, σ) → E[x₀ | x₀ + σ·noise = x]."""


class Preconditioned(nn.Module):
    """x̂₀ = c_skip x + c_out F(c_in x, ln σ / 4): a net F as the mean of a field given it with noise σ on.

    With s = σ_data: c_skip = s²/(σ² + s²), c_out = σ s/√(σ² + s²), c_in = 1/√(σ² + s²). A cell that is not
    ``visible`` counts as one of infinite noise: c_skip = 0, c_out = s, c_in = 0.

    Args:
        net: takes (x, noise level (b,), condition, vector), all float32.
        sigma_data: standard deviation of the data, where they are not scaled to one.
        gappy: the net has one channel more of condition, first: which cells are visible.

    Reference: Karras, Aittala, Aila & Laine (2022), NeurIPS, table 1.
    """

    references = (
        "Karras, Aittala, Aila & Laine (2022), Elucidating the design space of diffusion-based generative models, "
        "NeurIPS.",
    )

    def __init__(self, net: nn.Module, sigma_data: float = 1.0, gappy: bool = False) -> None:
        super().__init__()
        if not sigma_data > 0:
            raise OptionError(f"sigma_data={sigma_data} must be positive.")
        self.net, self.sigma_data, self.gappy = net, sigma_data, gappy

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        condition: Tensor | None = None,
        vector: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """x̂₀ (*batch, channel, y, x), in the dtype of ``x``.

        Args:
            x: (*batch, channel, y, x).
            sigma: one number, (*batch,), or (*batch, 1, 1, 1).
            condition: channels beside the field, (*batch, k, y, x), or (k, y, x) for all.
            vector: numbers that belong to the whole field, (*batch, v), or (v,) for all.
            visible: 1 where ``x`` is to be looked at, else 0, (*batch, 1, y, x) or (1, y, x); only where ``gappy``.
        """
        batch, grid = x.shape[:-3], x.shape[-2:]
        flat = x.reshape(-1, *x.shape[-3:]).to(next(self.net.parameters()))
        n = len(flat)
        level = levels(sigma, x).expand(*batch, 1, 1, 1).reshape(n, 1, 1, 1).to(flat)
        beside = None if condition is None else _flat(condition, batch, 3).to(flat)
        numbers = None if vector is None else _flat(vector, batch, 1).to(flat)
        if self.gappy:
            seen = flat.new_ones(n, 1, *grid) if visible is None else _flat(visible, batch, 3).to(flat)
            beside = seen if beside is None else torch.cat([seen, beside], 1)
        elif visible is not None:
            raise ShapeError("this denoiser was not trained to see parts of a field; make it with gappy=True.")
        skip, out, enter = coefficients(level, self.sigma_data, None if visible is None else seen)
        found = self.net(enter * flat, level.reshape(n).log() / 4, beside, numbers)
        return (skip * flat + out * found.to(flat)).reshape(x.shape).to(x)


def coefficients(sigma: Tensor, sigma_data: float, visible: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out and c_in at noise ``sigma``; those of infinite noise where ``visible`` is 0."""
    total = sigma.square() + sigma_data**2
    skip, out, enter = sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt()
    if visible is None:
        return skip, out, enter
    return skip * visible, torch.where(visible > 0, out, sigma_data), enter * visible


def levels(sigma: Tensor, x: Tensor) -> Tensor:
    """``sigma`` of the batch of fields ``x`` (*batch, channel, y, x) as (*batch or 1s, 1, 1, 1)."""
    sigma = torch.as_tensor(sigma)
    if sigma.ndim == 0:
        sigma = sigma.reshape([1] * x.ndim)
    elif sigma.ndim == x.ndim - 3:
        sigma = sigma.reshape(*sigma.shape, 1, 1, 1)
    if sigma.ndim == x.ndim and all(
        n in (1, whole) for n, whole in zip(sigma.shape, (*x.shape[:-3], 1, 1, 1), strict=True)
    ):
        return sigma
    raise ShapeError(
        f"noise levels {tuple(sigma.shape)} do not belong to fields {tuple(x.shape)}: give one number, or one a field."
    )


def _flat(tensor: Tensor, batch: torch.Size, dims: int) -> Tensor:
    """(*batch, *rest) or (*rest) → (n, *rest)."""
    rest = tensor.shape[tensor.ndim - dims :]
    return tensor.expand(*batch, *rest).reshape(-1, *rest)
