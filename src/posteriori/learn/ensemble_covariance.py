"""A Gaussian prior of fields learnt from their history: sample covariance, tapered with distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log, pi, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import Covariance, DenseCovariance, cholesky
from posteriori.core.errors import DataError, OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space

DENSE = 4096
"""Most cells whose covariance is written out once and kept."""
NOISE = 1e-3
"""Share of the mean variance that stands for errors of the observed cells."""


@dataclass(frozen=True)
class Localisation:
    """How a sample covariance C is tapered: K = (1 - s) C ∘ Σ_k a_k exp(-(d/L_k)²/2) + s D exp(-d/ℓ) D.

    d is the distance in cells and D the standard deviations of C, so that K keeps the variances of C. Each term is
    positive semi-definite (Schur), hence K is.

    Args:
        lengths: L_k [cells], > 0 (infinite: no taper); None takes half the first side of the grid.
        weights: a_k ≥ 0, scaled to sum to one; equal without.
        stationary: s, the share of a part that depends on distance alone, in [0, 1].
        stationary_length: ℓ [cells]; None takes half the first side of the grid.

    Raises:
        OptionError: a length, weight or share outside its range.

    Reference: Gaspari & Cohn (1999), Construction of correlation functions in two and three dimensions, Q. J. R.
    Meteorol. Soc. 125, 723; Hamill & Snyder (2000), A hybrid ensemble Kalman filter, Mon. Weather Rev. 128, 2905.
    """

    lengths: tuple[float, ...] | None = None
    weights: tuple[float, ...] | None = None
    stationary: float = 0.0
    stationary_length: float | None = None

    references: ClassVar = ("Hamill & Snyder (2000), A hybrid ensemble Kalman filter, Mon. Weather Rev. 128, 2905.",)

    def __post_init__(self) -> None:
        lengths = (1.0,) if self.lengths is None else self.lengths
        weights = (1.0,) * len(lengths) if self.weights is None else self.weights
        if not lengths or not all(length > 0 for length in lengths):
            raise OptionError(f"taper lengths {self.lengths} must be positive numbers of cells, one at least.")
        if len(weights) != len(lengths) or min(weights) < 0 or not 0 < sum(weights) < inf:
            raise OptionError(f"weights {self.weights} of {len(lengths)} tapers must be ≥ 0 and not all zero.")
        if not 0 <= self.stationary <= 1:
            raise OptionError(f"the stationary share {self.stationary} must lie between 0 and 1.")
        if self.stationary_length is not None and not self.stationary_length > 0:
            raise OptionError(f"the stationary length {self.stationary_length} must be a positive number of cells.")

    def terms(self, space: Space) -> list[tuple[float, float]]:
        """(a_k, L_k) with weights that sum to one and lengths that are numbers."""
        lengths = (_half_side(space),) if self.lengths is None else self.lengths
        weights = (1.0,) * len(lengths) if self.weights is None else self.weights
        return [(w / sum(weights), length) for w, length in zip(weights, lengths, strict=True)]


class LocalisedCovariance(Covariance):
    """K of :class:`Localisation` over the cells of a grid; blocks are made when they are asked for.

    Args:
        space: the grid; distances are counted in cells along its axes.
        anomalies: (n, space.size), departures from the mean; C = AᵀA/n.
        localisation: the taper.
    """

    def __init__(self, space: Space, anomalies: Tensor, localisation: Localisation) -> None:
        super().__init__()
        self.register_buffer("anomalies", anomalies.double())
        axes = [torch.arange(n, dtype=torch.float64) for n in space.shape]
        self.register_buffer("cells", torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(space.size, -1))
        self.anomalies: Tensor
        self.cells: Tensor
        self.terms = localisation.terms(space)
        self.stationary = localisation.stationary
        self.stationary_length = localisation.stationary_length or _half_side(space)
        self.size = space.size

    @property
    def like(self) -> Tensor:
        return self.anomalies

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        distance = torch.cdist(self.cells[rows], self.cells[columns], compute_mode="donot_use_mm_for_euclid_dist")
        taper = sum((a * (-0.5 * (distance / length).square()).exp() for a, length in self.terms), 0 * distance)
        sample = self.anomalies[:, rows].mT @ self.anomalies[:, columns] / len(self.anomalies)
        if not self.stationary:
            return sample * taper
        std = self.diagonal().sqrt()
        shared = std[rows][:, None] * std[columns] * (-distance / self.stationary_length).exp()
        return (1 - self.stationary) * sample * taper + self.stationary * shared

    def diagonal(self) -> Tensor:
        return self.anomalies.square().mean(0)

    def matmul(self, v: Tensor) -> Tensor:
        every = torch.arange(self.size, device=v.device)
        return torch.cat([v @ self.block(rows, every).mT for rows in every.split(512)], -1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        return DenseCovariance(self.dense()).sample(n, rng)


def localised(space: Space, history: Tensor, localisation: Localisation | None = None) -> Gaussian:
    """N(mean of the history, K): a prior of fields from ``history`` (n, *space.shape), float64.

    Without options K = C ∘ exp(-(d/L)²/2) with L half the first side of the grid. Grids of more than :data:`DENSE`
    cells keep the history and make blocks of K when they are asked for. Undefined cells of ``space`` have variance 0.

    Raises:
        ShapeError: a history of another shape.
        DataError: fewer than two fields, or a defined value that is not finite.
    """
    if history.ndim != len(space.shape) + 1 or len(history) < 2:
        raise DataError(
            f"a history {tuple(history.shape)} should be (fields, *{space.shape}) with two fields at least."
        )
    fields = space.flat(space.align(history, "history")).double()
    mean = fields.mean(0)
    covariance: Covariance = LocalisedCovariance(space, fields - mean, localisation or Localisation())
    if space.size <= DENSE:
        covariance = DenseCovariance(covariance.dense())
    return Gaussian(space, space.unflat(mean), covariance)


def observation_sigma(prior: Gaussian, share: float = NOISE) -> float:
    """Standard deviation of the errors of observed cells: √(share · mean variance of the defined cells)."""
    variance = prior.covariance.diagonal()
    if prior.space.mask is not None:
        variance = variance[prior.space.flat(prior.space.mask)]
    return sqrt(share * float(variance.mean()))


@dataclass(frozen=True)
class Chosen:
    """The best of several localisations, and the held-out log likelihood per field and cell [nat] of each."""

    best: Localisation
    scores: tuple[float, ...]


def choose(space: Space, history: Tensor, candidates: Sequence[Localisation], blocks: int = 4, gap: int = 0) -> Chosen:
    """The localisation under which whole blocks of the history, left out in turn, are most likely.

    Args:
        space: the grid.
        history: (n, *space.shape), in order of time.
        candidates: what to choose from.
        blocks: number of consecutive blocks that are left out in turn.
        gap: fields next to a block that are left out with it, against leaks by persistence.

    Raises:
        OptionError: no candidates, or blocks and gaps that leave too little to learn from.
    """
    n = len(history)
    if not candidates:
        raise OptionError("give at least one localisation to choose from.")
    if blocks < 2 or gap < 0 or n // blocks < 1 or n - n // blocks - 1 - 2 * gap < 2:
        raise OptionError(f"{blocks} blocks with gaps of {gap} leave too little of {n} fields; take fewer or shorter.")
    edges = torch.linspace(0, n, blocks + 1).round().long().tolist()
    scores = [0.0] * len(candidates)
    for low, high in pairwise(edges):
        rest = torch.cat([history[: max(low - gap, 0)], history[high + gap :]])
        for at, candidate in enumerate(candidates):
            scores[at] += _log_likelihood(localised(space, rest, candidate), history[low:high])
    defined = space.size if space.mask is None else int(space.mask.sum())
    shares = tuple(score / (n * defined) for score in scores)
    return Chosen(candidates[max(range(len(shares)), key=shares.__getitem__)], shares)


def _log_likelihood(prior: Gaussian, fields: Tensor) -> float:
    """Σ log N(field; mean, K + noise·I) over the defined cells."""
    space = prior.space
    keep = torch.arange(space.size) if space.mask is None else space.flat(space.mask).nonzero()[:, 0]
    noise = observation_sigma(prior) ** 2
    matrix = prior.covariance.block(keep, keep) + noise * torch.eye(len(keep), dtype=torch.float64)
    factor = cholesky(matrix)
    residual = space.flat(fields.double() - prior.location)[:, keep]
    white = torch.linalg.solve_triangular(factor, residual.mT, upper=False)
    constant = factor.diagonal().log().sum() + 0.5 * len(keep) * log(2 * pi)
    return float(-0.5 * white.square().sum() - len(fields) * constant)


def _half_side(space: Space) -> float:
    return 0.5 * space.shape[0]
