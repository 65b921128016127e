"""Train the Boltzmann generators of toys whose weights come with the package, with a seed that no figure uses."""

from __future__ import annotations

import sys

from posteriori.domains.molecules.studies import double_well, mueller_brown
from posteriori.domains.molecules.toy import Toy
from posteriori.domains.molecules.toy import double_well as well
from posteriori.domains.molecules.toy import mueller_brown as surface
from posteriori.domains.molecules.toy_study import Asked
from posteriori.domains.molecules.toy_weights import saved, shipped

SEED = 100


def build(toy: Toy, usual: float, steps: int) -> None:
    """Train one and write its weights."""
    asked = Asked(toy, usual, usual, 1024, steps, train=True, plain=False, quick=False)
    fitted = asked.generator.fit(toy.target(usual), SEED)
    saved(fitted, shipped(toy))
    assert fitted.run is not None
    sys.stdout.write(f"{toy.name}: {fitted.run.cpu_seconds:.1f} CPU s\n")


if __name__ == "__main__":
    build(well(), double_well.USUAL, double_well.Study.steps)
    build(surface(), mueller_brown.USUAL, mueller_brown.Study.steps)
