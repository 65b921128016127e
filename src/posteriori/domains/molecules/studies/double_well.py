"""The tilted double well by a Boltzmann generator, held against quadrature and umbrella sampling."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.domains.molecules.toy import Toy, double_well
from posteriori.domains.molecules.toy_study import Asked, answered
from posteriori.domains.study import Outcome
from posteriori.inference.umbrella import Windows

USUAL = 1.0
CENTRES = tuple(-3.2 + 0.4 * i for i in range(17))
STIFFNESS = 15.0
"""Springs of the umbrella windows along x [kT]."""


@dataclass(frozen=True)
class Study:
    """A flow with a safety net learns the double well; every weight and average is held against quadrature.

    The right well holds less than a hundredth of the rows, so its free energy is the hard figure.
    """

    temperature: float = USUAL
    """Temperature [kT of the potential], 0.6 to 2."""
    draws: int = 524_288
    """Weighted rows, a multiple of 16."""
    steps: int = 500
    """Steps of training."""
    train: bool = True
    """Learn anew; no takes the weights that come with the package, for temperature 1."""
    plain: bool = False
    """Show beside it a flow that learns by short runs and reverse KL alone."""
    umbrella: bool = False
    """Hold the potential of mean force along x against umbrella sampling and MBAR too."""
    quick: bool = False
    """Take the weights that come with the package, an eighth of the rows."""

    def __call__(self, context: Context) -> Outcome:
        """Learn, draw, check."""
        train = self.train and not self.quick
        toy = double_well()
        windows = _windows(toy) if self.umbrella else None
        asked = Asked(toy, self.temperature, USUAL, self.draws, self.steps, train, self.plain, self.quick, windows)
        return answered(asked, context)


def _windows(toy: Toy) -> Windows:
    space = toy.potential.domain
    along = Selection(space, space.select("axis", ["x"]), torch.tensor([0]))
    return Windows(along, CENTRES, STIFFNESS)
