"""First-arrival picks: tables with units, pyGIMLi's .sgt files, and two surveys to try things on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from posteriori.core import units
from posteriori.core.errors import DataError, OptionError, UnitError
from posteriori.core.formats.csv import LARGEST_FILE, CsvTable, read_csv

Floats = NDArray[np.float64]
LATEST = 600.0
"""A later first arrival [s] is another unit: no crustal survey waits that long."""
POSITIONS = ("source_x", "source_z", "receiver_x", "receiver_z")


@dataclass(frozen=True)
class Picks:
    """Times from every source to every receiver, NaN where there is no pick.

    Attributes:
        sources, receivers: (s, 2) and (r, 2) rows (z, x) [m], z the depth, downwards.
        time: (s, r) [s].
        sigma: their standard deviations, (s, r) [s]; NaN where the file gives none.
    """

    sources: Floats
    receivers: Floats
    time: Floats
    sigma: Floats

    @property
    def live(self) -> NDArray[np.bool_]:
        """Where there is a pick, (s, r)."""
        found: NDArray[np.bool_] = np.isfinite(self.time)
        return found

    @property
    def offset(self) -> Floats:
        """Distance from source to receiver, (s, r) [m]."""
        apart = self.sources[:, None] - self.receivers
        return np.hypot(apart[..., 0], apart[..., 1])


def read_picks(path: Path) -> Picks:
    """The picks of a CSV table or, by its ending, of a ``.sgt`` file.

    A table has one row a pick and the columns source_x, source_z, receiver_x, receiver_z, time and, if known, sigma;
    each header gives the unit in brackets, as ``time [ms]``. z is depth, downwards; ``source_height`` and
    ``receiver_height`` in its place count upwards. An empty or NaN time is a dead trace.

    Raises:
        DataError, UnitError: the file cannot be used; the message names the line and what is wrong.
    """
    if path.suffix.lower() != ".sgt":
        return _from_csv(read_csv(path))
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path.name} has {path.stat().st_size / 1e6:.0f} MB, more than any table of picks.")
        return _from_sgt(path.read_text(encoding="utf-8-sig"), path.name)
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"cannot read {path}: {problem}; give the path of a CSV table or .sgt file.") from problem


def gridded(table: pd.DataFrame, name: str) -> Picks:
    """Rows source_x, source_z, receiver_x, receiver_z [m], time, sigma [s] as one array over all pairs.

    Raises:
        DataError: a position that is not finite, a time or error that cannot be right, a pair twice, or no pick at all.
    """
    if not len(table):
        raise DataError(f"{name} holds no picks; one row each is needed.")
    for column in POSITIONS:
        _refuse(~np.isfinite(table[column]), table, f"{column} is not a number", name)
    time, sigma = table["time"].to_numpy(float), table["sigma"].to_numpy(float)
    _refuse(
        pd.Series(np.isinf(time) | (time <= 0)),
        table,
        "a time is not positive; first arrivals count from the shot",
        name,
    )
    _refuse(
        pd.Series(time > LATEST), table, f"a time exceeds {LATEST:g} s; give its unit in the header: time [ms]", name
    )
    _refuse(pd.Series(np.isinf(sigma) | (sigma <= 0)), table, "a sigma is not positive", name)
    sources, source = np.unique(table[["source_z", "source_x"]].to_numpy(float), axis=0, return_inverse=True)
    receivers, receiver = np.unique(table[["receiver_z", "receiver_x"]].to_numpy(float), axis=0, return_inverse=True)
    pair = source.ravel() * len(receivers) + receiver.ravel()
    _refuse(pd.Series(pair).duplicated(), table, "the same source and receiver stand there twice; keep one", name)
    shape = (len(sources), len(receivers))
    times, errors = np.full(shape, np.nan).ravel(), np.full(shape, np.nan).ravel()
    times[pair], errors[pair] = time, sigma
    if not np.isfinite(times).any():
        raise DataError(f"{name} holds {len(table)} rows and every time is missing; nothing can be inverted.")
    return Picks(sources, receivers, times.reshape(shape), errors.reshape(shape))


def survey(layout: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Sources, receivers, rows (z, x) [m], and the nodes z and x [m] of the section between them.

    ``crosswell``: 17 shots and 17 receivers in two wells 60 m apart and 100 m deep.
    ``refraction``: 9 shots and 36 geophones along 240 m of a surface.
    """
    if layout == "crosswell":
        depth = np.linspace(2.0, 98.0, 17)
        wells = [np.stack([depth, np.full(17, x)], 1) for x in (1.0, 59.0)]
        return wells[0], wells[1], np.linspace(0, 100, 26), np.linspace(0, 60, 16)
    if layout == "refraction":
        shots, phones = np.linspace(3.0, 237.0, 9), np.linspace(0.5, 239.5, 36)
        surface = [np.stack([np.full(len(x), 0.5), x], 1) for x in (shots, phones)]
        return surface[0], surface[1], np.linspace(0, 48, 13), np.linspace(0, 240, 31)
    raise OptionError(f"layout={layout!r} is neither crosswell nor refraction.")


