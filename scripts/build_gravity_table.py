"""Rebuild the table of gravity stations that ships with ``posteriori.domains.geophysics``, the Bushveld window.

python scripts/build_gravity_table.py southern-africa-gravity.csv.xz [--into FOLDER]: the same input gives the same
bytes. The input is that of github.com/fatiando/data, folder ``southern-africa-gravity``.
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
from pathlib import Path

from posteriori.domains.geophysics.gravity_data import BUSHVELD, CITATIONS, TABLE
from posteriori.domains.geophysics.stations import Stations, read_stations


def main() -> None:
    """Read, cut, write; nothing is written if the input is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="the stations of Southern Africa")
    parser.add_argument("--into", type=Path, default=TABLE.parent, help="where the table goes (default: the package)")
    arguments = parser.parse_args()
    stations = read_stations(arguments.file).within(*BUSHVELD)
    source = f"{arguments.file.name} sha256 {hashlib.sha256(arguments.file.read_bytes()).hexdigest()}"
    packed = lzma.compress(text(stations, source).encode("ascii"), preset=9 | lzma.PRESET_EXTREME)
    arguments.into.mkdir(parents=True, exist_ok=True)
    partial = arguments.into / f"{TABLE.name}.partial"
    partial.write_bytes(packed)
    partial.replace(arguments.into / TABLE.name)
    print(f"{arguments.into / TABLE.name}: {len(stations)} stations, {len(packed)} bytes")


def text(stations: Stations, source: str) -> str:
    """The table as CSV, in the order of the input."""
    assert stations.longitude is not None
    assert stations.latitude is not None
    lines = ["# Gravity stations of the Bushveld, 25 to 32 E and 27 to 23 S: absolute gravity, height above sea level."]
    lines += [f"# {citation}" for citation in CITATIONS]
    lines += [f"# {source}", "longitude [deg],latitude [deg],height [m],gravity [mGal]"]
    columns = (stations.longitude, stations.latitude, stations.height, stations.value)
    lines += [",".join(repr(float(v)).removesuffix(".0") for v in row) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
