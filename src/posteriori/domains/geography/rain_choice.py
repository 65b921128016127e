"""What our forecast of rain is made of, chosen on stretches of the past that are left out, both ways in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori.core.draws import Draws
from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.domains.geography.rain_data import Rain
from posteriori.domains.geography.rain_law import Case, RainLaw, Trial, case_of, learnt
from posteriori.domains.geography.rain_scores import RainScores
from posteriori.domains.geography.steps import WET, Steps, level_centres

Floats = NDArray[np.float64]
SHARES = (0.0, 0.25, 0.5)
"""Of the members, that come from the learnt law; the others are STEPS."""
LENGTHS, SLOPES = (2.0, 4.0, 8.0), (1.5, 2.0, 2.5)
LEAST_WET = 0.01
"""Share of cells with rain at hand below which nothing is forecast or judged."""
FOLDS = 4
LEARNT, TRIED = 20, 8
"""Stretches of the past, each forwards and backwards, that are learnt from and tried at most."""
GAIN_ROUNDS = 2
TWICE = 2
"""As many members as are asked for are tried, so that chance weighs less."""
FEW = 4
"""Members that the texture of the law is chosen with."""
OURS = "forecast"
SLACK = 0.005
"""By how much our skill may lie below that of STEPS on what is left out: about what chance makes of it."""


@dataclass(frozen=True)
class Tried:
    """How a choice did on what was left out: CRPS [mm], fractions skill score, least and largest power over truth's."""

    name: str
    crps: float
    skill: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Choice:
    """A learnt law, the share of members from it, STEPS that the others come from, and all that was tried."""

    law: RainLaw
    share: float
    steps: Steps
    tried: tuple[Tried, ...]

    def members(self, past: Sequence[Floats], case: Case, ahead: int, rng: Rng) -> Floats:
        """(member, y, x) [mm]."""
        own = self.law.members(case, self.steps.members, rng.child("law"))
        return mixed(own, self.steps(past, ahead, rng.child("steps")), self.share)


