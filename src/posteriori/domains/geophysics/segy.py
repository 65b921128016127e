"""SEG-Y files: traces with the geometry they were shot in, read in metres and seconds and refused where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr

from posteriori.core.errors import DataError, OptionError
from posteriori.core.optional import require
from posteriori.core.store import renamed

FEET = 0.3048
"""International foot [m]."""
BYTES = {1: 4, 2: 4, 3: 2, 5: 4, 6: 8, 8: 1}
"""Bytes of one sample by the format code that segyio reads."""
TEXT, BINARY, TRACE = 3200, 400, 240
DEAD = 2
"""Trace identification code of a dead trace."""
NORMAL, REVERSED = 2, 1
"""Impulse signal polarity: an increase in pressure is a positive, or a negative number."""
POSITIONS = {
    "source_x": "SourceX",
    "source_y": "SourceY",
    "receiver_x": "GroupX",
    "receiver_y": "GroupY",
}
HEIGHTS = {"source_depth": "SourceDepth", "receiver_elevation": "ReceiverGroupElevation"}


def read_segy(path: str | Path, interval: float | None = None, broken_as_gaps: bool = False) -> xr.DataArray:
    """Traces (trace, time [s]) in the order of the file, an increase in pressure positive.

    Coordinates along ``trace``: ``shot`` (field record), ``channel``, ``source_x``, ``source_y``, ``source_depth``,
    ``receiver_x``, ``receiver_y``, ``receiver_depth`` [m], ``offset`` [m] and ``live``, False where a channel was dead:
    those traces are NaN, a gap that ``shot_gathers`` makes a mask of. What was found is said in ``attrs["note"]``.

    Args:
        path: the file.
        interval: sample interval [s] where the file's own is wrong or missing.
        broken_as_gaps: traces with values that are not finite become gaps instead of an error.

    Raises:
        DataError: a file that is no SEG-Y, is truncated, contradicts itself or holds values that are not finite.
        MissingExtraError: segyio is not installed.
    """
    segyio = require("segyio", "geophysics")
    path = Path(path)
    samples, traces = _layout(path)
    with segyio.open(str(path), ignore_geometry=True) as file:
        dt = _interval(path, file, segyio, interval)
        unit = _unit(path, file, segyio)
        values = file.trace.raw[:]
        found = _geometry(path, file, segyio, unit)
        polarity = int(file.bin[segyio.BinField.ImpulseSignalPolarity])
        delay = _header(file, segyio, "DelayRecordingTime")
    if len(np.unique(delay)) > 1:
        raise DataError(f"{path}: recording delays differ ({delay.min()} to {delay.max()} ms); shift the traces first.")
    sign = -1.0 if polarity == REVERSED else 1.0
    live, note = _liveness(path, values, found.pop("identity"), broken_as_gaps)
    if polarity not in (NORMAL, REVERSED):
        note.append("polarity not said: taken as positive for an increase in pressure")
    values = np.where(live[:, None], sign * values, np.nan).astype(values.dtype)
    coords: dict[str, Any] = {name: ("trace", column) for name, column in found.items()}
    coords |= {"trace": np.arange(traces), "time": 1e-3 * float(delay[0]) + dt * np.arange(samples)}
    coords["live"] = ("trace", live)
    return xr.DataArray(
        values, coords, ("trace", "time"), "pressure", attrs={"interval": dt, "note": "; ".join(note), "units": "1"}
    )


def write_segy(path: str | Path, gather: xr.DataArray) -> Path:
    """Write traces as :func:`read_segy` gives them: IEEE floats, metres in centimetre steps, normal polarity.

    Raises:
        DataError: times that are not evenly spaced, an interval that is no whole number of microseconds, or missing
            coordinates.
    """
    segyio = require("segyio", "geophysics")
    needed = ["shot", "channel", "offset", "live", *POSITIONS, "source_depth", "receiver_depth"]
    if missing := [name for name in needed if name not in gather.coords]:
        raise DataError(f"a gather to write needs the coordinates {missing} along 'trace'; read_segy lists them.")
    time = np.asarray(gather["time"].values, float)
    dt = even_interval(time)
    micro = round(1e6 * dt)
    if abs(1e6 * dt - micro) > 1e-3 or not 0 < micro < 2**15:
        raise DataError(f"interval {dt:g} s is no whole number of microseconds below 32768; resample the traces.")
    values = np.nan_to_num(np.asarray(gather.transpose("trace", "time").values, np.float32))
    spec = segyio.spec()
    spec.samples, spec.format, spec.tracecount = 1e3 * time, 5, len(values)
    columns = _columns(gather, micro)
    with renamed(Path(path)) as part, segyio.create(str(part), spec) as file:
        file.bin.update(
            {
                segyio.BinField.Interval: micro,
                segyio.BinField.MeasurementSystem: 1,
                segyio.BinField.ImpulseSignalPolarity: NORMAL,
            }
        )
        for at, trace in enumerate(values):
            file.header[at] = {getattr(segyio.TraceField, k): int(v[at]) for k, v in columns.items()}
            file.trace[at] = trace
    return Path(path)


def even_interval(time: np.ndarray) -> float:
    """The spacing of sample times [s].

    Raises:
        DataError: it is not one number.
    """
    if len(time) < 2:
        raise DataError(f"{len(time)} samples have no interval; give traces of at least two.")
    steps = np.diff(time)
    dt = float(steps.mean())
    if not dt > 0 or np.abs(steps - dt).max() > 1e-3 * dt:
        raise DataError(f"sample times step by {steps.min():g} to {steps.max():g} s; resample to one interval.")
    return dt


def shot_gathers(gather: xr.DataArray) -> xr.DataArray:
    """Traces ordered as (shot, receiver, time); NaN where a shot has no live trace in a channel.

    ``receiver`` is the rank of the channel; positions come along where they are the same for every shot.

    Raises:
        DataError: two traces claim one shot and channel.
    """
    shots, row = np.unique(gather["shot"].values, return_inverse=True)
    channels, column = np.unique(gather["channel"].values, return_inverse=True)
    seen = np.zeros((len(shots), len(channels)), int)
    np.add.at(seen, (row, column), 1)
    if (seen > 1).any():
        s, c = np.argwhere(seen > 1)[0]
        raise DataError(
            f"shot {shots[s]} has {seen[s, c]} traces of channel {channels[c]}; number the field records and channels."
        )
    values = np.full((len(shots), len(channels), gather.sizes["time"]), np.nan, gather.dtype)
    values[row, column] = gather.values
    coords: dict[str, Any] = {"shot": shots, "receiver": channels, "time": gather["time"].values}
    for name in (*POSITIONS, "source_depth", "receiver_depth"):
        table = np.full(seen.shape, np.nan)
        table[row, column] = gather[name].values
        own = 1 if name.startswith("source") else 0
        spread = np.nanmax(table, own) - np.nanmin(table, own)
        if (spread < 1e-6).all():
            coords[name] = ("shot" if own else "receiver", np.nanmax(table, own))
        else:
            coords[name] = (("shot", "receiver"), table)
    return xr.DataArray(values, coords, ("shot", "receiver", "time"), gather.name, attrs=gather.attrs)


def _layout(path: Path) -> tuple[int, int]:
    """Samples a trace and traces, by the file's own length."""
    if not path.is_file():
        raise DataError(f"there is no file {path}.")
    size = path.stat().st_size
    if size < TEXT + BINARY + TRACE:
        raise DataError(f"{path} has {size} bytes, fewer than the headers of a SEG-Y file; it is truncated or another.")
    with path.open("rb") as file:
        file.seek(TEXT)
        head = file.read(BINARY)
    samples, code = (int.from_bytes(head[at : at + 2], "big") for at in (20, 24))
    extra = int.from_bytes(head[304:306], "big", signed=True)
    if code not in BYTES or samples == 0 or extra < 0:
        raise DataError(
            f"{path}: sample format {code} with {samples} samples a trace is not SEG-Y in big-endian order; "
            "convert the file to revision 1 with 4-byte floats."
        )
    block = TRACE + samples * BYTES[code]
    body = size - TEXT - BINARY - TEXT * extra
    if body <= 0 or body % block:
        raise DataError(
            f"{path} is truncated or its header wrong: {body} bytes of traces are {body / block:.3f} traces of "
            f"{samples} samples; copy the file again, or mend the number of samples."
        )
    return samples, body // block


