"""What gap filling is held against: the localised linear-Gaussian reference, kriging, and simpler fillings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.interpolate import griddata
from torch import Tensor

from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.domains.geography.kriging import exponential_process, positions
from posteriori.inference.local_amplitude import Conditioned
from posteriori.learn.ensemble_covariance import localised, observation_sigma

REFERENCE, KRIGING = "reference", "kriging"
POINTS = ("nearest", "linear")
JITTER = 1e-9
"""Share of the sill that keeps kriging's matrix invertible."""


@dataclass(frozen=True, eq=False)
class Law:
    """What a peer says of the cells wanted: mean and standard deviation, (h,); no deviation of a mere point."""

    mean: Tensor
    std: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Peers:
    """The peers with what they learnt from the same history.

    Attributes:
        space: the grid.
        reference: N(mean, C ∘ exp(-(d/L)²/2)) with L half the grid's height, dense.
        noise: the variance of its observation errors, 1e-3 of the mean variance.
        mean, std: of the history, cell by cell, (size,).
    """

    space: Space
    reference: Gaussian
    noise: float
    mean: Tensor
    std: Tensor

    @staticmethod
    def of(space: Space, history: Tensor, known: Tensor) -> Peers:
        """From a history (n, *space.shape); its gaps count as the mean, cells not ``known`` are left out."""
        counted = replace(space, mask=None if bool(known.all()) else known)
        mean = history.nanmean(0).nan_to_num(0.0)
        whole = torch.where(torch.isnan(history), mean, history).double()
        reference = localised(counted, whole)
        return Peers(
            space,
            reference,
            observation_sigma(reference) ** 2,
            space.flat(reference.location),
            space.flat(whole).std(0, correction=0),
        )

    def laws(self, field: Tensor, seen: Tensor, wanted: Tensor, rng: Rng) -> Mapping[str, Law]:
        """Every peer's answer for the cells ``wanted`` of ``field`` given those ``seen``, masks (*space.shape)."""
        at, there = (self.space.flat(mask).nonzero()[:, 0] for mask in (seen, wanted))
        x = self.space.flat(field).double()
        told = Conditioned.of(self.reference.covariance.dense(), self.mean, self.noise, at, there, x[at])
        reference = Law(told.mean, (told.covariance.diagonal().clamp_min(0) + self.noise).sqrt())
        points = {name: Law(interpolated(name, self.space, x, at, there)) for name in POINTS}
        climatology = Law(self.mean[there], self.std[there].clamp_min(1e-12))
        kriging = self.kriged(x, seen, at, there, rng)
        return {REFERENCE: reference, KRIGING: kriging, **points, "climatology": climatology}

    def kriged(self, x: Tensor, seen: Tensor, at: Tensor, there: Tensor, rng: Rng) -> Law:
        """Simple kriging of the anomaly about the history's mean."""
        anomaly = x - self.mean
        with torch.no_grad():
            process = exponential_process(self.space, self.space.unflat(anomaly), seen, rng)
            matrix = process.covariance.dense()
        zero = torch.zeros_like(self.mean)
        told = Conditioned.of(matrix, zero, JITTER * float(matrix[0, 0]), at, there, anomaly[at])
        return Law(self.mean[there] + told.mean, told.covariance.diagonal().clamp_min(1e-24).sqrt())


def interpolated(method: str, space: Space, x: Tensor, at: Tensor, there: Tensor) -> Tensor:
    """Nearest or linear interpolation; linear takes the nearest beyond the outermost observed cells."""
    points = positions(space).numpy()
    given, known, wanted = points[at.numpy()], x[at].numpy(), points[there.numpy()]
    nearest = griddata(given, known, wanted, "nearest")
    if method == "nearest":
        return torch.from_numpy(nearest)
    found = griddata(given, known, wanted, "linear")
    return torch.from_numpy(np.where(np.isnan(found), nearest, found))
