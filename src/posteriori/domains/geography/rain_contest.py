"""Who forecasts rain best: persistence, rain carried along, STEPS, and ours as it was chosen on the past."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori.core.draws import Draws
from posteriori.core.random import Rng
from posteriori.domains.geography.rain_choice import LEAST_WET, OURS, Choice, chosen
from posteriori.domains.geography.rain_data import Rain
from posteriori.domains.geography.rain_law import case_of
from posteriori.domains.geography.rain_scores import RainScores
from posteriori.domains.geography.steps import WET, Steps

Floats = NDArray[np.float64]
STEPS, CARRIED, KEPT = "STEPS", "carried along", "persistence"


@dataclass(frozen=True, eq=False)
class Contest:
    """Forecasts of all frames, ours as it was chosen on the past.

    Attributes:
        rain: all frames.
        ahead: frames.
        steps: the ensemble to beat.
        choice: what ours is made of.
    """

    rain: Rain
    ahead: int
    steps: Steps
    choice: Choice

    @staticmethod
    def learnt(rain: Rain, last: int, ahead: int, level: float, members: int, rng: Rng) -> Contest:
        """Learn and choose on the frames up to ``last``, with the skill at ``level`` [mm] in view.

        Raises:
            DataError: too little rain to learn from.
        """
        steps = Steps(members, cell=rain.cell, minutes=rain.minutes)
        return Contest(rain, ahead, steps, chosen(rain, last, ahead, level, steps, rng))

    def posterior(self, start: int, rng: Rng) -> Draws:
        """Our members [mm] for ``ahead`` frames after ``start``; cells whose rain comes from outside are masked."""
        case = case_of(past(self.rain, start), self.ahead)
        space = replace(self.rain.grid.space("rain", "mm"), mask=torch.from_numpy(case.defined))
        return Draws(space, torch.from_numpy(self.choice.members(past(self.rain, start), case, self.ahead, rng)))

    def judged(
        self,
        starts: Sequence[int],
        levels: Sequence[float],
        block: int,
        rng: Rng,
        others: Mapping[str, Callable[[int], Floats]],
    ) -> RainScores:
        """All forecasts from ``starts``, those of ``others`` too, and of exceeding ``levels`` [mm].

        Blocks are ``block`` frames long.
        """
        found: dict[str, list[Floats]] = {OURS: [], STEPS: [], CARRIED: [], KEPT: []}
        masks = []
        for start in starts:
            frames = past(self.rain, start)
            case = case_of(frames, self.ahead)
            found[OURS].append(self.choice.members(frames, case, self.ahead, rng.child("ours", start)))
            found[STEPS].append(self.steps(frames, self.ahead, rng.child("steps", start)))
            found[CARRIED].append(case.kept[None])
            found[KEPT].append(self.rain.fields[start][None])
            for name, members in others.items():
                found.setdefault(name, []).append(members(start))
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
