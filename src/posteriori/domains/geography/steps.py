"""STEPS: an ensemble of rain some frames ahead by a cascade of scales that live as long as they are large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import binary_dilation
from scipy.signal.windows import tukey

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.domains.geography.motion import carried, motion, origins

Floats = NDArray[np.float64]
WET = 0.05
"""Least rain [mm in a frame] that counts as rain."""
TAPER = 0.2
"""Share of a side that the window of the spectrum fades over."""
DRY = 10 * np.log10(WET) - 5
"""Where no rain lies on the scale of decibels."""
ALONG, ACROSS = (10.88, 0.23, -7.68), (5.76, 0.31, -2.72)
"""Error of motion a tᵇ + c [km/h], t in minutes, along and across it: their mean over the way (Bowler et al. 2006)."""


@dataclass(frozen=True)
class Steps:
    """Members of rain: each level of a cascade an AR(2) process along the motion, with noise of the field's spectrum.

    Attributes:
        members: of the ensemble.
        cell: length of a cell [km].
        minutes: between frames.
        gains: one a level of the cascade, which it is multiplied by before the values at hand are put in its order.

    Reference: Bowler, Pierce & Seed (2006), STEPS: a probabilistic precipitation forecasting scheme, QJRMS 132;
    Pulkkinen et al. (2019), pysteps, Geosci. Model Dev. 12.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Bowler, Pierce & Seed (2006), STEPS, Q. J. R. Meteorol. Soc. 132, 2127-2155.",
    )
    members: int = 20
    cell: float = 2.0
    minutes: float = 10.0
    gains: tuple[float, ...] = (1.0,) * 6

    def __post_init__(self) -> None:
        if self.members < 2 or len(self.gains) < 2 or not (self.cell > 0 and self.minutes > 0):
            raise OptionError(f"{self}: at least two members and levels, positive lengths.")
        if min(self.gains) <= 0:
            raise OptionError(f"{self}: the gains must be positive.")

    def __call__(self, past: Sequence[Floats], ahead: int, rng: Rng) -> Floats:
        """Members (member, y, x) [mm] ``ahead`` frames after the last of three ``past`` frames (y, x) [mm].

        Raises:
            ShapeError: other than three frames.
        """
        if len(past) != 3 or ahead < 1:
            raise ShapeError(f"{len(past)} frames, {ahead} ahead: STEPS needs three frames and one ahead or more.")
        now = past[-1]
        if (now >= WET).sum() < 10:
            return np.zeros((self.members, *now.shape))
        flow = motion([np.log1p(10 * frame) for frame in past])
        here = [moved(frame, origins(flow, 2 - at)) if at < 2 else decibels(frame) for at, frame in enumerate(past)]
        levels = len(self.gains)
        bands = bandpass(now.shape, levels)
        cascades = [_split(frame, bands) for frame in here]
        mean, std = cascades[-1].mean((-2, -1)), cascades[-1].std((-2, -1)) + 1e-9
        normal = [(c - c.mean((-2, -1))[:, None, None]) / (c.std((-2, -1))[:, None, None] + 1e-9) for c in cascades]
        phi = np.array([autoregression(normal[2][at], normal[1][at], normal[0][at]) for at in range(levels)])
        shape = bands, spectrum(here)
        rains = self._evolved(normal, phi, mean, std * self.gains, now, shape, ahead, rng.child("noise"))
        return self._moved(rains, flow, ahead, rng.child("motion"))

    def _evolved(
        self,
        normal: Sequence[Floats],
        phi: Floats,
        mean: Floats,
        std: Floats,
        now: Floats,
        shape: tuple[Floats, Floats],
        ahead: int,
        rng: Rng,
    ) -> Floats:
        """Rain of each member where it came from, (member, y, x)."""
        bands, amplitude = shape
        before, last = (np.broadcast_to(c, (self.members, *c.shape)) for c in normal[1:])
        allowed = np.broadcast_to(now >= WET, (self.members, *now.shape))
        ball = np.hypot(*np.indices((5, 5)) - 2.0) <= 2.0
        a, b, c = (phi[:, i, None, None] for i in range(3))
        for _ in range(ahead):
            white = rng.numpy.standard_normal((self.members, *now.shape))
            noise = _split(fft.irfft2(fft.rfft2(white) * amplitude, now.shape), bands)
            noise = noise / (noise.std((-2, -1), keepdims=True) + 1e-12)
            before, last = last, a * last + b * before + c * noise
            levels = (last * std[:, None, None] + mean[:, None, None]).sum(1)
            allowed = np.stack([binary_dilation(part, ball) for part in allowed])
            fields = np.where(allowed, levels, levels.min())
            rains = np.stack([matched(field, now) for field in fields])
            allowed = rains >= WET
        return rains

    def _moved(self, rains: Floats, flow: Floats, ahead: int, rng: Rng) -> Floats:
        """Members carried along motion that errs along and across itself."""
        minutes = self.minutes * np.arange(1, ahead + 1)
        per_hour = 60 / self.minutes * self.cell
        speed = np.hypot(*flow) + 1e-9
        along, across = flow / speed, np.stack([-flow[1], flow[0]]) / speed
        errors = np.array([(a * minutes**b + c).mean() for a, b, c in (ALONG, ACROSS)]) / per_hour
        found = []
        for rain in rains:
            e = rng.numpy.laplace(scale=1 / np.sqrt(2), size=2) * errors
            found.append(rain_of_decibels(moved(rain, origins(flow + e[0] * along + e[1] * across, ahead))))
        return np.stack(found)


