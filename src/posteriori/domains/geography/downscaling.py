"""Fine fields from the means of blocks: a localised Gaussian law, block means kept exactly, and peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.rasters.splits import Split
from posteriori.audit.scores import crps_gaussian
from posteriori.core.algebra import BlockAverage
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.random import Rng
from posteriori.core.target import Inverse
from posteriori.domains.geography.daily_cycle import DailyCycle
from posteriori.domains.geography.residual_trial import Missed
from posteriori.inference.conformal import conformal_quantile, needed_spread
from posteriori.inference.exact import Exact
from posteriori.inference.projection import conserve, conserve_within
from posteriori.inference.spreading import spread_by
from posteriori.learn.ensemble_covariance import Localisation, localised

LENGTHS = (4.0, 6.0, 8.0, 12.0, 16.0)
"""Tapers [cells] to choose from."""
STATIONARY = (0.05, 0.2)
"""Shares of a stationary part to choose from besides none."""
SIGMA = 1e-4
"""Error of a block mean as a share of the field's standard deviation: none, but for the arithmetic."""
LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class Downscaler:
    """The law of fine fields given their block means.

    Args:
        operator: from the fine grid to the blocks.
        prior: of the fine fields.
        factor: that the spread is multiplied by.
        positive: fields are never below zero.
    """

    operator: BlockAverage
    prior: Gaussian
    factor: float = 1.0
    positive: bool = False

    def law(self, coarse: Tensor) -> Gaussian:
        """Of the fine fields with the block means ``coarse`` (n, Y, X); the mean has them to rounding."""
        sigma = SIGMA * float(self.prior.covariance.diagonal().mean().sqrt())
        found = infer(Inverse(self.operator, self.prior, coarse, sigma), Exact())
        assert isinstance(found, Gaussian)
        exact = conserve(found.location, self.operator, coarse)
        spread = spread_by(Gaussian(found.space, exact, found.covariance, problems=found.problems), self.factor)
        assert isinstance(spread, Gaussian)
        return spread

    def members(self, coarse: Tensor, n: int, rng: Rng) -> Tensor:
        """Fine fields (n, case, y, x), with the block means ``coarse`` (case, Y, X), none below zero if positive."""
        drawn = self.law(coarse).sample(n, rng)
        if self.positive:
            return conserve_within(drawn, self.operator, coarse.expand(n, *coarse.shape))
        return conserve(drawn, self.operator, coarse.expand(n, *coarse.shape))


@dataclass(frozen=True, eq=False)
class Chosen:
    """A downscaler chosen on stretches of the history that were left out, and what was tried there.

    ``trials`` are mean scores by taper; ``peers`` those of the interpolations on the same fields, and ``missed`` what
    the law with the best taper missed there.
    """

    downscaler: Downscaler
    localisation: Localisation
    trials: Mapping[str, float]
    peers: Mapping[str, float]
    missed: Missed


def choose(
    operator: BlockAverage, history: Tensor, hours: Tensor | None, splits: Sequence[Split], positive: bool, most: int
) -> Chosen:
    """The taper with the best score on fields left out, up to ``most`` of each split, and the spread due there.

    Args:
        operator: from the fine grid to the blocks.
        history: (n, y, x) fine fields.
        hours: (n,) of the history from a midnight; None without times.
        splits: what to learn from and what to leave out.
        positive: fields are never below zero.
        most: fields of a split that are tried.
    """
    left = [split.test[torch.linspace(0, len(split.test) - 1, most).round().long().unique()] for split in splits]
    scores: dict[Localisation, float] = {}
    needed: dict[Localisation, list[Tensor]] = {}

    def attempt(taper: Localisation) -> None:
        total, factors = [], []
        for split, test in zip(splits, left, strict=True):
            prior = localised(operator.domain, history[split.train], taper)
            law = Downscaler(operator, prior).law(operator(history[test]))
            total.append(crps_gaussian(law.center(), law.spread().clamp_min(1e-300), history[test]))
            factors += list(needed_spread(law, history[test], LEVEL).flatten(1))
        scores[taper], needed[taper] = float(torch.cat(total).mean()), factors

    for length in LENGTHS:
        attempt(Localisation((length,)))
    best = min(scores, key=scores.__getitem__)
    for share in STATIONARY:
        attempt(Localisation(best.lengths, stationary=share, stationary_length=best.terms(operator.domain)[0][1]))
    best = min(scores, key=scores.__getitem__)
    factor = conformal_quantile(needed[best], LEVEL)
    peers: dict[str, list[Tensor]] = {}
    for split, test in zip(splits, left, strict=True):
        when = None if hours is None else hours[test]
        for name, (mean, std) in interpolated(operator, history, hours, split.train, history[test], when).items():
            peers.setdefault(name, []).append(crps_gaussian(mean, std.expand_as(mean), history[test]))
    return Chosen(
        Downscaler(operator, localised(operator.domain, history, best), factor, positive),
        best,
        {_said(taper): score for taper, score in scores.items()},
        {name: float(torch.cat(found).mean()) for name, found in peers.items()},
        _missed(operator, best, factor, history, splits, left),
    )


