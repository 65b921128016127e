"""Rebuild the elevation model that ships with ``posteriori.domains.geography`` from Matplotlib's sample data.

python scripts/build_dem.py [FILE] [--into FOLDER]: the same input gives the same bytes. The input is
``jacksboro_fault_dem.npz`` of the Matplotlib wheel (SRTM, public domain), found there when no file is given.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import matplotlib
import numpy as np

from posteriori.domains.geography.dem import TABLE


def main() -> None:
    """Read, difference, write; nothing is written if the input is wrong."""
    sample = Path(matplotlib.get_data_path()) / "sample_data" / "jacksboro_fault_dem.npz"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=sample, help="the sample (default: Matplotlib's own)")
    parser.add_argument("--into", type=Path, default=TABLE.parent, help="where the table goes (default: the package)")
    arguments = parser.parse_args()
    packed = table(arguments.file)
    arguments.into.mkdir(parents=True, exist_ok=True)
    partial = arguments.into / f"{TABLE.name}.partial"
    partial.write_bytes(packed)
    partial.replace(arguments.into / TABLE.name)
    print(f"{arguments.into / TABLE.name}: {len(packed)} bytes")


def table(path: Path) -> bytes:
    """The heights as differences along both axes, the north-west corner and the size of a cell [degrees]."""
    with np.load(path) as sample:
        elevation, west, north = sample["elevation"], float(sample["xmin"]), float(sample["ymin"])
        south, east = float(sample["ymax"]), float(sample["xmax"])
    cell = 3 / 3600
    rows, columns = elevation.shape
    if not (np.allclose(north - south, rows * cell, atol=1e-7) and np.allclose(east - west, columns * cell, atol=1e-7)):
        raise SystemExit(f"{path.name} does not span {rows} x {columns} cells of three arc seconds.")
    steps = np.diff(np.diff(elevation.astype(np.int32), axis=1, prepend=0), axis=0, prepend=0).astype(np.int16)
    # SRTM's posts are whole multiples of three arc seconds; corners lie half a cell outside
    corner = np.round((np.array([west, north]) / cell) * 2) / 2 * cell
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in (("steps", steps), ("corner", corner), ("cell", np.array(cell))):
            held = io.BytesIO()
            np.save(held, array)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), held.getvalue(), zipfile.ZIP_DEFLATED
            )
    return packed.getvalue()


if __name__ == "__main__":
    main()
