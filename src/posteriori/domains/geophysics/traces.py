"""What is done to traces before they are inverted: band-pass, mutes, polarity, noise, spectra."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.domains.geophysics.segy import even_interval

MAD = 1.4826
"""Standard deviation of a normal law over its median absolute deviation."""


class BandPass(TorchOperator):
    """Zero-phase Butterworth along ``time``: the gain of a filter run forwards and backwards, 1 / (1 + (f/fc)^2n).

    Multiplies the spectrum of zero-padded traces by the real gain, so that it is its own transpose.

    Args:
        space: traces, the last dim ``time`` [s].
        low, high: corners [Hz] where the gain is one half; None leaves that side open.
        order: n of one pass; the gain falls by 12 n dB an octave.

    Reference: Butterworth (1930), On the theory of filter amplifiers, Wireless Engineer 7, 536; Gustafsson (1996),
    Determining the initial states in forward-backward filtering, IEEE Trans. Signal Processing 44, 988.
    """

    linear = True

    def __init__(self, space: Space, low: float | None = None, high: float | None = None, order: int = 4) -> None:
        super().__init__()
        if not space.dims or space.dims[-1] != "time":
            raise DataError(f"{space} must end in the dim 'time'.")
        self.domain = self.codomain = space
        time = np.asarray(space.labels("time"), float)
        self.steps = len(time)
        self.padded = 2 * self.steps
        frequency = np.fft.rfftfreq(self.padded, even_interval(time))
        self.register_buffer("gain", torch.from_numpy(butterworth_gain(frequency, low, high, order)))
        self.gain: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The filtered traces."""
        if m.numel() == 0:  # which MKL refuses
            return m.clone()
        spectrum = torch.fft.rfft(m, self.padded) * self.gain.to(m.dtype)
        return torch.fft.irfft(spectrum, self.padded)[..., : self.steps]

    @staticmethod
    def example() -> BandPass:
        """Two short traces."""
        return BandPass(Space("pressure", {"receiver": 2, "time": 0.01 * np.arange(24)}), 5.0, 20.0)


def butterworth_gain(frequency: np.ndarray, low: float | None, high: float | None, order: int) -> np.ndarray:
    """Amplitude of a Butterworth filter run forwards and backwards, at ``frequency`` [Hz]; one half at the corners.

    Raises:
        OptionError: corners out of order or beyond the Nyquist frequency.
    """
    nyquist = float(frequency[-1])
    for name, corner in (("low", low), ("high", high)):
        if corner is not None and not 0 < corner < nyquist:
            raise OptionError(f"{name}={corner:g} Hz must lie between 0 and the Nyquist frequency {nyquist:g} Hz.")
    if low is not None and high is not None and low >= high:
        raise OptionError(f"low={low:g} Hz must lie below high={high:g} Hz.")
    if order < 1:
        raise OptionError(f"order {order} must be at least 1.")
    gain = np.ones_like(frequency)
    if high is not None:
        gain = gain / (1 + (frequency / high) ** (2 * order))
    if low is not None:
        ratio = (frequency / low) ** (2 * order)
        gain = gain * ratio / (1 + ratio)
    return gain


def bandpass(gather: xr.DataArray, low: float | None = None, high: float | None = None, order: int = 4) -> xr.DataArray:
    """:class:`BandPass` of labelled traces (…, time); gaps stay gaps."""
    space = Space("pressure", {"time": gather["time"].values})
    values = torch.from_numpy(np.nan_to_num(gather.transpose(..., "time").values.astype(np.float64)))
    filtered = BandPass(space, low, high, order)(values).numpy()
    empty = np.isnan(gather.transpose(..., "time").values)
    return gather.transpose(..., "time").copy(data=np.where(empty, np.nan, filtered).astype(gather.dtype))


def mute_window(
    gather: xr.DataArray, velocity: float, delay: float = 0.0, taper: float = 0.05, keep: str = "below"
) -> xr.DataArray:
    """Weights in [0, 1] (…, time) that silence what comes before (or after) ``|offset| / velocity + delay``.

    Args:
        gather: traces with a coordinate ``offset`` [m].
        velocity: of the edge [m/s], e.g. 1500 for the direct wave in water.
        delay: of the edge at zero offset [s].
        taper: length of the cosine ramp [s]; it begins at the edge.
        keep: ``below`` (later times: a top mute) or ``above`` (earlier times: first arrivals).

    Raises:
        OptionError: a velocity or taper that is not positive.
        DataError: no offsets.
    """
    if velocity <= 0 or taper <= 0 or keep not in ("below", "above"):
        raise OptionError(f"velocity={velocity:g}, taper={taper:g}, keep={keep!r}; give positive ones, below or above.")
    if "offset" not in gather.coords:
        raise DataError("a mute needs the coordinate 'offset' [m] of each trace.")
    late = gather["time"] - np.abs(gather["offset"]) / velocity - delay
    ramp = 0.5 - 0.5 * xr.apply_ufunc(np.cos, np.pi * (late / taper).clip(0.0, 1.0))
    window: xr.DataArray = ramp if keep == "below" else 1.0 - ramp
    return window.transpose(*gather.dims).rename("window")


def muted(gather: xr.DataArray, window: xr.DataArray) -> xr.DataArray:
    """The traces times their window, attributes kept."""
    return gather.copy(data=(gather * window).transpose(*gather.dims).values.astype(gather.dtype))


