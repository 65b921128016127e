"""What a field looks like, wherever it lies: 27 numbers from its spectrum, variogram, gradients and values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from posteriori.audit.rasters.cells import cell_weights
from posteriori.audit.rasters.spectra import Rings, radial_spectrum
from posteriori.audit.rasters.variograms import Lag, axis_lags, pair_ends, variogram
from posteriori.core.errors import DataError, OptionError, ShapeError

LEVELS = (0.1, 0.5, 0.9, 0.99)
LEAST = 1e-3
"""Gradients count as at least this share of their mean: a flat part of a map has no logarithm."""


@dataclass(frozen=True)
class Texture:
    """Features (n, feature) of fields (n, y, x) of one ``shape``, blind to where in the field things are.

    The logarithms of the power in 8 rings of wavenumber (Hann window), of the variogram at lags 1, 2, 4, 8, 16 along x
    and y, and of the 10, 50, 90 and 99 % quantiles of the gradient; skewness, kurtosis, mean and log standard
    deviation; the logarithm of the mean step across the edges of ``tile`` x ``tile`` tiles over the mean step anywhere.
    Under a mask (y, x) the rings are left out, since a gap has no spectrum, and a small field has fewer lags.

    Raises:
        OptionError: a field too small for any lag or tile.
    """

    shape: tuple[int, int]
    mask: Tensor | None = None
    tile: int = 16

    def __post_init__(self) -> None:
        if min(self.shape) < 4 or not 2 <= self.tile < max(self.shape):
            raise OptionError(
                f"fields of {self.shape} cells, tiles of {self.tile}: sides >= 4, a tile within the field."
            )
        if self.mask is not None and self.mask.shape != self.shape:
            raise ShapeError(f"mask {tuple(self.mask.shape)} is not of the fields' shape {self.shape}.")

    @cached_property
    def rings(self) -> Rings | None:
        """Rings of wavenumber; None where a mask has gaps."""
        return Rings.of(self.shape) if self.mask is None or bool(self.mask.all()) else None

    @cached_property
    def lags(self) -> list[Lag]:
        """Lags of the variogram, along x first."""
        return axis_lags(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, in order."""
        rings = [] if self.rings is None else [f"power {k:.3g} / cell" for k in self.rings.centre.tolist()]
        lags = [f"variogram {lag[1] or lag[0]} {'x' if lag[1] else 'y'}" for lag in self.lags]
        gradients = [f"gradient {100 * level:g} %" for level in LEVELS]
        return (*rings, *lags, *gradients, "skewness", "kurtosis", "mean", "standard deviation", "seams")

    def __call__(self, fields: Tensor) -> Tensor:
        """Features of fields (n, y, x).

        Raises:
            DataError: a constant field, or a gap outside the mask.
        """
        if fields.ndim != 3 or fields.shape[1:] != self.shape:
            raise ShapeError(f"fields {tuple(fields.shape)} are not (n, {self.shape[0]}, {self.shape[1]}).")
        kept = cell_weights(fields, self.mask) > 0
        x = torch.where(kept, fields, 0.0).to(torch.float64)
        power = [] if self.rings is None else [radial_spectrum(x, self.rings).log()]
        gradients, seams = _steps(x, kept[0], self.tile)
        apart = variogram(x, self.lags, self.mask).log()
        features = torch.cat([*power, apart, gradients, _moments(x, kept[0]), seams], 1)
        if not torch.isfinite(features).all():
            field = int((~torch.isfinite(features)).any(1).nonzero()[0])
            raise DataError(f"field {field} is constant, at least along one axis; it has no texture: leave it out.")
        return features


def _moments(x: Tensor, kept: Tensor) -> Tensor:
    """Skewness, kurtosis (excess), mean and log standard deviation, (n, 4)."""
    values = x[:, kept]
    mean = values.mean(1, keepdim=True)
    z = values - mean
    std = z.square().mean(1, keepdim=True).sqrt()
    z = z / std
    return torch.cat([z.pow(3).mean(1, keepdim=True), z.pow(4).mean(1, keepdim=True) - 3, mean, std.log()], 1)


def _steps(x: Tensor, kept: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    """Log quantiles of the gradient, (n, 4), and the log seam ratio, (n, 1)."""
    across, down = (_difference(x, lag) for lag in ((0, 1), (1, 0)))
    defined = [near & far for near, far in (pair_ends(kept, 0, 1), pair_ends(kept, 1, 0))]
    both = defined[0][:-1] & defined[1][:, :-1]
    slope = torch.hypot(across[:, :-1], down[:, :, :-1])[:, both]
    slope = torch.maximum(slope, LEAST * slope.mean(1, keepdim=True))
    quantiles = torch.quantile(slope, torch.tensor(LEVELS, dtype=x.dtype), dim=1).mT.log()
    size = [step.abs()[:, where] for step, where in zip((across, down), defined, strict=True)]
    on_edge = [
        ((torch.arange(1, step.shape[dim] + 1) % tile == 0).reshape(view).expand(step.shape[1:]))[where]
        for step, where, dim, view in zip((across, down), defined, (2, 1), ((1, -1), (-1, 1)), strict=True)
    ]
    edges = torch.cat([part[:, on] for part, on in zip(size, on_edge, strict=True)], 1)
    ratio = edges.mean(1, keepdim=True) / torch.cat(size, 1).mean(1, keepdim=True)
    return quantiles, ratio.log()


def _difference(x: Tensor, lag: Lag) -> Tensor:
    near, far = pair_ends(x, *lag)
    return far - near
