"""How far predicted traces are from observed ones: laws of the noise, and misfits that survive a wrong start.

Each is a :class:`Noise`, so that ``Inverse(operator, prior, data, misfit)`` takes any of them. Huber's is a law of the
noise. The others compare something of whole traces (envelope, phase, shape, mass in time): they are no density of the
data, cannot be drawn from and say so; use them to get near, and a law of the noise for the posterior.
"""

from __future__ import annotations

from abc import abstractmethod
from math import erfc, exp, pi, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.noise import Noise, refuse_bad_sigma
from posteriori.core.random import Rng

TINY = 1e-30


class Huber(Noise):
    """Gaussian errors of scale ``sigma`` whose tails beyond ``knee`` sigmas are exponential; normalised.

    Energy of z = residual / sigma: ½ z² inside the knee k, k |z| - ½ k² outside.

    Reference: Huber (1964), Robust estimation of a location parameter, Ann. Math. Stat. 35, 73.
    """

    references: ClassVar = ("Huber (1964), Robust estimation of a location parameter, Ann. Math. Stat. 35, 73.",)

    def __init__(self, sigma: Tensor | float, knee: float = 1.345) -> None:
        super().__init__()
        sigma = torch.as_tensor(sigma, dtype=torch.float64)
        refuse_bad_sigma(sigma, zero_allowed=False)
        if not knee > 0:
            raise DataError(f"knee {knee} must be positive.")
        self.register_buffer("sigma", sigma)
        self.sigma: Tensor
        self.knee = knee
        self._inside = sqrt(2 * pi) * (1 - erfc(knee / sqrt(2)))
        self._outside = 2 / knee * exp(-0.5 * knee**2)

    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        z = ((data.double() - prediction.double()) / self.sigma).abs()
        cost = torch.where(z <= self.knee, 0.5 * z.square(), self.knee * z - 0.5 * self.knee**2)
        constant = torch.tensor(self._inside + self._outside, dtype=torch.float64, device=z.device).log()
        return (cost + constant + self.sigma.log()).sum(-1)

    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        rng = rng.fresh()
        far = rng.child("tail").uniform(prediction.shape) < self._outside / (self._inside + self._outside)
        edge = 0.5 * erfc(self.knee / sqrt(2))
        u = edge + (1 - 2 * edge) * rng.child("core").uniform(prediction.shape)
        tail = self.knee - torch.log1p(-rng.child("length").uniform(prediction.shape)) / self.knee
        sign = torch.where(rng.child("sign").uniform(prediction.shape) < 0.5, -1.0, 1.0)
        z = torch.where(far, sign * tail, torch.special.ndtri(u))
        return prediction + (z * self.sigma).to(prediction)

    def part(self, index: Tensor) -> Huber:
        return Huber(self.sigma[index] if self.sigma.ndim else self.sigma, self.knee)

    @staticmethod
    def example() -> Huber:
        """Unit scale."""
        return Huber(1.0)


class TraceMisfit(Noise):
    """A misfit of whole traces of ``steps`` samples, divided by ``scale²``; no law of the noise."""

    def __init__(self, steps: int, scale: float = 1.0) -> None:
        super().__init__()
        if steps < 4 or not scale > 0:
            raise OptionError(f"traces of {steps} samples and scale {scale:g}; give at least four and a positive one.")
        self.steps, self.scale = steps, scale

    @abstractmethod
    def distances(self, d: Tensor, p: Tensor) -> Tensor:
        """One number for each pair of traces (…, steps), float64."""

    def energy(self, data: Tensor, prediction: Tensor) -> Tensor:
        """Sum of the traces' distances over ``scale²``, float64 (*batch,); known up to no constant at all."""
        if data.shape[-1] % self.steps:
            raise ShapeError(f"{data.shape[-1]} data are no whole number of traces of {self.steps} samples.")
        d, p = torch.broadcast_tensors(data.double(), prediction.double())
        return self.distances(*(t.reshape(*t.shape[:-1], -1, self.steps) for t in (d, p))).sum(-1) / self.scale**2

    def sample(self, prediction: Tensor, rng: Rng) -> Tensor:
        """Refused: a distance between traces is no density of the data."""
        raise UnanswerableError(
            f"{type(self).__name__} is a misfit, not a law of the noise, and cannot be drawn from; "
            "use Normal, Student or Huber where data are simulated."
        )

    def part(self, index: Tensor) -> Noise:
        """Itself for whole traces.

        Raises:
            UnanswerableError: traces with gaps.
        """
        pieces = index.reshape(-1, self.steps) if len(index) % self.steps == 0 else None
        if pieces is None or bool((pieces - pieces[:, :1] != torch.arange(self.steps, device=index.device)).any()):
            raise UnanswerableError(
                f"{type(self).__name__} compares whole traces; a gap must take whole traces, not some of their samples."
            )
        return self


class Envelope(TraceMisfit):
    """½ ∫ (E_d - E_p)² dt of the envelopes E = |analytic signal|: sees where energy is, not which wiggle.

    Reference: Wu, Luo & Wu (2014), Seismic envelope inversion and modulation signal model, Geophysics 79, WA13.
    """

    references: ClassVar = ("Wu, Luo & Wu (2014), Seismic envelope inversion, Geophysics 79, WA13.",)

    def distances(self, d: Tensor, p: Tensor) -> Tensor:
        return 0.5 * (_envelope(d) - _envelope(p)).square().sum(-1)

    @staticmethod
    def example() -> Envelope:
        """Traces of eight samples."""
        return Envelope(8)