def known_velocity(layout: str, z: Floats, x: Floats) -> Floats:
    """The section [m/s], (z, x), that the shipped surveys look at."""
    depth, across = np.meshgrid(z, x, indexing="ij")
    if layout == "crosswell":
        folded = depth - 6.0 * np.sin(across / 19.0)
        layers = 2000 + 2.0 * depth + 180 * np.tanh((folded - 36) / 5) - 260 * np.exp(-np.square((folded - 66) / 7))
        return layers - 220 * np.exp(-np.square((depth - 24) / 8) - np.square((across - 38) / 11))
    bedrock = 14 + 5 * np.sin(across / 33.0) + 9 * np.exp(-np.square((across - 150) / 22))
    return 500 + 12 * depth + 950 * (1 + np.tanh((depth - bedrock) / 4.0))


def _refuse(wrong: pd.Series, table: pd.DataFrame, complaint: str, name: str) -> None:
    if bool(wrong.any()):
        line = int(table["line"].to_numpy()[int(np.argmax(wrong.to_numpy()))])
        raise DataError(f"{name}, line {line}: {complaint} ({int(wrong.sum())} such rows); correct or remove them.")


def _from_csv(table: CsvTable) -> Picks:
    heights = {f"{end}_z": f"{end}_height" for end in ("source", "receiver")}
    found: dict[str, list[float]] = {}
    for column in (*POSITIONS, "time", "sigma"):
        name = column
        if column not in table.units and heights.get(column) in table.units:
            name = heights[column]
        if name not in table.units:
            if column == "sigma":
                continue
            raise DataError(
                f"{table.name} lacks {column}; it needs {', '.join(POSITIONS)} [m], time [ms] and, if known, sigma "
                "[ms]; source_height and receiver_height count upwards in the place of source_z and receiver_z."
            )
        wanted = "s" if column in ("time", "sigma") else "m"
        if not table.units[name]:
            raise UnitError(f"{table.name} gives no unit for {name}; write the header as {name} [{wanted}].")
        scale = units.factor(table.units[name], wanted) * (1.0 if name == column else -1.0)
        gap = {"", "nan"} if wanted == "s" else set()
        found[column] = [np.nan if row.fields[name].lower() in gap else scale * row.value(name) for row in table.rows]
    sigma = found.pop("sigma", [np.nan] * len(table.rows))
    lines = [row.number for row in table.rows]
    return gridded(pd.DataFrame({**found, "sigma": sigma, "line": lines}), table.name)


def _from_sgt(text: str, name: str) -> Picks:
    """pyGIMLi's unified data format: a number of positions (x, height), a number of picks s, g, t [s] (, err [s])."""
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    try:
        many = int(lines[0][1].split("#")[0])
        lines = lines[1:]
        while lines[0][1].startswith("#"):
            lines = lines[1:]
        points = np.array([[float(v) for v in line.split("#")[0].split()] for _, line in lines[:many]])
        count = int(lines[many][1].split("#")[0])
        head = lines[many + 1][1]
        names = head.lstrip("# ").split() if head.startswith("#") else ["s", "g", "t"]
        body = lines[many + 1 + head.startswith("#") :][:count]
        values = np.array([[float(v) for v in line.split("#")[0].split()[: len(names)]] for _, line in body])
        pick = dict(zip(names, values.T, strict=True))
        s, g = (pick[k].astype(int) - 1 for k in "sg")
        if len(values) != count or len(points) != many or min(s.min(), g.min()) < 0 or max(s.max(), g.max()) >= many:
            raise ValueError(f"{len(points)} positions and {len(values)} picks where {many} and {count} are announced")
    except (ValueError, IndexError, KeyError) as error:
        raise DataError(
            f"{name} is no .sgt file ({error}); it lists positions, then picks '#s g t', or use CSV."
        ) from error
    x, z = points[:, 0], -points[:, -1] if points.shape[1] > 1 else np.zeros(many)
    table = pd.DataFrame(
        {"source_x": x[s], "source_z": z[s], "receiver_x": x[g], "receiver_z": z[g], "time": pick["t"]}
    )
    table["sigma"] = pick.get("err", np.full(count, np.nan))
    table["line"] = [i for i, _ in body]
    return gridded(table, name)
