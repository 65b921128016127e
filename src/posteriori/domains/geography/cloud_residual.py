"""What our law misses under clouds, as cases that a diffusion model of the residual can learn from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posteriori.audit.scores import crps_draws
from posteriori.core.errors import DataError
from posteriori.domains.geography.cloud_contest import Choice, model_of
from posteriori.domains.geography.cloud_gaps import GappyStack, cells_to_seen, days_to_seen
from posteriori.domains.geography.dressing import Dressing
from posteriori.domains.geography.residual_trial import Missed

FOLDS = 5
"""Stretches of dates; the law is dressed, and a net learns, on all but the last."""


def missed(stack: GappyStack, sets: Sequence[Tensor], choice: Choice) -> Missed:
    """Errors of the dressed law at cells (time, y, x) held out, set by set, one case for each date that has some.

    A net is told which cells are seen, by how much each seen one misses what its own series foretells, the filling, its
    spread, and how far the next value is in time and space.

    Raises:
        DataError: cells are held out on fewer than ``FOLDS`` dates, so that no stretch is left out.
    """
    days = int(torch.stack(list(sets)).any(0).any((1, 2)).sum())
    if days < FOLDS:
        raise DataError(
            f"cells of {days} date(s) are held out, and {FOLDS} are needed to try a diffusion model on a stretch left "
            "out: give more dates, or leave diffusion out."
        )
    parts = [_cases(stack, held, choice) for held in sets if bool(held.any())]
    error, std, told, distances, date = (torch.cat(part) for part in zip(*parts, strict=True))
    every = date.unique()
    fold = torch.searchsorted(every, date) * FOLDS // len(every)
    known = torch.isfinite(error)
    early = known & (fold < FOLDS - 1)[:, None, None]
    dressing = Dressing.learnt(error[early], std[early], distances.movedim(1, 0)[:, early])
    at = distances.movedim(1, 0).reshape(2, -1)
    table = dressing.table[dressing.strata(at)]
    centre, size = std * table.mean(1).reshape(std.shape), std * table.std(1).reshape(std.shape)
    score = torch.full_like(error, torch.nan)
    law = dressing.quantiles(torch.zeros_like(error[known]), std[known], distances.movedim(1, 0)[:, known])
    score[known] = crps_draws(law, error[known])
    past = told[:, :0]
    return Missed(error - centre, size, told, past, fold, stack.domain, score)


def _cases(stack: GappyStack, held: Tensor, choice: Choice) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Error and spread (case, y, x), what is told (case, 6, y, x), distances (case, 2, y, x) and dates (case,)."""
    visible = stack.without(held)
    model, seen = model_of(visible, choice), visible.observed
    mean, std = model.fill(visible.values, held)
    series = visible.values[:, stack.domain]
    foretold, variance = model.law.predict(series)
    own = torch.zeros_like(mean)
    own[:, stack.domain] = ((series - foretold) / variance.sqrt()).nan_to_num(0.0).clamp(-4, 4)
    usual = model.law.covariance.diagonal().sqrt()[:, None, None]
    filled = ((mean - model.law.mean[:, None, None]) / usual).nan_to_num(0.0).clamp(-4, 4)
    spread = torch.where(seen | ~stack.domain, 1.0, (std / usual).clamp_min(1e-3)).log()
    away = torch.stack([days_to_seen(visible), cells_to_seen(seen)], 1)
    told = torch.stack([seen.double(), own, filled, spread, *away.clamp_max(100.0).log1p().unbind(1)], 1)
    dates = held.any((1, 2)).nonzero()[:, 0]
    error = torch.where(held, stack.values - mean, torch.nan)
    safe = torch.where(torch.isfinite(std) & (std > 0), std, 1.0)
    return error[dates], safe[dates], told[dates], away[dates], dates