def chosen(rain: Rain, last: int, ahead: int, level: float, plain: Steps, rng: Rng) -> Choice:
    """Gains that even out the spectrum, and the share of the law of least CRPS that keeps the skill of STEPS.

    The skill is that at ``level`` [mm], kept up to ``SLACK``. In the end all frames up to ``last`` are learnt from.

    Raises:
        DataError: too little rain to learn from.
    """
    every, folds = stretches(rain, last, ahead)
    tests = [fold[:: -(-len(fold) // (2 * TRIED // FOLDS))] for fold in folds]
    bench = _Bench(rain, [trial for test in tests for trial in test], ahead, level, rng)
    trial = replace(plain, members=TWICE * plain.members)
    theirs = bench.ensembles(trial)
    bar = bench.judged("STEPS", theirs)
    for _ in range(GAIN_ROUNDS):
        trial = replace(trial, gains=bench.regained(trial.gains, theirs))
        theirs = bench.ensembles(trial)
    laws = [learnt(apart(every, fold, ahead), rng.child("fold", at)) for at, fold in enumerate(folds)]
    held = [law for law, test in zip(laws, tests, strict=True) for _ in test]
    length, slope = min(
        ((length, slope) for length in LENGTHS for slope in SLOPES),
        key=lambda one: bench.roughness([replace(law, length=one[0], slope=one[1]) for law in held]),
    )
    own = bench.drawn([replace(law, length=length, slope=slope) for law in held], trial.members)
    choices = {
        share: bench.judged(
            f"{100 * share:g} % of the law", [mixed(a, b, share) for a, b in zip(own, theirs, strict=True)]
        )
        for share in SHARES
    }
    kept = [share for share, one in choices.items() if one.skill >= bar.skill - SLACK] or [0.0]
    share = min(kept, key=lambda one: choices[one].crps)
    law = replace(learnt(every, rng.child("law")), length=length, slope=slope)
    return Choice(law, share, replace(plain, gains=trial.gains), (bar, *choices.values()))


@dataclass(frozen=True, eq=False)
class _Bench:
    """Forecasts inside the past that choices are tried on."""

    rain: Rain
    trials: list[Trial]
    ahead: int
    level: float
    rng: Rng

    def ensembles(self, steps: Steps) -> list[Floats]:
        """Members of STEPS for each trial."""
        return [steps(t.past, self.ahead, self.rng.child("trial", at)) for at, t in enumerate(self.trials)]

    def drawn(self, laws: Sequence[RainLaw], n: int) -> list[Floats]:
        """``n`` members of each trial's law."""
        pairs = enumerate(zip(laws, self.trials, strict=True))
        return [law.members(t.case, n, self.rng.child("law", at)) for at, (law, t) in pairs]

    def scores(self, members: Sequence[Floats]) -> RainScores:
        cases = torch.arange(len(self.trials))
        space = self.rain.grid.space("rain", "mm")
        draws = Draws(space, torch.from_numpy(np.stack(members, 1)), problems={"case": cases.tolist()})
        truth = torch.from_numpy(np.stack([t.truth for t in self.trials]))
        mask = torch.from_numpy(np.stack([t.mask for t in self.trials]))
        return RainScores({OURS: draws}, truth, mask, (self.level,), cases, self.rng)

    def judged(self, name: str, members: Sequence[Floats]) -> Tried:
        scores = self.scores(members)
        power, crps = scores.spectrum_ratio(OURS), float(scores.crps[OURS].mean())
        return Tried(name, crps, scores.skill(OURS, self.level, 1), float(power.min()), float(power.max()))

    def roughness(self, laws: Sequence[RainLaw]) -> float:
        """Mean over rings of |log of the members' power over the truths'|."""
        return float(self.scores(self.drawn(laws, FEW)).spectrum_ratio(OURS).log().abs().mean())

    def regained(self, gains: tuple[float, ...], members: Sequence[Floats]) -> tuple[float, ...]:
        """Gains that even out the members' power over the truth's, whose mean over scales they cannot change."""
        scores = self.scores(members)
        height, width = scores.truth.shape[-2:]
        at, rings = np.log(level_centres((height, width), len(gains))), scores.rings.centre.log().numpy()
        excess = np.interp(at, rings, scores.spectrum_ratio(OURS).log().numpy())
        return tuple(float(gain) for gain in gains * np.exp(-0.5 * (excess - excess.mean())))


def stretches(rain: Rain, last: int, ahead: int) -> tuple[list[Trial], list[list[Trial]]]:
    """Forecasts inside the frames up to ``last``, forwards and backwards in time, and the same by stretch left out.

    Rain of one past mostly grows or mostly fades; both ways in time it does neither, as over a longer record.

    Raises:
        DataError: fewer than eight stretches with rain, or one that nothing is apart from.
    """
    wet = (rain.fields >= WET).mean((1, 2)) >= LEAST_WET
    firsts = [at for at in range(last - ahead - 1) if wet[at + 2] and wet[at + ahead]]
    if len(firsts) < 8:
        raise DataError(f"{len(firsts)} frame(s) up to {last} have rain to learn from; eight are needed, spread out.")
    firsts = firsts[:: -(-len(firsts) // LEARNT)]
    folds = [
        [trial for at in part for trial in _both_ways(rain, int(at), ahead)] for part in np.array_split(firsts, FOLDS)
    ]
    every = [trial for fold in folds for trial in fold]
    if not all(apart(every, fold, ahead) for fold in folds):
        raise DataError(f"the frames up to {last} with rain lie too close together to leave some out.")
    return every, folds


def apart(trials: Sequence[Trial], fold: Sequence[Trial], ahead: int) -> list[Trial]:
    """Those that share no frame with the stretch from the first to the last of a fold."""
    low, high = min(t.first for t in fold), max(t.first for t in fold)
    return [t for t in trials if t.first + 2 + ahead < low or t.first > high + 2 + ahead]


def mixed(own: Floats, others: Floats, share: float) -> Floats:
    """As many members as each, a share of them from the first."""
    count = round(share * len(own))
    return np.concatenate([own[:count], others[: len(own) - count]])


def _both_ways(rain: Rain, first: int, ahead: int) -> list[Trial]:
    frames, known = (part[first : first + 3 + ahead] for part in (rain.fields, rain.known))
    trials = []
    for fields, seen in ((frames, known), (frames[::-1], known[::-1])):
        case = case_of(list(fields[:3]), ahead)
        trials.append(Trial(first, list(fields[:3]), fields[-1], case, case.defined & seen[-1]))
    return trials
