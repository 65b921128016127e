"""Clusters of samples: how many, how stable, and whether there are any at all.

Samples are points (sample, feature). The number is chosen by the likelihood of blocks left out; stability is the
adjusted Rand index between clusters of the whole and of resampled blocks; both are held against data of one Gaussian
with the same spectrum along the samples (phases drawn anew, the same for all features), in which there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posteriori.core import optional
from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.domains.geography.land_maps import Codes, Floats

MOST = 8
"""Clusters tried at most."""
FOLDS = 5
STARTS = 3
FLOOR = 1e-3
"""Added to the variance of each cluster, over that of the features."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """What was found.

    Attributes:
        label: of each sample, (sample,), by falling size; all zero where there are no clusters.
        number: how many.
        gain: log likelihood a sample, left out, of each number of clusters less that of one Gaussian [nat], from 1 on.
        p_value: share of the noise fields (and of this) whose best gain is as large.
        stability: adjusted Rand index of each resample.
        noise_stability: the same in noise, one mean for each.
        probability: of each cluster (sample, cluster).
    """

    label: Codes
    number: int
    gain: Floats
    p_value: float
    stability: Floats
    noise_stability: Floats
    probability: Floats

    @property
    def found(self) -> bool:
        """Whether there are clusters: the gain is beyond that of noise (5 %), and so is the stability."""
        limit = np.quantile(self.noise_stability, 0.95) if len(self.noise_stability) else 0.0
        return bool(self.number > 1 and self.p_value <= 0.05 and self.stability.mean() > limit)


def rand_index(one: Codes, other: Codes) -> float:
    """Adjusted Rand index: 1 where both part the samples alike, 0 on average where by chance.

    Reference: Hubert & Arabie (1985), comparing partitions.
    """
    _, a = np.unique(one, return_inverse=True)
    _, b = np.unique(other, return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    pairs, rows, columns = ((x * (x - 1) / 2).sum() for x in (table, table.sum(1), table.sum(0)))
    total = len(a) * (len(a) - 1) / 2
    chance, most = rows * columns / total, (rows + columns) / 2
    return float((pairs - chance) / (most - chance)) if most > chance else 1.0


def phases_anew(points: Floats, rng: Rng) -> Floats:
    """A Gaussian series with the spectra and cross-spectra of ``points`` (sample, feature) along the samples.

    Reference: Prichard & Theiler (1994), generating surrogate data for time series with several simultaneously measured
    variables.
    """
    spectrum = np.fft.rfft(points - points.mean(0), axis=0)
    turn = np.exp(2j * np.pi * rng.numpy.random(len(spectrum)))[:, None]
    turn[0] = 1.0
    if len(points) % 2 == 0:
        turn[-1] = 1.0
    return np.asarray(points.mean(0) + np.fft.irfft(spectrum * turn, len(points), axis=0), np.float64)


def require_blocks(block: Codes) -> None:
    """Go on only with as many blocks (sample,) as are left out in turn.

    Raises:
        DataError: fewer.
    """
    if len(np.unique(block)) < FOLDS:
        raise DataError(f"{len(np.unique(block))} blocks; {FOLDS} are left out in turn: take shorter blocks.")


def clusters(
    points: Floats, block: Codes, rng: Rng, most: int = MOST, resamples: int = 20, noise: int = 19
) -> Clusters:
    """Clusters of ``points`` (sample, feature); samples of one ``block`` (sample,) are left out and drawn together.

    Raises:
        DataError: fewer blocks than folds.
    """
    require_blocks(block)
    most = min(most, len(points) // 12)
    gain = _gains(points, block, range(1, most + 1), rng.child("gain"))
    number = int(np.argmax(gain)) + 1
    others = [phases_anew(points, rng.child("noise", at)) for at in range(noise)]
    beaten = [_gains(other, block, range(1, most + 1), rng.child("null", at)).max() for at, other in enumerate(others)]
    p_value = (1 + sum(best >= gain.max() for best in beaten)) / (noise + 1)
    if number == 1:
        one = np.zeros(len(points), np.int64)
        return Clusters(one, 1, gain, 1.0, np.ones(1), np.ones(0), np.ones((len(points), 1)))
    model = _mixture(points, number, rng.child("whole"))
    label, probability = _ordered(model.predict(points), model.predict_proba(points))
    stability = _stability(points, block, number, resamples, rng.child("stability"))
    quick = max(4, resamples // 4)
    calm = [_stability(other, block, number, quick, rng.child("calm", at)).mean() for at, other in enumerate(others)]
    return Clusters(label, number, gain, p_value, stability, np.array(calm), probability)


def _gains(points: Floats, block: Codes, numbers: Sequence[int], rng: Rng) -> Floats:
    """Log likelihood a sample of blocks left out, less that of one Gaussian."""
    every, place = np.unique(block, return_inverse=True)
    fold = (rng.permutation(len(every)).numpy() % FOLDS)[place]
    found = np.zeros(len(numbers))
    for at, number in enumerate(numbers):
        for each in range(FOLDS):
            rest, left = points[fold != each], points[fold == each]
            found[at] += _mixture(rest, number, rng.child("fold", each, number)).score_samples(left).sum()
    return np.asarray((found - found[0]) / len(points))


def _stability(points: Floats, block: Codes, number: int, resamples: int, rng: Rng) -> Floats:
    """Adjusted Rand index of clusters of resampled blocks with those of all samples."""
    whole = _mixture(points, number, rng.child("whole")).predict(points)
    every, found = np.unique(block), []
    for at in range(resamples):
        drawn = every[rng.child("blocks", at).integers(len(every), (len(every),)).numpy()]
        rows = np.concatenate([np.flatnonzero(block == one) for one in drawn])
        found.append(rand_index(whole, _mixture(points[rows], number, rng.child("again", at)).predict(points)))
    return np.array(found)


def _mixture(points: Floats, number: int, rng: Rng) -> Any:
    mixture = optional.require("sklearn.mixture", "geography")
    model = mixture.GaussianMixture(
        number,
        n_init=STARTS if number > 1 else 1,
        reg_covar=FLOOR * float(points.var(0).mean()),
        random_state=int(rng.entropy % 2**31),
        max_iter=200,
        tol=1e-2,
    )
    return model.fit(points)


def _ordered(label: Codes, probability: Floats) -> tuple[Codes, Floats]:
    """Clusters by falling size."""
    order = np.argsort(-np.bincount(label, minlength=probability.shape[1]), kind="stable")
    rank: NDArray[np.int64] = np.argsort(order)
    return rank[label], probability[:, order]
