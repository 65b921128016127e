"""Points that fill space more evenly than chance, and the error of what is averaged over them."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core import weights
from posteriori.core.errors import DataError
from posteriori.core.random import Rng

LAST_BITS = 2.0**-53


def normal_points(n: int, dimensions: int, rng: Rng) -> Tensor:
    """``n`` standard normal points (n, dimensions) from one scrambled Sobol sequence; each alone is standard normal.

    Averages of smooth functions converge nearly as 1/n; take ``n`` a power of two. Points of one scrambling are not
    independent: the error of an average is known from several (:func:`over_groups`).

    Reference: Owen (1997), Scrambled net variance for integrals of smooth functions, Ann. Statist. 25, 1541.
    """
    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=rng.fresh().entropy % 2**31)
    u = engine.draw(n, dtype=torch.float64)
    return torch.special.ndtri(u.clamp(LAST_BITS, 1 - LAST_BITS))


def over_groups(log_weights: Tensor, figures: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Σ w f / Σ w over rows (n,) with figures (n, *rest), and its standard error from ``groups`` independent stretches.

    The error is the jackknife's, which also takes the bias of the quotient off the estimate.

    Raises:
        DataError: rows that do not fall into equal groups, or fewer than two of them.

    Reference: Miller (1974), The jackknife: a review, Biometrika 61, 1.
    """
    n = len(log_weights)
    if groups < 2 or n % groups:
        raise DataError(f"{n} rows are no {groups} equal groups; two or more are needed for an error.")
    w = (log_weights.double() - log_weights.max()).exp().reshape(groups, -1)
    f = figures.double().reshape(groups, n // groups, *figures.shape[1:])
    above = torch.einsum("gn,gn...->g...", w, f)
    below = w.sum(1).reshape(groups, *(1,) * (above.ndim - 1))
    without = (above.sum(0) - above) / (below.sum(0) - below)
    whole = above.sum(0) / below.sum(0)
    error = ((groups - 1) * (without - without.mean(0)).square().mean(0)).sqrt()
    return groups * whole - (groups - 1) * without.mean(0), error


def evidence_over_groups(log_weights: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """log of the mean weight of rows (n,), and its standard error from ``groups`` independent runs of rows."""
    each = weights.log_mean_exp(log_weights.reshape(groups, -1).mT)[0]
    share = (each - each.max()).exp()
    error = share.std() / share.mean() / groups**0.5
    return weights.log_mean_exp(log_weights)[0], error