def moved(rain: Floats, origin: Floats) -> Floats:
    """Rain [mm] carried along on the scale of decibels, where peaks do not spread over dry cells."""
    return carried(decibels(rain) - DRY, origin) + DRY


def spectrum(frames: Sequence[Floats]) -> Floats:
    """Amplitude (y, x of rfft2) of frames in decibels less the step at the edge of rain, which is no texture."""
    wet = np.mean([np.maximum(frame - 10 * np.log10(WET), 0.0) for frame in frames], 0)
    height, width = wet.shape
    return np.asarray(np.abs(fft.rfft2(wet * tukey(height, TAPER)[:, None] * tukey(width, TAPER))))


def noise(n: int, shape: tuple[int, ...], length: float, slope: float, rng: Rng) -> Floats:
    """Those of ``periodic_noise`` on a larger field, cut so that they are not periodic on ``shape``, (n, y, x)."""
    large = tuple(int(1.25 * side) for side in shape)
    return periodic_noise(n, large, length, slope, rng)[:, : shape[0], : shape[1]]


def periodic_noise(n: int, shape: tuple[int, ...], length: float, slope: float, rng: Rng) -> Floats:
    """Gaussian fields of unit variance, (n, y, x).

    Their amplitude is (1 + (2π k length)²)^(-slope / 2), k in cycles a cell, ``length`` in cells.
    """
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None]
    amplitude = (1 + (2 * np.pi * length * np.hypot(ky, kx)) ** 2) ** (-slope / 2)
    amplitude /= np.sqrt((amplitude**2).mean())
    white = fft.rfft2(rng.numpy.standard_normal((n, *shape)))
    return np.asarray(fft.irfft2(white * amplitude[:, : shape[1] // 2 + 1], shape))


def decibels(rain: Floats) -> Floats:
    """Rain [mm] on a logarithmic scale, where there is none 5 dB below the least."""
    return np.where(rain >= WET, 10 * np.log10(np.maximum(rain, WET)), DRY)


def rain_of_decibels(levels: Floats) -> Floats:
    """The inverse of ``decibels``, in [mm]."""
    return np.where(levels >= 10 * np.log10(WET), 10 ** (levels / 10), 0.0)


def matched(field: Floats, now: Floats) -> Floats:
    """The values of ``now`` in the order of ``field``: its largest value where that is largest."""
    found = np.empty(field.size)
    found[np.argsort(field, axis=None, kind="stable")] = np.sort(now, axis=None)
    return found.reshape(field.shape)


def bandpass(shape: tuple[int, int], levels: int) -> Floats:
    """Weights (level, y, x of rfft2) that sum to one: bells evenly spaced in the logarithm of wavenumber."""
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij"))
    place = np.log(np.maximum(k, 0.5 / max(shape)) / level_centres(shape, levels)[0]) / _ratio(shape, levels)
    bells = np.exp(-0.5 * ((place - np.arange(levels)[:, None, None]) / 0.5) ** 2)
    bells[:, 0, 0] = np.arange(levels) == 0
    return np.asarray(bells / bells.sum(0))


def level_centres(shape: tuple[int, int], levels: int) -> Floats:
    """Wavenumber [cycles a cell] of each level's largest weight, (level,)."""
    return np.asarray(np.exp(_ratio(shape, levels) * (np.arange(levels) + 0.5)) / max(shape))


def _ratio(shape: tuple[int, int], levels: int) -> float:
    """Logarithm of the ratio of wavenumbers of neighbouring levels, from one wave a field to two cells a wave."""
    return float(np.log(0.5 * max(shape)) / levels)


def autoregression(now: Floats, before: Floats, earlier: Floats) -> Floats:
    """(φ₁, φ₂, noise) of a stationary AR(2) process of unit variance by Yule & Walker.

    The correlation over two frames is raised to where that of the process never swings about zero: without the bound,
    growth over one frame is carried on as an oscillation.
    """
    r1 = float(np.clip((now * before).mean(), 1e-3, 0.9999))
    least = (3 * r1**2 - 2 + 2 * (1 - r1**2) ** 1.5) / r1**2
    r2 = float(np.clip((now * earlier).mean(), least, 0.9999))
    phi1, phi2 = r1 * (1 - r2) / (1 - r1 * r1), (r2 - r1 * r1) / (1 - r1 * r1)
    return np.array([phi1, phi2, np.sqrt(max(0.0, 1 - phi1 * r1 - phi2 * r2))])


def _split(fields: Floats, bands: Floats) -> Floats:
    """(*case, y, x) → (*case, level, y, x), whose sum is the field."""
    return np.asarray(fft.irfft2(fft.rfft2(fields)[..., None, :, :] * bands, fields.shape[-2:]))
