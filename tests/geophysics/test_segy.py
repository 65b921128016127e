"""SEG-Y: what is written is read back, what is wrong is refused with one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from posteriori.core.errors import DataError
from posteriori.domains.geophysics.segy import read_segy, shot_gathers, write_segy

segyio = pytest.importorskip("segyio")


def gather(shots: int = 2, channels: int = 3, steps: int = 20, dt: float = 0.004) -> xr.DataArray:
    """Traces of noise, a split spread 25 m apart, at coordinates with centimetres."""
    draw = np.random.default_rng(0)
    s, c = (a.ravel() for a in np.meshgrid(np.arange(shots), np.arange(channels), indexing="ij"))
    source, receiver = 1000.25 + 100.0 * s, 400.5 + 25.0 * c
    coords = {
        "trace": np.arange(s.size),
        "time": 0.1 + dt * np.arange(steps),
        "shot": ("trace", s + 7),
        "channel": ("trace", c + 1),
        "source_x": ("trace", source),
        "source_y": ("trace", np.full(s.size, -3.75)),
        "source_depth": ("trace", np.full(s.size, 6.5)),
        "receiver_x": ("trace", receiver),
        "receiver_y": ("trace", np.full(s.size, -3.75)),
        "receiver_depth": ("trace", np.full(s.size, 12.25)),
        "offset": ("trace", np.abs(source - receiver)),
        "live": ("trace", np.ones(s.size, bool)),
    }
    values = draw.normal(size=(s.size, steps)).astype(np.float32)
    return xr.DataArray(values, coords, ("trace", "time"), "pressure")


def test_a_file_read_back_is_the_gather_that_was_written(tmp_path: Path) -> None:
    given = gather()
    found = read_segy(write_segy(tmp_path / "a.segy", given))
    np.testing.assert_array_equal(found.values, given.values)
    for name in given.coords:
        np.testing.assert_allclose(found[name].values, given[name].values, atol=1e-6, err_msg=str(name))
    assert found.attrs["interval"] == pytest.approx(0.004)


def test_headers_written_by_hand_are_read_in_metres_seconds_and_normal_polarity(tmp_path: Path) -> None:
    """Feet, a dividing and a multiplying scaler, and the polarity code that turns the traces over."""
    path = write_segy(tmp_path / "a.segy", gather())
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        file.bin.update({segyio.BinField.MeasurementSystem: 2, segyio.BinField.ImpulseSignalPolarity: 1})
        field = segyio.TraceField
        for header in file.header:
            header.update(
                {
                    field.SourceGroupScalar: -10,
                    field.SourceX: 12345,
                    field.GroupX: 12345 - 500,
                    field.SourceY: 0,
                    field.GroupY: 0,
                    field.offset: 50,
                    field.ElevationScalar: 2,
                    field.SourceDepth: 15,
                    field.ReceiverGroupElevation: -20,
                }
            )
    found = read_segy(path)
    foot = 0.3048
    assert float(found["source_x"][0]) == pytest.approx(1234.5 * foot)
    assert float(found["offset"][0]) == pytest.approx(50 * foot)
    assert float(found["source_depth"][0]) == pytest.approx(30 * foot)
    assert float(found["receiver_depth"][0]) == pytest.approx(40 * foot)
    np.testing.assert_array_equal(found.values, -gather().values)


def test_dead_channels_become_gaps_with_a_note(tmp_path: Path) -> None:
    given = gather()
    given[1] = 0.0
    path = write_segy(tmp_path / "a.segy", given.assign_coords(live=("trace", np.arange(6) != 4)))
    found = read_segy(path)
    assert np.flatnonzero(~found["live"].values).tolist() == [1, 4]
    assert np.isnan(found.values[[1, 4]]).all()
    assert np.isfinite(found.values[[0, 2, 3, 5]]).all()
    assert "[1, 4]" in found.attrs["note"]


def test_traces_with_nan_are_refused_or_left_out(tmp_path: Path) -> None:
    path = write_segy(tmp_path / "a.segy", gather())
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        broken = file.trace[2].copy()
        broken[5] = np.nan
        file.trace[2] = broken
    with pytest.raises(DataError, match="trace 2 is not finite"):
        read_segy(path)
    assert np.flatnonzero(~read_segy(path, broken_as_gaps=True)["live"].values).tolist() == [2]


@pytest.mark.parametrize("lost", [1, 100, 240 + 80 + 4])
def test_a_truncated_file_is_refused(tmp_path: Path, lost: int) -> None:
    path = write_segy(tmp_path / "a.segy", gather())
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(DataError, match="truncated"):
        read_segy(path)


@pytest.mark.parametrize("content", [b"", b"velocity,depth\n1,2\n", bytes(4000), b"x" * 9000])
def test_what_is_no_segy_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.segy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"SEG-Y|truncated"):
        read_segy(path)


def test_contradicting_or_missing_sample_intervals_are_refused(tmp_path: Path) -> None:
    path = write_segy(tmp_path / "a.segy", gather())
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        file.bin.update({segyio.BinField.Interval: 2000})
    with pytest.raises(DataError, match="2000 µs a sample"):
        read_segy(path)
    assert read_segy(path, interval=0.004).attrs["interval"] == 0.004
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        file.bin.update({segyio.BinField.Interval: 0})
        for header in file.header:
            header.update({segyio.TraceField.TRACE_SAMPLE_INTERVAL: 0})
    with pytest.raises(DataError, match="does not say its sample interval"):
        read_segy(path)


def test_a_wrong_coordinate_scaler_and_angles_are_refused(tmp_path: Path) -> None:
    path = write_segy(tmp_path / "a.segy", gather())
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        for header in file.header:
            header.update({segyio.TraceField.SourceGroupScalar: 1})
    with pytest.raises(DataError, match="scalco"):
        read_segy(path)
    with segyio.open(str(path), "r+", ignore_geometry=True) as file:
        for header in file.header:
            header.update({segyio.TraceField.CoordinateUnits: 2})
    with pytest.raises(DataError, match="angles"):
        read_segy(path)


def test_an_interval_that_segy_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="whole number of microseconds"):
        write_segy(tmp_path / "a.segy", gather(dt=1 / 3000))
    assert not (tmp_path / "a.segy").exists()


def test_traces_become_shot_gathers_with_gaps() -> None:
    given = gather().isel(trace=[5, 0, 4, 1, 2])
    found = shot_gathers(given)
    assert found.dims == ("shot", "receiver", "time")
    assert found.shape == (2, 3, 20)
    np.testing.assert_array_equal(found.values[0], gather().values[:3])
    np.testing.assert_array_equal(found.values[1, 1:], gather().values[4:])
    assert np.isnan(found.values[1, 0]).all()
    assert found["source_x"].dims == ("shot",)
    assert found["receiver_x"].dims == ("receiver",)
    with pytest.raises(DataError, match="2 traces of channel"):
        shot_gathers(xr.concat([gather(), gather()], "trace"))
