"""Is a set of generated fields like real ones: distances, spectra, variograms, copies, and what it is worth as data."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from posteriori.audit.rasters.bootstrap import Interval, bootstrap, bootstrap_root_ratio
from posteriori.audit.rasters.frechet import Limit, frechet, frechet_limit
from posteriori.audit.rasters.located import Located
from posteriori.audit.rasters.memorisation import Memorisation, memorisation
from posteriori.audit.rasters.regimes import Regimes, regime_score
from posteriori.audit.rasters.spectra import spectrum_ratio
from posteriori.audit.rasters.texture import Texture
from posteriori.audit.rasters.variograms import axis_lags, variogram, variogram_error
from posteriori.core.random import Rng
from posteriori.domains.geography.generation_data import Sample

HIDDEN = 1 / 3
"""Side of the block in the middle that the downstream learner fills, as a share of the field's."""
RIDGES = tuple(10.0 ** (k / 2) for k in range(-14, 1, 2))
REGIMES = 6
MODES = 6


@dataclass(frozen=True)
class Likeness:
    """How far a set of fields is from real ones.

    Attributes:
        held: Fréchet distance of textures to held-out fields, and its limit in n.
        trained: the same to the training fields.
        located: Fréchet distance of located features to held-out fields; None where fields have no places.
        variogram, variogram_held: mean relative error of the variogram against training and held-out fields.
        variogram_interval: the first over resampled fields, 95 %.
        chance: the error that as many independent fields of a law without any would have.
        spectrum: least and largest power over that of the training fields; None under a mask.
        variety: regime score, 1 to the number of regimes.
    """

    held: Limit
    trained: Limit
    located: float | None
    variogram: float
    variogram_held: float
    variogram_interval: Interval
    chance: float
    spectrum: tuple[float, float] | None
    variety: float


@dataclass(frozen=True, eq=False)
class Judge:
    """Features of the real fields, against which sets of fields are held."""

    sample: Sample
    texture: Texture
    train: Tensor
    held: Tensor
    located: Located | None
    regimes: Regimes
    rng: Rng

    @staticmethod
    def of(sample: Sample, rng: Rng) -> Judge:
        """Of the two sides of a sample."""
        complete = bool(sample.mask.all())
        texture = Texture(sample.shape, None if complete else sample.mask, min(16, max(sample.shape) - 1))
        train, held = texture(sample.train), texture(sample.held)
        located = Located.of(sample.train, {}, MODES, sample.mask) if sample.placed else None
        return Judge(sample, texture, train, held, located, Regimes.of(train, REGIMES, rng.child("regimes")), rng)

    def __call__(self, fields: Tensor) -> Likeness:
        """Of fields (n, y, x)."""
        sample, features = self.sample, self.texture(fields)
        lags, mask = axis_lags(sample.shape), sample.mask
        ours, wanted = variogram(fields, lags, mask), variogram(sample.train, lags, mask).mean(0)
        ratio = None
        if self.texture.rings is not None:
            found = spectrum_ratio(fields, sample.train, self.texture.rings)
            ratio = (found.min().item(), found.max().item())
        located = self.located
        return Likeness(
            held=frechet_limit(features, self.held, self.rng.child("held")),
            trained=frechet_limit(features, self.train, self.rng.child("train")),
            located=None if located is None else frechet(located(fields), located(sample.held)),
            variogram=variogram_error(fields, sample.train, lags, mask),
            variogram_held=variogram_error(fields, sample.held, lags, mask),
            variogram_interval=bootstrap(
                ours,
                lambda mean: (mean / wanted - 1).abs().mean(-1),
                torch.arange(len(ours)),
                self.rng.child("variogram"),
            ),
            chance=chance(ours),
            spectrum=ratio,
            variety=regime_score(self.regimes.probabilities(features)),
        )


def chance(variograms: Tensor) -> float:
    """Mean relative error that independent fields of these variograms (n, lag) have by their number alone.

    E|z| √(variance / n) over the mean, for the mean over many fields is nearly normal.
    """
    std, mean = torch.std_mean(variograms, 0)
    return (2 / (pi * len(variograms))) ** 0.5 * float((std / mean).mean())


def copies(sample: Sample, fields: Tensor) -> Memorisation:
    """Nearest training fields of generated ones, in standard deviations of each cell; tiles of every offset."""
    mean, std = sample.train.mean(0), sample.train.std(0).clamp(min=1e-12)
    flat = [((part - mean) / std)[:, sample.mask] for part in (fields, sample.dense, sample.held)]
    return memorisation(flat[0], flat[1], flat[2], sample.dense_blocks, sample.held_blocks)


def downstream(sample: Sample, fields: Tensor, rng: Rng) -> Interval:
    """RMSE of a ridge regression learnt from real and generated fields, over that of one learnt from real ones alone.

    It fills the block in the middle of held-out fields from the cells around; each learner's ridge is chosen on every
    fourth training block. Interval over held-out blocks.
    """
    rows, columns = (round(side * HIDDEN) for side in sample.shape)
    top, left = ((side - part) // 2 for side, part in zip(sample.shape, (rows, columns), strict=True))
    hidden = torch.zeros(sample.shape, dtype=torch.bool)
    hidden[top : top + rows, left : left + columns] = True
    hidden = hidden & sample.mask
    around = ~hidden & sample.mask
    labels = sample.dense_blocks
    back = torch.isin(labels, torch.unique(labels)[1::4])
    squares = []
    for extra in (fields, fields[:0]):
        trials = [
            _errors(torch.cat([sample.dense[~back], extra]), sample.dense[back], around, hidden, k) for k in RIDGES
        ]
        best = RIDGES[int(torch.stack([trial.mean() for trial in trials]).argmin())]
        squares.append(_errors(torch.cat([sample.dense, extra]), sample.held, around, hidden, best))
    return bootstrap_root_ratio(squares[0], squares[1], sample.held_blocks, rng)


def _errors(fit: Tensor, test: Tensor, around: Tensor, hidden: Tensor, ridge: float) -> Tensor:
    """Mean squared error of each test field, by ridge regression with the ridge in mean squares of the predictors."""
    x, y = fit[:, around], fit[:, hidden]
    mx, my = x.mean(0), y.mean(0)
    x, y = x - mx, y - my
    damping = ridge * x.square().mean() * len(x)
    coefficients = torch.linalg.solve(x.mT @ x + damping * torch.eye(x.shape[1], dtype=x.dtype), x.mT @ y)
    return (my + (test[:, around] - mx) @ coefficients - test[:, hidden]).square().mean(1)
