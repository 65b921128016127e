"""A user's records made ready for an inversion: places in the section, band, gaps, mutes, noise; checked first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core import memory
from posteriori.core.errors import DataError, OptionError
from posteriori.core.space import Space
from posteriori.domains.geophysics.fwi_spread import ORDER, Spread
from posteriori.domains.geophysics.segy import even_interval, read_segy, shot_gathers
from posteriori.domains.geophysics.traces import BandPass, amplitude_spectrum, bandpass, mute_window, noise_level

RATE = 0.36
"""Recorded interval times the band's upper corner: 1.4 times as often as Nyquist asks for."""
LAGS = (-1.5, 3.0)
"""Times, in periods of half the upper corner, by which the source may lead and lag the simulated wavelet."""
NODES = 3.4
"""Fewest cells in the slowest wave's length at the upper corner; the solver itself refuses below 2.8 at its edge."""
GAP = 1e-4
"""Weight of what was not recorded, so that its standard deviation is finite."""
HELD = 8
"""One shot in so many is held out."""
AUDIBLE = 0.1
"""Share of its largest value down to which the spectrum of records counts as signal."""


@dataclass(frozen=True)
class Treatment:
    """What is done to records, and what is known about them.

    Attributes:
        band: corners [Hz], low and high; where the spectrum is above a tenth of its peak without.
        mute: velocity [m/s] and delay [s] of a top mute; nothing is muted without.
        origin: easting and northing [m] of the section's x = 0; only the easting where the line runs east.
        noise: standard deviation of the band's noise, in the records' unit; from ahead of first arrivals without.
        theory: share of a trace's root mean square that acoustic waves in a section are not expected to explain.
        point_sources: multiply by √t, which with the free wavelet turns point sources in 3-D into line sources.
        surface: whether the section's first row is a free surface.
    """

    band: tuple[float, ...] = ()
    mute: tuple[float, ...] = ()
    origin: tuple[float, ...] = ()
    noise: float | None = None
    theory: float = 0.1
    point_sources: bool = False
    surface: bool = False

    def __post_init__(self) -> None:
        for name, given, most in (("band", self.band, 2), ("mute", self.mute, 2)):
            if len(given) not in (0, most) or any(value < 0 for value in given):
                raise OptionError(f"{name}={given}: two numbers, e.g. band=3,12 [Hz] or mute=1500,0.1 [m/s, s].")
        if self.band and not 0 < self.band[0] < self.band[1]:
            raise OptionError(f"band={self.band}: two rising frequencies above 0 Hz are needed, e.g. band=3,12.")
        if len(self.origin) > 2:
            raise OptionError(f"origin={self.origin}: the easting, or easting and northing, of x = 0.")
        if not 0 <= self.theory < 1 or (self.noise is not None and self.noise < 0) or self.noise == self.theory == 0:
            raise OptionError(
                f"noise={self.noise}, theory={self.theory:g}: theory lies in [0, 1), noise is not negative, "
                "and one of them is above 0."
            )


