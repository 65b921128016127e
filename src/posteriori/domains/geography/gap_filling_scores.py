"""How fillings did on cells that were hidden: per case (one field under one mask), so that whole days are resampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from posteriori.audit.rasters.bootstrap import (
    Interval,
    bootstrap,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_root_ratio,
)
from posteriori.audit.rasters.ensemble import fair_interval
from posteriori.audit.scores import crps_fair, crps_gaussian
from posteriori.core.random import Rng
from posteriori.domains.geography.gap_filling_peers import Law

NORMAL90 = 1.6448536269514722
FEWEST_BLOCKS = 3


@dataclass(frozen=True)
class Terms:
    """Means over the hidden cells of one case: score, squared error, squared spread, share inside the 90 % interval.

    The last two are None for a filling without a spread.
    """

    crps: float
    squared: float
    spread: float | None
    inside: float | None


def of_members(members: Tensor, truth: Tensor) -> tuple[Terms, Tensor]:
    """Fair for the number of ``members`` (n, h): the score, (n+1)/n of the variance, and the interval by rank.

    Also which truths (h,) lie inside the interval.
    """
    n = len(members)
    low, high = (end[0] for end in fair_interval(members[:, None], 0.9))
    inside = (low <= truth) & (truth <= high)
    squared = (members.mean(0) - truth).square().mean()
    spread = members.var(0).mean() * (n + 1) / n
    terms = Terms(float(crps_fair(members, truth).mean()), float(squared), float(spread), float(inside.double().mean()))
    return terms, inside


def of_law(law: Law, truth: Tensor) -> tuple[Terms, Tensor | None]:
    """In closed form of a Gaussian law; a point's score is its absolute error."""
    error = (truth - law.mean).abs()
    squared = float(error.square().mean())
    if law.std is None:
        return Terms(float(error.mean()), squared, None, None), None
    inside = error <= NORMAL90 * law.std
    score = float(crps_gaussian(law.mean, law.std, truth).mean())
    return Terms(score, squared, float(law.std.square().mean()), float(inside.double().mean())), inside


@dataclass(frozen=True, eq=False)
class Judged:
    """All cases of all fillings.

    Args:
        terms: by name of the filling, one entry a case.
        blocks: which cases are resampled together, such as days, (case,).
        rng: of the resampling.
    """

    terms: Mapping[str, Sequence[Terms]]
    blocks: Tensor
    rng: Rng

    def column(self, name: str, which: str) -> Tensor:
        """One term of one filling, (case,)."""
        return torch.tensor([getattr(term, which) for term in self.terms[name]], dtype=torch.float64)

    def has_spread(self, name: str) -> bool:
        """Whether a filling states a spread."""
        return self.terms[name][0].spread is not None

    def scores(self, name: str) -> dict[str, float]:
        """crps, rmse and, with a spread, coverage90 and spread_skill."""
        found = {
            "crps": float(self.column(name, "crps").mean()),
            "rmse": float(self.column(name, "squared").mean() ** 0.5),
        }
        if self.has_spread(name):
            found["coverage90"] = float(self.column(name, "inside").mean())
            ratio = self.column(name, "spread").mean() / self.column(name, "squared").mean().clamp_min(1e-300)
            found["spread_skill"] = float(ratio.sqrt())
        return found

    @property
    def enough(self) -> bool:
        """Whether there are blocks enough for intervals."""
        return len(torch.unique(self.blocks)) >= FEWEST_BLOCKS

    def intervals(self, name: str) -> dict[str, Interval]:
        """The scores of a filling with a spread, with their intervals over blocks."""
        crps, squared, spread, inside = (self.column(name, field.name) for field in fields(Terms))
        return {
            "crps": bootstrap_mean(crps, self.blocks, self.rng.child("crps")),
            "rmse": bootstrap(squared[:, None], lambda m: m[..., 0].sqrt(), self.blocks, self.rng.child("rmse")),
            "coverage90": bootstrap_mean(inside, self.blocks, self.rng.child("coverage")),
            "spread_skill": bootstrap_root_ratio(spread, squared, self.blocks, self.rng.child("spread")),
        }

    def over(self, ours: str, theirs: str) -> float:
        """Mean score of one filling over that of another."""
        return float(self.column(ours, "crps").mean() / self.column(theirs, "crps").mean())

    def over_interval(self, ours: str, theirs: str) -> Interval:
        """The same with its interval over blocks."""
        mine, its = self.column(ours, "crps"), self.column(theirs, "crps")
        return bootstrap_ratio(mine, its, self.blocks, self.rng.child("ratio", theirs))


def distance_to_seen(seen: Tensor, wanted: Tensor) -> Tensor:
    """Distance [cells] of each wanted cell from the nearest seen one, (h,), masks (y, x)."""
    return torch.from_numpy(distance_transform_edt(~seen.numpy()))[wanted]
