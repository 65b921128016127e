"""The law of gravity at stations: a trend, sources at several depths, a plate of unknown density, heavy tails."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.covariance import DiagonalCovariance, SumCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.blocks import blocks_of, folds_of
from posteriori.domains.geophysics.gravity_data import Survey
from posteriori.domains.geophysics.reductions import bouguer_plate, polynomial_basis
from posteriori.inference.conformal import conformal_quantile
from posteriori.inference.exact import Exact
from posteriori.inference.exact_folds import LeftOut, leave_out
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.inference.reweighted import Reweighted
from posteriori.inference.spreading import spread_by
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.harmonic_kernels import SourceLayer, SumKernel
from posteriori.learn.kernels import PositiveNumbers

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
DEPTHS = (0.5, 1.5, 6.0)
"""Where the source layers lie before they are learnt, in mean distances of stations."""
AMPLITUDES = (0.2, 0.5, 1.2)
"""Their standard deviations then, in that of the data."""
TREND = 2
DENSITY_SPREAD = 200.0
"""Standard deviation [kg/m³] of the plate's density about the one taken off."""
PIECES = 1000
"""Stations of one block of the composite likelihood."""
STEPS = (14, 6)
"""Of the fit, before and after the doubtful stations are known."""
DEGREES = 3.0
"""Of freedom of Student's t for the errors of stations."""
LEVEL = 0.9


