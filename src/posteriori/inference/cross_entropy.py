"""Cross-entropy importance sampling: a proposal fitted to a pilot in the rare event, with exact weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import RAW_WEIGHT, Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Conditioned, Target
from posteriori.core.weights import log_mean_exp
from posteriori.inference.code_mixture import CodeMixture
from posteriori.inference.codes import Codes, heights, require_codes
from posteriori.inference.event_probability import CALLS, shared_out
from posteriori.inference.splitting_motion import CodeMotion
from posteriori.inference.subset_simulation import SubsetSimulation, tail

SWEEPS = 30
"""Steps of expectation-maximisation."""
FEW, INFLATION = 20, 3.0
"""Up to so many codes the safety net also holds the prior inflated so much."""


@dataclass(frozen=True)
class CrossEntropy:
    """Rows of a mixture over the prior's codes, fitted to a pilot in the event, with exact weights; unbiased.

    The pilot's rows follow the ideal proposal; expectation-maximisation finds the mixture nearest to it in
    cross-entropy. Every component has a centre, and a variance of its own along the line to it. The final rows are
    drawn anew: a share ``defensive`` comes from the prior itself and, where codes are few, as many from the prior three
    times inflated, so that no weight exceeds 1 / ``defensive``. All rows are kept, those outside with weight zero.
    ``posterior.pareto_k()`` judges the weights; an event with parts that the pilot has not found is the business of
    :func:`posteriori.inference.missed_mode.missed_mode`. ``stats``: height, raw_log_weight, calls.

    Args:
        draws: final rows.
        pilot: climbs to the event.
        components: of the mixture.
        defensive: share of the final rows from the prior, in [0, 0.5).

    Reference: Chan & Kroese (2012), Improved cross-entropy method for estimation, Statistics and Computing 22, 1031;
    Geyer, Papaioannou & Straub (2019), Cross entropy-based importance sampling using Gaussian densities revisited,
    Structural Safety 76, 15.
    """

    draws: int = 4000
    pilot: SubsetSimulation = SubsetSimulation(walkers=500, islands=4)  # noqa: RUF009
    components: int = 1
    defensive: float = 0.05

    references: ClassVar[tuple[str, ...]] = (
        "Chan & Kroese (2012), Improved cross-entropy method for estimation, Statistics and Computing 22, 1031.",
        "Geyer, Papaioannou & Straub (2019), Cross entropy-based importance sampling using Gaussian densities "
        "revisited, Structural Safety 76, 15.",
    )

    def __post_init__(self) -> None:
        if self.draws < 10 or self.components < 1 or not 0 <= self.defensive < 0.5:
            raise OptionError(f"{self}: draws from 10, components from 1, defensive in [0, 0.5).")

    def __call__(self, target: Target, context: Context) -> Draws:
        """All final rows with their weights, and log P.

        Raises:
            UnanswerableError: no rare event, a prior without codes, or a level that the pilot does not reach.
        """
        event, codes = require_codes(target, "CrossEntropy")
        climbed, calls = self.pilot.climbed(event, CodeMotion(codes), context.child("pilot"))
        z = climbed.flatten(0, 1)
        law = _seeded(z, self.components, context.rng.child("seeds"))
        even = torch.full((len(z),), 1 / len(z), dtype=torch.float64)
        for _ in range(SWEEPS if self.components > 1 else 1):
            law = law.fitted(z, even)
        for net in self._nets(codes.size):
            law = law.beside(net, self.defensive)
        return weighted_rows(event, codes, law, self.draws, calls, context.rng.child("final"))

    def _nets(self, size: int) -> list[CodeMixture]:
        if not self.defensive:
            return []
        wide = [CodeMixture.inflated(size, torch.tensor([INFLATION]))] if size <= FEW else []
        return [*wide, CodeMixture.standard(size)]

    @staticmethod
    def example() -> tuple[CrossEntropy, Conditioned]:
        """A sum of correlated normal numbers beyond 4.3 of its standard deviations, p = 8.5e-6."""
        return CrossEntropy(3000, SubsetSimulation(200, 4, rest=5)), tail(4, 4.3)


def weighted_rows(event: Conditioned, codes: Codes, proposal: CodeMixture, draws: int, calls: int, rng: Rng) -> Draws:
    """``draws`` rows of a proposal over codes with their exact log-weights; ``calls`` were spent before.

    Raises:
        UnanswerableError: no row lies in the event.
    """
    z = proposal.sample(draws, rng)
    with torch.no_grad():
        x = codes.values(z)
    height = heights(event, x)
    raw = torch.where(height > event.level, codes.log_density(z) - proposal.log_density(z), -torch.inf)
    if bool((raw == -torch.inf).all()):
        raise UnanswerableError(f"none of {draws:,} rows of the proposal lies in the event; use SubsetSimulation.")
    evidence, error = log_mean_exp(raw)
    stats = {"height": height, RAW_WEIGHT: raw, CALLS: shared_out(calls + draws, draws)}
    found = Draws(event.space, x, raw, log_evidence=evidence, stats=stats)
    found.log_evidence_error = error
    return found


def _seeded(z: Tensor, components: int, rng: Rng) -> CodeMixture:
    """Components at rows (rows, n) that lie far from each other in direction."""
    u = torch.nn.functional.normalize(z, dim=1)
    chosen = [int(rng.integers(len(z), ()))]
    while len(chosen) < components:
        chosen.append(int((u @ u[chosen].mT).amax(1).argmin()))
    ones = torch.ones(components, dtype=torch.float64)
    return CodeMixture(ones / components, z[chosen].clone(), ones, ones)