def _header(file: Any, segyio: ModuleType, name: str) -> np.ndarray:
    return np.asarray(file.attributes(getattr(segyio.TraceField, name))[:])


def _interval(path: Path, file: Any, segyio: ModuleType, given: float | None) -> float:
    if given is not None:
        if not 0 < given < 1:
            raise OptionError(f"interval {given} s is not between 0 and 1; it is in seconds (4 ms is 0.004).")
        return given
    whole = int(file.bin[segyio.BinField.Interval])
    each = np.unique(_header(file, segyio, "TRACE_SAMPLE_INTERVAL"))
    own = [int(value) for value in each if value > 0]
    if len(set(own)) > 1 or (whole > 0 and own and own[0] != whole):
        raise DataError(
            f"{path}: the file's header says {whole} µs a sample, its traces {own}; pass interval= in seconds."
        )
    micro = whole if whole > 0 else (own[0] if own else 0)
    if micro <= 0:
        raise DataError(f"{path} does not say its sample interval; pass interval= in seconds.")
    return 1e-6 * micro


def _unit(path: Path, file: Any, segyio: ModuleType) -> float:
    codes = np.unique(_header(file, segyio, "CoordinateUnits"))
    if set(codes.tolist()) - {0, 1}:
        raise DataError(f"{path}: coordinates are angles (code {codes.tolist()}); project them to metres first.")
    return FEET if int(file.bin[segyio.BinField.MeasurementSystem]) == 2 else 1.0