class StationNoise(CorrelatedNoise):
    """Independent station errors of one learnt standard deviation [mGal], each variance with a factor (heavy tails)."""

    def __init__(self, size: int, sigma: float, spread: float = 1.0) -> None:
        super().__init__()
        self.numbers = PositiveNumbers({"sigma": (sigma, spread)})
        self.register_buffer("scales", torch.ones(size, dtype=torch.float64))
        self.scales: Tensor

    def matrix(self) -> Tensor:
        return torch.diag(self.scales * self.numbers.values()["sigma"] ** 2)

    @property
    def sigma(self) -> float:
        """The standard deviation of an ordinary station."""
        return float(self.numbers.values()["sigma"].detach())

    def part(self, index: Tensor) -> StationNoise:
        return self.with_scales(self.scales[index])

    def with_scales(self, scales: Tensor) -> StationNoise:
        """The same error with other factors."""
        other = StationNoise(len(scales), 1.0)
        other.numbers = self.numbers
        other.scales = scales
        return other

    @staticmethod
    def example() -> StationNoise:
        """Three stations, one of them doubtful."""
        return StationNoise(3, 2.0).with_scales(torch.tensor([1.0, 9.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True)
class Fitted:
    """The law with its numbers learnt from training stations, and how honest it was on inner folds of blocks.

    Attributes:
        target: training stations and the places asked about, numbers fitted.
        answer: Bouguer anomaly [mGal] at every place, without station errors.
        factor: on the standard deviations, so that held-out blocks lie within the central 90 % as often as they should.
        inner: errors of the inner folds [mGal].
    """

    target: Inverse
    answer: Gaussian
    factor: float
    inner: Floats

    @property
    def numbers(self) -> dict[str, float]:
        """What was learnt: depths [m], standard deviations [mGal]."""
        found: dict[str, float] = {}
        prior = self.target.prior
        assert isinstance(prior, GaussianProcess)
        layers = [part.numbers.values() for part in prior.modules() if isinstance(part, SourceLayer)]
        for i, layer in enumerate(sorted(layers, key=lambda layer: float(layer["depth"].detach())), start=1):
            found |= {f"layer_{i}.{name}": float(value.detach()) for name, value in layer.items()}
        return found | {"station_sigma": self.sigma, "factor": self.factor}

    @property
    def sigma(self) -> float:
        """Standard deviation of a station's error [mGal]."""
        assert isinstance(self.target.noise, StationNoise)
        return self.target.noise.sigma

    def measured(self, index: Integers) -> Gaussian:
        """What a new station is expected to measure at the places ``index``: its own error and the factor count."""
        space = self.answer.space
        field = self.answer.map(Selection.along(space, "place", space.labels("place")[index]))
        assert isinstance(field, Gaussian)
        own = DiagonalCovariance(torch.full((len(index),), self.sigma**2, dtype=torch.float64))
        law = Gaussian(field.space, field.location, SumCovariance(field.covariance, own))
        spread = spread_by(law, self.factor)
        assert isinstance(spread, Gaussian)
        return spread


def places(survey: Survey, east: Floats | None = None, north: Floats | None = None, height: float = 0.0) -> Tensor:
    """Points (easting, northing, height) [m] of all stations, and of a grid behind them where one is given."""
    s = survey.stations
    points = np.stack([s.easting, s.northing, s.height], axis=1)
    if east is not None and north is not None:
        across, along = np.meshgrid(east, north)
        grid = np.stack([across.ravel(), along.ravel(), np.full(across.size, height)], axis=1)
        points = np.concatenate([points, grid])
    return torch.from_numpy(points)


def question(survey: Survey, train: Integers, points: Tensor) -> Inverse:
    """The Bouguer anomaly at ``points`` (the stations first) from the stations ``train``, numbers not yet learnt."""
    data = torch.from_numpy(survey.bouguer[train])
    space = Space("bouguer_anomaly", {"place": len(points)}, "mGal")
    sd, apart = float(data.std()), spacing(survey, train)
    layers = [SourceLayer(d * apart, a * sd) for d, a in zip(DEPTHS, AMPLITUDES, strict=True)]
    trend = torch.from_numpy(polynomial_basis(points[:, 0].numpy(), points[:, 1].numpy(), TREND))
    plate = torch.from_numpy(bouguer_plate(points[:, 2].numpy(), DENSITY_SPREAD))
    basis = torch.cat([2 * sd * trend, plate[:, None]], dim=1)
    mean = torch.full((len(points),), float(data.mean()), dtype=torch.float64)
    prior = GaussianProcess(space, points, SumKernel(*layers), mean, basis)
    return Inverse(Selection.along(space, "place", train), prior, data, StationNoise(len(train), 0.1 * sd))


def fit(survey: Survey, train: Integers, points: Tensor, block: float, context: Context) -> Fitted:
    """Learn all numbers from the stations ``train`` alone, and answer at ``points``.

    Args:
        block: side [m] of the blocks of the inner folds that the factor is learnt on.
    """
    many = max(1, len(train) // PIECES)
    first, again = (MarginalLikelihood(Exact(), steps=steps, blocks=many) for steps in STEPS)
    method = Reweighted(first, again, DEGREES, rounds=2)
    target = method.fit(question(survey, train, points), context.child("fit"))
    left = inner_folds(survey, train, target, block, context)
    assert isinstance(target.noise, StationNoise)
    std = (left.noise_free_std.square() + target.noise.sigma**2).sqrt()
    error = left.mean - target.data
    needed = (error / std).abs() / float(torch.special.ndtri(torch.tensor(0.5 + LEVEL / 2, dtype=torch.float64)))
    factor = conformal_quantile([needed], LEVEL, weight_of_new=1.0 / len(needed))
    answer = infer(target, Exact(), seed=context.rng.entropy)
    assert isinstance(answer, Gaussian)
    return Fitted(target, answer, factor, error.numpy())


def inner_folds(survey: Survey, train: Integers, target: Inverse, block: float, context: Context) -> LeftOut:
    """Training stations predicted from the other folds of training blocks, numbers as they are."""
    s = survey.stations.part(train)
    folds = folds_of(blocks_of(s.easting, s.northing, block), 5, context.rng.child("inner").numpy)
    return leave_out(target, torch.from_numpy(folds))


def spacing(survey: Survey, train: Integers) -> float:
    """The side [m] of the square that each station has for itself."""
    s = survey.stations
    area = float(np.ptp(s.easting[train]) * np.ptp(s.northing[train]))
    return sqrt(max(area, 1.0) / len(train))