class Phase(TraceMisfit):
    """½ ∫ |e^{iφ_d} - e^{iφ_p}|² dt of instantaneous phases: amplitudes do not count.

    The phase is damped where a trace is weaker than ``floor`` of its largest envelope.

    Reference: Fichtner et al. (2008), Theoretical background for continental- and global-scale full-waveform inversion
    in the time-frequency domain, GJI 175, 665; Yuan, Bozdağ et al. (2020), Exponentiated phases, GJI 221, 1570.
    """

    references: ClassVar = ("Yuan, Bozdağ et al. (2020), Exponentiated phases, GJI 221, 1570.",)

    def __init__(self, steps: int, scale: float = 1.0, floor: float = 0.05) -> None:
        super().__init__(steps, scale)
        self.floor = floor

    def distances(self, d: Tensor, p: Tensor) -> Tensor:
        return 0.5 * (self._phasor(d) - self._phasor(p)).abs().square().sum(-1)

    def _phasor(self, trace: Tensor) -> Tensor:
        z = _analytic(trace)
        size = z.abs().amax(-1, keepdim=True)
        return z / (z.abs().square() + (self.floor * size).square() + TINY).sqrt()

    @staticmethod
    def example() -> Phase:
        """Traces of eight samples."""
        return Phase(8)


class Correlation(TraceMisfit):
    """1 - ⟨d, p⟩ / (‖d‖ ‖p‖): the shape of a trace, whatever its size.

    Reference: Choi & Alkhalifah (2012), Application of multi-source waveform inversion to marine streamer data using
    the global correlation norm, Geophys. Prosp. 60, 748.
    """

    references: ClassVar = ("Choi & Alkhalifah (2012), The global correlation norm, Geophys. Prosp. 60, 748.",)

    def distances(self, d: Tensor, p: Tensor) -> Tensor:
        size = (d.square().sum(-1) * p.square().sum(-1) + TINY).sqrt()
        return 1 - (d * p).sum(-1) / size

    @staticmethod
    def example() -> Correlation:
        """Traces of eight samples."""
        return Correlation(8)


class Transport(TraceMisfit):
    """Squared 2-Wasserstein distance in time, in samples², of traces made positive and of unit mass: convex in shifts.

    A trace q becomes log(1 + exp(b q / rms_d)) / b, with rms_d that of the observed trace, and is divided by its sum.
    The distance is ∫ (F_d⁻¹(u) - F_p⁻¹(u))² du over the inverses of the piecewise linear distribution functions,
    at ``quantiles`` midpoints of u.

    Reference: Qiu, Ramos-Martínez, Valenciano, Yang & Engquist (2017), Full-waveform inversion with an exponentially
    encoded optimal-transport norm, SEG; Yang, Engquist, Sun & Hamfeldt (2018), Geophysics 83, R43.
    """

    references: ClassVar = (
        "Yang, Engquist, Sun & Hamfeldt (2018), Application of optimal transport and the quadratic Wasserstein metric "
        "to full-waveform inversion, Geophysics 83, R43.",
    )

    def __init__(self, steps: int, scale: float = 1.0, sharpness: float = 1.0, quantiles: int | None = None) -> None:
        super().__init__(steps, scale)
        self.sharpness = sharpness
        self.quantiles = quantiles or 4 * steps

    def distances(self, d: Tensor, p: Tensor) -> Tensor:
        rms = (d.square().mean(-1, keepdim=True) + TINY).sqrt()
        u = (torch.arange(self.quantiles, dtype=torch.float64, device=d.device) + 0.5) / self.quantiles
        gap = self._inverse(d / rms, u) - self._inverse(p / rms, u)
        return gap.square().mean(-1)

    def _inverse(self, q: Tensor, u: Tensor) -> Tensor:
        """F⁻¹(u), (…, quantiles), in samples."""
        mass = torch.nn.functional.softplus(self.sharpness * q) / self.sharpness
        mass = mass / mass.sum(-1, keepdim=True)
        total = mass.cumsum(-1)
        at = torch.searchsorted(total.detach(), u.expand(*q.shape[:-1], -1).contiguous()).clamp_max(q.shape[-1] - 1)
        upper, own = total.gather(-1, at), mass.gather(-1, at)
        return at + 1 - (upper - u) / own

    @staticmethod
    def example() -> Transport:
        """Traces of eight samples."""
        return Transport(8)


def _analytic(trace: Tensor) -> Tensor:
    """Trace + i Hilbert transform, zero-padded to twice its length."""
    n = trace.shape[-1]
    weight = torch.zeros(2 * n, dtype=trace.dtype, device=trace.device)
    weight[0], weight[n], weight[1:n] = 1.0, 1.0, 2.0
    return torch.fft.ifft(torch.fft.fft(trace, 2 * n) * weight)[..., :n]


def _envelope(trace: Tensor) -> Tensor:
    z = _analytic(trace)
    size = z.abs().square().amax(-1, keepdim=True)
    return (z.abs().square() + 1e-12 * size + TINY).sqrt()
