"""Joint mass tables as files: CSV, netCDF, and the mass files that TALYS reads.

TALYS takes a folder of masses by the keyword ``massdir``, with ``massmodel 2`` and, so that it does not put evaluated
masses in their place, ``expmass n``. The folder holds a file ``<element>.mass`` for each element (B9 and C0 are 119 and
120), one line a nucleus in order of A, read as ``4x, i4, 2f12.6, 2f8.4, 20x, f4.1, i2``: A, atomic mass [u], mass
excess [MeV], deformations β2 and β4, spin and parity of the ground state; Z stands in the first four columns. The law
of masses says nothing of shapes and spins: deformations are zero, which TALYS takes for "not given", spins are minimal.

References: Koning, Hilaire & Goriely (2023), TALYS: modeling of nuclear reactions, Eur. Phys. J. A 59, 131; the routine
``masses`` of TALYS 2.0.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from posteriori.core.space import Space
from posteriori.core.store import renamed
from posteriori.domains.nuclei.chart import SYMBOLS, protons_neutrons
from posteriori.physics.mass_conversions import CONSTANTS

UNIT = CONSTANTS["atomic_mass_unit"].value  # [keV]
TALYS_SYMBOLS = {119: "B9", 120: "C0"}
DECIMALS = 1  # of keV in a CSV file
FAST = 1  # compression level: random digits do not get smaller by more work


@dataclass(frozen=True)
class JointTables:
    """Joint draws of atomic mass excesses ``draws`` (draw, nuclides) [keV] on the chart ``cells``; what made them."""

    cells: Space
    draws: np.ndarray
    source: str

    def write_csv(self, path: Path) -> None:
        """A gzipped CSV file: a row for each nucleus, columns nuclide, Z, N, mean, sd and every draw [keV]."""
        z, n = protons_neutrons(self.cells)
        names = self.cells.labels("nuclide")
        rounded = self.draws.round(DECIMALS).T
        mean, sd = self.draws.mean(0), self.draws.std(0)
        width = len(str(len(self.draws)))
        columns = [f"draw{i + 1:0{width}d} [keV]" for i in range(len(self.draws))]
        head = f"# {self.source}\n" + ",".join(["nuclide,Z,N,mean [keV],sd [keV]", *columns]) + "\n"
        with renamed(path) as part, part.open("wb") as file, gzip.GzipFile("", "wb", FAST, file, mtime=0) as stream:
            stream.write(head.encode())
            for i, row in enumerate(rounded):
                start = f"{names[i]},{z[i]},{n[i]},{mean[i]:.3f},{sd[i]:.3f},"
                stream.write((start + ",".join(map(str, row.tolist())) + "\n").encode())

    def write_netcdf(self, path: Path) -> None:
        """A netCDF file: ``mass_excess`` (draw, nuclide) [keV] in single precision (to 0.03 keV), Z and N beside."""
        z, n = protons_neutrons(self.cells)
        labels = {"draw": np.arange(len(self.draws)), "nuclide": self.cells.labels("nuclide").astype(str)}
        values = xr.DataArray(self.draws.astype(np.float32), labels, ("draw", "nuclide"), attrs={"units": "keV"})
        values = values.assign_coords(Z=("nuclide", z), N=("nuclide", n))
        described = {"title": "joint draws of atomic mass excesses", "source": self.source}
        with renamed(path) as part:
            xr.Dataset({"mass_excess": values}, attrs=described).to_netcdf(part, engine="h5netcdf")

    def write_talys(self, path: Path) -> None:
        """A zip archive with a folder ``draw0001`` … for each table, to be named as ``massdir`` once unpacked."""
        width = max(4, len(str(len(self.draws))))
        lines = _TalysLines(self.cells)
        with renamed(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=FAST) as archive:
            for i, draw in enumerate(self.draws):
                for name, text in lines.files(draw):
                    entry = zipfile.ZipInfo(f"draw{i + 1:0{width}d}/{name}")
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, text, compresslevel=FAST)


class _TalysLines:
    """The lines of a chart, of which each table changes mass and mass excess alone."""

    def __init__(self, cells: Space) -> None:
        z, n = protons_neutrons(cells)
        self.order = np.lexsort((n, z))
        self.z, self.a = z[self.order], (z + n)[self.order]
        spins = np.where(self.a % 2, 0.5, np.where(self.z % 2, 1.0, 0.0))
        names = [TALYS_SYMBOLS.get(int(k), SYMBOLS[k]) for k in self.z]
        heads = [f"{k:4d}{a:4d}" for k, a in zip(self.z, self.a, strict=True)]
        tails = [
            f"{0.0:8.4f}{0.0:8.4f}{'':20s}{spin:4.1f}{1:2d} {a:3d}{name}"
            for a, name, spin in zip(self.a, names, spins, strict=True)
        ]
        self.form = [f"{head}%12.6f%12.6f{tail}\n" for head, tail in zip(heads, tails, strict=True)]
        starts = np.flatnonzero(np.r_[True, np.diff(self.z) > 0])
        self.pieces = [(names[i], i, j) for i, j in zip(starts, [*starts[1:], len(self.z)], strict=True)]
        self.whole = ["".join(self.form[i:j]) for _, i, j in self.pieces]

    def files(self, excess: np.ndarray) -> Iterator[tuple[str, str]]:
        """Name and text of the file of each element, for mass excesses [keV] in the order of the cells."""
        ordered = excess[self.order]
        pairs = np.stack([self.a + ordered / UNIT, ordered / 1e3], 1)
        for (name, i, j), form in zip(self.pieces, self.whole, strict=True):
            yield f"{name}.mass", form % tuple(pairs[i:j].ravel().tolist())
