"""Scores of a trial: figures of merit with intervals, calibration, amounts, what must never change, clustering."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.estimate import Estimate, jackknife
from posteriori.audit.rasters.bootstrap import Interval, bootstrap
from posteriori.audit.rasters.change import Disagreement, confusion, disagreement
from posteriori.audit.reliability import ReliabilityCurve, calibration_error, reliability_curve
from posteriori.core.random import Rng
from posteriori.domains.geography.land_contest import Trial, block_labels, merit, pattern
from posteriori.domains.geography.land_growth import Growth, alike, log_score
from posteriori.domains.geography.land_maps import Codes, Floats, Mask


@dataclass(frozen=True, eq=False)
class Judged:
    """A trial and its scores; ``block`` is the side [cells] of squares that are resampled together."""

    trial: Trial
    block: int

    @cached_property
    def could(self) -> Mask:
        """Cells that the law gives a chance to change."""
        return np.asarray((self.trial.growth.chance > 0).any(0) & self.trial.pair.where)

    @property
    def law_changes(self) -> Floats:
        """Probability of change by the law itself, (y, x)."""
        before = np.maximum(self.trial.pair.before, 0)
        return np.asarray(1 - np.take_along_axis(self.trial.probabilities, before[None], 0)[0])

    def counted(self, maps: Codes) -> Floats:
        """Share of the maps (member, y, x) in which each cell changes."""
        return np.asarray((maps != self.trial.pair.before).mean(0))

    def merit(self, simulated: Codes) -> float:
        """Figure of merit of one map or of members."""
        pair = self.trial.pair
        return merit(pair.before, simulated, pair.after, pair.where)

    def members_merit(self, maps: Codes) -> Estimate:
        """Figure of merit of members, hits and changes averaged over them, with the error that their number leaves."""
        pair = self.trial.pair
        came, made = pair.after != pair.before, maps != pair.before
        parts = [came & made & (maps == pair.after), came | made]
        terms = np.stack([(part & pair.where).sum((1, 2)) for part in parts], 1)
        return jackknife(torch.from_numpy(terms).double(), lambda mean: mean[..., 0] / mean[..., 1])

    def random_merit(self, rng: Rng) -> float:
        """Figure of merit when the same amounts change anywhere they may."""
        growth = self.trial.growth
        even = np.where(growth.chance > 0, 0.5, 0.0)
        anywhere = Growth(growth.before, even, growth.allowed, alike(even), growth.clustering)
        return self.merit(anywhere.members(np.stack([self.trial.quotas] * 20), rng))

    def calibration(self, change: Floats) -> Estimate:
        """Expected calibration error of a probability of change, blocks resampled."""
        labels = torch.from_numpy(block_labels(self.could.shape, self.block)[self.could])
        return calibration_error(*self._stated(change), blocks=labels)

    def calibration_by_chance(self) -> float:
        """The calibration error of the law's probabilities were one of its own members what came, on average."""
        p, _ = self._stated(self.law_changes)
        came = [(one != self.trial.pair.before)[self.could] for one in self.trial.members[:20]]
        return float(np.mean([calibration_error(p, torch.from_numpy(each.astype(np.float64))).value for each in came]))

    def curve(self, change: Floats) -> ReliabilityCurve:
        """Observed frequency against stated probability."""
        return reliability_curve(*self._stated(change))

    def score(self, change: Floats, members: int) -> float:
        """Mean -log probability of change or none; shares of ``members`` kept half a member from 0 and 1."""
        edge = 0.5 / (members + 1)
        p, came = self._stated(change)
        return log_score(np.clip(p.numpy(), edge, 1 - edge), came.numpy() > 0)

    def lead(self, rng: Rng) -> Interval:
        """Figure of merit of our map less that of the automaton, over resampled blocks."""
        pair = self.trial.pair
        columns = []
        for simulated in (self.trial.best, self.trial.automaton_best):
            came, made = pair.after != pair.before, simulated != pair.before
            columns += [came & made & (simulated == pair.after), came | made]
        terms = torch.from_numpy(np.stack([part[pair.where] for part in columns], 1)).double()
        labels = torch.from_numpy(block_labels(pair.before.shape, self.block)[pair.where])

        def difference(mean: Tensor) -> Tensor:
            return mean[..., 0] / mean[..., 1].clamp(min=1e-12) - mean[..., 2] / mean[..., 3].clamp(min=1e-12)

        return bootstrap(terms, difference, labels, rng)

    def clusters(self, maps: Codes) -> tuple[float, float]:
        """Adjoining changes and patches of members over those observed."""
        pair = self.trial.pair
        truth = np.array(pattern(pair.before, pair.after, pair.where))
        made = np.mean([pattern(pair.before, one, pair.where) for one in maps[:20]], axis=0)
        joins, patches = made / np.maximum(truth, 1.0)
        return float(joins), float(patches)

    def disagreement(self, simulated: Codes) -> Disagreement:
        """Quantity and allocation disagreement of one map."""
        pair = self.trial.pair
        made, observed = (torch.from_numpy(np.ascontiguousarray(part)) for part in (simulated, pair.after))
        return disagreement(confusion(made, observed, len(self.trial.probabilities), torch.from_numpy(pair.where)))

    def row(self, name: str, best: Codes, maps: Codes, change: Floats) -> Mapping[str, str | float]:
        """What is told of one law."""
        joins, patches = self.clusters(maps)
        apart = self.disagreement(best)
        return {
            "law": name,
            "figure of merit, best map": self.merit(best),
            "figure of merit, members": self.merit(maps),
            "calibration error": self.calibration(change).value,
            "log score [nat]": self.score(change, len(maps)),
            "quantity disagreement": apart.quantity,
            "allocation disagreement": apart.allocation,
            "adjoining changes over observed": joins,
            "patches over observed": patches,
        }

    def _stated(self, change: Floats) -> tuple[Tensor, Tensor]:
        pair = self.trial.pair
        came = (pair.after != pair.before)[self.could]
        return torch.from_numpy(change[self.could].clip(0, 1)), torch.from_numpy(came.astype(np.float64))


def broken(before: Codes, maps: Codes, allowed: Mask, open_: Mask) -> tuple[int, int]:
    """Changes in members that no learnt transition allows, and changes of closed cells."""
    changed = maps != before
    start = np.broadcast_to(np.maximum(before, 0), maps.shape)
    return int((changed & ~allowed[start, maps.clip(0)]).sum()), int((changed & ~open_).sum())


def off_total(before: Codes, maps: Codes, quotas: Codes) -> int:
    """The largest difference between a class's cells in a member and those asked for; quotas (member, from, to)."""
    classes = quotas.shape[-1]
    now = np.bincount(before[before >= 0], minlength=classes)
    wanted = now + quotas.sum(1) - quotas.sum(2)
    found = np.stack([np.bincount(one[one >= 0], minlength=classes) for one in maps])
    return int(np.abs(found - wanted).max())
