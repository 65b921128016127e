"""Several densities drawn in fixed shares and weighed as one: a mixture without the noise of its lots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.inference.importance import Proposal


@runtime_checkable
class Points(Proposal, Protocol):
    """A density whose draws are functions of uniform numbers."""

    @property
    def numbers(self) -> int:
        """Uniform numbers that one draw uses."""

    def points(self, u: Tensor) -> Tensor:
        """Rows (n, *space.shape) of uniform numbers (n, numbers)."""


@runtime_checkable
class Law(Points, Protocol):
    """A density that learns, and knows a wider form of itself."""

    def wider(self, factor: float) -> Points:
        """A law with more of its mass further out."""

    def fitted(self, x: Tensor, weights: Tensor, rng: Rng) -> Law:
        """A copy of higher likelihood for rows (n, *space.shape) with weights (n,)."""


class Stratified(nn.Module):
    """q = Σ share_k q_k, each q_k drawn its share of times, rounded at random: averages of p/q stay unbiased.

    Args:
        parts: densities with their shares, which sum to one.

    Raises:
        OptionError: no parts, or shares that are not positive or do not sum to one.

    Reference: Owen & Zhou (2000), Safe and effective importance sampling, J. Am. Stat. Assoc. 95, 135.
    """

    references = ("Owen & Zhou (2000), Safe and effective importance sampling, J. Am. Stat. Assoc. 95, 135.",)

    def __init__(self, parts: Sequence[tuple[Proposal, float]]) -> None:
        super().__init__()
        self.laws, self.shares = [law for law, _ in parts], [share for _, share in parts]
        if not parts or min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise OptionError(f"shares {self.shares} are positive and sum to one.")
        self.space = self.laws[0].space

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws in random order, (n, *space.shape)."""
        rng = rng.fresh()
        return self.draw(n, rng)[0][rng.permutation(n)]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of the mixture, float64 (*batch,)."""
        shares = torch.tensor(self.shares, dtype=torch.float64).log()
        found = torch.stack([law.log_prob(x).double() for law in self.laws], -1)
        return torch.logsumexp(torch.where(found.isnan(), -torch.inf, found) + shares, -1)

    def draw(self, n: int, rng: Rng, quasi: bool = False) -> tuple[Tensor, Tensor]:
        """``n`` draws, part after part, and the mixture's log-density there.

        Args:
            quasi: one scrambled Sobol sequence for each part that is a function of uniform numbers.
        """
        rows = []
        with torch.no_grad():
            for i, (law, count) in enumerate(zip(self.laws, self._counts(n, rng.child("counts")), strict=True)):
                stream = rng.child("part", i)
                if count and isinstance(law, Points):
                    rows.append(law.points(_uniform(count, law.numbers, stream, quasi)))
                elif count:
                    rows.append(law.sample(count, stream))
            x = torch.cat(rows)
            return x, self.log_prob(x)

    def _counts(self, n: int, rng: Rng) -> list[int]:
        """Whole numbers that sum to n, each n · share on average and less than one away from it."""
        edges = n * torch.tensor([0.0, *self.shares], dtype=torch.float64).cumsum(0)
        edges[-1] = n
        below = torch.floor(edges + float(rng.uniform(())) * (1 - 1e-12))
        below[0], below[-1] = 0, n
        return [int(count) for count in below.diff()]


def wide_gaussian(space: Space, scale: float) -> Gaussian:
    """N(0, scale² I) over the cells of a Space: how far a target may reach, said in one number.

    Raises:
        OptionError: a scale that is not positive.
    """
    if not 0 < scale < float("inf"):
        raise OptionError(f"scale={scale:g} must be positive.")
    variance = torch.full((space.size,), scale**2, dtype=torch.float64)
    return Gaussian(space, torch.zeros(space.shape, dtype=torch.float64), DiagonalCovariance(variance))


def _uniform(n: int, numbers: int, rng: Rng, quasi: bool) -> Tensor:
    if not quasi:
        return rng.uniform((n, numbers))
    engine = torch.quasirandom.SobolEngine(numbers, scramble=True, seed=rng.entropy % 2**31)
    return engine.draw(n, dtype=torch.float64)
