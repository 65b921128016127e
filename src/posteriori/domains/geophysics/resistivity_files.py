"""Resistivity surveys from files: the unified data format of BERT and pyGIMLi, and CSV with units in its header."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posteriori.core import units
from posteriori.core.errors import DataError, UnitError
from posteriori.physics.resistivity import ABSENT, half_space

LARGEST_FILE = 50_000_000
SAME = 1e-4
"""Electrodes closer than this [m] are one."""
ROLES = ("a", "b", "m", "n")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """Quadrupoles over a flat surface and what they measured.

    Attributes:
        electrodes: (e, 2) rows (depth z, distance x) [m].
        quadrupoles: (m, 4) indices A, B, M, N; -1 for an electrode far away.
        apparent: apparent resistivity [ohm m], (m,), positive.
        error: its relative standard deviation, (m,); NaN where the file gives none.
        chargeability: apparent chargeability [V/V] (or phase [rad]), (m,), where it was measured.
        digest: hash of the file.
    """

    electrodes: Floats
    quadrupoles: NDArray[np.int64]
    apparent: Floats
    error: Floats
    chargeability: Floats | None
    digest: str


def read_survey(path: Path) -> Survey:
    """A ``.csv`` table, or a file in the unified data format (``.ohm``, ``.dat``, ``.data``, ``.shm``).

    Raises:
        DataError: no such file, a count that does not fit, a truncated end, a missing column, a value that is no
            number, apparent resistivities that are not positive, electrodes at one place, or topography.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}.")
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(f"{path.name} has {path.stat().st_size} bytes, no resistivity profile is that large.")
    raw = path.read_bytes()
    text = raw.decode("utf-8", errors="replace")
    read = _table if path.suffix.lower() == ".csv" else _unified
    return _checked(*read(text, path.name), path.name, hashlib.sha256(raw).hexdigest()[:16])


def write_unified(path: Path, survey: Survey) -> None:
    """A survey in the unified data format, heights upwards and electrodes counted from 1."""
    lines = [f"{len(survey.electrodes)}# Number of electrodes", "# x z"]
    lines += [f"{x:.10g} {-z + 0.0:.10g}" for z, x in survey.electrodes]
    columns = [survey.apparent, survey.error]
    names = "rhoa err"
    if survey.chargeability is not None:
        columns, names = [*columns, 1e3 * survey.chargeability], "rhoa err ip"
    lines += [f"{len(survey.quadrupoles)}# Number of data", f"# a b m n {names}"]
    for i, row in enumerate(survey.quadrupoles + 1):
        lines.append(" ".join([*map(str, row), *(f"{column[i]:.10g}" for column in columns)]))
    path.write_text("\n".join([*lines, "0", ""]), encoding="ascii")


def _unified(text: str, name: str) -> tuple[Floats, NDArray[np.int64], Mapping[str, Floats]]:
    """Electrodes, quadrupoles and columns of a unified data file."""
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]
    places, at = _block(lines, 0, name, "electrodes", ("x", "y", "z"))
    data, _ = _block(lines, at, name, "data", (*ROLES, "rhoa"))
    if "x" not in places:
        raise DataError(f"{name}: the electrodes have no column x, but {', '.join(places)}.")
    height = places.get("z", places.get("y", np.zeros(len(places["x"]))))
    if missing := [role for role in ROLES if role not in data]:
        raise DataError(f"{name}: the data have no column {missing[0]!r}, but {', '.join(data)}.")
    quadrupoles = np.stack([data[role] for role in ROLES], 1)
    if (quadrupoles != np.round(quadrupoles)).any() or quadrupoles.min() < 0 or quadrupoles.max() > len(height):
        raise DataError(f"{name}: electrodes of the data must be whole numbers from 0 (far away) to {len(height)}.")
    return np.stack([_depth(height, name), places["x"]], 1), quadrupoles.astype(np.int64) - 1, data


