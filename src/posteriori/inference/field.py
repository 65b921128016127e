"""What all learners of a field share: features in, a mixture of members over every cell out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.algebra import Identity
from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.covariance import Covariance, DenseCovariance, DiagonalCovariance
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import Compose, Operator, Selection
from posteriori.core.posterior import Posterior
from posteriori.core.prior import GaussianLaw
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.learn.members import Learner, Predictions, Rows, left_over


class Design(Protocol):
    """Which rows each member learns from."""

    def weights(self, rows: int, members: int, rng: Rng) -> Tensor:
        """How often each row counts, (rows, members); a row of weight 0 is held out."""


@dataclass(frozen=True)
class Folds:
    """Member k does not see part ``k mod folds`` of the rows, cut at random."""

    folds: int = 5

    def weights(self, rows: int, members: int, rng: Rng) -> Tensor:
        """Zeros and ones.

        Raises:
            OptionError: fewer than two folds.
        """
        if self.folds < 2:
            raise OptionError(f"{self.folds} folds hold out everything or nothing; two or more are needed.")
        part = rng.permutation(rows) % self.folds
        return (part[:, None] != torch.arange(members) % self.folds).double()


@dataclass(frozen=True)
class Bootstrap:
    """Each member draws as many rows as there are, with replacement; about 37 % stay held out."""

    def weights(self, rows: int, members: int, rng: Rng) -> Tensor:
        """Counts."""
        drawn = rng.integers(rows, (rows, members))
        return torch.zeros(rows, members, dtype=torch.float64).scatter_add_(0, drawn, torch.ones(drawn.shape).double())


def learn_field(
    target: Target, who: str, features: Tensor, members: int, design: Design, learner: Learner, context: Context
) -> Mixture:
    """The posterior of a field of which some cells were measured, as its members see it.

    Of the prior its mean is used: the members learn what is left of the data once it is subtracted. Its covariance is
    not; the members' own inductive bias stands in its place. Each member (and pass) is one Gaussian, whose independent
    variance is what it learnt itself plus a part τ² that its held-out rows ask for. Errors of the data count with their
    own variance alone, not with their correlations.

    Args:
        features: of every cell of the field, (cells, f), in the order of the field's Space.

    Raises:
        UnanswerableError: the target is not a field measured cell by cell with Gaussian noise and a prior mean.
        ShapeError: features of another number of cells.
        DataError: a feature that is not finite.
    """
    inverse, index, mean = _measured(target, who)
    if features.ndim != 2 or len(features) != inverse.space.size:
        raise ShapeError(
            f"features {tuple(features.shape)} must be (cells, f) with the {inverse.space.size} cells of "
            f"{inverse.space} in their order."
        )
    if not bool(torch.isfinite(features).all()):
        cell, feature = (int(i) for i in (~torch.isfinite(features)).nonzero()[0])
        raise DataError(f"feature {feature} of cell {cell} is not finite; every cell that is asked for needs all.")
    if members < 1:
        raise OptionError(f"{who} with {members} members; one or more are needed.")
    field = mean.double().cpu()
    data = inverse.operator.codomain.flat(inverse.data).reshape(-1, len(index)).double().cpu()
    y = data - field.expand(len(data), -1)[:, index]
    variance = _variance(inverse.noise, who, len(index)).cpu()
    # a design of its own for each problem: one that all share would move all their errors alike
    streams = [context.rng.child("design", p) for p in range(len(y))]
    weight = torch.cat([design.weights(len(index), members, stream) for stream in streams], 1)
    known = features.detach().double().cpu()
    rows = Rows(known[index], y.repeat_interleave(members, 0).mT.contiguous(), variance, weight, known)
    said = learner(rows, context.child(who))
    return _mixture(inverse, field, y, variance, weight, said)


def _measured(target: Target, who: str) -> tuple[Inverse, Tensor, Tensor]:
    """The question without its gaps, the flat cells that were measured, and the prior mean (…, cells)."""
    if not isinstance(target, Inverse):
        raise UnanswerableError(f"{who} answers Inverse targets, not {type(target).__name__}; use HMC.")
    inverse = target.seen()
    index = _cells(inverse.operator)
    if index is None:
        raise UnanswerableError(
            f"{who} learns a field from single measured cells (Selection), not through {inverse.operator}; "
            "use Exact, Laplace or HMC."
        )
    prior = inverse.prior
    if isinstance(prior, GaussianLaw):
        mean = prior.location
    elif isinstance(prior, Posterior):
        mean = prior.center()
    else:
        raise UnanswerableError(f"{who} subtracts the prior's mean, and {type(prior).__name__} gives none.")
    return inverse, index.cpu(), inverse.space.flat(mean.detach())


def _variance(noise: Noise, who: str, m: int) -> Tensor:
    """Of each datum, (m,); correlations between errors are left out."""
    with torch.no_grad():
        if isinstance(noise, Normal):
            return noise.variance(m).double()
        if isinstance(noise, CorrelatedNoise):
            return noise.matrix().diagonal().double()
    raise UnanswerableError(f"{who} needs Gaussian noise, not {type(noise).__name__}: use Laplace or HMC.")


def _cells(operator: Operator) -> Tensor | None:
    """Flat positions of the cells that ``operator`` picks; None when it does anything else."""
    if isinstance(operator, Selection):
        return operator.index
    if isinstance(operator, Identity):
        return torch.arange(operator.domain.size)
    if isinstance(operator, Compose):
        outer, inner = _cells(operator.outer), _cells(operator.inner)
        return None if outer is None or inner is None else inner[outer]
    return None


def _mixture(
    inverse: Inverse, field: Tensor, y: Tensor, variance: Tensor, weight: Tensor, said: Predictions
) -> Mixture:
    """One Gaussian for each member and pass; (p·k, t, ·) predictions of p problems and k members."""
    problems, members, passes = len(y), weight.shape[1] // len(y), said.cells.shape[1]

    def components(values: Tensor) -> Tensor:
        return values.reshape(problems, members * passes, -1)

    held = (weight == 0).mT.repeat_interleave(passes, 0).reshape(problems, members * passes, -1)
    residual = y[:, None] - components(said.rows)
    tau2 = left_over(residual, variance + components(said.row_variance), held)
    mean = field.reshape(-1, 1, field.shape[-1]) + components(said.cells)
    total = components(said.cell_variance) + tau2[:, None, None]
    like = inverse.data
    parts = [
        Gaussian(
            inverse.space,
            inverse.space.unflat(mean[:, c].reshape(*inverse.batch, -1)).to(like.device),
            _independent(total[:, c].reshape(*inverse.batch, -1).to(like.device)),
            problems=inverse.problems,
        )
        for c in range(members * passes)
    ]
    return Mixture(parts)


def _independent(variance: Tensor) -> Covariance:
    """Of cells (n,), or of each problem (*problem, n)."""
    if variance.ndim == 1:
        return DiagonalCovariance(variance)
    need = 8.0 * variance.numel() * variance.shape[-1]
    memory.require(need, f"{variance.numel()} variances of several problems", "ask fewer problems at once")
    return DenseCovariance(torch.diag_embed(variance))


def aleatoric(posterior: Mixture) -> Tensor:
    """Standard deviation within the members, (*problem, *space.shape); ``between()`` is the epistemic one."""
    total = torch.zeros_like(posterior.center())
    for w, part in zip(posterior.weights, posterior.parts, strict=True):
        total = total + w.to(total) * part.spread().square()
    return total.sqrt()


def wave(cells: int = 40, data: int = 24, sigma: float = 0.1, seed: int = 0) -> tuple[Tensor, Inverse]:
    """Features and the question of a smooth field on a line of which ``data`` cells were measured."""
    rng = Rng(seed).child("wave")
    x = torch.linspace(-1, 1, cells, dtype=torch.float64)
    space = Space("m", {"x": x.numpy()})
    matrix = torch.exp(-0.5 * ((x[:, None] - x) / 0.3).square()) + 1e-6 * torch.eye(cells, dtype=torch.float64)
    prior = Gaussian(space, torch.zeros(cells, dtype=torch.float64), DenseCovariance(matrix))
    picked = rng.permutation(cells)[:data].sort().values
    operator = Selection.along(space, "x", space.labels("x")[picked.numpy()])
    target = Inverse(operator, prior, torch.zeros(data, dtype=torch.float64), Normal(sigma))
    _, simulated = target.simulate(1, rng)
    return x[:, None], target.given(simulated.data[0])
