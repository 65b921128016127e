"""Three laws whose log Z is known: what a method may be told of them, and what it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann
from posteriori.physics.funnel import Funnel
from posteriori.physics.gaussian_mixture import GaussianMixture
from posteriori.physics.many_well import ManyWell

BARRIER = 0.0
"""Where the wells of ManyWell are told apart."""
TENTHS = 10


@dataclass(frozen=True)
class Question:
    """One law: the first three entries are all that a sampler is told, the others are the truth.

    Attributes:
        name: of the law.
        target: U and its gradient.
        scale: standard deviation of the wide Gaussian at zero from which samplers start.
        log_z: exact.
        exact: independent rows (n, d) of the law itself.
        places: to which regions rows belong, (n, d) → (n, regions) in [0, 1].
        populations: exact probabilities of the regions, (regions,).
        region: what a region is.
        shown: the two cells that are drawn.
    """

    name: str
    target: Boltzmann
    scale: float
    log_z: float
    exact: Callable[[int, Rng], Tensor]
    places: Callable[[Tensor], Tensor]
    populations: Tensor
    region: str
    shown: tuple[int, int]

    @property
    def space(self) -> Space:
        """Of the rows."""
        return self.target.space

    def plane(self, x: Tensor, y: Tensor) -> Tensor:
        """U of points whose shown cells are ``x``, ``y`` (any shape) and whose others are zero."""
        rows = torch.zeros(*x.shape, self.space.size, dtype=torch.float64)
        rows[..., self.shown[0]], rows[..., self.shown[1]] = x, y
        with torch.no_grad():
            return self.target.energy(rows)


def gmm40(scale: float) -> Question:
    """Forty Gaussians in the plane, log Z = 0."""
    law = GaussianMixture.forty()

    def exact(n: int, rng: Rng) -> Tensor:
        return law.means[rng.integers(len(law.means), (n,))] + law.scale * rng.normal((n, 2))

    def places(x: Tensor) -> Tensor:
        return torch.softmax(-0.5 * ((x[:, None] - law.means) / law.scale).square().sum(-1), 1)

    shares = law.log_weights.exp()
    return Question("gmm40", Boltzmann(law, 1.0), scale, 0.0, exact, places, shares, "mode", (0, 1))


def manywell(scale: float) -> Question:
    """Sixteen double wells beside sixteen Gaussian cells, 65,536 modes."""
    law = ManyWell()
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    density = torch.exp(-(grid**4 - 6 * grid.square() - grid / 2))
    edges = density.cumsum(0) / density.sum()

    def exact(n: int, rng: Rng) -> Tensor:
        rows = rng.normal((n, 32))
        at = torch.searchsorted(edges, rng.uniform((n, 16)).contiguous()).clamp_max(len(grid) - 1)
        rows[:, ::2] = grid[at] + (grid[1] - grid[0]) * (rng.uniform((n, 16)) - 0.5)
        return rows

    def places(x: Tensor) -> Tensor:
        return (x[:, ::2] > BARRIER).double()

    right = (density[grid > BARRIER].sum() + 0.5 * density[len(grid) // 2]) / density.sum()
    return Question(
        "manywell", Boltzmann(law, 1.0), scale, law.log_z, exact, places, right.expand(16), "right well", (0, 2)
    )


def funnel(scale: float) -> Question:
    """Neal's funnel in ten dimensions, log Z = 0; its regions are the tenths of x₀."""
    law = Funnel()
    levels = 3 * torch.special.ndtri(torch.arange(1, TENTHS, dtype=torch.float64) / TENTHS)

    def exact(n: int, rng: Rng) -> Tensor:
        rows = rng.normal((n, 10))
        rows[:, 0] *= 3
        rows[:, 1:] *= (rows[:, :1] / 2).exp()
        return rows

    def places(x: Tensor) -> Tensor:
        which = torch.searchsorted(levels, x[:, 0].contiguous())
        return torch.nn.functional.one_hot(which, TENTHS).double()

    tenth = torch.full((TENTHS,), 1 / TENTHS, dtype=torch.float64)
    return Question("funnel", Boltzmann(law, 1.0), scale, 0.0, exact, places, tenth, "tenth of x₀", (0, 1))


QUESTIONS = {"gmm40": gmm40, "manywell": manywell, "funnel": funnel}
SCALES = {"gmm40": 30.0, "manywell": 3.0, "funnel": 10.0}
"""Standard deviation of the wide start, where the user states none."""


def worst_mode(right: Tensor, exact: Tensor) -> float:
    """Largest relative error over all 2^k modes whose populations are products of those of k wells, in absolute value.

    Args:
        right: estimated populations of the right wells, (k,).
        exact: true ones, (k,).
    """
    ratios = torch.stack([(right / exact).log(), ((1 - right) / (1 - exact)).log()])
    high, low = ratios.amax(0).sum(), ratios.amin(0).sum()
    return float(torch.maximum(high.exp() - 1, 1 - low.exp()))
