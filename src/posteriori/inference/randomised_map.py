"""Draws as modes of perturbed questions: other data, another centre of the prior, the same physics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.gauss_newton import gaussian_prior_of, most_likely
from posteriori.inference.problems import growth

CLOSE = 1e-2
"""What a slow member may still promise [nat] when its steps are spent: 0.14 of its standard deviations."""


@dataclass(frozen=True)
class RandomisedMap:
    """Each member is the mode for data d + e and a prior centred on a draw of itself; exact for linear operators.

    Needs Gaussian prior and noise, and products of J, Jᵀ and K alone.

    Args:
        members: independent draws.
        steps: most Gauss-Newton steps of each.
        inner: most products in each step.
        tolerance: a member is done where a whole step promises less [nat].
        at_once: members that move together; each costs one model in memory.

    Reference: Oliver, He & Reynolds (1996), Conditioning permeability fields to pressure data, ECMOR V; Bardsley,
    Solonen, Haario & Laine (2014), Randomize-then-optimize, SIAM J. Sci. Comput. 36, A1895.
    """

    members: int = 100
    steps: int = 100
    inner: int = 200
    tolerance: float = 1e-4
    at_once: int = 256

    bias: ClassVar[str] = (
        "Exact for linear operators; elsewhere members sit on modes, the weights that would undo the operator's bend "
        "are left out, and the tails and the mass between modes are misjudged."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Oliver, He & Reynolds (1996), Conditioning permeability fields to pressure data, ECMOR V.",
        "Bardsley, Solonen, Haario & Laine (2014), Randomize-then-optimize, SIAM J. Sci. Comput. 36, A1895.",
    )

    def __post_init__(self) -> None:
        if self.members < 2 or self.at_once < 1:
            raise OptionError(f"members {self.members} must be at least 2 and at_once {self.at_once} at least 1.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Independent rows of equal weight.

        Raises:
            UnanswerableError: prior or noise is not Gaussian, or a member finds no mode.
        """
        inverse, prior = gaussian_prior_of(target, "RandomisedMap")
        if not isinstance(inverse.noise, (Normal, CorrelatedNoise)):
            raise UnanswerableError(
                f"RandomisedMap perturbs Gaussian data, not those of {type(inverse.noise).__name__}; use HMC or Stein."
            )
        space, codomain = inverse.space, inverse.operator.codomain
        starts = range(0, self.members, self.at_once)
        rows: list[Tensor] = []
        with torch.no_grad():
            for start in context.progress(starts, "RandomisedMap", len(starts)):
                rng = context.rng.child("members", start)
                some = min(self.at_once, self.members - start)
                shape = torch.Size((some, *inverse.batch))
                away = prior.covariance.sample(shape.numel(), rng.child("prior")).reshape(*shape, space.size)
                centres = space.flat(prior.location) + away.to(prior.location)
                data = codomain.flat(inverse.data).expand(*shape, codomain.size)
                perturbed = inverse.given(codomain.unflat(inverse.noise.sample(data, rng.child("noise"))))
                mode = most_likely(perturbed, prior, centres, self.steps, self.inner, self.tolerance, CLOSE)
                rows.append(space.unflat(mode.x))
        return Draws(space, torch.cat(rows), problems=inverse.problems)

    @staticmethod
    def example() -> tuple[RandomisedMap, Inverse]:
        """A mildly nonlinear question of three cells."""
        return RandomisedMap(members=64), growth()
