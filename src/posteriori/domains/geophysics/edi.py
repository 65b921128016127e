"""Magnetotelluric impedances from EDI files (SEG MT/EMAP standard), with their errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import pi
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError
from posteriori.physics.magnetotellurics import MU0

FIELD_UNIT = 1e3 * MU0
"""1 mV/km/nT in ohm: E / H = μ₀ E / B."""
LARGEST_FILE = 20_000_000
Component = Literal["determinant", "xy", "yx"]
_BLOCK = re.compile(r"^>(=?[A-Z][\w.]*)([^\n/]*)(?://\s*(\d+))?[^\n]*\n?", re.MULTILINE | re.IGNORECASE)
_OPTION = re.compile(r'(\w+)\s*=\s*("[^"]*"|\S+)')
_PARTS = ("XX", "XY", "YX", "YY")


@dataclass(frozen=True)
class Impedances:
    """What a station measured, at rising periods.

    Attributes:
        station: its name.
        latitude, longitude: [degree], elevation [m]; NaN where the file is silent.
        period: [s], (t,).
        z: E / H [ohm], complex (t, 2, 2), rows E_x, E_y and columns H_x, H_y, time dependence e^{+iωt}.
        sigma: standard deviation of the real and of the imaginary part [ohm], (t, 2, 2); zero where unknown.
        tipper: H_z over H_x and H_y, complex (t, 2), where there is one.
        digest: hash of the file.
    """

    station: str
    latitude: float
    longitude: float
    elevation: float
    period: NDArray[np.float64]
    z: NDArray[np.complex128]
    sigma: NDArray[np.float64]
    tipper: NDArray[np.complex128] | None
    digest: str

    def component(self, name: Component) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """One impedance (t,) for a layered Earth and its standard deviation (t,) [ohm].

        ``determinant`` is √(Z_xx Z_yy - Z_xy Z_yx), which no rotation changes; ``xy`` is Z_xy and ``yx`` is -Z_yx.

        Raises:
            DataError: a phase outside (0°, 90°) at most periods: another sign of time, or components exchanged.
        """
        (xx, xy), (yx, yy) = self.z.transpose(1, 2, 0)
        (sxx, sxy), (syx, syy) = self.sigma.transpose(1, 2, 0)
        if name == "xy":
            z, sigma = xy, sxy
        elif name == "yx":
            z, sigma = -yx, syx
        else:
            root = np.sqrt(xx * yy - xy * yx)
            z = np.where(root.real < 0, -root, root)
        if (z == 0).any():
            raise DataError(
                f"the {name} impedance of station {self.station} is zero at {int((z == 0).sum())} of {len(z)} periods: "
                "mark dead values as empty, or take another component."
            )
        if name == "determinant":
            slopes = (np.abs(xx) * syy, np.abs(yy) * sxx, np.abs(xy) * syx, np.abs(yx) * sxy)
            sigma = 0.5 * np.sqrt(sum(slope**2 for slope in slopes)) / np.abs(z)
        phase = np.degrees(np.angle(z))
        if np.median(np.abs(phase - 45)) > 60:
            raise DataError(
                f"the {name} impedance of station {self.station} has a median phase of {np.median(phase):.0f}°, "
                "that of layers lies in 0° to 90°: conjugate the file if its time runs as e^-iωt, or take another "
                "component."
            )
        return z, sigma


def read_edi(path: Path) -> Impedances:
    """The impedances of an EDI file; periods with an empty value in any of the four elements are left out.

    Impedances are taken in the standard's mV/km/nT, ``.VAR`` as the variance of their real and of their imaginary part.

    Raises:
        DataError: no such file, no EDI file, spectra instead of impedances, a block with another number of values than
            it announces, a missing component, or an end that is missing.
    """
    raw = _bytes(path)
    text = raw.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    blocks = list(_BLOCK.finditer(text))
    names = [block[1].upper() for block in blocks]
    if not names or names[0] != "HEAD":
        raise DataError(f"{path.name} does not begin with >HEAD: it is no EDI file.")
    if names[-1] != "END":
        raise DataError(f"{path.name} ends within >{names[-1]}, without >END: it is truncated; fetch it again.")
    if "=SPECTRASECT" in names:
        raise DataError(f"{path.name} holds cross spectra; export impedances (>=MTSECT) from the processing software.")
    bodies = [text[a.end() : b.start()] for a, b in pairwise(blocks)]
    head = {k.upper(): v.strip('"') for k, v in _OPTION.findall(bodies[0])}
    empty = _number(head.get("EMPTY", "1e32"), "EMPTY", path)
    values = {
        name: _values(block, body, path)
        for name, block, body in zip(names, blocks, bodies, strict=False)
        if name == "FREQ" or re.fullmatch(r"Z[XY][XY]([RI]|\.VAR)|T[XY](R|I)\.EXP", name)
    }
    frequency = _column(values, "FREQ", None, path)
    many = len(frequency)
    z = np.stack(
        [_column(values, f"Z{p}R", many, path) + 1j * _column(values, f"Z{p}I", many, path) for p in _PARTS], 1
    )
    variance = np.stack(
        [_column(values, f"Z{p}.VAR", many, path) if f"Z{p}.VAR" in values else np.zeros(many) for p in _PARTS], 1
    )
    there = ~(np.isclose(z.real, empty) | np.isclose(z.imag, empty)).any(1)
    variance = np.where(np.isclose(variance, empty), 0.0, variance)
    if not there.any():
        raise DataError(f"{path.name} has no period at which all four impedances are given.")
    bad = there & ~((frequency > 0) & np.isfinite(z).all(1) & (variance >= 0).all(1))
    if bad.any():
        raise DataError(
            f"{path.name}: value {int(np.flatnonzero(bad)[0]) + 1} of the {many} frequencies is not positive, or has "
            "an impedance that is not finite or a negative variance; mend the file or mark the value as empty."
        )
    order = np.flatnonzero(there)[np.argsort(-frequency[there], kind="stable")]
    if len(np.unique(frequency[order])) < len(order):
        raise DataError(f"{path.name} gives a frequency twice; keep one of them.")
    tipper = None
    if all(f"T{a}{p}.EXP" in values for a in "XY" for p in "RI"):
        tipper = np.stack(
            [_column(values, f"T{a}R.EXP", many, path) + 1j * _column(values, f"T{a}I.EXP", many, path) for a in "XY"],
            1,
        )[order]
    return Impedances(
        head.get("DATAID", path.stem),
        _degrees(head.get("LAT")),
        _degrees(head.get("LONG", head.get("LON"))),
        float(head["ELEV"]) if re.fullmatch(r"[-+\d.]+", head.get("ELEV", "")) else float("nan"),
        1 / frequency[order],
        (FIELD_UNIT * z[order]).reshape(-1, 2, 2).astype(np.complex128),
        FIELD_UNIT * np.sqrt(variance[order]).reshape(-1, 2, 2),
        tipper,
        hashlib.sha256(raw).hexdigest()[:16],
    )


def write_edi(path: Path, found: Impedances) -> None:
    """The same impedances as an EDI file."""
    many = len(found.period)
    lines = [
        ">HEAD",
        f'  DATAID="{found.station}"',
        f"  LAT={found.latitude:.6f}",
        f"  LONG={found.longitude:.6f}",
        f"  ELEV={found.elevation:.1f}",
        "  EMPTY=1.0E+32",
        ">=MTSECT",
        f"  NFREQ={many}",
    ]

    def add(name: str, values: Any) -> None:
        lines.append(f">{name} //{many}")
        lines.extend(" ".join(f"{v: .9E}" for v in values[i : i + 5]) for i in range(0, many, 5))

    add("FREQ", 1 / found.period)
    for p, part in enumerate(_PARTS):
        z = found.z.reshape(many, 4)[:, p] / FIELD_UNIT
        add(f"Z{part}R", z.real)
        add(f"Z{part}I", z.imag)
        add(f"Z{part}.VAR", (found.sigma.reshape(many, 4)[:, p] / FIELD_UNIT) ** 2)
    path.write_text("\n".join([*lines, ">END", ""]), encoding="ascii")


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"there is no file {path}.")
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(f"{path.name} has {path.stat().st_size} bytes, no EDI file is that large.")
    return path.read_bytes()


def _values(block: re.Match[str], body: str, path: Path) -> NDArray[np.float64]:
    name, announced = block[1].upper(), block[3]
    found = np.array([_number(word, name, path) for word in body.split()])
    if announced is not None and int(announced) != len(found):
        raise DataError(
            f"{path.name}: >{name} announces {announced} values and holds {len(found)}; the file is damaged."
        )
    return found


def _column(values: Mapping[str, NDArray[np.float64]], name: str, many: int | None, path: Path) -> NDArray[np.float64]:
    if name not in values or not len(values[name]):
        raise DataError(f"{path.name} has no >{name}; an EDI file of impedances needs FREQ and ZXXR … ZYYI.")
    if many is not None and len(values[name]) != many:
        raise DataError(f"{path.name}: >{name} holds {len(values[name])} values for {many} frequencies.")
    return values[name]


def _number(word: str, name: str, path: Path) -> float:
    try:
        return float(word.upper().replace("D", "E"))
    except ValueError:
        raise DataError(f"{path.name}: {word!r} in >{name} is no number.") from None


def _degrees(text: str | None) -> float:
    """Decimal degrees of ``-26.5`` or ``-26:30:00``; NaN of anything else."""
    found = re.fullmatch(r"([-+]?)(\d+(?:\.\d*)?)(?::(\d+(?:\.\d*)?))?(?::(\d+(?:\.\d*)?))?", (text or "").strip())
    if not found:
        return float("nan")
    size = float(found[2]) + float(found[3] or 0) / 60 + float(found[4] or 0) / 3600
    return -size if found[1] == "-" else size


def apparent(z: NDArray[np.complex128], period: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apparent resistivity [ohm m] and phase [degree] of impedances [ohm]."""
    return np.abs(z) ** 2 * period / (2 * pi * MU0), np.degrees(np.angle(z))
