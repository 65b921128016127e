"""A fixed spread of sources and receivers: its wavelet, its bands, its simulations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.domains.geophysics.traces import BandPass, butterworth_gain
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.wavelets import ricker

COURANT = 0.5
"""Largest velocity · time step / cell; order 8 is stable to 0.55."""
ORDER = 8
RING = 20
"""Nodes of the absorbing ring."""
MARGIN = 5
"""Recorded intervals that are simulated beyond the last sample, so that no trace ends in its ringing."""


@dataclass(frozen=True)
class Spread:
    """Every source is heard by every receiver.

    Attributes:
        sources: rows (z, x) [m]. receivers: the same, (R, 2), or (shots, R, 2) for each shot its own.
        peak: frequency of the Ricker wavelet [Hz]. top: corner [Hz] of the recording's anti-alias filter.
        interval: between recorded samples [s]. samples: of a trace.
        fastest: velocity [m/s] up to which simulations are stable.
        surface: whether the first row of a section is a free surface.
        response: what every recorded trace is multiplied by, (samples, samples), e.g. a filter; nothing without.
    """

    sources: np.ndarray
    receivers: np.ndarray
    peak: float
    top: float
    interval: float
    samples: int
    fastest: float = 5500.0
    surface: bool = False
    response: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 < self.peak < self.top < 0.5 / self.interval:
            raise OptionError(
                f"peak {self.peak:g} Hz < corner {self.top:g} Hz < Nyquist {0.5 / self.interval:g} Hz is needed; "
                "record more often or shoot lower."
            )

    @property
    def space(self) -> Space:
        """The recorded traces."""
        coords = {
            "shot": np.arange(len(self.sources)),
            "receiver": np.arange(self.receivers.shape[-2]),
            "time": self.interval * np.arange(self.samples),
        }
        return Space("pressure", coords, "Pa")

    def steps(self, cell: float) -> tuple[int, float]:
        """Simulation steps in one recorded interval, and their length [s], for cells of ``cell`` [m]."""
        every = ceil(self.interval * self.fastest / (COURANT * cell))
        return every, self.interval / every

    def wavelet(self, cell: float, high: float | None = None) -> Tensor:
        """The source's signature at simulation steps, in the band that is recorded and below ``high`` [Hz].

        Its spectrum is laid where :func:`true_frequency` will find it again.
        """
        every, dt = self.steps(cell)
        count = (self.samples - 1 + MARGIN) * every + 1
        t = dt * torch.arange(count, dtype=torch.float64)
        frequency = true_frequency(np.fft.rfftfreq(2 * count, dt), dt)
        gain = butterworth_gain(frequency, None, self.top, ORDER)
        if high is not None:
            gain = gain * butterworth_gain(frequency, None, high, 4)
        phase = torch.from_numpy(2 * np.pi * frequency)[:, None] * t
        pure = ricker(self.peak, t, 2.0 / self.peak)
        spectrum = torch.complex(phase.cos() @ pure, -(phase.sin() @ pure))
        return torch.fft.irfft(spectrum * torch.from_numpy(gain), 2 * count)[:count]

    def recorder(self, cell: float) -> Tensor:
        """(samples, steps): simulated traces → recorded samples, free of the dispersion of time steps.

        Second-order steps of length dt carry the frequency ω as the true equation carries θ = 2 sin(ω dt / 2) / dt. So
        the spectrum is read at ω and written at θ; above the recorded band it is tapered to nothing.

        Reference: Stork (2013), Eliminating nearly all dispersion error from FD modeling and RTM with minimal cost
        increase, EAGE; Koene, Robertsson, Broggini & Andersson (2018), Eliminating time dispersion from seismic wave
        modeling, GJI 213, 169.
        """
        every, dt = self.steps(cell)
        count = (self.samples - 1 + MARGIN) * every + 1
        period = 2 * count * dt
        theta = np.arange(0.0, min(1.8 * self.top, 0.95 / (np.pi * dt)), 1 / period)
        omega = np.arcsin(np.pi * theta * dt) / (np.pi * dt)
        ramp = np.clip((theta - 1.25 * self.top) / (0.55 * self.top), 0.0, 1.0)
        weight = np.where(theta > 0, 2.0, 1.0) * (0.5 + 0.5 * np.cos(np.pi * ramp)) * dt / period
        read = 2 * np.pi * omega[:, None] * dt * np.arange(count)
        write = 2 * np.pi * theta * (self.interval * np.arange(self.samples))[:, None]
        return torch.from_numpy((np.cos(write) * weight) @ np.cos(read) + (np.sin(write) * weight) @ np.sin(read))

    def filtered(self, data: Tensor, high: float | None) -> Tensor:
        """Recorded traces below ``high`` [Hz]."""
        return data if high is None else BandPass(self.space, None, high)(data)

    def operator(self, space: Space, high: float | None = None, codes: Tensor | None = None) -> Recorded:
        """Velocity over ``space`` (z, x) [m/s] → recorded traces below ``high`` [Hz].

        With ``codes`` (supershots, shots) all sources fire at once in every supershot, each times its code: what
        ``codes @ traces`` would be, for the price of as many shots as there are codes.
        """
        z = np.asarray(space.labels("z"), float)
        cell = float(z[1] - z[0])
        _, dt = self.steps(cell)
        wavelet, points, receivers = self.wavelet(cell, high), *map(torch.from_numpy, (self.sources, self.receivers))
        if codes is None:
            survey = Survey.shots(points, receivers, wavelet)
        else:
            fired = torch.arange(len(codes)).repeat_interleave(len(points))
            survey = Survey(points.repeat(len(codes), 1), fired, codes.reshape(-1, 1) * wavelet, receivers)
        acoustic = Acoustic(space, survey, dt, ORDER, RING, surface=self.surface)
        written = self.recorder(cell)
        matrix = written if self.response is None else self.response.to(written) @ written
        return Recorded(acoustic, matrix, self.space.labels("time"))


class Recorded(Operator):
    """Simulated traces as they are written down: ``matrix`` (samples, steps) times each, at ``times`` [s]."""

    def __init__(self, simulated: Acoustic, matrix: Tensor, times: np.ndarray) -> None:
        super().__init__()
        inner = simulated.codomain
        if matrix.shape != (len(times), len(inner.labels("time"))):
            raise ShapeError(f"a recorder {tuple(matrix.shape)} does not fit {inner} and {len(times)} samples.")
        self.simulated = simulated
        self.register_buffer("matrix", matrix)
        self.matrix: Tensor
        coords = {d: inner.labels(d) for d in inner.dims} | {"time": times}
        self.domain, self.codomain = simulated.domain, Space(inner.name, coords, inner.unit)

    def forward(self, m: Tensor) -> Tensor:
        """The recorded samples."""
        return self._written(self.simulated.forward(m))

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        return self._written(self.simulated.jvp(m, v))

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        return self.simulated.vjp(m, r @ self.matrix.to(r.dtype))

    def pull(self, m: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The samples, and ``r ↦ vjp(m, r)`` that reuses what the simulation kept."""
        traces, back = self.simulated.pull(m)
        return self._written(traces), lambda r: back(r @ self.matrix.to(r.dtype))

    def select(self, dim: str, labels: Any) -> Operator:
        """Fewer shots are simulated; of other dims, fewer data are kept."""
        part = self.simulated.select(dim, labels) if dim == "shot" else None
        if not isinstance(part, Acoustic):
            return super().select(dim, labels)
        return Recorded(part, self.matrix, self.codomain.labels("time"))

    def _written(self, traces: Tensor) -> Tensor:
        return traces @ self.matrix.to(traces.dtype).mT

    @staticmethod
    def example() -> Recorded:
        """Means of pairs of samples of a small survey."""
        simulated = Acoustic.example()
        times = simulated.codomain.labels("time")
        pairs = torch.eye(len(times), dtype=torch.float64).reshape(-1, 2, len(times)).mean(1)
        return Recorded(simulated, pairs, times[::2])


def true_frequency(frequency: np.ndarray, dt: float) -> np.ndarray:
    """The frequency [Hz] whose waves steps of ``dt`` [s] really propagate: sin(π f dt) / (π dt)."""
    return np.sin(np.pi * frequency * dt) / (np.pi * dt)
