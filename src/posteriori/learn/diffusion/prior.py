"""A trained denoiser as a prior over a Space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from posteriori.core.errors import ShapeError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.schedule import geometric, karras
from posteriori.learn.diffusion.solvers import Adams, Solver, solve
from posteriori.learn.diffusion.unet import UNet

AT_ONCE = 64
"""Fields that are denoised at once."""


class DiffusionPrior(nn.Module):
    """x = mean + scale · u, where u follows the law that a denoiser has learnt.

    Args:
        space: (y, x), or (channel, y, x).
        denoiser: of u (*batch, channel, y, x).
        mean: of x, anything that broadcasts to the space's shape [unit of the space].
        scale: of x - mean, one number [unit of the space].
        sigmas: noise levels of sampling, of u; 20 from 40 to 0.02 without. See ``schedule.reach``.
        solver: :class:`posteriori.learn.diffusion.solvers.Adams` without.
        condition: channels beside the field, (k, y, x), where the denoiser wants them.
        vector: numbers that belong to the whole field, (v,), where the denoiser wants them.

    Raises:
        ShapeError: a space of another number of axes.
    """

    references = Preconditioned.references

    def __init__(
        self,
        space: Space,
        denoiser: Callable[..., Tensor],
        mean: Tensor | float = 0.0,
        scale: float = 1.0,
        sigmas: Tensor | None = None,
        solver: Solver | None = None,
        condition: Tensor | None = None,
        vector: Tensor | None = None,
    ) -> None:
        super().__init__()
        if len(space.shape) not in (2, 3):
            raise ShapeError(f"{space} has {len(space.shape)} axes; a diffusion prior needs (y, x) or (channel, y, x).")
        self.space, self.denoiser, self.scale = space, denoiser, float(scale)
        self.solver = solver or Adams()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64).expand(space.shape).clone())
        self.register_buffer("sigmas", geometric(20, 0.02, 40.0) if sigmas is None else sigmas)
        self.register_buffer("condition", condition)
        self.register_buffer("vector", vector)
        self.mean: Tensor
        self.sigmas: Tensor
        self.condition: Tensor | None
        self.vector: Tensor | None

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x₀ + σ·noise = x], x (*batch, *space.shape), ``sigma`` one number or (*batch,) [unit of the space]."""
        self.space.check(x, "noisy fields")
        mean, batch = self.mean.to(x), x.shape[: x.ndim - len(self.space.shape)]
        u = ((x - mean) / self.scale).reshape(*batch, *self._field)
        found = self.unit(u, torch.as_tensor(sigma).to(x) / self.scale)
        return mean + self.scale * found.reshape(x.shape).to(x)

    def unit(self, u: Tensor, sigma: Tensor) -> Tensor:
        """The denoiser of u (*batch, channel, y, x) under this prior's condition."""
        if self.condition is None and self.vector is None:
            return self.denoiser(u, sigma)
        return self.denoiser(u, sigma, self.condition, self.vector)

    @torch.no_grad()
    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws (n, *space.shape), float32."""
        noise = rng.normal((n, *self._field)).to(self.mean.device, torch.float32)
        drawn = rng.fresh()
        parts = [
            solve(self.unit, part, self.sigmas, self.solver, drawn.child(i))
            for i, part in enumerate(noise.split(AT_ONCE))
        ]
        return self.mean.float() + self.scale * torch.cat(parts).reshape(n, *self.space.shape)

    @property
    def _field(self) -> tuple[int, ...]:
        shape = self.space.shape
        return shape if len(shape) == 3 else (1, *shape)

    @staticmethod
    def example() -> DiffusionPrior:
        """An untrained net on a small grid."""
        with Rng(0).child("diffusion"):
            net = UNet(width=8, multiples=(1, 2), heads=2)
        space = Space("temperature", {"y": 6, "x": 7}, "K")
        return DiffusionPrior(space, Preconditioned(net).eval(), 280.0, 2.0, karras(4))
