"""A synthetic experiment: a true section, records made on its finest grid with noise, what an inversion is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.domains.geophysics.fwi import Stage
from posteriori.domains.geophysics.fwi_prior import SectionPrior
from posteriori.domains.geophysics.fwi_spread import Spread
from posteriori.domains.geophysics.marmousi import coarsened, smoothed, water_depth
from posteriori.domains.geophysics.traces import BandPass, noise_level

DEPTH = 45.0
"""Depth of sources and receivers [m]."""
NODES = 4.0
"""Cells of a simulation in the shortest wavelength of its band."""
TRAINING = 40
"""Sections that the prior is learnt from."""


@dataclass(frozen=True)
class Layout:
    """What is shot, over which cells, and how noisily.

    Args:
        block: nodes of the section averaged into a cell of the inversion, along each direction.
        blur: standard deviation [m] of the Gaussian that makes the start of the truth.
        shots, receivers: their numbers, evenly spread over the section.
        seconds: length of the records. peak: of the Ricker wavelet [Hz].
        snr: mean power of the clean records over that of the noise [dB].
    """

    block: int = 3
    blur: float = 300.0
    shots: int = 24
    receivers: int = 167
    seconds: float = 4.0
    peak: float = 5.0
    snr: float = 20.0

    def __post_init__(self) -> None:
        if self.shots < 1 or self.receivers < 1 or self.block < 1:
            raise OptionError(f"{self.shots} shots, {self.receivers} receivers, blocks of {self.block}: one at least.")
        if not (100 <= self.blur <= 1e5 and 0.5 < self.seconds <= 100 and 0.1 <= self.peak <= 1000):
            raise OptionError(
                f"blur={self.blur:g} m lies in 100 to 100,000, seconds={self.seconds:g} in 0.5 to 100, "
                f"peak={self.peak:g} Hz in 0.1 to 1000."
            )
        if self.seconds * self.peak < 2 or not -40 <= self.snr <= 200:
            raise OptionError(
                f"seconds={self.seconds:g} hold two periods of peak={self.peak:g} Hz at least, and snr={self.snr:g} dB "
                "lies in -40 to 200."
            )

    def spread(self, z: np.ndarray, x: np.ndarray) -> Spread:
        """The spread on cells at depths ``z`` and distances ``x`` [m]; records to twice the peak, 2.8 times as often.

        Raises:
            OptionError: more shots or receivers than columns of cells.
        """
        if max(self.shots, self.receivers) > len(x):
            raise OptionError(f"{self.shots} shots, {self.receivers} receivers on {len(x)} columns; take fewer.")
        depth = float(z[np.abs(z - DEPTH).argmin()])

        def place(n: int) -> np.ndarray:
            column = np.rint((len(x) - 1) * (np.arange(n) + 0.5) / n).astype(int)
            return np.stack([np.full(n, depth), x[column]], -1)

        interval = 0.18 / self.peak
        samples = int(self.seconds / interval) + 1
        return Spread(place(self.shots), place(self.receivers), self.peak, 2 * self.peak, interval, samples)


@dataclass(frozen=True)
class Experiment:
    """What an inversion is given (start, spread, data, sigma, prior) and, for scores alone, the ``truth``.

    Attributes:
        truth, start: cells (z, x) [m/s]. water: depth [m] down to which the velocity is known.
        data: records (shot, receiver, time) with noise. sigma: of the samples of each trace, (shot, receiver, 1), as
            estimated without the truth.
        clean: the records without noise. prior: of the section about the start.
    """

    truth: xr.DataArray
    start: xr.DataArray
    water: float
    spread: Spread
    data: Tensor
    clean: Tensor
    sigma: Tensor
    prior: Gaussian

    @property
    def rock(self) -> np.ndarray:
        """Cells whose velocity is asked for, booleans (nz, nx)."""
        return np.broadcast_to((self.truth["z"].values > self.water)[:, None], self.truth.shape)

    def rmse(self, section: Tensor | np.ndarray) -> float:
        """Root-mean-square error [m/s] of a section's rocks."""
        error = np.asarray(section, float) - self.truth.values
        return float(np.sqrt(np.square(error[self.rock]).mean()))

    @staticmethod
    def simulate(section: xr.DataArray, layout: Layout, rng: Rng, context: Context) -> Experiment:
        """Shoot ``section`` (z, x) [m/s] on its own nodes, blur it for the start, learn the prior from other sections.

        The records come from cells ``block`` times finer, and time steps as much shorter, than any inversion uses.
        The noise level of a trace is estimated from what comes before the first arrivals, and from how far its records
        of the *start* differ between the two grids (much, where a receiver lies on a source): both can be had without
        knowing the truth.
        """
        water = water_depth(section)
        blurred = smoothed(section, layout.blur, water)
        truth, start = coarsened(section, layout.block), coarsened(blurred, layout.block)
        spread = layout.spread(truth["z"].values, truth["x"].values)
        fine = spread.operator(_space(section))
        clean = shoot(fine, section, context, "records")
        noise = band_noise(clean.shape, spread, rng.child("noise"))
        data = clean + float(clean.std()) * 10 ** (-layout.snr / 20) * noise
        quiet = quiet_level(spread, data)
        nz, nx = section.shape
        node = float(section["x"][1] - section["x"][0])
        learnt = SectionPrior.learn(rng.child("training"), nz, nx, layout.block, layout.blur, TRAINING, node)
        prior = learnt.about(start, water)
        gap = shoot(fine, blurred, context, "start, fine") - shoot(
            spread.operator(prior.space), start, context, "start, coarse"
        )
        sigma = (quiet**2 + gap.double().square().mean(-1, keepdim=True)).sqrt()
        return Experiment(truth, start, water, spread, data, clean, sigma, prior)