def _block(
    lines: Sequence[tuple[int, str]], at: int, name: str, what: str, usual: tuple[str, ...]
) -> tuple[dict[str, Floats], int]:
    """A count, a line of column names after '#', and so many rows."""
    if at >= len(lines) or not (found := re.match(r"(\d+)\s*(#.*)?$", lines[at][1])):
        where = f"line {lines[at][0]} reads {lines[at][1][:40]!r}" if at < len(lines) else "the file ends"
        raise DataError(f"{name}: the number of {what} is due, but {where}.")
    many, at = int(found[1]), at + 1
    names: list[str] = list(usual)
    if at < len(lines) and lines[at][1].startswith("#"):
        names, at = lines[at][1].lstrip("# ").replace("\t", " ").split(), at + 1
    rows = lines[at : at + many]
    if many < 1 or len(rows) < many:
        raise DataError(f"{name} announces {many} {what} and holds {len(rows)}: it is truncated; fetch it again.")
    values = []
    for number, line in rows:
        words = line.partition("#")[0].split()
        if len(words) != len(names):
            raise DataError(
                f"{name}, line {number}: {len(words)} values for the columns {', '.join(names)} of the {many} {what}."
            )
        values.append([_number(word, name, number) for word in words])
    table = np.array(values)
    return {
        key: column for label, raw in zip(names, table.T, strict=True) for key, column in [_named(label, raw)]
    }, at + many


def _named(label: str, column: Floats) -> tuple[str, Floats]:
    """A column ``err/%`` or ``rhoa/Ohmm`` by its plain name, in plain units; IP in mV/V or mrad becomes V/V or rad."""
    name, _, unit = label.partition("/")
    key = name.lower()
    if key == "err" and unit == "%":
        return key, column / 100
    return key, (1e-3 * column if key == "ip" else column)


def _table(text: str, name: str) -> tuple[Floats, NDArray[np.int64], Mapping[str, Floats]]:
    """Electrodes, quadrupoles and columns of a CSV table; an empty place is far away."""
    rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].lstrip().startswith("#")]
    if len(rows) < 2:
        raise DataError(f"{name} has no rows below its header.")
    wanted = {**{f"{role}_{dim}": "m" for role in ROLES for dim in "xz"}, "rhoa": "ohm m", "error": "1", "ip": "1"}
    columns: dict[str, Floats] = {}
    header = [re.fullmatch(r"\s*(\w+)\s*(?:\[(.*)\])?\s*", title) for title in rows[0]]
    for i, title in enumerate(header):
        if title is None or title[1] not in wanted:
            raise DataError(f"{name}: no column is called {rows[0][i]!r}; known are {', '.join(wanted)}, with [units].")
        if not title[2] and wanted[title[1]] != "1":
            raise UnitError(
                f"{name} gives no unit for {title[1]}; write {title[1]} [{wanted[title[1]]}] in its header."
            )
        scale = units.factor({"%": "percent"}.get(title[2], title[2] or wanted[title[1]]), wanted[title[1]])
        cells = []
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(header):
                raise DataError(f"{name}, row {number}: {len(row)} cells for {len(header)} columns.")
            cells.append(np.inf if not row[i].strip() else scale * _number(row[i], name, number))
        columns[title[1]] = np.array(cells)
    if missing := [need for need in (*(f"{role}_x" for role in ROLES), "rhoa") if need not in columns]:
        raise DataError(f"{name} has no column {missing[0]!r}; needed are a_x, b_x, m_x, n_x [m] and rhoa [ohm m].")
    many = len(rows) - 1
    zero = np.zeros(many)
    places = np.stack([np.stack([columns.get(f"{r}_z", zero), columns[f"{r}_x"]], 1) for r in ROLES], 1)
    near = np.isfinite(places[..., 1])
    electrodes, index = np.unique(places[near].round(6), axis=0, return_inverse=True)
    quadrupoles = np.full((many, 4), ABSENT)
    quadrupoles[near] = index.reshape(-1)
    order = np.lexsort((electrodes[:, 0], electrodes[:, 1]))
    place = np.argsort(order)
    quadrupoles = np.where(quadrupoles == ABSENT, ABSENT, place[quadrupoles])
    named = {"rhoa": columns["rhoa"]}
    named |= {short: columns[long] for short, long in (("err", "error"), ("ip", "ip")) if long in columns}
    return electrodes[order], quadrupoles, named


