"""Runs of the DINEOF program: its set-up file, its binary files, and the cells that it holds out."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError
from posteriori.domains.geography.dineof import Dineof
from posteriori.domains.geography.raster import read_raster

SCRAMBLE = (0xBD0C5B6E50C2DF49, 0xD46061CD46E1DF38, 0xBB4F4D4ED6103544, 0x114A583D0756AD39)
"""What gfortran's run-time library mixes into a seed before its generator starts."""
WORD = (1 << 64) - 1


@dataclass(frozen=True)
class DineofSetup:
    """What a set-up file asks for.

    Attributes:
        method: numbers of functions, smoothing, tolerance.
        seed: of the cells held out.
        domain: cells of the sea, bool (y, x); None without a mask.
    """

    method: Dineof
    seed: int
    domain: NDArray[np.bool_] | None

    @staticmethod
    def read(path: Path) -> DineofSetup:
        """From a file such as ``dineof.init``; the mask is looked for beside it.

        Raises:
            DataError: no such file, or an entry that is missing or no number.
        """
        if not path.is_file():
            raise DataError(f"there is no file {path}.")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        entries: dict[str, str] = {}
        for line in lines:
            key, sign, value = line.partition("=")
            if sign and not line.lstrip().startswith(("!", "#")):
                entries[key.strip()] = value.strip()
        number = {key: _number(path, entries, key) for key in ("nev", "neini", "nitemax", "toliter", "seed")}
        method = Dineof(
            fewest=int(number["neini"]),
            most=int(number["nev"]),
            smoothing=_number(path, entries, "alpha") if "alpha" in entries else 0.0,
            rounds=int(_number(path, entries, "numit")) if "numit" in entries else 0,
            tolerance=number["toliter"],
            iterations=int(number["nitemax"]),
        )
        named = re.search(r"'([^'#]+)#([^']+)'", entries.get("mask", ""))
        domain = None if named is None else read_raster(path.parent / named[1], named[2]).values[0] == 1
        return DineofSetup(method, int(number["seed"]), domain)

    def held(self, observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The cells (time, y, x) that the program draws for cross-validation, compiled by gfortran 10 or later.

        One in a hundred of all cells of the domain and dates, and forty more, drawn among the ``observed``.
        """
        domain = observed.any(0) if self.domain is None else self.domain
        x, y = np.nonzero(domain.T)
        free = observed[:, y, x].T.copy()
        cells, dates = free.shape
        wanted = int(min(0.01 * cells * dates + 40, 0.03 * cells * dates))
        if wanted >= free.sum():
            raise DataError(f"{int(free.sum())} observed cells are too few to hold {wanted} out.")
        held, draws = np.zeros(observed.shape, bool), _uniform(self.seed)
        for _ in range(wanted):
            cell = date = -1
            while cell < 0 or not free[cell, date]:
                cell, date = int(next(draws) * cells), int(next(draws) * dates)
            free[cell, date] = False
            held[date, y[cell], x[cell]] = True
        return held


def read_gher(path: Path) -> NDArray[np.float64]:
    """The numbers of a GHER binary file, (z, y, x) without leading sides of one; its gaps are NaN.

    Raises:
        DataError: it is not such a file.
    """
    try:
        *_, head, body = [record for record in _records(path.read_bytes()) if record]
        columns, rows, levels, width, _ = struct.unpack(">5i", head[:20])
        gap = struct.unpack(">f", head[20:24])[0]
        found = np.frombuffer(body, {4: ">f4", 8: ">f8"}[width])[: columns * rows * levels].astype(np.float64)
        found = found.reshape(levels, rows, columns)
    except (OSError, ValueError, KeyError, struct.error) as problem:
        raise DataError(f"{path} is no GHER binary file ({problem}).") from problem
    found[found == gap] = np.nan
    return found.reshape([side for side in found.shape if side > 1] or [1])


def _records(raw: bytes) -> Iterator[bytes]:
    """Records of a sequential Fortran file, most significant byte first."""
    at = 0
    while at < len(raw):
        (size,) = struct.unpack(">i", raw[at : at + 4])
        if size < 0 or raw[at + 4 + size : at + 8 + size] != raw[at : at + 4]:
            raise ValueError("a record is cut off")
        yield raw[at + 4 : at + 4 + size]
        at += 8 + size


def _uniform(seed: int) -> Iterator[float]:
    """gfortran's uniform numbers on [0, 1): xoshiro256** with all words of the seed alike.

    Reference: Blackman & Vigna (2021), Scrambled linear pseudorandom number generators, ACM TOMS 47, 36.
    """
    word = (seed & 0xFFFFFFFF) | ((seed & 0xFFFFFFFF) << 32)
    a, b, c, d = (word ^ key for key in SCRAMBLE)
    while True:
        yield ((_turned(b * 5 & WORD, 7) * 9 & WORD) >> 11) * 2.0**-53
        shifted = b << 17 & WORD
        c, d = c ^ a, d ^ b
        b, a = b ^ c, a ^ d
        c, d = c ^ shifted, _turned(d, 45)


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & WORD


def _number(path: Path, entries: dict[str, str], key: str) -> float:
    try:
        return float(entries[key])
    except (KeyError, ValueError):
        raise DataError(f"{path.name} has no number for {key!r}; give DINEOF's set-up file.") from None