def _geometry(path: Path, file: Any, segyio: ModuleType, unit: float) -> dict[str, np.ndarray]:
    across = unit * _scaler(_header(file, segyio, "SourceGroupScalar"))
    up = unit * _scaler(_header(file, segyio, "ElevationScalar"))
    found = {name: across * _header(file, segyio, field) for name, field in POSITIONS.items()}
    heights = {name: up * _header(file, segyio, field) for name, field in HEIGHTS.items()}
    found["source_depth"] = heights["source_depth"]
    found["receiver_depth"] = 0.0 - heights["receiver_elevation"]
    found["shot"] = _header(file, segyio, "FieldRecord")
    found["channel"] = _header(file, segyio, "TraceNumber")
    found["identity"] = _header(file, segyio, "TraceIdentificationCode")
    stated = unit * _header(file, segyio, "offset").astype(float)
    apart = np.hypot(found["receiver_x"] - found["source_x"], found["receiver_y"] - found["source_y"])
    known = apart.max() > 0
    wrong = np.abs(np.abs(stated) - apart) > np.maximum(2.0, 0.02 * apart)
    if known and (stated != 0).any() and wrong.any():
        at = int(wrong.argmax())
        raise DataError(
            f"{path}: trace {at} states an offset of {stated[at]:g} m, its coordinates are {apart[at]:g} m apart; "
            "the coordinate scaler (scalco) is probably wrong."
        )
    found["offset"] = apart if known else np.abs(stated)
    return found


def _scaler(raw: np.ndarray) -> np.ndarray:
    """A SEG-Y scaler as a factor: positive multiplies, negative divides, zero is one."""
    safe = np.where(raw == 0, 1, raw).astype(float)
    return np.where(safe > 0, safe, -1.0 / np.minimum(safe, -1.0))


def _liveness(path: Path, values: np.ndarray, identity: np.ndarray, as_gaps: bool) -> tuple[np.ndarray, list[str]]:
    finite = np.isfinite(values).all(1)
    if not finite.all() and not as_gaps:
        at = int((~finite).argmax())
        raise DataError(
            f"{path}: trace {at} is not finite ({int((~finite).sum())} such traces); mend it, or read with "
            "broken_as_gaps=True to leave such traces out."
        )
    silent = finite & (values == values[:, :1]).all(1)
    live = finite & ~silent & (identity != DEAD)
    if not live.any():
        raise DataError(f"{path} has no live trace: all are constant, dead or not finite.")
    note = [] if live.all() else [f"dead channels left out as gaps: traces {np.flatnonzero(~live).tolist()}"]
    return live, note


def _columns(gather: xr.DataArray, micro: int) -> Mapping[str, np.ndarray]:
    """Trace headers by segyio's names; lengths in centimetres."""
    n, samples = gather.sizes["trace"], gather.sizes["time"]
    centi = {field: 100 * gather[name].values for name, field in POSITIONS.items()}
    centi |= {
        "SourceDepth": 100 * gather["source_depth"].values,
        "ReceiverGroupElevation": -100 * gather["receiver_depth"].values,
    }
    for name, column in centi.items():
        if not np.isfinite(column).all() or np.abs(column).max() >= 2**31:
            raise DataError(f"{name} is not finite or too large for SEG-Y: shift the origin of the coordinates.")
    return {
        **{name: np.rint(column) for name, column in centi.items()},
        "FieldRecord": gather["shot"].values,
        "TraceNumber": gather["channel"].values,
        "offset": np.rint(gather["offset"].values),
        "TraceIdentificationCode": np.where(gather["live"].values, 1, DEAD),
        "SourceGroupScalar": np.full(n, -100),
        "ElevationScalar": np.full(n, -100),
        "CoordinateUnits": np.ones(n),
        "TRACE_SAMPLE_INTERVAL": np.full(n, micro),
        "TRACE_SAMPLE_COUNT": np.full(n, samples),
        "DelayRecordingTime": np.full(n, round(1e3 * float(gather["time"].values[0]))),
    }
