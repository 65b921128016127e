"""The Gaussian law from which a generator of fields with places starts, and the noise level at which diffusion takes
over: both chosen by training blocks that are held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from posteriori.core.random import Rng

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Of white noise in the law, to choose from."""
LEVELS = torch.logspace(-1.5, 1.2, 19, base=10.0, dtype=torch.float64)
"""Noise levels at which net and law are compared: 0.03 to 16 in units of the fields' size."""

NAMES = ("base.slope", "base.patterns", "base.variances", "base.numbers")


@dataclass(frozen=True, eq=False)
class Base:
    """u ~ N(told · slope, (1 - white) C + white · 1): sample covariance C, drawn towards white noise.

    In the frame of the generator white noise is the Gaussian law of the training spectrum, so that the share ``white``
    forgets the places, and with them what the sample covariance of few fields only seems to know.

    Attributes:
        slope: (1 + v, cell), of a one and the vector of the fields.
        patterns, variances: (rank, cell) and (rank,), of C.
        white: share of white noise.
        start: noise level of the hand-over; 0 where diffusion has nothing to add.
    """

    slope: Tensor
    patterns: Tensor
    variances: Tensor
    white: float
    start: float

    @staticmethod
    def of(fields: Tensor, vector: Tensor | None, white: float, start: float) -> Base:
        """From u (n, cell), float64, and what is told of each field, (n, v)."""
        told = _told(vector, len(fields))
        slope = torch.linalg.lstsq(told, fields).solution
        _, size, patterns = torch.linalg.svd(fields - told @ slope, full_matrices=False)
        return Base(slope.contiguous(), patterns.contiguous(), size.square() / len(fields), white, start)

    def tensors(self) -> dict[str, Tensor]:
        """To save."""
        numbers = torch.tensor([self.white, self.start], dtype=torch.float64)
        parts = (self.slope, self.patterns, self.variances, numbers)
        return dict(zip(NAMES, parts, strict=True))

    @staticmethod
    def taken(tensors: dict[str, Tensor]) -> Base:
        """Out of ``tensors``, which lose them.

        Raises:
            KeyError: one is missing.
        """
        slope, patterns, variances, numbers = (tensors.pop(name) for name in NAMES)
        white, start = numbers.tolist()
        return Base(slope, patterns, variances, white, start)

    def draw(self, n: int, vector: Tensor | None, rng: Rng) -> Tensor:
        """``n`` draws (n, cell)."""
        drawn = (rng.child("patterns").normal((n, len(self.variances))) * self.variances.sqrt()) @ self.patterns
        noise = rng.child("white").normal((n, self.patterns.shape[1]))
        return _told(vector, n) @ self.slope + (1 - self.white) ** 0.5 * drawn + self.white**0.5 * noise

    def denoised(self, x: Tensor, sigma: float, vector: Tensor | None) -> Tensor:
        """E[u | u + σ·noise = x], (n, cell)."""
        mean = _told(vector, len(x)) @ self.slope
        total = (1 - self.white) * self.variances + self.white
        inside, outside = total / (total + sigma**2), self.white / (self.white + sigma**2)
        apart = x - mean
        return mean + outside * apart + ((apart @ self.patterns.mT) * (inside - outside)) @ self.patterns

    def surprise(self, fields: Tensor, vector: Tensor | None) -> float:
        """-ln p of a cell of u (n, cell), less ln √2π."""
        apart = fields - _told(vector, len(fields)) @ self.slope
        within = (apart @ self.patterns.mT).square()
        total = (1 - self.white) * self.variances + self.white
        rest = (apart.square().sum(1) - within.sum(1)) / self.white
        size = total.log().sum() + (fields.shape[1] - len(total)) * log(self.white)
        return float(((within / total).sum(1) + rest + size).mean() / (2 * fields.shape[1]))


def chosen_base(
    fields: Tensor,
    back: Tensor,
    vector: Tensor | None,
    denoise: Callable[[Tensor, Tensor], Tensor],
    rng: Rng,
) -> Base:
    """The law of u (n, cell), with the share of white noise and the start by which held-back fields are likeliest.

    The share is the one of the least surprise. Down from the start the net denoises instead of the law: the start is
    where the bound on ln p(u), the integral of the squared error of denoising over σ⁻² d ln σ, is best.

    Args:
        fields: u of all training fields.
        back: (n,), True for those from which the net has not learnt.
        vector: what is told of each, (n, v), or None.
        denoise: the net, of x (m, cell) of those held back and a level.
    """
    told = (None, None) if vector is None else (vector[~back], vector[back])
    laws = [Base.of(fields[~back], told[0], white, 0.0) for white in SHARES]
    law = min(laws, key=lambda trial: trial.surprise(fields[back], told[1]))
    gain = []
    for k, sigma in enumerate(LEVELS):
        x = fields[back] + sigma * rng.child(k).normal(fields[back].shape)
        theirs, ours = law.denoised(x, float(sigma), told[1]), denoise(x, sigma)
        gain.append(((theirs - fields[back]).square().mean() - (ours - fields[back]).square().mean()) / sigma**2)
    total = torch.stack(gain).cumsum(0)
    start = float(LEVELS[int(total.argmax())]) if float(total.max()) > 0 else 0.0
    return Base.of(fields, vector, law.white, start)


def steps_from(start: float, low: float, most: int) -> int:
    """Steps of a solver from ``start``: as dense as ``most`` of them over three powers of ten above ``low``."""
    return max(4, round(most * log(start / low) / log(1000))) if start > low else 0


def _told(vector: Tensor | None, n: int) -> Tensor:
    one = torch.ones(n, 1, dtype=torch.float64)
    return one if vector is None else torch.cat([one, vector.double()], 1)
