"""What gap filling is held against: the localised linear-Gaussian reference, kriging, and simpler fillings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.interpolate import griddata
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.domains.geography.kriging import exponential_process
from posteriori.domains.geography.neighbours import layers_beside, stacked
from posteriori.inference.local_amplitude import Conditioned
from posteriori.learn.ensemble_covariance import localised, observation_sigma
from posteriori.learn.place_kernel import positions

REFERENCE, KRIGING = "reference", "kriging"
POINTS = ("nearest", "linear")
JITTER = 1e-9
"""Share of the sill that keeps kriging's matrix invertible."""


@dataclass(frozen=True)
class Law:
    """What a peer says of the cells wanted: mean and standard deviation, (h,); no deviation of a mere point."""

    mean: Tensor
    std: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Peers:
    """The peers with what they learnt from the same history, of a field and ``reach`` layers to each side.

    Attributes:
        space: the grid.
        reach: layers to each side.
        reference: C ∘ exp(-(d/L)²/2) over all layers, d within them and L half the grid's height, (l size, l size).
        noise: the variance of its observation errors, 1e-3 of the mean variance.
        mean, std: of the history, cell by cell, (size,).
    """

    space: Space
    reach: int
    reference: Tensor
    noise: float
    mean: Tensor
    std: Tensor

    @staticmethod
    def of(space: Space, history: Tensor, known: Tensor, steps: Tensor, reach: int) -> Peers:
        """From a history (n, *space.shape) at ``steps``; gaps count as the mean, cells not ``known`` are left out."""
        counted = replace(space, mask=None if bool(known.all()) else known)
        mean = history.nanmean(0).nan_to_num(0.0)
        whole = torch.where(torch.isnan(history), mean, history).double()
        alone = localised(counted, whole)
        matrix = alone.covariance.dense() if not reach else _of_windows(counted, whole - mean, steps, reach)
        return Peers(
            space,
            reach,
            matrix,
            observation_sigma(alone) ** 2,
            space.flat(alone.location),
            space.flat(whole).std(0, correction=0),
        )

    def laws(self, field: Tensor, seen: Tensor, wanted: Tensor, rng: Rng) -> Mapping[str, Law]:
        """Every peer's answer for the cells ``wanted`` (y, x) of the middle of ``field`` given those ``seen``.

        Both are (layer, y, x). Interpolations and the climate are answers of the field alone, and left out of others.
        """
        middle = self.reach * self.space.size
        at, there = seen.flatten().nonzero()[:, 0], wanted.flatten().nonzero()[:, 0]
        x = field.flatten().double()
        mean = self.mean.repeat(len(field))
        told = Conditioned.of(self.reference, mean, self.noise, at, middle + there, x[at])
        reference = Law(told.mean, (told.variance.clamp_min(0) + self.noise).sqrt())
        found = {REFERENCE: reference, KRIGING: self.kriged(field, seen, there, rng)}
        if self.reach:
            return found
        points = {name: Law(interpolated(name, self.space, x, at, there)) for name in POINTS}
        return {**found, **points, "climatology": Law(self.mean[there], self.std[there].clamp_min(1e-12))}

    def kriged(self, field: Tensor, seen: Tensor, there: Tensor, rng: Rng) -> Law:
        """Simple kriging of the anomaly about the history's mean, of cells ``there`` (h,) of the middle layer."""
        mean = self.space.unflat(self.mean)
        anomaly = field.double() - mean
        with torch.no_grad():
            matrix = exponential_process(self.space, anomaly, seen, rng).covariance.dense()
        at, cells = seen.flatten().nonzero()[:, 0], self.reach * self.space.size + there
        zero = torch.zeros(len(matrix), dtype=torch.float64)
        told = Conditioned.of(matrix, zero, JITTER * float(matrix[0, 0]), at, cells, anomaly.flatten()[at])
        return Law(self.mean[there] + told.mean, told.variance.clamp_min(1e-24).sqrt())


def _of_windows(space: Space, anomalies: Tensor, steps: Tensor, reach: int) -> Tensor:
    """C ∘ exp(-(d/L)²/2) of the windows of a history that have all their layers, (l size, l size).

    Where none has, absent layers count as the mean.
    """
    beside = layers_beside(steps, steps, steps[:0], reach)
    complete = (beside >= 0).all(1)
    windows = stacked(anomalies, beside[complete] if bool(complete.any()) else beside).flatten(1).nan_to_num(0.0)
    if space.mask is not None:
        windows = windows * space.mask.flatten().repeat(2 * reach + 1)
    taper = (-0.5 * (torch.cdist(positions(space), positions(space)) / (0.5 * space.shape[0])).square()).exp()
    return windows.mT @ windows / len(windows) * taper.repeat(2 * reach + 1, 2 * reach + 1)


def interpolated(method: str, space: Space, x: Tensor, at: Tensor, there: Tensor) -> Tensor:
    """Nearest or linear interpolation; linear takes the nearest beyond the outermost observed cells."""
    points = positions(space).numpy()
    given, known, wanted = points[at.numpy()], x[at].numpy(), points[there.numpy()]
    nearest = griddata(given, known, wanted, "nearest")
    if method == "nearest":
        return torch.from_numpy(nearest)
    found = griddata(given, known, wanted, "linear")
    return torch.from_numpy(np.where(np.isnan(found), nearest, found))
