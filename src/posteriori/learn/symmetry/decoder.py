"""A Gaussian decoder whose mean turns with what it is given: latent vectors and a coarse configuration."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.learn.network import MLP


class VectorDecoder(nn.Module):
    """Vectors z (*batch, latents, d) and v (*batch, given, d) → a law of vectors u (*batch, outputs, d).

    mean = A z + B v, with matrices A and B (rows of fixed numbers plus what a net makes of all scalar products of z and
    v), and one standard deviation for each output, the same in all directions. Turning or reflecting z and v does the
    same to the mean: with z standard normal, the law of u given v is equivariant under O(d). Vectors are taken as they
    are: give v relative to a point that moves along.

    Args:
        latents, given, outputs: numbers of vectors.
        width: of the net of scalar products; 0 leaves A, B and the deviations fixed numbers (a linear Gaussian law).
    """

    def __init__(self, latents: int, given: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        if min(latents, outputs) < 1 or min(given, width) < 0:
            raise OptionError(f"latents={latents}, given={given}, outputs={outputs}, width={width} cannot be.")
        self.latents, self.given, self.outputs, inputs = latents, given, outputs, latents + given
        self.mix = nn.Parameter(torch.cat([torch.eye(outputs, latents), torch.zeros(outputs, given)], -1).double())
        self.log_sigma = nn.Parameter(torch.zeros(outputs, dtype=torch.float64))
        self.register_buffer("pairs", torch.triu_indices(inputs, inputs))
        self.pairs: Tensor
        self.net = None
        if width:
            self.net = MLP(self.pairs.shape[1], outputs * (inputs + 1), width).double()
            last = self.net.layers[-1]
            assert isinstance(last, nn.Linear)
            with torch.no_grad():
                last.weight.mul_(0.1)

    def forward(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (*batch, outputs, d) and log standard deviation (*batch, outputs) of u."""
        both = torch.cat([z.double(), v.double()], -2)
        if self.net is None:
            return self.mix @ both, self.log_sigma.expand(*both.shape[:-2], -1)
        scalars = (both @ both.mT)[..., self.pairs[0], self.pairs[1]]
        found = self.net(torch.asinh(scalars)).unflatten(-1, (self.outputs, -1))
        return (self.mix + found[..., :-1]) @ both, self.log_sigma + found[..., -1]

    def log_prob(self, u: Tensor, z: Tensor, v: Tensor) -> Tensor:
        """Log density of u given z and v, (*batch,)."""
        mean, log_sigma = self(z, v)
        return normal_log_prob(u, mean, log_sigma)

    @staticmethod
    def example() -> VectorDecoder:
        """Two latent vectors and three given ones."""
        with Rng(0).child("decoder"):
            return VectorDecoder(2, 3, 2, 8)


def normal_log_prob(u: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Log density of vectors (*batch, k, d) under an isotropic normal law of each, (*batch,)."""
    white = (u - mean) * (-log_sigma).exp()[..., None]
    return -(0.5 * white.square() + log_sigma[..., None] + 0.5 * log(2 * pi)).sum((-2, -1))
