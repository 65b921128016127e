"""A variational auto-encoder of vectors given others, equivariant, with a joint density that weights can use."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import UnanswerableError
from posteriori.core.random import Rng
from posteriori.learn.symmetry.decoder import VectorDecoder, normal_log_prob


class ConditionalVAE(nn.Module):
    """q(u | v) = ∫ N(z; 0, 1) decoder(u | z, v) dz for vectors u (*batch, outputs, d) given v (*batch, given, d).

    Decoder and encoder are :class:`~posteriori.learn.symmetry.decoder.VectorDecoder`: the law turns with v. The density
    of u alone is not known (but where the decoder is linear); that of u and z together is, so that weights
    p(u | v) encoder(z | u, v) / (N(z) decoder(u | z, v)) are exact in the augmented space.

    Args:
        given, outputs: numbers of vectors v and u.
        latents: number of latent vectors; as many as outputs lose nothing.
        width: of the nets; 0 for a linear Gaussian law.

    Reference: Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR; Sohn, Lee & Yan (2015), Learning
    structured output representation using deep conditional generative models, NeurIPS.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Kingma & Welling (2014), Auto-encoding variational Bayes, ICLR.",
        "Sohn, Lee & Yan (2015), Learning structured output representation using deep conditional generative models, "
        "NeurIPS.",
    )

    def __init__(self, given: int, outputs: int, latents: int, width: int = 0) -> None:
        super().__init__()
        self.latents = latents
        self.decoder = VectorDecoder(latents, given, outputs, width)
        self.encoder = VectorDecoder(outputs, given, latents, width)

    def numbers(self, v: Tensor) -> tuple[int, int]:
        """Shape of the standard normal numbers of one draw given ``v`` (*batch, given, d): (latents + outputs, d)."""
        return self.latents + self.decoder.outputs, v.shape[-1]

    def push(self, noise: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Draws of u by standard normal ``noise`` (*batch, latents + outputs, d), and their :meth:`joint` density."""
        z, e = noise.split([self.latents, self.decoder.outputs], -2)
        mean, log_sigma = self.decoder(z, v)
        u = mean + log_sigma.exp()[..., None] * e
        return u, self.joint(u, z, v)

    def joint(self, u: Tensor, z: Tensor, v: Tensor) -> Tensor:
        """log N(z) decoder(u | z, v) - log encoder(z | u, v), (*batch,)."""
        prior = -0.5 * z.square().sum((-2, -1)) - 0.5 * z.shape[-1] * z.shape[-2] * log(2 * pi)
        return prior + self.decoder.log_prob(u, z, v) - self.encoder.log_prob(z, u, v)

    def bound(self, u: Tensor, v: Tensor, noise: Tensor) -> Tensor:
        """An unbiased draw of a lower bound of log q(u | v); z by standard normal ``noise`` (*batch, latents, d)."""
        mean, log_sigma = self.encoder(u, v)
        z = mean + log_sigma.exp()[..., None] * noise
        prior = -0.5 * z.square().sum((-2, -1)) - 0.5 * z.shape[-1] * z.shape[-2] * log(2 * pi)
        return prior + self.decoder.log_prob(u, z, v) - normal_log_prob(z, mean, log_sigma)

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Slope (outputs, given) and covariance (outputs, outputs) of u given v along each axis.

        Raises:
            UnanswerableError: the decoder is not linear.
        """
        if self.decoder.net is not None:
            raise UnanswerableError("the law of u given v is Gaussian only where width=0; use weights of draws.")
        a, b = self.decoder.mix[:, : self.latents], self.decoder.mix[:, self.latents :]
        return b, a @ a.mT + torch.diag((2 * self.decoder.log_sigma).exp())

    @staticmethod
    def example() -> ConditionalVAE:
        """Two vectors given three."""
        with Rng(0).child("vae"):
            return ConditionalVAE(3, 2, 2, 8)


@dataclass(frozen=True)
class Bound:
    """-log q(u | v) at most, rows (u, v); for :func:`posteriori.learn.fit.fit`."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,)."""
        u, v = rows
        assert isinstance(net, ConditionalVAE)
        return -net.bound(u, v, torch.randn(*u.shape[:-2], net.latents, u.shape[-1], dtype=u.dtype))
