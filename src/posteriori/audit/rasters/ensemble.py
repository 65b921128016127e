"""Scores of an ensemble of fields, one value a case, fair for its size.

Ensembles have shape (member, *case, y, x), truths (*case, y, x); ``mask`` and ``weights`` as in ``cells``. Scores are
per case, (*case), so that ``bootstrap`` can average them over blocks; a scored cell that is not finite, in a member or
in truth, is a DataError.
"""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor

from posteriori.audit import joint
from posteriori.audit.estimate import finite
from posteriori.audit.rasters.cells import cell_weights, field_mean, flat_cells
from posteriori.audit.scores import crps_fair
from posteriori.audit.uniformity import pit_draws
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng


def field_crps(ensemble: Tensor, truth: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Fair continuous ranked probability score, averaged over the scored cells of each field, (*case)."""
    _fits(ensemble, truth)
    share = cell_weights(truth, mask, weights)
    x, y = _scored(ensemble, share), _scored(truth, share)
    return (crps_fair(x, y) * share).sum((-2, -1))


def squared_error(center: Tensor, truth: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Mean squared error of one field a case, (*case); its root over cases is the RMSE."""
    return field_mean((center - truth).square(), mask, weights)


def spread_squared(ensemble: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Mean of (n + 1) / n times the members' variance (n - 1 below), (*case).

    For a calibrated ensemble of any n its expectation is that of the squared error of the ensemble mean: spread over
    skill is the root of the ratio of the two means over cases (``bootstrap_root_ratio``), 1 when calibrated.

    Reference: Fortin et al. (2014), why should ensemble spread match the RMSE of the ensemble mean?
    """
    n = _members(ensemble)
    share = cell_weights(ensemble[0], mask, weights)
    return (_scored(ensemble, share).var(0) * share).sum((-2, -1)) * (n + 1) / n


def spread_skill(
    ensemble: Tensor, truth: Tensor, mask: Tensor | None = None, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Per-case terms (*case) of spread over skill: ``spread_squared`` and the squared error of the ensemble mean."""
    _fits(ensemble, truth)
    return spread_squared(ensemble, mask, weights), squared_error(ensemble.mean(0), truth, mask, weights)


def fair_interval(ensemble: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Ends (*case, y, x) of a central interval that holds a truth of the members' own law with probability ``level``.

    The ends stand at rank (1 - level) / 2 (n + 1) from below and above, between two members by linear interpolation:
    exact for any continuous law where the rank is whole, and for a uniform law between.

    Raises:
        OptionError: fewer members than (1 + level) / (1 - level), 19 for 90 %: use ``student_interval`` or
            ``rank_coverage``.
    """
    n = _members(ensemble)
    _level(level)
    rank = (1 - level) / 2 * (n + 1)
    if rank < 1 - 1e-9:
        raise OptionError(
            f"{n} members cannot bound {100 * level:g} %: the outermost two hold {100 * (n - 1) / (n + 1):.1f} % of "
            f"truths. Draw {round((1 + level) / (1 - level))} members, or use student_interval or rank_coverage."
        )
    ordered = ensemble.sort(0).values
    below = min(int(rank + 1e-9), n - 1)
    part = max(0.0, rank - below)
    low = torch.lerp(ordered[below - 1], ordered[min(below, n - 1)], part)
    high = torch.lerp(ordered[n - below], ordered[max(n - below - 1, 0)], part)
    return low, high


def student_interval(ensemble: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Ends (*case, y, x) of mean ± t s sqrt(1 + 1/n): holds at ``level`` for a Gaussian law and any n >= 2."""
    n = _members(ensemble)
    _level(level)
    std, mean = torch.std_mean(ensemble, 0)
    reach = float(stats.t.isf((1 - level) / 2, n - 1)) * (1 + 1 / n) ** 0.5 * std
    return mean - reach, mean + reach


def plain_coverage(level: float, members: int) -> float:
    """How often the interval between interpolated quantiles (1 ∓ level) / 2 of a *perfect* ensemble holds the truth.

    level (n - 1) / (n + 1), exact for a uniform law and near it for others: 0.79, not 0.90, for 16 members.
    """
    return level * (members - 1) / (members + 1)


def interval_coverage(
    low: Tensor, high: Tensor, truth: Tensor, mask: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Share of the scored cells of each field inside the interval, (*case); its ends may be infinite.

    Raises:
        DataError: an end that is NaN in a scored cell.
    """
    share = cell_weights(truth, mask, weights)
    if ((share > 0) & (low.isnan() | high.isnan())).any():
        raise DataError("an interval has an end that is NaN in a scored cell; mask the cell.")
    return (((low <= truth) & (truth <= high)).to(torch.float64) * share).sum((-2, -1))


def rank_coverage(
    ensemble: Tensor,
    truth: Tensor,
    level: float,
    rng: Rng,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Share of cells whose truth lies in the central ``level`` of the ensemble by rank, (*case): exact for any n.

    The rank r of the truth among n members gives u = (r + uniform) / (n + 1), which is uniform for a calibrated
    ensemble; a cell counts where |2u - 1| <= level. Ties are broken at random.
    """
    _fits(ensemble, truth)
    _level(level)
    share = cell_weights(truth, mask, weights)
    u = pit_draws(_scored(ensemble, share), _scored(truth, share), rng)
    return (((2 * u - 1).abs() <= level).to(torch.float64) * share).sum((-2, -1))


def outer_ranks(ensemble: Tensor, truth: Tensor, rng: Rng, mask: Tensor | None = None) -> Tensor:
    """Share of cells whose truth lies beyond all members, (*case), over 2 / (n + 1): 1 for a flat rank histogram."""
    n = _members(ensemble)
    return (1 - rank_coverage(ensemble, truth, (n - 1) / (n + 1), rng, mask)) * (n + 1) / 2


def field_energy_score(
    ensemble: Tensor, truth: Tensor, mask: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Fair energy score with the area-weighted root-mean-square distance between fields, (*case); one mask (y, x)."""
    _fits(ensemble, truth)
    x, share = flat_cells(ensemble, mask, weights)
    y, _ = flat_cells(truth, mask, weights)
    return joint.energy_score(x * share.sqrt(), y * share.sqrt())


def field_variogram_score(ensemble: Tensor, truth: Tensor, mask: Tensor | None = None, power: float = 0.5) -> Tensor:
    """Variogram score over all pairs of scored cells, (*case); one mask (y, x); thin large fields first."""
    _fits(ensemble, truth)
    x, _ = flat_cells(ensemble, mask)
    y, _ = flat_cells(truth, mask)
    return joint.variogram_score(x, y, power=power)


def _scored(values: Tensor, share: Tensor) -> Tensor:
    """float64 values with zeros in cells that do not count, finite in those that do."""
    return finite(torch.where(share > 0, values, 0.0), "fields")


def _members(ensemble: Tensor) -> int:
    if ensemble.ndim < 3 or len(ensemble) < 2:
        raise ShapeError(f"ensemble {tuple(ensemble.shape)} is not (member, *case, y, x) with at least two members.")
    return len(ensemble)


def _fits(ensemble: Tensor, truth: Tensor) -> None:
    _members(ensemble)
    if ensemble.shape[1:] != truth.shape:
        raise ShapeError(f"ensemble {tuple(ensemble.shape)} is not (member, *{tuple(truth.shape)}).")


def _level(level: float) -> None:
    if not 0 < level < 1:
        raise OptionError(f"level {level} is outside (0, 1); 0.9 means a 90 % interval.")
