"""Rasters through files: every stored bit, coordinate system, transform, nodata number, time and unit comes back."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from posteriori.core.errors import DataError
from posteriori.core.map_grid import WGS84, Axis, MapGrid, as_wkt
from posteriori.core.raster import Kind, Layers, Raster, observed
from posteriori.domains.geography.raster import read_raster, write_raster, write_rasters

CUSTOM = (
    'PROJCS["Nowhere albers",GEOGCS["Odd",DATUM["Odd",SPHEROID["Odd",6370000,250]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Albers_Conic_Equal_Area"],PARAMETER["latitude_of_center",-27.7],'
    'PARAMETER["longitude_of_center",153.24],PARAMETER["standard_parallel_1",-26.2],'
    'PARAMETER["standard_parallel_2",-29.3],PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["metre",1]]'
)
SYSTEMS = [None, WGS84, as_wkt("EPSG:32633"), as_wkt("EPSG:2056"), as_wkt("EPSG:3857"), CUSTOM]
FORMATS = (".tif", ".nc", ".zarr")
STORED = [
    ("int16", -9999),
    ("int16", None),
    ("uint8", 255),
    ("uint8", 0),
    ("uint8", None),
    ("int8", -128),
    ("uint16", 65535),
    ("int32", -(2**31)),
    ("uint32", 7),
    ("int64", -9999),
    ("uint64", 2**40),
    ("float32", float("nan")),
    ("float32", -3.4028234663852886e38),
    ("float32", None),
    ("float64", float("nan")),
    ("float64", 1e20),
    ("float64", float("inf")),
]
finite = st.floats(-1e7, 1e7, allow_nan=False)
steps = st.floats(1e-6, 1e5) | st.floats(-1e5, -1e-6)


@st.composite
def rasters(draw: st.DrawFn) -> Raster:
    """Any raster: north or south up, rotated or not, of any dtype, scale and layers."""
    dtype, nodata = draw(st.sampled_from(STORED))
    layers = draw(
        st.sampled_from(
            [
                Layers(),
                Layers("time", np.array([3, 5]), "hours since 2019-03-01 06:00:00"),
                Layers("time", np.array([0.5, 30.25]), "days since 1850-01-01", "360_day"),
                Layers("band", np.array(["B04 red", "B08"])),
                Layers("level", np.array([1000.0, 500.0, 250.0], np.float32), "hPa"),
            ]
        )
    )
    shape = (len(layers.labels), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    bits = np.frombuffer(draw(st.binary(min_size=8 * int(np.prod(shape)), max_size=8 * int(np.prod(shape)))), np.uint8)
    stored = bits.view(dtype)[: int(np.prod(shape))].reshape(shape).copy()
    if stored.dtype.kind == "f":
        stored[~np.isfinite(stored)] = np.nan
    if nodata is not None and draw(st.booleans()):
        stored[0, 0, 0] = nodata
    turn = draw(st.sampled_from([0.0, 0.0, 0.3]))
    transform = (draw(steps), turn, draw(finite), -turn * 0.7, draw(steps), draw(finite))
    assume(observed(stored, nodata).any())
    if abs(transform[0] * transform[4] - transform[1] * transform[3]) < 1e-12:
        transform = (*transform[:1], 0.0, transform[2], 0.0, *transform[4:])
    scaled = draw(st.booleans())
    return Raster(
        "v",
        stored,
        MapGrid(shape[1:], transform, draw(st.sampled_from(SYSTEMS))),
        draw(st.sampled_from(["1", "K", "degree Celsius", "kg m-2"])),
        draw(st.sampled_from(list(Kind))),
        nodata,
        draw(st.floats(1e-4, 10.0)) if scaled else 1.0,
        draw(st.floats(-300.0, 300.0)) if scaled else 0.0,
        layers,
        {"long_name": "ein Feld, 5 °"},
    )


def differences(one: Raster, other: Raster) -> list[str]:
    """Everything in which two rasters differ, down to the bits of NaN."""
    found = [
        key
        for key in ("name", "unit", "kind", "scale", "offset", "palette")
        if repr(getattr(one, key)) != repr(getattr(other, key))
    ]
    if one.stored.dtype != other.stored.dtype or one.stored.tobytes() != other.stored.tobytes():
        found.append("stored")
    if repr(one.nodata) != repr(other.nodata):
        found.append(f"nodata {one.nodata!r} {other.nodata!r}")
    if (one.grid.transform, one.grid.crs, one.grid.shape) != (other.grid.transform, other.grid.crs, other.grid.shape):
        found.append(f"grid {one.grid.transform} {one.grid.crs} {other.grid.transform} {other.grid.crs}")
    if not one.layers.same(other.layers) or one.layers.labels.dtype.kind != other.layers.labels.dtype.kind:
        found.append("layers")
    if dict(one.attributes) != dict(other.attributes):
        found.append("attributes")
    return found


@pytest.mark.parametrize("ending", FORMATS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(raster=rasters())
def test_files_give_back_what_was_written_bit_for_bit(ending: str, raster: Raster) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_raster(raster, Path(folder) / f"r{ending}")
        assert differences(raster, read_raster(path)) == []
        assert [p.name for p in Path(folder).iterdir()] == [path.name]


@pytest.mark.parametrize("ending", FORMATS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(raster=rasters(), seed=st.integers(0, 99))
def test_filling_leaves_observed_cells_and_all_else_as_they_were(ending: str, raster: Raster, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = read_raster(write_raster(raster, Path(folder) / f"a{ending}"))
        values = np.where(kept.observed, np.random.default_rng(seed).normal(size=kept.stored.shape), np.nan)
        same = kept.replaced(values)
        assert differences(kept, same) == []
        assert differences(kept, read_raster(write_raster(same, Path(folder) / f"b{ending}"))) == []


@pytest.mark.parametrize("ending", FORMATS)
def test_gaps_are_filled_and_nothing_else(ending: str, tmp_path: Path) -> None:
    stored = np.array([[[-9999, 120, 300], [7, -9999, -9999]]], np.int16)
    raster = Raster("t", stored, MapGrid((2, 3), (1, 0, 0, 0, -1, 2), WGS84), "degC", Kind.CONTINUOUS, -9999, 0.1, 5.0)
    values = np.full((1, 2, 3), 17.26)
    values[0, 1, 2] = np.nan
    filled = read_raster(write_raster(raster.replaced(values), tmp_path / f"f{ending}"))
    assert filled.stored.tolist() == [[[123, 120, 300], [7, 123, -9999]]]
    assert np.allclose(filled.values[0, 0], [17.3, 17.0, 35.0])
    assert filled.observed.tolist() == [[[True, True, True], [True, True, False]]]


def test_a_filled_cell_is_never_stored_as_a_gap() -> None:
    grid = MapGrid((1, 2))
    for dtype, nodata, value in (
        ("uint8", 255, 255.0),
        ("int16", 0, 0.2),
        ("float32", 0.0, 0.0),
        ("float64", 1e20, 1e20),
    ):
        raster = Raster("v", np.array([[[nodata, 1]]], dtype), grid, nodata=nodata)
        filled = raster.replaced(np.full((1, 1, 2), value))
        assert filled.observed.all()
        assert filled.values[0, 0, 0] == pytest.approx(value, abs=1.0, rel=1e-9)


def test_uneven_axes_keep_their_bits_in_netcdf_and_zarr_and_are_refused_by_geotiff(tmp_path: Path) -> None:
    y, x = np.array([60.0, 59.1, 57.9], np.float32), np.array([1.0, 2.0, 4.0])
    grid = MapGrid.of_axes(Axis("latitude", y, "degrees_north"), Axis("longitude", x, "degrees_east"), WGS84)
    assert grid.transform is None
    raster = Raster("t2m", np.arange(9, dtype=np.float32).reshape(1, 3, 3), grid, "K")
    for ending in (".nc", ".zarr"):
        back = read_raster(write_raster(raster, tmp_path / f"u{ending}"))
        assert differences(raster, back) == []
        assert back.grid.y is not None
        assert back.grid.y.centres.tobytes() == y.tobytes()
        assert back.grid.y.name == "latitude"
    with pytest.raises(ValueError, match=r"regrid\.onto"):
        write_raster(raster, tmp_path / "u.tif")


def test_others_read_the_values_and_places_that_were_meant(tmp_path: Path) -> None:
    """rasterio and xarray, which know nothing of this package."""
    raster = Raster(
        "sst",
        np.array([[[100, -1], [300, 400]]], np.int16),
        MapGrid((2, 2), (0.5, 0, 3.0, 0, -0.5, 50.0), WGS84),
        "degree_Celsius",
        nodata=-1,
        scale=0.01,
        offset=10.0,
        layers=Layers.at(np.array(["2020-02-29T12:00"], "datetime64[s]")),
    )
    with rasterio.open(write_raster(raster, tmp_path / "a.tif")) as tif:
        assert tif.crs.to_epsg() == 4326
        assert tif.bounds == (3.0, 49.0, 4.0, 50.0)
        assert (tif.nodata, tif.scales, tif.offsets, tif.units) == (-1, (0.01,), (10.0,), ("degree_Celsius",))
        assert tif.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert tif.read(1, masked=True).mask.tolist() == [[False, True], [False, False]]
    for ending, engine in ((".nc", "h5netcdf"), (".zarr", "zarr")):
        options: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}
        with xr.open_dataset(write_raster(raster, tmp_path / f"a{ending}"), engine=engine, **options) as found:
            array = found["sst"].load()
        assert np.allclose(array.values, [[[11.0, np.nan], [13.0, 14.0]]], equal_nan=True)
        assert array["time"].values[0] == np.datetime64("2020-02-29T12:00")
        assert array["latitude"].values.tolist() == [49.75, 49.25]
        assert array["longitude"].values.tolist() == [3.25, 3.75]


def test_a_geotiff_has_overviews_in_tiles_nearest_for_classes(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).choice(np.array([1, 7, 200], np.uint8), (1, 700, 600))
    palette = {1: (0, 0, 0, 255), 7: (9, 8, 7, 255), 200: (255, 255, 255, 255)}
    grid = MapGrid((700, 600), (10, 0, 5e5, 0, -10, 6e6), as_wkt("EPSG:32631"))
    raster = Raster("cover", classes, grid, "1", Kind.CATEGORICAL, 0, palette=palette)
    path = write_raster(raster, tmp_path / "c.tif")
    with rasterio.open(path) as tif:
        assert tif.overviews(1) == [2, 4]
        assert tif.block_shapes == [(256, 256)]
        assert tif.colormap(1)[7] == (9, 8, 7, 255)
    with rasterio.open(path, overview_level=1) as small:
        assert set(np.unique(small.read())) <= {1, 7, 200}
    assert differences(raster, read_raster(path)) == []


def test_several_rasters_on_one_grid_share_a_file(tmp_path: Path) -> None:
    grid = MapGrid((2, 3), (1, 0, 0, 0, -1, 2), WGS84)
    mean = Raster(
        "mean", np.ones((2, 2, 3)), grid, "K", layers=Layers("time", np.array([0, 1]), "days since 2000-01-01")
    )
    height = Raster("height", np.ones((1, 2, 3), np.int16), grid, "m")
    path = write_rasters([mean, height], tmp_path / "both.nc")
    assert differences(mean, read_raster(path, "mean")) == []
    assert differences(height, read_raster(path, "height")) == []
    with pytest.raises(ValueError, match=r"name one: variable=…"):
        read_raster(path)
    with pytest.raises(ValueError, match="another grid"):
        write_rasters([mean, replace(height, grid=MapGrid((2, 3), (2, 0, 0, 0, -1, 2), WGS84))], tmp_path / "x.nc")


def test_files_that_count_from_dates_of_their_own_are_joined(tmp_path: Path) -> None:
    """As xarray writes single frames: each in days since its own time."""
    at = [np.datetime64("2020-10-31T00:50:00"), np.datetime64("2020-10-31T00:40:00"), np.datetime64("2020-10-30T23:50")]
    for name, time in zip("abc", at, strict=True):
        layers = Layers("time", np.array([0]), f"days since {str(time.astype('datetime64[s]')).replace('T', ' ')}")
        write_raster(
            Raster("rain", np.ones((1, 1, 2), np.int16), MapGrid((1, 2)), layers=layers), tmp_path / f"{name}.nc"
        )
    found = read_raster(tmp_path / "*.nc")
    assert found.layers.times.astype("datetime64[s]").tolist() == sorted(t.astype("datetime64[s]").tolist() for t in at)
    other = Raster("rain", np.ones((1, 1, 2), np.int32), MapGrid((1, 2)), layers=layers)
    write_raster(other, tmp_path / "d.nc")
    with pytest.raises(DataError, match="differ in dtype: int16 and int32"):
        read_raster(tmp_path / "*.nc")


def test_many_files_are_joined_in_order_of_time(tmp_path: Path) -> None:
    grid = MapGrid((1, 2))
    for name, hour in (("a", 9), ("b", 3), ("c", 6)):
        layers = Layers("time", np.array([hour]), "hours since 2020-01-01")
        write_raster(Raster("rain", np.full((1, 1, 2), hour, np.int16), grid, layers=layers), tmp_path / f"{name}.nc")
    found = read_raster(tmp_path / "*.nc")
    assert found.layers.labels.tolist() == [3, 6, 9]
    assert found.stored[:, 0, 0].tolist() == [3, 6, 9]
    write_raster(Raster("rain", np.zeros((1, 1, 2), np.int16), grid, layers=layers), tmp_path / "d.nc")
    with pytest.raises(ValueError, match="stand twice in the files, such as time 2020-01-01T06:00:00"):
        read_raster(tmp_path / "*.nc")
    with pytest.raises(ValueError, match="no file is named"):
        read_raster(tmp_path / "*.tif")


READS: dict[str, tuple[str, dict[str, Any], tuple[str, tuple[int, int, int], str]]] = {
    "era5": ("era5_t2m_uk_2019-03_h000-599.nc", {}, ("float32", (600, 33, 49), "K")),
    "alboran": ("alboran_sst/alboranSST_small.nc", {"variable": "SST"}, ("float32", (10, 201, 301), "degree Celsius")),
    "rain": ("bom_radar/66_20201031_00*.nc", {}, ("int16", (6, 512, 512), "kg m-2")),
    "cover": ("pylandstats/ls250_06.tif", {}, ("uint8", (1, 130, 189), "1")),
    "asc": ("dem/zSW3.asc", {}, ("float32", (1, 452, 300), "1")),
    "gif": ("sleuth/demo200.urban.1930.gif", {}, ("uint8", (1, 200, 200), "1")),
    "npy": ("eopatch/NDVI.npy", {}, ("float32", (68, 101, 100), "1")),
    "truth": ("eopatch/IS_VALID.npy", {}, ("uint8", (68, 101, 100), "1")),
    "members": (
        "misc/era5-levels-members.nc",
        {"variable": "t", "at": {"number": 0, "isobaricInhPa": 500.0}},
        ("float64", (4, 61, 120), "K"),
    ),
    "packed": (
        "xarray-data/eraint_uvz.nc",
        {"variable": "u", "at": {"level": 500}},
        ("int16", (2, 241, 480), "m s**-1"),
    ),
    "classic": ("misc/hgt_djf.nc", {}, ("float64", (65, 29, 49), "1")),
    "polar": ("misc/toa_brightness_stereographic.nc", {}, ("float32", (1, 160, 256), "K")),
    "no-leap": ("misc/E1_north_america.nc", {}, ("float32", (240, 37, 49), "K")),
}


@pytest.mark.parametrize("name", READS)
def test_real_files_are_understood_and_survive_every_format(name: str, shared: Path, tmp_path: Path) -> None:
    path, options, (dtype, shape, unit) = READS[name]
    raster = read_raster(shared / "geography" / path, **options)
    assert (raster.stored.dtype.name, raster.stored.shape, raster.unit) == (dtype, shape, unit)
    few = raster.select(slice(0, 3))
    for ending in FORMATS:
        assert differences(few, read_raster(write_raster(few, tmp_path / f"r{ending}"))) == []


def test_real_values_agree_with_xarray(shared: Path) -> None:
    folder = shared / "geography"
    raster = read_raster(folder / "xarray-data/eraint_uvz.nc", "v", {"level": 850})
    with warnings.catch_warnings():  # xarray says that NaN is no gap of whole numbers
        warnings.simplefilter("ignore")
        with xr.open_dataset(folder / "xarray-data/eraint_uvz.nc") as dataset:
            expected = dataset["v"].sel(level=850).values
    assert np.allclose(raster.values, expected, rtol=1e-6)
    rain = read_raster(folder / "bom_radar/66_20201031_000000.prcp-c10.nc")
    assert rain.kind is Kind.NON_NEGATIVE
    assert rain.times.tolist() == [np.datetime64("2020-10-31T00:00").astype("datetime64[us]").item()]
    assert rain.grid.transform == (500.0, 0.0, -128000.0, 0.0, -500.0, 128000.0)
    djf = read_raster(folder / "misc/hgt_djf.nc")
    assert str(djf.times[0])[:10] == "1948-01-15"


def _whole(folder: Path) -> dict[str, Path]:
    raster = Raster("v", np.arange(4096, dtype=np.float32).reshape(1, 64, 64), MapGrid((64, 64), crs=WGS84), "K")
    np.save(folder / "v.npy", raster.stored)
    return {ending: write_raster(raster, folder / f"v{ending}") for ending in (".tif", ".nc")} | {
        ".npy": folder / "v.npy"
    }


# bytes turned over reach code of GDAL and of h5netcdf that runs where nobody can catch what it raises
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", [".tif", ".nc", ".npy"])
def test_truncated_and_damaged_files_are_data_errors_or_read_as_rasters(ending: str, tmp_path: Path) -> None:
    whole = _whole(tmp_path)[ending].read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / f"damaged{ending}"
    refused = 0
    for trial in range(60):
        damaged = bytearray(whole)
        if trial < 25:
            damaged = damaged[: int(rng.integers(0, len(whole)))]
        else:
            for at in rng.integers(0, min(len(whole), 2500), 20):
                damaged[at] = int(rng.integers(0, 256))
        path.write_bytes(bytes(damaged))
        try:
            assert read_raster(path).stored.ndim == 3
        except DataError:
            refused += 1
    assert refused >= 25


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absent": (lambda p: read_raster(p / "no.nc"), "there is no file"),
    "folder": (lambda p: read_raster(p), "is a folder"),
    "empty": (lambda p: read_raster(_put(p / "e.nc", b"")), "is empty"),
    "text": (lambda p: read_raster(_put(p / "t.tif", b"hello")), "cannot read"),
    "other": (lambda p: read_raster(_put(p / "t.docx", b"hello")), "give one of"),
    "not zarr": (lambda p: read_raster((p / "z.zarr").mkdir() or p / "z.zarr"), "cannot read|holds 0 variables"),
    "pickle": (lambda p: read_raster(_pickle(p / "o.npy")), "cannot read"),
    "complex": (lambda p: read_raster(_saved(p / "c.npy", np.ones((2, 2), complex))), "real numbers"),
    "one row": (lambda p: read_raster(_saved(p / "c.npy", np.ones(3))), r"is \(y, x\) or"),
    "no cells": (lambda p: read_raster(_saved(p / "c.npy", np.ones((0, 3)))), "no cells"),
    "infinite": (
        lambda p: read_raster(_saved(p / "c.npy", np.array([[1, np.inf]]))),
        r"infinite at layer.*\(0, 0, 1\)",
    ),
    "gaps": (lambda p: read_raster(_saved(p / "c.npy", np.full((2, 2), np.nan))), "every cell is a gap"),
    "variable": (lambda p: read_raster(_whole(p)[".nc"], "w"), "holds v, spatial_ref, not 'w'|holds .*not 'w'"),
    "variable of a GeoTIFF": (lambda p: read_raster(_whole(p)[".tif"], "w"), "holds 'v' alone, not 'w'"),
    "variable of an array": (lambda p: read_raster(_whole(p)[".npy"], "w"), "holds 'v' alone, not 'w'"),
    "dims of a GeoTIFF": (lambda p: read_raster(_whole(p)[".tif"], at={"level": 1}), "no dims to choose along"),
    "ending": (lambda p: write_raster(read_raster(_whole(p)[".nc"]), p / "x.jpg"), "write .nc or .zarr"),
    "half": (
        lambda p: write_raster(Raster("v", np.ones((1, 2, 2), np.float16), MapGrid((2, 2))), p / "x.nc"),
        "store it as float32",
    ),
}


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _saved(path: Path, array: Any) -> Path:
    np.save(path, array)
    return path


def _pickle(path: Path) -> Path:
    np.save(path, np.array([{}], object), allow_pickle=True)
    return path


@pytest.mark.parametrize("ending", [".tif", ".nc", ".npy"])
def test_the_one_raster_of_a_file_may_be_named(ending: str, tmp_path: Path) -> None:
    assert read_raster(_whole(tmp_path)[ending], "v").stored.size == 4096


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_the_next_step(case: str, tmp_path: Path) -> None:
    act, message = BAD[case]
    with pytest.raises(DataError, match=message):
        act(tmp_path)


def test_one_dim_too_many_asks_for_a_choice(tmp_path: Path) -> None:
    cube = xr.Dataset({"t": (("member", "level", "y", "x"), np.ones((2, 3, 2, 2)))}, {"level": [1000, 850, 500]})
    cube.to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"choose: at="):
        read_raster(tmp_path / "c.nc")
    assert read_raster(tmp_path / "c.nc", at={"member": 1}).layers.labels.tolist() == [1000, 850, 500]
    with pytest.raises(ValueError, match=r"has the labels \[1000, 850, 500\], not 7"):
        read_raster(tmp_path / "c.nc", at={"level": 7})