def first_breaks(gather: xr.DataArray, short: float = 0.03, long: float = 0.2, ratio: float = 6.0) -> xr.DataArray:
    """Time [s] at which a trace's short-time mean energy first exceeds ``ratio`` times what came before; NaN if never.

    Args:
        gather: traces (…, time).
        short, long: lengths [s] of the two windows.
        ratio: of their mean energies that counts as an arrival.

    Reference: Allen (1978), Automatic earthquake recognition and timing from single traces, BSSA 68, 1521.
    """
    time = np.asarray(gather["time"].values, float)
    dt = even_interval(time)
    fast, slow = max(1, round(short / dt)), max(2, round(long / dt))
    if fast + slow >= len(time):
        raise OptionError(f"windows of {short} and {long} s do not fit traces of {len(time) * dt:g} s; give shorter.")
    power: np.ndarray = np.nan_to_num(gather.transpose(..., "time").values.astype(float)) ** 2
    total = np.concatenate([np.zeros((*power.shape[:-1], 1)), power.cumsum(-1)], -1)
    at = np.arange(slow, len(time) - fast)
    before = (total[..., at] - total[..., at - slow]) / slow
    after = (total[..., at + fast] - total[..., at]) / fast
    above = after > ratio * before + 1e-12 * power.max()
    picked = np.where(above.any(-1), time[at[above.argmax(-1)]], np.nan)
    return xr.DataArray(picked, gather.isel(time=0, drop=True).coords, gather.transpose(..., "time").dims[:-1])


def noise_level(gather: xr.DataArray, before: xr.DataArray | float) -> xr.DataArray:
    """Standard deviation of each trace ahead of ``before`` [s], robustly (median absolute deviation × 1.4826).

    Raises:
        DataError: fewer than ten samples ahead of it in every trace.
    """
    quiet = gather.where(gather["time"] < before)
    counts = quiet.notnull().sum("time")
    if int(counts.max()) < 10:
        raise DataError("fewer than ten samples come before the first arrival; give a later time, or state the noise.")
    middle = quiet.median("time")
    return (MAD * abs(quiet - middle).median("time")).where(counts >= 10)


def require_same_polarity(observed: xr.DataArray, predicted: xr.DataArray) -> None:
    """Refuse observed traces whose sign is opposite to that of the predictions.

    Looks at the correlation of each pair of traces at zero lag and at the best lag within a tenth of their length.

    Raises:
        DataError: in most traces the strongest correlation is negative.
    """
    d = np.nan_to_num(observed.transpose(*predicted.dims).values.reshape(-1, predicted.sizes["time"]).astype(float))
    p = predicted.values.reshape(d.shape).astype(float)
    n = 2 * d.shape[-1]
    lags = np.fft.irfft(np.fft.rfft(d, n) * np.fft.rfft(p, n).conj(), n)
    reach = max(1, d.shape[-1] // 10)
    near = np.concatenate([lags[:, : reach + 1], lags[:, -reach:]], -1)
    heard = np.abs(near).max(-1) > 0
    if not heard.any():
        raise DataError("no observed trace has anything in common with its prediction; check times and geometry.")
    negative = (-near.min(-1) > near.max(-1))[heard].mean()
    if negative > 0.75:
        raise DataError(
            f"{100 * negative:.0f} % of the traces correlate best with the prediction turned over: the polarity of the "
            "data (or the sign of the wavelet) is reversed; multiply one of them by -1."
        )


def amplitude_spectrum(gather: xr.DataArray) -> xr.DataArray:
    """Root-mean-square amplitude over the live traces, by ``frequency`` [Hz]."""
    time = np.asarray(gather["time"].values, float)
    values = gather.transpose(..., "time").values.reshape(-1, len(time)).astype(float)
    values = values[np.isfinite(values).all(-1)]
    amplitude = np.sqrt((np.abs(np.fft.rfft(values)) ** 2).mean(0))
    frequency = np.fft.rfftfreq(len(time), even_interval(time))
    return xr.DataArray(amplitude, {"frequency": frequency}, ("frequency",), "amplitude", attrs={"units": "1"})


def fk_spectrum(gather: xr.DataArray, spacing: float) -> xr.DataArray:
    """Amplitude (frequency [Hz], wavenumber [1/m]) of one shot (receiver, time), receivers ``spacing`` [m] apart.

    A wave that moves towards larger receiver numbers at speed c lies on frequency = c · wavenumber. Gaps count as zero.
    """
    if gather.ndim != 2 or gather.dims[-1] != "time":
        raise DataError(f"an f-k spectrum is of one shot (receiver, time), not of {gather.dims}.")
    if not spacing > 0:
        raise OptionError(f"spacing {spacing} m must be positive.")
    values = np.nan_to_num(gather.values.astype(float))
    frequency = np.fft.rfftfreq(values.shape[1], even_interval(np.asarray(gather["time"].values, float)))
    spectrum = np.abs(np.fft.fft(np.fft.rfft(values, axis=1), axis=0))
    # a wave f(t - x/c) has phase -2πf x/c: numpy's transform over x puts it at -f/c, so the axis is turned
    wavenumber = -np.fft.fftfreq(values.shape[0], spacing)
    order = np.argsort(wavenumber)
    return xr.DataArray(
        spectrum[order].T,
        {"frequency": frequency, "wavenumber": wavenumber[order]},
        ("frequency", "wavenumber"),
        "amplitude",
        attrs={"units": "1"},
    )