def band_noise(shape: tuple[int, ...], spread: Spread, rng: Rng) -> Tensor:
    """Gaussian noise (shot, receiver, time) of unit standard deviation, above a quarter of the peak frequency."""
    white = rng.normal(shape)
    band = BandPass(spread.space, 0.25 * spread.peak, None, 2)
    coloured = band(white)
    return coloured / coloured.std()


def quiet_level(spread: Spread, data: Tensor) -> float:
    """Standard deviation of the noise, from samples that come before any wave can arrive."""
    gather = spread.space.label(data)
    z, x = (spread.sources[:, None, k] - spread.receivers[None, :, k] for k in (0, 1))
    onset = 1.0 / spread.peak
    earliest = xr.DataArray(np.hypot(z, x) / spread.fastest + onset, dims=("shot", "receiver"))
    return float(noise_level(gather, earliest).median())


def shoot(operator: Operator, section: xr.DataArray, context: Context, label: str) -> Tensor:
    """Records of a section, shot by shot, float32."""
    shots = operator.codomain.labels("shot")
    m = torch.from_numpy(section.values).float()
    with torch.no_grad():
        return torch.cat([operator.select("shot", [s])(m) for s in context.progress(shots, label, len(shots))])


def stages_for(spread: Spread, cell: float, effort: float = 1.0, slowest: float = 1450.0) -> list[Stage]:
    """Bands from half the peak frequency upwards, each simulated as coarsely as its waves allow."""
    plan = ((0.6, 10), (1.0, 10), (1.6, 10), (None, 12))
    found = []
    for share, iterations in plan:
        high = None if share is None else share * spread.peak
        shortest = slowest / (1.5 * high if high is not None else 1.2 * spread.top)
        coarser = max(1, int(shortest / (NODES * cell)))
        found.append(Stage(high, min(coarser, 3), max(1, round(effort * iterations))))
    return found


def _space(section: xr.DataArray) -> Space:
    coords = {d: np.asarray(section[d].values, float) for d in ("z", "x")}
    return Space("velocity", coords, "m/s", Positive())