@dataclass(frozen=True)
class Recording:
    """Records in their band, at few samples, later by the lead of the simulated wavelet.

    Attributes:
        spread: where they were recorded; its Ricker wavelet is a first guess.
        data: (shot, receiver, time), float32, 0 in gaps. window: 1 where they count, 0 in gaps and mutes.
        sigma: standard deviation of noise and theory, of the shape of ``data``.
        names: the file's numbers of the shots. band: corners [Hz]. quiet: standard deviation of the noise.
        note: what reading the file found.
    """

    spread: Spread
    data: Tensor
    window: Tensor
    sigma: Tensor
    names: np.ndarray
    band: tuple[float, float]
    quiet: float
    note: str

    @property
    def lags(self) -> range:
        """Samples by which the source's signature may differ from the first guess."""
        low, high = (share / self.spread.peak / self.spread.interval for share in LAGS)
        return range(-ceil(-low), ceil(high) + 1)

    @property
    def weight(self) -> Tensor:
        """What a residual is multiplied by to count in standard deviations."""
        return self.window / self.sigma

    @property
    def wide(self) -> Tensor:
        """Standard deviations of all samples, very large in gaps and mutes."""
        return self.sigma / self.window.clamp_min(GAP)

    def part(self, shots: np.ndarray) -> Recording:
        """Only those shots, by position."""
        spread = replace(self.spread, sources=self.spread.sources[shots], receivers=self.spread.receivers[shots])
        at = torch.from_numpy(shots)
        data, window, sigma = (t[at] for t in (self.data, self.window, self.sigma))
        return replace(self, spread=spread, data=data, window=window, sigma=sigma, names=self.names[shots])

    def held(self) -> np.ndarray:
        """Positions of the shots that no inversion sees: one in eight, none of fewer than three."""
        many = len(self.names)
        return np.arange(min(HELD // 2, many // 2), many, HELD) if many > 2 else np.arange(0)


def read_records(path: Path, section: xr.DataArray, treatment: Treatment, bounds: tuple[float, float]) -> Recording:
    """The records of a SEG-Y file over ``section`` (z, x), refused where an inversion could not use them.

    Args:
        bounds: lowest and highest velocity [m/s] an inversion may try.

    Raises:
        DataError: geometry outside the section, a sampling too coarse, a frequency too high for the cells, or too
            little ahead of first arrivals to tell the noise.
    """
    gather = shot_gathers(read_segy(path))
    memory.require(64 * gather.size, f"{path} and its filtered copies", "take fewer shots or a shorter record")
    sources, receivers = places(gather, treatment.origin)
    require_inside(sources, receivers, section, treatment.surface)
    low, high = _band(gather, section, treatment, bounds)
    interval, time = even_interval(gather["time"].values), np.asarray(gather["time"].values, float)
    every = int(RATE / high / interval + 1e-9)
    live = gather.notnull().all("time")
    filtered = bandpass(bandpass(gather, low, None), None, high, ORDER)
    gain = np.sqrt(np.maximum(time, interval)) if treatment.point_sources else np.ones(len(time))
    apart = np.hypot(*np.moveaxis(sources[:, None] - receivers, -1, 0))
    quiet = treatment.noise
    if quiet is None:
        quiet = _quiet(filtered, apart / (1.1 * float(section.max())), high)
    window = _window(gather.assign_coords(offset=(("shot", "receiver"), apart)), treatment.mute, live, high)
    peak, step = high / 2, every * interval
    lead, tail = round((2 / peak + time[0]) / step), ceil(-LAGS[0] / peak / step)
    if lead < 0:
        raise DataError(f"{path} begins {-time[0]:g} s ahead of the shot, more than a period; cut the records first.")
    kept = slice(None, None, every)

    def padded(values: np.ndarray) -> Tensor:
        return torch.nn.functional.pad(torch.from_numpy(np.nan_to_num(values[..., kept])), (lead, tail))

    data, weights = padded(filtered.values * gain).float(), padded(window).float()
    rms = ((data * weights).square().sum(-1, keepdim=True) / weights.square().sum(-1, keepdim=True)).sqrt()
    rms = rms.nan_to_num(float(rms.nanmedian()))
    noise = quiet * torch.nn.functional.pad(torch.from_numpy(gain[kept]), (lead, tail), value=float(gain[0]))
    sigma = (noise.square() + (treatment.theory * rms).square()).sqrt().float()
    samples = data.shape[-1]
    trace = Space("pressure", {"time": step * np.arange(samples)})
    cut = BandPass(trace, low)(torch.eye(samples, dtype=torch.float64)).mT
    spread = Spread(sources, receivers, peak, high, step, samples, bounds[1], treatment.surface, cut)
    return Recording(
        spread, data, weights, sigma, np.asarray(gather["shot"]), (low, high), quiet, gather.attrs.get("note", "")
    )


def places(gather: xr.DataArray, origin: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Sources (shot, 2) and receivers (shot, receiver, 2) as rows (z, x) [m], along the straight line of the survey.

    Receivers of gaps lie where another of the shot does.

    Raises:
        DataError: a shot with several sources, a line that is not straight, or one whose origin is not known.
    """
    if any(gather[name].dims != ("shot",) for name in ("source_x", "source_y", "source_depth")):
        raise DataError("a field record has sources at several places; give every shot a field record of its own.")
    shape = (gather.sizes["shot"], gather.sizes["receiver"])

    def table(name: str) -> np.ndarray:
        held = gather[name]
        full = np.array(held.broadcast_like(gather.isel(time=0, drop=True)).transpose("shot", "receiver"), float)
        first = np.isfinite(full).argmax(1)
        return np.where(np.isfinite(full), full, full[np.arange(shape[0]), first][:, None])

    east, north, depth = (table(f"receiver_{name}") for name in ("x", "y", "depth"))
    places_east = np.concatenate([gather["source_x"].values, east.ravel()])
    places_north = np.concatenate([gather["source_y"].values, north.ravel()])
    if np.ptp(places_east) == np.ptp(places_north) == 0:
        raise DataError("all sources and receivers lie at one place: the trace headers hold no geometry; fill it in.")
    if np.ptp(places_north) < 1e-3 * np.ptp(places_east):
        along = places_east - (origin[0] if origin else 0.0)
    else:
        if len(origin) != 2:
            raise DataError("the line does not run east: say with origin=easting,northing where the section's x is 0.")
        along = _along(np.stack([places_east, places_north], -1), np.asarray(origin))
    x_source, x_receiver = along[: shape[0]], along[shape[0] :].reshape(shape)
    sources = np.stack([gather["source_depth"].values.astype(float), x_source], -1)
    return sources, np.stack([depth, x_receiver], -1)


def _along(places: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Distance [m] from ``origin`` along the places' own straight line, positive towards their middle."""
    middle = places.mean(0)
    direction = np.linalg.svd(places - middle, full_matrices=False)[2][0]
    direction = direction * (np.sign((middle - origin) @ direction) or 1.0)
    across = (places - middle) @ np.array([-direction[1], direction[0]])
    along: np.ndarray = (places - origin) @ direction
    if np.abs(across).max() > 0.05 * np.ptp(along):
        raise DataError(
            f"places lie up to {np.abs(across).max():.0f} m beside a straight line of {np.ptp(along):.0f} m: "
            "a section needs a straight line; cut the survey into straight pieces."
        )
    return along


def require_inside(sources: np.ndarray, receivers: np.ndarray, section: xr.DataArray, surface: bool) -> None:
    """Refuse a section that does not hold the survey.

    Raises:
        DataError: naming both extents.
    """
    for name, rows in (("sources", sources), ("receivers", receivers.reshape(-1, 2))):
        for at, dim in enumerate("zx"):
            labels = section[dim].values
            least, most = rows[:, at].min(), rows[:, at].max()
            slack = 1e-6 * (labels[1] - labels[0])
            if least < labels[0] - slack or most > labels[-1] + slack:
                hint = "depths count downwards" if dim == "z" else "say with origin= where the section's x is 0"
                raise DataError(
                    f"{name} lie at {dim} = {least:g} … {most:g} m, the start section at {labels[0]:g} … "
                    f"{labels[-1]:g} m: extend the section, check metres against kilometres, or {hint}."
                )
        if surface and rows[:, 0].min() <= float(section["z"][0]):
            raise DataError(f"{name} lie on the free surface, where the pressure is 0; give their depths below it.")


def _band(
    gather: xr.DataArray, section: xr.DataArray, treatment: Treatment, bounds: tuple[float, float]
) -> tuple[float, float]:
    """The corners [Hz]: as asked for, else what the records hold and the cells carry."""
    interval, length = even_interval(gather["time"].values), float(np.ptp(gather["time"].values))
    cell = float(section["x"][1] - section["x"][0])
    carried, recorded = bounds[0] / (NODES * cell), RATE / interval
    if treatment.band:
        low, high = treatment.band
        if high > carried:
            raise DataError(
                f"band up to {high:g} Hz: waves of {bounds[0]:g} m/s need cells of {bounds[0] / NODES / high:.3g} m "
                f"or smaller, these have {cell:g} m; lower the band to {carried:.3g} Hz, or give a finer start."
            )
        if high > recorded:
            raise DataError(
                f"band up to {high:g} Hz: a sample every {1000 * interval:g} ms serves {recorded:.3g} Hz; lower the "
                "band, or give records sampled more finely."
            )
    else:
        spectrum = amplitude_spectrum(gather)
        loud = spectrum["frequency"].values[spectrum.values > AUDIBLE * float(spectrum[1:].max())]
        low, high = max(float(loud[loud > 0].min()), 2 / length), min(float(loud.max()), carried, recorded)
    if low < 1 / length or low >= 0.7 * high:
        raise DataError(
            f"a band of {low:.3g} to {high:.3g} Hz in records of {length:g} s: the low corner needs a period in the "
            f"record and to lie below 0.7 of the high one, which cells of {cell:g} m bound to {carried:.3g} Hz and the "
            f"sampling to {recorded:.3g} Hz; state band=low,high, or give a finer start."
        )
    return low, high


def _quiet(filtered: xr.DataArray, arrival: np.ndarray, high: float) -> float:
    """Standard deviation of the noise, from traces with at least two periods ahead of any wave."""
    before = arrival - 1 / high
    before = np.where(before - float(filtered["time"][0]) > 2 / high, before, np.nan)
    if np.isfinite(before).any():
        level = float(noise_level(filtered, xr.DataArray(before, dims=("shot", "receiver"))).median())
        if level >= 0:
            return level
    raise DataError(
        f"no trace has {2 / high:.2g} s ahead of its first arrival to tell the noise from; state noise= (standard "
        "deviation in the band, in the records' unit)."
    )


def _window(gather: xr.DataArray, mute: tuple[float, ...], live: xr.DataArray, high: float) -> np.ndarray:
    """Weights (shot, receiver, time): no gaps, no mutes, and a ramp of two periods to the records' end."""
    time = gather["time"].values
    ramp = np.clip((time[-1] - time) * high / 2, 0.0, 1.0)
    weights: np.ndarray = live.values[..., None] * (0.5 - 0.5 * np.cos(np.pi * ramp))
    if mute:
        weights = weights * mute_window(gather, mute[0], mute[1], 1 / high).values
    if not (weights.sum(-1) > 0).any():
        raise DataError(f"the mute {mute} silences every trace; its velocity is in m/s, its delay in s.")
    return weights
