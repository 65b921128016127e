"""Filters, mutes, polarity, noise and spectra of traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
import xarray as xr

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.domains.geophysics import traces
from posteriori.domains.geophysics.source_wavelet import estimate_filter, filtered
from posteriori.physics.wavelets import ricker
from posteriori.testing import check_operator

DT = 0.004
TIMES = DT * np.arange(500)


def labelled(values: np.ndarray, spacing: float = 25.0) -> xr.DataArray:
    offset = spacing * np.arange(len(values))
    coords = {"receiver": np.arange(len(values)), "time": TIMES, "offset": ("receiver", offset)}
    return xr.DataArray(values, coords, ("receiver", "time"), "pressure")


def test_the_band_pass_is_scipys_filter_run_both_ways() -> None:
    """Against scipy's sosfiltfilt, away from the ends; the bilinear transform bends frequencies by < 1 % here."""
    trace = np.exp(-(((TIMES - 1.0) / 0.02) ** 2)) * np.cos(2 * np.pi * 9 * (TIMES - 1.0))
    sos = scipy.signal.butter(3, [4.0, 12.0], "bandpass", fs=1 / DT, output="sos")
    gain = np.abs(scipy.signal.sosfreqz(sos, [7.0, 9.0], fs=1 / DT)[1]) ** 2
    assert (gain > 0.9).all()
    low = scipy.signal.butter(4, 12.0, "lowpass", fs=1 / DT, output="sos")
    wanted = scipy.signal.sosfiltfilt(low, trace)
    found = traces.bandpass(labelled(trace[None]), high=12.0, order=4).values[0]
    assert np.abs(found - wanted).max() < 0.01 * np.abs(wanted).max()
    high = scipy.signal.butter(4, 6.0, "highpass", fs=1 / DT, output="sos")
    wanted = scipy.signal.sosfiltfilt(high, trace)
    found = traces.bandpass(labelled(trace[None]), low=6.0, order=4).values[0]
    assert np.abs(found - wanted)[100:-100].max() < 0.01 * np.abs(wanted).max()


def test_the_band_pass_keeps_the_contract() -> None:
    check_operator(traces.BandPass.example(), Rng(1))


@pytest.mark.parametrize(("low", "high"), [(0.0, 10.0), (None, 200.0), (12.0, 10.0)])
def test_corners_out_of_order_or_beyond_nyquist_are_refused(low: float | None, high: float) -> None:
    with pytest.raises(OptionError, match="Hz must lie"):
        traces.bandpass(labelled(np.zeros((2, 500))), low, high)


def test_a_mute_silences_what_comes_before_the_direct_wave() -> None:
    gather = labelled(np.ones((40, 500)))
    window = traces.mute_window(gather, velocity=1500.0, delay=0.1, taper=0.04)
    edge = gather["offset"] / 1500.0 + 0.1
    assert float(window.where(gather["time"] < edge).max()) == 0.0
    assert float(window.where(gather["time"] > edge + 0.04).min()) == 1.0
    above = traces.mute_window(gather, velocity=1500.0, delay=0.1, taper=0.04, keep="above")
    np.testing.assert_allclose((window + above).values, 1.0, atol=1e-12)
    with pytest.raises(DataError, match="offset"):
        traces.mute_window(gather.drop_vars("offset"), 1500.0)


def test_first_breaks_and_noise_are_found() -> None:
    """An arrival 60 times the noise is picked within two periods; the noise level within 10 %."""
    draw = np.random.default_rng(1)
    gather = labelled(0.01 * draw.normal(size=(24, 500)))
    arrivals = 0.4 + 0.02 * np.arange(24)
    for i, at in enumerate(arrivals):
        gather[i] += ricker(20.0, torch.from_numpy(TIMES), at).numpy() * 0.6
    picks = traces.first_breaks(gather)
    assert np.abs(picks.values - arrivals).max() < 2 / 20.0
    level = traces.noise_level(gather, picks - 0.05)
    assert float(level.mean()) == pytest.approx(0.01, rel=0.1)
    with pytest.raises(DataError, match="fewer than ten"):
        traces.noise_level(gather, 0.02)


def test_reversed_polarity_is_refused_although_times_are_off() -> None:
    p = labelled(np.stack([ricker(8.0, torch.from_numpy(TIMES), 0.5 + 0.02 * i).numpy() for i in range(20)]))
    d = labelled(np.stack([ricker(8.0, torch.from_numpy(TIMES), 0.52 + 0.02 * i).numpy() for i in range(20)]))
    traces.require_same_polarity(d, p)
    with pytest.raises(DataError, match="polarity"):
        traces.require_same_polarity(-d, p)


def test_a_plane_wave_lies_on_its_speed_in_the_fk_plane() -> None:
    """f = c k for a wave that moves towards larger receiver numbers at 2000 m/s."""
    spacing, speed = 20.0, 2000.0
    values = np.stack([ricker(10.0, torch.from_numpy(TIMES), 0.3 + spacing * i / speed).numpy() for i in range(64)])
    spectrum = traces.fk_spectrum(labelled(values, spacing), spacing)
    row = spectrum.sel(frequency=10.0, method="nearest")
    k = float(row["wavenumber"][int(row.values.argmax())])
    assert k == pytest.approx(float(row["frequency"]) / speed, abs=1.1 / (64 * spacing))
    peak = traces.amplitude_spectrum(labelled(values, spacing))
    assert float(peak["frequency"][int(peak.values.argmax())]) == pytest.approx(10.0, abs=0.6)


def test_a_wavelet_is_recovered_from_traces_of_another() -> None:
    """Least squares over 30 traces of random reflectivity with 2 % noise: within 10 % of the wavelet in its band."""
    draw = np.random.default_rng(2)
    reflections = torch.from_numpy(draw.normal(size=(30, 500)) * (draw.random((30, 500)) < 0.03))
    trial, true = ricker(12.0, torch.from_numpy(TIMES), 0.15), 2.5 * ricker(9.0, torch.from_numpy(TIMES), 0.2)
    p, d = (
        torch.fft.irfft(torch.fft.rfft(reflections, 1000) * torch.fft.rfft(w, 1000), 1000)[:, :500]
        for w in (trial, true)
    )
    noisy = d + 0.02 * d.std() * torch.from_numpy(draw.normal(size=d.shape))
    found = filtered(trial[None], estimate_filter(noisy, p, water=1e-4))[0]
    assert float((found - true).norm() / true.norm()) < 0.1


def test_the_real_gather_is_read_filtered_and_muted(shared: Path) -> None:
    """Band-passing 5-60 Hz and muting the direct wave leave reflections well above the noise ahead of it."""
    values = np.load(shared / "geophysics" / "mobil.npy")
    coords = {
        "receiver": np.arange(60),
        "time": 0.004 * np.arange(1000),
        "offset": ("receiver", 262.0 + 25.0 * np.arange(60)),
    }
    gather = xr.DataArray(values, coords, ("receiver", "time"))
    picks = traces.first_breaks(gather)
    assert int(picks.notnull().sum()) >= 55
    noise = traces.noise_level(gather, picks - 0.05)
    clean = traces.bandpass(gather, 5.0, 60.0)
    left = traces.muted(clean, traces.mute_window(clean, 1500.0, 0.1))
    assert float(left.std()) > 3 * float(noise.median())
    spectrum = traces.amplitude_spectrum(clean)
    assert float(spectrum.sel(frequency=slice(80, None)).max()) < 0.05 * float(spectrum.max())