def interpolated(
    operator: BlockAverage, history: Tensor, hours: Tensor | None, train: Tensor, fields: Tensor, when: Tensor | None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Bilinear interpolation of the block means of ``fields`` (n, y, x), dressed with its errors on the history.

    Mean (n, y, x) and standard deviation (y, x) by name: errors by cell, and by cell and hour where there are times.
    """
    known = history[train]
    error = known - bilinear(operator(known), operator)
    plain, floor = bilinear(operator(fields), operator), 1e-9 * float(known.std()) + 1e-300
    found = {"bilinear": (plain + error.mean(0), error.std(0).clamp_min(floor))}
    if hours is not None and when is not None:
        cycle = DailyCycle.fitted(hours[train], error.flatten(1))
        rest = error - cycle.at(hours[train]).reshape(error.shape)
        found["bilinear by hour"] = (plain + cycle.at(when).reshape(plain.shape), rest.std(0).clamp_min(floor))
    return found


def bilinear(coarse: Tensor, operator: BlockAverage) -> Tensor:
    """Between the centres of blocks, and on in a straight line beyond the outermost, (n, Y, X) → (n, y, x)."""
    rows, columns = (_weights(n, size) for n, size in zip(operator.codomain.shape, operator.size, strict=True))
    return rows @ coarse.double() @ columns.mT


def _missed(
    operator: BlockAverage,
    taper: Localisation,
    factor: float,
    history: Tensor,
    splits: Sequence[Split],
    left: Sequence[Tensor],
) -> Missed:
    """Errors of the law on the fields left out; a net may know the mean, the spread and the usual field."""
    error, std, told, fold = [], [], [], []
    for at, (split, test) in enumerate(zip(splits, left, strict=True)):
        prior = localised(operator.domain, history[split.train], taper)
        law, size = Downscaler(operator, prior, factor).law(operator(history[test])), history[split.train].std()
        spread = law.spread().clamp_min(1e-9 * float(size))
        usual = ((prior.location - prior.location.mean()) / size).expand_as(spread)
        error.append(history[test] - law.center())
        std.append(spread)
        told.append(torch.stack([(law.center() - prior.location) / size, (spread / size).log(), usual], 1))
        fold.append(torch.full((len(test),), at))
    every = torch.cat(error)
    nothing, mask = every.new_zeros(len(every), 0, *every.shape[1:]), torch.ones(every.shape[1:], dtype=torch.bool)
    return Missed(every, torch.cat(std), torch.cat(told), nothing, torch.cat(fold), mask)


def _weights(blocks: int, size: int) -> Tensor:
    """Weights of the blocks in each fine cell, (blocks · size, blocks)."""
    if blocks < 2:
        raise DataError(
            "bilinear interpolation needs two blocks along each side; take a smaller factor or larger fields."
        )
    place = (torch.arange(blocks * size, dtype=torch.float64) + 0.5) / size - 0.5
    before = place.floor().clamp(0, blocks - 2).long()
    part, every = place - before, torch.arange(blocks * size)
    weights = torch.zeros(blocks * size, blocks, dtype=torch.float64)
    weights[every, before], weights[every, before + 1] = 1 - part, part
    return weights


def _said(taper: Localisation) -> str:
    length = "" if taper.lengths is None else f"{taper.lengths[0]:g} cells"
    return length + (f", {100 * taper.stationary:g} % stationary" if taper.stationary else "")
