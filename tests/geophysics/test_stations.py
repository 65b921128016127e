"""Tables of stations: what is read is right, what is doubtful is refused with its line; blocks and grids."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from posteriori.core.errors import DataError, OptionError, PosterioriError, UnitError
from posteriori.core.formats.netcdf import read_grid, write_grid
from posteriori.domains.geophysics.blocks import blocks_of, folds_of
from posteriori.domains.geophysics.gravity_data import BUSHVELD, TABLE, survey
from posteriori.domains.geophysics.reductions import bouguer_plate, normal_gravity
from posteriori.domains.geophysics.stations import parse_stations, read_stations, within_degrees

METRES = "easting [m],northing [m],height [m],bouguer [mGal]\n"
DEGREES = "longitude,latitude,height [m],gravity [mGal]\n"


def made(n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Longitude, latitude, height and gravity of stations over rock of the plate's density, to 1 mGal."""
    rng = np.random.default_rng(0)
    lon, lat, height = rng.uniform(5, 12, n), rng.uniform(46, 48, n), rng.uniform(200, 2500, n)
    return lon, lat, height, normal_gravity(lat, height) + bouguer_plate(height) + rng.normal(0, 1, n)


def text(*columns: np.ndarray, head: str = DEGREES) -> str:
    return head + "".join(",".join(f"{v:.6f}" for v in row) + "\n" for row in zip(*columns, strict=True))


def test_units_endings_order_and_extra_columns() -> None:
    one = parse_stations("note,y_km,Height [ft],x_km,Free-Air_mGal\n7,2,1000,1,5\n8,3,2000,4,-1.5\n")
    assert one.easting.tolist() == [1000.0, 4000.0]
    assert one.northing.tolist() == [2000.0, 3000.0]
    assert one.height == pytest.approx([304.8, 609.6])
    assert (one.kind, one.value.tolist(), one.line.tolist()) == ("disturbance", [5.0, -1.5], [2, 3])


