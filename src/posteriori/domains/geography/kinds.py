"""Quantities that are not Gaussian as ones that nearly are: rain by normal scores, directions as points of a circle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from posteriori.core.errors import DataError
from posteriori.core.random import Rng

Floats = NDArray[np.float64]
KNOTS = 512
TAIL = 0.02
"""Share of the positive values whose growth with the score is carried on beyond the largest."""


@dataclass(frozen=True)
class NormalScores:
    """A map between a non-negative quantity with many zeros and standard normal scores.

    A share ``dry`` of the law lies at zero; it is the part of a Gaussian below ``threshold``. A positive value at
    quantile q of the positive ones has the score Φ⁻¹(dry + (1 - dry) q), by interpolation of its logarithm between
    knots; beyond the largest knot the logarithm goes on growing as over the last of them.

    Attributes:
        dry: probability of zero.
        scores, logs: the knots, both rising.

    Reference: Deutsch & Journel (1998), GSLIB; Allard & Bourotte (2015), Disaggregating daily precipitations into
    hourly values with a transformed censored latent Gaussian process, Stoch. Environ. Res. Risk Assess. 29.
    """

    dry: float
    scores: Floats
    logs: Floats

    @staticmethod
    def of(values: Floats) -> NormalScores:
        """The map that takes these values (NaN are left out) to normal scores.

        Raises:
            DataError: negative values, or fewer than 20 different positive ones.
        """
        known = values[~np.isnan(values)]
        if (known < 0).any() or np.isinf(known).any():
            raise DataError(
                f"normal scores need finite values of zero or more, not {known.min():g} to {known.max():g}."
            )
        wet = np.sort(known[known > 0])
        if len(np.unique(wet)) < 20:
            raise DataError(
                f"{len(np.unique(wet))} different positive values are too few for normal scores; 20 are needed."
            )
        dry = 1 - len(wet) / len(known)
        levels, counts = np.unique(wet, return_counts=True)
        below = np.cumsum(counts) - 0.5 * counts
        chosen = np.unique(np.round(np.linspace(0, len(levels) - 1, KNOTS)).astype(int))
        quantile = dry + (1 - dry) * below[chosen] / len(wet)
        return NormalScores(float(dry), np.asarray(ndtri(quantile)), np.log(levels[chosen]))

    @property
    def threshold(self) -> float:
        """The score below which the quantity is zero; -inf where it never is."""
        return float(ndtri(self.dry))

    def forward(self, values: Floats, rng: Rng) -> Floats:
        """Scores of values, same shape, NaN kept; the scores of zeros are drawn from below the threshold.

        Raises:
            DataError: negative values.
        """
        if (values < 0).any():
            raise DataError(f"normal scores need values of zero or more, not {np.nanmin(values):g}.")
        scores = np.full(values.shape, np.nan)
        wet = values > 0
        scores[wet] = _carried_on(np.log(values[wet]), self.logs, self.scores, self._growth(inverse=True))
        none = values == 0
        uniform = rng.numpy.uniform(size=int(none.sum()))
        scores[none] = ndtri(np.maximum(uniform, 1e-12) * max(self.dry, 1e-12))
        return scores

    def inverse(self, scores: Floats) -> Floats:
        """Values of scores, same shape, NaN kept, never negative."""
        grown = np.exp(_carried_on(scores, self.scores, self.logs, self._growth(inverse=False)))
        return np.where(scores <= self.threshold, 0.0, grown)

    def _growth(self, inverse: bool) -> float:
        """Slope of the logarithm over the score at the upper end, or its inverse."""
        first = min(len(self.scores) - 2, int(np.searchsorted(self.scores, ndtri(1 - (1 - self.dry) * TAIL))))
        slope = (self.logs[-1] - self.logs[first]) / (self.scores[-1] - self.scores[first])
        return float(1 / slope if inverse else slope)


def to_circle(degrees: Floats) -> Floats:
    """Directions [degrees] as cosine and sine, (*shape) → (2, *shape), NaN kept."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)])


def from_circle(components: Floats) -> Floats:
    """Directions in [0, 360) degrees of cosine and sine of any length, (2, *shape) → (*shape).

    No direction is NaN: both components zero, or one NaN.
    """
    cosine, sine = components
    degrees = np.degrees(np.arctan2(sine, cosine)) % 360.0
    return np.where((cosine == 0) & (sine == 0), np.nan, np.where(degrees == 360.0, 0.0, degrees))


def _carried_on(at: Floats, x: Floats, y: Floats, slope: float) -> Floats:
    """Linear interpolation, beyond the last knot with ``slope``, below the first held."""
    found = np.interp(at, x, y)
    return np.asarray(np.where(at > x[-1], y[-1] + slope * (at - x[-1]), found))
