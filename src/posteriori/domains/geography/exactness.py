"""Questions about random fields whose posterior is known, and how far the draws of a sampler are from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.rasters.ensemble import fair_interval
from posteriori.audit.sbc import rank_truths
from posteriori.core.draws import Draws
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator, Selection
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.learn.kernels import Matern
from posteriori.learn.random_fields import GaussianField, MixtureField
from posteriori.physics.areal_means import areal_means, blocks
from posteriori.physics.line_of_sight import line_of_sight
from posteriori.physics.point_values import point_values

ELEMENTS = 32
"""Cells that are ranked one by one."""
LEVEL = 0.9


@dataclass(frozen=True)
class Instrument:
    """What it sees of a field, with errors (one, or one for each datum) in standard deviations of the field."""

    operator: Operator
    sigma: Tensor


@dataclass(frozen=True)
class Exactness:
    """How far draws are from the closed form, over problems whose truth comes from the prior.

    Attributes:
        mean_error: root mean square of (mean - exact mean) / sd of the prior, less what so many draws miss by chance.
        mean_error_se: its standard error, over problems.
        sd_error: root mean square over cells of sd / exact sd - 1, variances pooled over problems.
        sd_ratio: the mean of sd / exact sd over the cells.
        coverage: of central 90 % intervals, fair for the number of draws.
        coverage_se: its standard error, over problems.
        sbc_p: p-value of simulation-based calibration: cells, their mean and the misfit.
        ranks: of each rank quantity, (problem,).
        draws: of each problem.
    """

    mean_error: float
    mean_error_se: float
    sd_error: float
    sd_ratio: float
    coverage: float
    coverage_se: float
    sbc_p: float
    ranks: Mapping[str, Tensor]
    draws: int


def grid(side: int) -> Space:
    """A square of unit cells."""
    at = np.arange(side, dtype=np.float64)
    return Space("field", {"y": at, "x": at}, "1")


def smooth_field(space: Space, length: float, location: Tensor | float = 0.0, sd: float = 1.0) -> GaussianField:
    """A stationary field of Matérn covariance (ν = 3/2), ``length`` in cells."""
    cells = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in space.shape))
    with torch.no_grad():
        covariance = Matern([length, length], sd, nu=1.5)(cells, cells)
    mean = torch.as_tensor(location, dtype=torch.float64).expand(space.shape).clone()
    return GaussianField(space, mean, covariance)


def two_regimes(space: Space) -> MixtureField:
    """A smooth regime that rises from west to east, and a rougher one with a hollow in the middle."""
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in space.shape)
    rising = smooth_field(space, 4.0, 0.8 * x.expand(space.shape), 0.8)
    hollow = smooth_field(space, 1.5, 0.5 - 1.6 * torch.exp(-2 * (y[:, None].square() + x.square())), 0.9)
    return MixtureField([rising, hollow], torch.tensor([0.4, 0.6]))


def questions(space: Space, rng: Rng) -> dict[str, Instrument]:
    """A mask with a hole, block means, points between centres with errors of their own, lines of sight; unit cells."""
    mask = rng.child("mask").uniform(space.shape) < 0.3
    low, high = space.shape[0] // 4, space.shape[0] // 4 + space.shape[0] // 2
    mask[low:high, low:high] = False
    size = max(space.shape[0] // 4, 2)
    last = torch.tensor(space.shape, dtype=torch.float64) - 1
    points = (last * rng.child("points").uniform((20, 2))).numpy()
    errors = 0.05 * 10 ** rng.child("errors").uniform((20,))
    starts, ends = ((last * rng.child(name).uniform((15, 2))).numpy() for name in ("starts", "ends"))
    return {
        "mask": Instrument(Selection.where(space, mask), torch.tensor(0.1).double()),
        "blocks": Instrument(areal_means(space, blocks(space, size)), torch.tensor(0.05).double()),
        "points": Instrument(point_values(space, points), errors),
        "lines": Instrument(line_of_sight(space, starts, ends), torch.tensor(0.05).double()),
    }


def doubtful(space: Space, rng: Rng) -> Instrument:
    """Ten points with large errors: too few to be sure of a regime."""
    last = torch.tensor(space.shape, dtype=torch.float64) - 1
    points = (last * rng.uniform((10, 2))).numpy()
    return Instrument(point_values(space, points), torch.tensor(0.3).double())


def target_of(asked: Instrument, prior: GaussianField | MixtureField, scale: float) -> Inverse:
    """The question under a prior whose standard deviation is ``scale``, without data yet."""
    nothing = torch.zeros(asked.operator.codomain.shape, dtype=torch.float64)
    return Inverse(asked.operator, prior, nothing, Normal(scale * asked.sigma))


def judge(draws: Draws, truth: Tensor, question: Inverse, exact: Gaussian, prior_sd: Tensor, rng: Rng) -> Exactness:
    """Equal-weight draws (draw, problem, *space) against truths (problem, *space) and the exact posteriors."""
    x = draws.values.double()
    n, problems = len(x), len(truth)
    mean, variance = x.mean(0), x.var(0)
    excess = (((mean - exact.center()).square() - variance / n) / prior_sd.square()).flatten(1).mean(1)
    error = sqrt(max(float(excess.mean()), 0.0))
    ratio = (variance.mean(0).sqrt() / exact.spread()[0]).flatten()
    low, high = fair_interval(x, LEVEL)
    inside = ((truth >= low) & (truth <= high)).double().flatten(1).mean(1)
    among, own = _quantities(question, x, rng), _quantities(question, truth, rng)
    found = rank_truths(among, own, frozenset({"mean", "misfit"}), rng.child("ties"))
    return Exactness(
        mean_error=error,
        mean_error_se=float(excess.std()) / sqrt(problems) / (2 * max(error, 1e-3)),
        sd_error=float((ratio - 1).square().mean().sqrt()),
        sd_ratio=float(ratio.mean()),
        coverage=float(inside.mean()),
        coverage_se=float(inside.std()) / sqrt(problems),
        sbc_p=found.p_value,
        ranks=found.ranks,
        draws=n,
    )


def _quantities(question: Inverse, x: Tensor, rng: Rng) -> dict[str, Tensor]:
    """Cells, their mean and the misfit of x (*draw, problem, *space.shape), each (*draw, problem)."""
    flat = question.space.flat(x)
    cells = rng.child("cells").permutation(question.space.size)[:ELEMENTS].sort().values
    found = {f"x[{int(i)}]": flat[..., i] for i in cells}
    with torch.no_grad():
        return {**found, "mean": flat.mean(-1), "misfit": question.misfit(x)}
