"""The Müller-Brown surface by a Boltzmann generator, held against quadrature."""

from __future__ import annotations

from dataclasses import dataclass

from posteriori.core.run import Context
from posteriori.domains.molecules.toy import mueller_brown
from posteriori.domains.molecules.toy_study import Asked, answered
from posteriori.domains.study import Outcome

USUAL = 15.0


@dataclass(frozen=True)
class Study:
    """A flow with a safety net learns the Müller-Brown surface; every weight and average is held against quadrature.

    Reverse ESS is what the rows themselves tell; forward ESS, 1/∫p²/q, also counts corners of which no row tells.
    """

    temperature: float = USUAL
    """Temperature in the unit of the surface, 10 to 20."""
    draws: int = 131_072
    """Weighted rows, a multiple of 16."""
    steps: int = 900
    """Steps of training."""
    train: bool = True
    """Learn anew; no takes the weights that come with the package, for temperature 15."""
    plain: bool = False
    """Show beside it a flow that learns by short runs and reverse KL alone."""
    quick: bool = False
    """Take the weights that come with the package, an eighth of the rows."""

    def __call__(self, context: Context) -> Outcome:
        """Learn, draw, check."""
        train = self.train and not self.quick
        asked = Asked(mueller_brown(), self.temperature, USUAL, self.draws, self.steps, train, self.plain, self.quick)
        return answered(asked, context)
