"""Who forecasts rain best: persistence, rain carried along, STEPS and a learnt law, chosen on halves left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori.audit.rasters.spectra import Rings, radial_spectrum
from posteriori.audit.scores import crps_fair
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.domains.geography.rain_data import Rain
from posteriori.domains.geography.rain_law import Case, RainLaw, case_of, learnt, refined
from posteriori.domains.geography.rain_scores import RINGS, RainScores
from posteriori.domains.geography.steps import WET, Steps

Floats = NDArray[np.float64]
OURS, STEPS, CARRIED, KEPT = "forecast", "STEPS", "carried along", "persistence"
FACTORS = (0.7, 0.85, 1.0, 1.2, 1.4)
SHARES = (0.0, 0.5, 1.0)
"""Of the members, that come from the learnt law; the others are STEPS."""
LENGTHS, SLOPES = (2.0, 4.0, 8.0), (1.5, 2.0, 2.5, 3.0)
LEAST_WET = 0.01
"""Share of cells with rain at hand below which nothing is forecast or judged."""
TRIALS = 6
"""Cases of each half that members are tried on."""


@dataclass(frozen=True, eq=False)
class Contest:
    """A law learnt on the past and how it was chosen.

    Attributes:
        rain: all frames.
        ahead: frames.
        law: the learnt one.
        share: of its members among ours.
        steps: the ensemble to beat, which the other members come from.
        left_out: CRPS [mm] on the halves left out, by what was tried.
    """

    rain: Rain
    ahead: int
    law: RainLaw
    share: float
    steps: Steps
    left_out: dict[str, float]

    @staticmethod
    def learnt(rain: Rain, last: int, ahead: int, members: int, rng: Rng) -> Contest:
        """Choose on halves of the frames up to ``last`` that are left out in turn, then learn from all of them.

        Raises:
            DataError: fewer than eight wet cases, or none in one of the halves.
        """
        starts = wet_starts(rain, range(2, last + 1 - ahead))
        middle = (starts[0] + starts[-1]) // 2 if starts else 0
        halves = [[s for s in starts if s + ahead <= middle], [s for s in starts if s - 2 > middle]]
        if len(starts) < 8 or not all(halves):
            raise DataError(
                f"{len(starts)} frame(s) up to {last} have rain to learn from; eight are needed, spread out."
            )
        cases = {start: case_of(past(rain, start), ahead) for start in starts}
        plain = Steps(members, cell=rain.cell, minutes=rain.minutes)
        trial = [half[:: -(-len(half) // TRIALS)] for half in halves]
        truths = {start: rain.fields[start + ahead] for start in starts}

        def score(forecasts: dict[int, Floats]) -> float:
            return float(np.mean([_crps(found, truths[s], cases[s].defined) for s, found in forecasts.items()]))

        tried = [s for half in trial for s in half]
        theirs = {s: plain(past(rain, s), ahead, rng.child("trial", s)) for s in tried}
        laws = [
            learnt([cases[s] for s in other], [truths[s] for s in other], rng.child("half", at))
            for at, other in enumerate(halves[::-1])
        ]
        pairs = [(s, law) for half, law in zip(trial, laws, strict=True) for s in half]

        def drawn(factor: float, length: float = 4.0, slope: float = 2.5) -> dict[int, Floats]:
            return {
                s: refined(law, factor, length, slope).members(cases[s], members, rng.child("law", s))
                for s, law in pairs
            }

        factors = {factor: score(drawn(factor)) for factor in FACTORS}
        factor = min(factors, key=lambda key: factors[key])
        textures = {
            (length, slope): _roughness(drawn(factor, length, slope), truths, cases)
            for length in LENGTHS
            for slope in SLOPES
        }
        length, slope = min(textures, key=lambda key: textures[key])
        own = drawn(factor, length, slope)
        shares = {share: score({s: _mixed(own[s], theirs[s], share) for s in tried}) for share in SHARES}
        share = min(shares, key=lambda key: shares[key])
        law = refined(learnt(list(cases.values()), list(truths.values()), rng.child("law")), factor, length, slope)
        told = {f"learnt law, spread {key:g}": value for key, value in factors.items()}
        told |= {f"{100 * key:g} % of the learnt law": value for key, value in shares.items()}
        return Contest(rain, ahead, law, share, plain, told)

    def posterior(self, start: int, rng: Rng) -> Draws:
        """Our members [mm] for ``ahead`` frames after ``start``; cells whose rain comes from outside are masked."""
        case = case_of(past(self.rain, start), self.ahead)
        space = replace(self.rain.grid.space("rain", "mm"), mask=torch.from_numpy(case.defined))
        return Draws(space, torch.from_numpy(self._members(case, start, rng)))

    def _members(self, case: Case, start: int, rng: Rng) -> Floats:
        """(member, y, x) [mm]."""
        own = self.law.members(case, self.steps.members, rng.child("law"))
        return _mixed(own, self.steps(past(self.rain, start), self.ahead, rng.child("steps")), self.share)

    def judged(
        self,
        starts: Sequence[int],
        levels: Sequence[float],
        block: int,
        rng: Rng,
        exact: Callable[[int], Floats] | None,
    ) -> RainScores:
        """All forecasts from ``starts`` and of exceeding ``levels`` [mm]; blocks are ``block`` frames long."""
        found: dict[str, list[Floats]] = {OURS: [], STEPS: [], CARRIED: [], KEPT: []}
        masks = []
        for start in starts:
            case = case_of(past(self.rain, start), self.ahead)
            found[OURS].append(self._members(case, start, rng.child("ours", start)))
            found[STEPS].append(self.steps(past(self.rain, start), self.ahead, rng.child("steps", start)))
            found[CARRIED].append(case.kept[None])
            found[KEPT].append(self.rain.fields[start][None])
            if exact is not None:
                found.setdefault("exact law", []).append(exact(start))
            masks.append(case.defined & self.rain.known[start + self.ahead])
        space, cases = self.rain.grid.space("rain", "mm"), {"case": list(starts)}
        posteriors = {
            name: Draws(space, torch.from_numpy(np.stack(fields, 1)), problems=cases) for name, fields in found.items()
        }
        truth = torch.from_numpy(self.rain.fields[np.array(starts) + self.ahead])
        blocks = torch.tensor([(start - starts[0]) // block for start in starts])
        mask = torch.from_numpy(np.stack(masks))
        return RainScores(posteriors, truth, mask, tuple(levels), blocks, rng.child("scores"))


def past(rain: Rain, start: int) -> list[Floats]:
    """The three frames up to ``start``."""
    return list(rain.fields[start - 2 : start + 1])


def wet_starts(rain: Rain, starts: range) -> list[int]:
    """Those with rain at hand in one cell of a hundred."""
    return [at for at in starts if (rain.fields[at] >= WET).mean() >= LEAST_WET]


def _mixed(own: Floats, others: Floats, share: float) -> Floats:
    """As many members as each, a share of them from the first."""
    count = round(share * len(own))
    return np.concatenate([own[:count], others[: len(own) - count]])


def _crps(members: Floats, truth: Floats, mask: NDArray[np.bool_]) -> float:
    """Fair, mean over cells [mm]."""
    return float(crps_fair(torch.from_numpy(members[:, mask]), torch.from_numpy(truth[mask])).mean())


def _roughness(forecasts: dict[int, Floats], truths: dict[int, Floats], cases: dict[int, Case]) -> float:
    """Mean over rings of |log of the members' power over the truths'|."""
    powers = []
    for start, members in forecasts.items():
        fields = torch.from_numpy(np.where(cases[start].defined, np.concatenate([truths[start][None], members]), 0.0))
        powers.append(radial_spectrum(fields, Rings.of((members.shape[1], members.shape[2]), RINGS)))
    power = torch.stack(powers).mean(0)
    return float((power[1:].mean(0) / power[0]).log().abs().mean())