def test_repeated_rows_are_dropped_and_repeated_positions_kept() -> None:
    found = parse_stations(METRES + "0,0,1,2\n0,0,1,2\n0,0,1,3\n5,5,1,2\n")
    assert (len(found), found.repeated, found.line.tolist()) == (3, 1, [2, 4, 5])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (METRES + "0,0,1,nan\n", "line 2: bouguer should be a number but reads 'nan'"),
        (METRES + "0,0,1,2\n0,0,,2\n", "line 3: height should be a number"),
        (METRES + "0,0,1,2\n0,0,9999,2\n", "line 3: height = 9999 m lies outside.*feet"),
        (METRES + "0,0,1,2\n0,0,1\n", "line 3: 3 fields under 4"),
        (METRES + "0,0,1,2\n0,0,1,2", "does not end with a line end"),
        (METRES + "0,0,1,978000\n", "line 2: bouguer = 978000 mGal lies outside"),
        (DEGREES + "28,-25,1000,-120\n", "line 2: gravity = -120 mGal.*name the column disturbance or bouguer"),
        (DEGREES + "10,95,1000,979000\n", "line 2: latitude = 95 deg.*swapped"),
        ("easting [m],northing [m],height [m],gravity [mGal]\n0,0,0,978000\n", "needs longitude and latitude"),
        ("easting [m],northing [m],bouguer [mGal]\n0,0,1\n", "needed are"),
        ("lon,longitude [deg],lat,height_m,gravity_mgal\n1,1,1,1,978000\n", "keep one longitude"),
        ("x_m;y_m\n0;1\n", "semicolons"),
        ("", "is empty"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(table: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_stations(table)


@pytest.mark.parametrize("head", ["easting,northing [m],height [m]", "easting [m],northing [m],height [K]"])
def test_a_missing_or_wrong_unit_is_refused(head: str) -> None:
    with pytest.raises(UnitError, match=r"easting \[m\]|\[K\] into \[m\]"):
        parse_stations(f"{head},bouguer [mGal]\n0,0,0,1\n")


def test_swapped_angles_and_heights_in_feet_are_noticed() -> None:
    lon, lat, height, gravity = made()
    assert len(parse_stations(text(lon, lat, height, gravity))) == 40
    with pytest.raises(DataError, match="swapped"):
        parse_stations(text(lat, lon, height, gravity))
    with pytest.raises(DataError, match="feet"):
        parse_stations(text(lon, lat, height / 0.3048, gravity))


def test_packed_tables_and_broken_ones(tmp_path: Path) -> None:
    whole = text(*made())
    for suffix, pack in {"csv": bytes, "csv.xz": lzma.compress, "csv.gz": gzip.compress}.items():
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(pack(whole.encode()))
        assert len(read_stations(path)) == 40
    for suffix, pack in {"xz": lzma.compress, "gz": gzip.compress}.items():
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(pack(whole.encode())[:-20])
        with pytest.raises(DataError, match="unpack"):
            read_stations(path)
    with pytest.raises(DataError, match="cannot read"):
        read_stations(tmp_path / "none.csv")


def test_the_shipped_table_is_the_window_of_the_source(shared: Path) -> None:
    whole = read_stations(shared / "geophysics/southern-africa-gravity.csv.xz")
    assert (len(whole), whole.repeated) == (14341, 18)
    window, shipped = whole.within(*BUSHVELD), read_stations(TABLE)
    assert len(shipped) == 3877
    for name in ("longitude", "latitude", "height", "value", "easting", "northing"):
        np.testing.assert_array_equal(getattr(window, name), getattr(shipped, name))


def test_the_bushveld_is_where_it_should_be() -> None:
    found = survey(None)
    assert np.ptp(found.stations.easting) == pytest.approx(703e3, rel=0.01)  # 7 degrees along 25.5 S
    assert found.bouguer.mean() == pytest.approx(-115, abs=5)
    with pytest.raises(DataError, match="no station"):
        survey(None, (10.0, 11.0, 50.0, 51.0))
    with pytest.raises(OptionError, match="window"):
        within_degrees("25/32/-23/-27")


def test_blocks_stay_whole_and_folds_are_even() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 100, 500), rng.uniform(0, 60, 500)
    blocks = blocks_of(x, y, 10.0)
    for block in range(blocks.max() + 1):
        inside = blocks == block
        assert max(np.ptp(x[inside]), np.ptp(y[inside])) <= 10.0
    folds = folds_of(blocks, 5, np.random.default_rng(0))
    assert all(len(np.unique(folds[blocks == block])) == 1 for block in np.unique(blocks))
    assert np.ptp(np.bincount(folds)) <= 15
    np.testing.assert_array_equal(blocks, blocks_of(x + 1e6, y - 1e5, 10.0))
    for bad in (lambda: blocks_of(x, y, 0.0), lambda: folds_of(blocks, 1, rng), lambda: folds_of(blocks, 99, rng)):
        with pytest.raises(OptionError):
            bad()


def test_grids_are_turned_converted_and_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "dem.nc"
    axes = {"northing": ("northing", [2.0, 1.0], {"units": "km"}), "easting": ("easting", [0.0, 5.0], {"units": "m"})}
    grid = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], axes, ("northing", "easting"), "height", {"units": "ft"})
    write_grid(grid, path)
    found = read_grid(path, ("easting", "northing"), "m")
    assert found.dims == ("easting", "northing")
    assert found["northing"].values.tolist() == [1000.0, 2000.0]
    np.testing.assert_allclose(found.values, 0.3048 * np.array([[3.0, 1.0], [4.0, 2.0]]))
    assert found.attrs["units"] == "m"
    assert [p.name for p in tmp_path.iterdir()] == ["dem.nc"]


def test_doubtful_grids_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "dem.nc"

    def write(values: list[float], axis: list[float], units: str = "m") -> None:
        xr.DataArray(values, {"x": ("x", axis, {"units": "m"})}, ("x",), "h", {"units": units}).to_netcdf(
            path, engine="h5netcdf"
        )

    for values, axis, units, words in (
        ([1.0, np.nan], [0.0, 1.0], "m", "1 gaps, the first at {'x': 1.0}"),
        ([1.0, 2.0, 3.0], [0.0, 2.0, 1.0], "m", "neither rises nor falls"),
        ([1.0, 2.0], [0.0, 1.0], "", "no units"),
        ([1.0, 2.0], [0.0, 1.0], "K", r"\[K\] into \[m\]"),
    ):
        write(values, axis, units)
        with pytest.raises(PosterioriError, match=words):
            read_grid(path, ("x",), "m")
    with pytest.raises(DataError, match="0 variables"):
        read_grid(path, ("y",), "m")
    path.write_bytes(b"no grid at all")
    with pytest.raises(DataError, match="cannot read"):
        read_grid(path, ("x",), "m")
