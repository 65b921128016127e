"""What rasters promise: files that give back every bit, and large ones in memory that does not grow.

Round trips run over hundreds of rasters of any dtype, scale, transform and coordinate system; large rasters are written
and read window by window in a process of their own, whose peak memory is asked of the operating system.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from asked import Asked
from posteriori.core.map_grid import WGS84, MapGrid, as_wkt
from posteriori.core.raster import Kind, Layers, Raster
from posteriori.domains.geography.blocks import coarser
from posteriori.domains.geography.cells import areas
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.raster import read_raster, write_raster
from posteriori.domains.geography.regrid import Resampling, onto

FORMATS = (".tif", ".nc", ".zarr")
RASTERS = 240
CUSTOM = (
    'PROJCS["Nowhere albers",GEOGCS["Odd",DATUM["Odd",SPHEROID["Odd",6370000,250]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Albers_Conic_Equal_Area"],PARAMETER["latitude_of_center",-27.7],'
    'PARAMETER["longitude_of_center",153.24],PARAMETER["standard_parallel_1",-26.2],'
    'PARAMETER["standard_parallel_2",-29.3],PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)
SYSTEMS = (None, WGS84, as_wkt("EPSG:32633"), as_wkt("EPSG:3035"), as_wkt("EPSG:2056"), CUSTOM)
STORED = (
    ("int16", -9999),
    ("uint8", 255),
    ("uint8", None),
    ("int8", -128),
    ("uint16", 0),
    ("int32", -(2**31)),
    ("int64", -9999),
    ("float32", float("nan")),
    ("float32", -3.4028234663852886e38),
    ("float32", None),
    ("float64", 1e20),
)
LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from posteriori.core.map_grid import MapGrid, as_wkt
from posteriori.core.raster import Raster
from posteriori.domains.geography.windows import window_reader, window_writer
side, path = int(sys.argv[1]), Path(sys.argv[2])
grid = MapGrid((side, side), (10.0, 0, 4e5, 0, -10.0, 5e6), as_wkt("EPSG:32633"))
def part(rows, columns):
    place = grid.window(rows, columns)
    y, x = np.meshgrid(*place.centres, indexing="ij")
    return Raster("v", (np.sin(y / 7e3) * np.cos(x / 5e3)).astype(np.float32)[None], place, "K")
corners = [(slice(r, r + 512), slice(c, c + 512)) for r in range(0, side, 512) for c in range(0, side, 512)]
with window_writer(path, part(slice(0, 1), slice(0, 1)), grid) as write:
    for at in corners:
        write(*at, part(*at))
different = 0
with window_reader(path) as file:
    for at in corners[::-1]:
        different += int((file.read(*at).stored != part(*at).stored).sum())
print(different, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def rasters() -> Iterator[Raster]:
    """``RASTERS`` rasters, north up, south up and rotated, with gaps, scales, times and bands."""
    rng = np.random.default_rng(0)
    layers = (
        Layers(),
        Layers("time", np.array([3, 5]), "hours since 2019-03-01"),
        Layers("time", np.array([0.5, 30.25]), "days since 1850-01-01", "360_day"),
        Layers("band", np.array(["B04", "B08"])),
    )
    for each in itertools.islice(itertools.cycle(STORED), RASTERS):
        dtype, nodata = each
        along = layers[rng.integers(len(layers))]
        shape = (len(along.labels), int(rng.integers(1, 40)), int(rng.integers(1, 40)))
        stored = (rng.normal(size=shape) * 60).clip(-120, 120)
        stored = (stored if dtype[0] in "fi" else abs(stored)).astype(dtype)
        if nodata is not None:
            stored[rng.uniform(size=shape) < 0.3] = nodata
        scale, turn = 10.0 ** rng.uniform(-4, 3), rng.choice([0.0, 0.0, 0.2])
        e = rng.choice([-1.0, 1.0]) * scale
        transform = (scale, turn * scale, rng.normal() * 1e6, -turn * scale, e, rng.normal() * 1e6)
        grid = MapGrid(shape[1:], transform, SYSTEMS[rng.integers(len(SYSTEMS))])
        packed = rng.choice(2)
        yield Raster(
            "v",
            stored,
            grid,
            "K",
            list(Kind)[rng.integers(len(Kind))],
            nodata,
            float(rng.uniform(0.001, 2)) if packed else 1.0,
            float(rng.normal()) if packed else 0.0,
            along,
            {"long_name": "a field"},
        )


def same(one: Raster, other: Raster) -> bool:
    """Whether nothing at all differs: bits of all cells, system, transform, nodata, scale, unit, kind, times."""
    facts = [
        (
            r.stored.dtype,
            r.stored.shape,
            r.grid.crs,
            r.grid.transform,
            repr(r.nodata),
            r.scale,
            r.offset,
            r.unit,
            r.kind,
        )
        for r in (one, other)
    ]
    about = one.name == other.name and dict(one.attributes) == dict(other.attributes)
    return (
        facts[0] == facts[1]
        and about
        and one.layers.same(other.layers)
        and one.stored.tobytes() == other.stored.tobytes()
    )


@cache
def round_trips() -> dict[str, float]:
    """Of ``RASTERS`` rasters, how many come back different from each format, read and filled in between."""
    different = dict.fromkeys(FORMATS, 0.0)
    with tempfile.TemporaryDirectory(prefix="posteriori-") as place:
        for number, raster in enumerate(rasters()):
            for ending in FORMATS:
                first = read_raster(write_raster(raster, Path(place) / f"{number}a{ending}"))
                filled = first.replaced(first.values)
                second = read_raster(write_raster(filled, Path(place) / f"{number}b{ending}"))
                different[ending] += not (same(raster, first) and same(raster, second))
    return different


@cache
def large(side: int, ending: str) -> tuple[float, float]:
    """Cells that differ, and the peak memory [GiB] of writing and reading side x side cells in windows of 512."""
    with tempfile.TemporaryDirectory(prefix="posteriori-") as place:
        command = [sys.executable, "-c", LARGE, str(side), str(Path(place) / f"large{ending}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    different, peak = done.stdout.split()
    return float(different), float(peak)


def area_error() -> float:
    """Relative error of the summed areas of one-degree cells against the surface of WGS 84."""
    globe = MapGrid((180, 360), (1.0, 0, -180.0, 0, -1.0, 90.0), WGS84)
    return float(abs(areas(globe).sum() / 510_065_621_724_088.44 - 1))


def lost_volume() -> float:
    """Relative change of the volume above the sea when the elevation model is averaged onto cells four times larger."""
    dem = load_dem()
    part = replace(dem, stored=dem.stored[:, :, :400], grid=dem.grid.window(slice(None), slice(0, 400)))
    coarse = onto(part, coarser(part.grid, 4), Resampling.AVERAGE)
    volumes = [float((r.values * areas(r.grid)).sum()) for r in (part, coarse)]
    return abs(volumes[1] / volumes[0] - 1)


ASKED = [
    Asked(f"{RASTERS} rasters written, read, filled, written, read: how many differ in anything", 0, 0, round_trips),
    Asked(
        "8192² float32 by windows: cells that differ",
        0,
        0,
        lambda: {ending: large(8192, ending)[0] for ending in (".tif", ".zarr")},
    ),
    Asked(
        "8192² float32 by windows: peak memory [GiB]",
        0,
        1.0,
        lambda: {ending: large(8192, ending)[1] for ending in (".tif", ".zarr")},
    ),
    Asked("cell areas on the ellipsoid: relative error of their sum", 0, 1e-12, area_error),
    Asked("averages onto larger cells: relative change of the volume", 0, 1e-12, lost_volume),
]
