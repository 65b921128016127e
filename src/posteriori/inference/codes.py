"""Standard normal codes behind a prior: where rare events are looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from posteriori.core.covariance import DenseCovariance, DiagonalCovariance
from posteriori.core.errors import UnanswerableError
from posteriori.core.prior import Decoder, GaussianLaw, Prior
from posteriori.core.target import Conditioned, Target

AT_ONCE = 2**23
"""Numbers that pass through an operator at once."""


@dataclass(frozen=True)
class Codes:
    """A prior as the image of standard normal numbers.

    Attributes:
        size: how many numbers stand behind one row.
        values: (*batch, size) → (*batch, *space.shape).
    """

    size: int
    values: Callable[[Tensor], Tensor]

    def log_density(self, z: Tensor) -> Tensor:
        """Log density of codes (*batch, size), float64 (*batch,)."""
        return -0.5 * z.double().square().sum(-1) - 0.5 * self.size * log(2 * pi)


def codes_of(prior: Prior) -> Codes | None:
    """The codes of a Gaussian law or of a decoder; None of a prior that has none."""
    if isinstance(prior, GaussianLaw):
        return _gaussian(prior)
    if isinstance(prior, Decoder):
        latent = prior.latent
        return Codes(latent.size, lambda z: prior.decode(latent.unflat(z)))
    return None


def require_codes(target: Target, method: str) -> tuple[Conditioned, Codes]:
    """The rare event and the codes behind its prior.

    Raises:
        UnanswerableError: another target, or a prior without codes.
    """
    event = require_event(target, method)
    codes = codes_of(event.prior)
    if codes is None:
        raise UnanswerableError(
            f"{method} biases the standard normal codes behind a prior, and {type(event.prior).__name__} has none; "
            "give a Gaussian law or a prior with decode(z), or use SubsetSimulation or PlainSampling."
        )
    return event, codes


def require_event(target: Target, method: str) -> Conditioned:
    """The target itself where it is a rare event; else ``UnanswerableError``."""
    if not isinstance(target, Conditioned):
        raise UnanswerableError(
            f"{method} answers rare events, Conditioned(prior, operator > level), not {type(target).__name__}."
        )
    return target


def heights(event: Conditioned, x: Tensor) -> Tensor:
    """The height of rows (*batch, *space.shape), float64 (*batch,), in pieces that fit in memory.

    Raises:
        UnanswerableError: a height that is NaN.
    """
    space = event.space
    batch = x.shape[: x.ndim - len(space.shape)]
    rows = x.reshape(-1, *space.shape)
    with torch.no_grad():
        pieces = [event.height(part).double() for part in rows.split(max(1, AT_ONCE // max(1, space.size)))]
    found = torch.cat(pieces)
    if bool(found.isnan().any()):
        raise UnanswerableError(
            f"{int(found.isnan().sum())} of {len(found)} heights are NaN: the operator breaks down on "
            "rows of the prior."
        )
    return found.reshape(batch)


def _gaussian(law: GaussianLaw) -> Codes:
    space, covariance = law.space, law.covariance
    if isinstance(covariance, DiagonalCovariance):
        scale = covariance.diagonal().sqrt()
        return Codes(space.size, lambda z: law.location + space.unflat(z.to(scale) * scale))
    root = (covariance if isinstance(covariance, DenseCovariance) else DenseCovariance(covariance.dense())).root
    return Codes(space.size, lambda z: law.location + space.unflat(z.to(root) @ root.mT))
