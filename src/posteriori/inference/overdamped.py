"""Overdamped Langevin motion between two sets: where trajectories end, and how often they react."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.target import Boltzmann
from posteriori.inference.regions import Region


@dataclass(frozen=True)
class Overdamped:
    """dx = -D β ∇U dt + √(2 D dt) ξ with D = 1 in the unit of the configuration, by Euler-Maruyama steps.

    A set is also entered between two steps, with the probability exp(-gap gap' / dt) that a Brownian bridge has, so
    that the error of a step is of first order in it.

    Args:
        target: exp(-β U).
        a, b: the two sets.
        step: dt.

    Raises:
        OptionError: a step that is not positive.

    Reference: Gobet (2000), Weak approximation of killed diffusion using Euler schemes, Stochastic Processes and their
    Applications 87, 167.
    """

    target: Boltzmann
    a: Region
    b: Region
    step: float

    def __post_init__(self) -> None:
        if not 0 < self.step < float("inf"):
            raise OptionError(f"step={self.step:g} must be positive.")

    def shoot(self, starts: Tensor, rng: Rng, most: int = 200_000) -> Tensor:
        """Which set a trajectory from each start (n, d) reaches first: 1 for B, 0 for A, (n,).

        Raises:
            UnanswerableError: trajectories that reach neither in ``most`` steps, or run away.
        """
        x, number = starts.double().clone(), torch.arange(len(starts))
        ended = torch.zeros(len(starts), dtype=torch.float64)
        gaps = self._gaps(x)
        for _ in range(most):
            x, gaps, hit_a, hit_b = self._moved(x, gaps, rng)
            ended[number[hit_b]] = 1.0
            going = ~(hit_a | hit_b)
            x, number, gaps = x[going], number[going], (gaps[0][going], gaps[1][going])
            if not len(x):
                return ended
        raise UnanswerableError(
            f"{len(x)} of {len(starts)} trajectories reach neither set in {most:,} steps; start nearer, or take a "
            "longer step."
        )

    def reactions(self, starts: Tensor, steps: int, rng: Rng) -> tuple[float, float]:
        """Flux of A → B from equilibrium ``starts`` (n, d), and its standard error; a tenth of ``steps`` waits.

        Raises:
            UnanswerableError: no trajectory reacts.
        """
        x = starts.double().clone()
        gaps = self._gaps(x)
        last_a = gaps[0] <= 0
        known = last_a | (gaps[1] <= 0)
        counts = torch.zeros(len(x), dtype=torch.float64)
        wait = steps // 10
        for i in range(steps):
            x, gaps, hit_a, hit_b = self._moved(x, gaps, rng)
            if i >= wait:
                counts += (hit_b & known & last_a).double()
            last_a = (last_a | hit_a) & ~hit_b
            known = known | hit_a | hit_b
        if not bool(counts.any()):
            raise UnanswerableError(f"none of {len(x)} trajectories reacted in {steps:,} steps; take more steps.")
        time = self.step * (steps - wait)
        return float(counts.mean()) / time, float(counts.std()) / sqrt(len(counts)) / time

    def _moved(
        self, x: Tensor, gaps: tuple[Tensor, Tensor], rng: Rng
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor, Tensor]:
        """The next positions, their gaps, and who entered A or B on the way."""
        potential = self.target.potential
        ones = torch.ones(*x.shape[:1], *potential.codomain.shape, dtype=x.dtype)
        drift = self.target.beta * potential.vjp(x, ones)
        moved = x - self.step * drift + sqrt(2 * self.step) * rng.normal(x.shape)
        after = self._gaps(moved)
        if not bool(torch.isfinite(after[0]).all()):
            raise UnanswerableError(f"a trajectory ran away within a step of {self.step:g}; take a shorter step.")
        chance = rng.uniform((2, len(x)))
        entered = [
            (new <= 0) | ((old > 0) & (u < torch.exp(-(old.clamp_min(0.0) * new.clamp_min(0.0)) / self.step)))
            for old, new, u in zip(gaps, after, chance, strict=True)
        ]
        return moved, after, entered[0], entered[1] & ~entered[0]

    def _gaps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a.gap(x), self.b.gap(x)
