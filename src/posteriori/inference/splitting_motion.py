"""Moves that keep a prior: by its standard normal codes, or a random walk in its energy."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.prior import Density, Energy, Prior, Samples
from posteriori.core.random import Rng
from posteriori.core.support import Real
from posteriori.core.target import prior_energy
from posteriori.inference.codes import Codes, codes_of


class Motion(Protocol):
    """Walkers of a prior, state (island, walker, n).

    Attributes:
        longest: step at most.
    """

    longest: float

    def start(self, islands: int, walkers: int, rng: Rng) -> Tensor:
        """Independent draws of the prior."""

    def values(self, state: Tensor) -> Tensor:
        """Rows (island, walker, *space.shape) of a state."""

    def propose(self, state: Tensor, step: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """A candidate with ``step`` (island,), and the log of its chance (island, walker) to be taken."""


class CodeMotion:
    """The preconditioned Crank-Nicolson move z ↦ √(1 - step²) z + step ξ, which keeps the codes of any dimension.

    Reference: Papaioannou, Betz, Zwirglmaier & Straub (2015), MCMC algorithms for subset simulation, Probabilistic
    Engineering Mechanics 41, 89.
    """

    longest = 1.0

    def __init__(self, codes: Codes) -> None:
        self.codes = codes

    def start(self, islands: int, walkers: int, rng: Rng) -> Tensor:
        """Standard normal numbers."""
        return rng.normal((islands, walkers, self.codes.size))

    def values(self, state: Tensor) -> Tensor:
        """The rows behind the codes."""
        with torch.no_grad():
            return self.codes.values(state)

    def propose(self, state: Tensor, step: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """Always taken, as far as the prior is concerned."""
        s = step[:, None, None]
        moved = (1 - s.square()).sqrt() * state + s * rng.normal(state.shape)
        return moved, torch.zeros(state.shape[:-1], dtype=torch.float64)


class WalkMotion:
    """A random walk with the spread that the walkers of each island have, for a prior of samples and an energy."""

    longest = 100.0

    def __init__(self, prior: Samples) -> None:
        self.prior = prior

    def start(self, islands: int, walkers: int, rng: Rng) -> Tensor:
        """Draws of the prior."""
        x = self.prior.space.flat(self.prior.sample(islands * walkers, rng)).double()
        return x.reshape(islands, walkers, -1)

    def values(self, state: Tensor) -> Tensor:
        """The state itself."""
        return self.prior.space.unflat(state)

    def propose(self, state: Tensor, step: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """Taken as the energy says."""
        spread = state.std(1, keepdim=True)
        moved = state + step[:, None, None] * spread * rng.normal(state.shape)
        with torch.no_grad():
            before, after = prior_energy(self.prior, self.values(torch.stack([state, moved])))
        return moved, torch.where(after.isnan(), -torch.inf, before - after)


def motion_of(prior: Prior) -> Motion:
    """The moves that ``prior`` allows.

    Raises:
        UnanswerableError: a prior of samples alone, or one with borders.
    """
    codes = codes_of(prior)
    if codes is not None:
        return CodeMotion(codes)
    if not isinstance(prior, Samples) or not isinstance(prior, (Energy, Density)):
        raise UnanswerableError(
            f"{type(prior).__name__} cannot be moved in: splitting needs a Gaussian law, a prior with decode(z), or "
            "one with sample and an energy or density; PlainSampling takes samples alone."
        )
    if not isinstance(prior.space.support, Real):
        raise UnanswerableError(f"{prior.space} has borders; give the prior a decode(z) from standard normal codes.")
    return WalkMotion(prior)