def _checked(
    electrodes: Floats, quadrupoles: NDArray[np.int64], data: Mapping[str, Floats], name: str, digest: str
) -> Survey:
    if not np.isfinite(electrodes).all():
        first = int(np.argmin(np.isfinite(electrodes).all(1))) + 1
        raise DataError(f"{name}: the position of electrode {first} is not finite; mend it, or remove its data.")
    away = np.hypot(*(electrodes[:, None] - electrodes).transpose(2, 0, 1))
    np.fill_diagonal(away, np.inf)
    if len(same := np.argwhere(away < SAME)):
        raise DataError(f"{name}: electrodes {same[0, 0] + 1} and {same[0, 1] + 1} are at one place.")
    apparent = data.get("rhoa")
    if apparent is None:
        apparent = _from_resistance(electrodes, quadrupoles, data, name)
    bad = ~((apparent > 0) & np.isfinite(apparent))
    if bad.any():
        raise DataError(
            f"{name}: the apparent resistivity of datum {int(np.flatnonzero(bad)[0]) + 1} is "
            f"{apparent[bad][0]:g} ohm m ({int(bad.sum())} such data): exchange M and N, or remove it."
        )
    error = np.where(np.isfinite(data.get("err", np.full(len(apparent), np.nan))), data.get("err", np.nan), np.nan)
    error = np.where(error == 0, np.nan, error)
    if (error < 0).any() or (error >= 1).any():
        raise DataError(f"{name}: relative errors {np.nanmin(error):g} to {np.nanmax(error):g} must lie in (0, 1); %?")
    polarised = data.get("ip")
    if polarised is not None and not np.isfinite(polarised).all():
        raise DataError(f"{name}: ip of datum {int(np.argmin(np.isfinite(polarised))) + 1} is not finite.")
    return Survey(electrodes, quadrupoles, apparent, error, polarised, digest)


def _from_resistance(
    electrodes: Floats, quadrupoles: NDArray[np.int64], data: Mapping[str, Floats], name: str
) -> Floats:
    """Resistances V / I times the geometric factor of a flat surface."""
    if "r" in data:
        resistance = data["r"]
    elif "u" in data and "i" in data:
        with np.errstate(divide="ignore", invalid="ignore"):
            resistance = data["u"] / data["i"]
    else:
        raise DataError(f"{name} has neither rhoa, r nor u and i among its columns {', '.join(data)}.")
    v = half_space(electrodes)
    i, j = quadrupoles[:, [0, 0, 1, 1]], quadrupoles[:, [2, 3, 2, 3]]
    terms = np.where((i == ABSENT) | (j == ABSENT), 0.0, v[i, j]) * np.array([1.0, -1.0, -1.0, 1.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = resistance / terms.sum(1)
    return found


def _depth(height: Floats, name: str) -> Floats:
    """Depth below a flat surface of electrodes at heights [m]; one level, or none above 0."""
    if np.ptp(height) == 0:
        return np.zeros(len(height))
    if height.max() != 0:
        raise DataError(
            f"{name}: electrodes lie at heights {height.min():g} to {height.max():g} m; topography is not modelled. "
            "Give distances along the surface and z = 0, and negative z for electrodes in holes."
        )
    return -height


def _number(word: str, name: str, line: int) -> float:
    try:
        return float(word)
    except ValueError:
        raise DataError(f"{name}, line {line}: {word!r} is no number.") from None
