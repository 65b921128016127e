"""Rasters in memory: masks, units, refusals; grids, resampling and areas against independent values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio.warp
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from posteriori.core.errors import DataError, PosterioriError, ShapeError, UnitError
from posteriori.core.map_grid import WGS84, Axis, MapGrid, as_wkt, crs_name, same_crs
from posteriori.core.raster import Kind, Layers, Raster, readable_unit
from posteriori.core.times import elapsed, moments, unit_hours, year_hours
from posteriori.domains.geography.blocks import coarser
from posteriori.domains.geography.cells import areas, around, cos_latitude, padded, turned, weights
from posteriori.domains.geography.clouds import Scene, cleared, in_sight
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.grids import covering, even_grid, places, transformed
from posteriori.domains.geography.raster import read_mask, read_raster, write_raster
from posteriori.domains.geography.regrid import Resampling, onto, require_same_grid, require_same_quantity

GLOBE = MapGrid((180, 360), (1.0, 0, -180.0, 0, -1.0, 90.0), WGS84)


def _raster(stored: Any, grid: MapGrid | None = None, **others: Any) -> Raster:
    held = np.asarray(stored)
    held = held if held.ndim == 3 else held[None]
    return Raster("v", held, grid or MapGrid(held.shape[1:], (1, 0, 0, 0, -1, 0), WGS84), **others)


def test_values_are_cut_to_what_a_raster_can_hold_and_fill_it_then() -> None:
    given = np.array([[[-3.0, 2.0, 99.0]]])
    gaps = np.full((1, 1, 3), 255, np.uint8)
    packed = _raster(gaps, kind=Kind.NON_NEGATIVE, nodata=255, scale=0.1, offset=-1.0)
    assert packed.clipped(given).tolist() == [[[0.0, 2.0, 24.5]]]
    assert packed.replaced(packed.clipped(given)).observed.all()
    assert _raster(np.zeros((1, 1, 3), np.float32)).clipped(given).tolist() == given.tolist()


def test_the_shipped_elevation_model_is_the_jacksboro_fault() -> None:
    """Corners and extremes of Matplotlib's sample; the plateau in the north-west stands above the valley."""
    dem = load_dem()
    assert (dem.stored.shape, dem.stored.dtype, dem.unit, dem.grid.crs) == ((1, 344, 403), np.int16, "m", WGS84)
    assert (int(dem.stored.min()), int(dem.stored.max())) == (236, 1076)
    y, x = dem.grid.centres
    assert (x[0] - 1.5 / 3600, y[0] + 1.5 / 3600) == pytest.approx((-84.41375, 36.73291667), abs=1e-8)
    assert (x[-1] + 1.5 / 3600, y[-1] - 1.5 / 3600) == pytest.approx((-84.07791667, 36.44625), abs=1e-8)
    assert dem.values[0, -100:, -100:].mean() < 330 < 520 < dem.values[0, :100, :100].mean()


def test_values_units_and_gaps() -> None:
    raster = _raster(np.array([[0, -1], [250, 300]], np.int16), unit="degree Celsius", nodata=-1, scale=0.1, offset=1.0)
    assert np.allclose(raster.values, [[[1.0, np.nan], [26.0, 31.0]]], equal_nan=True)
    kelvin = raster.in_unit("K")
    assert np.allclose(kelvin.values, raster.values + 273.15, equal_nan=True)
    assert kelvin.stored is raster.stored
    with pytest.raises(UnitError, match="give the values in"):
        raster.in_unit("m")
    hidden = raster.hidden(np.array([[True, False], [False, False]]))
    assert hidden.observed.tolist() == [[[False, False], [True, True]]]
    assert raster.space.unit == "degC"
    assert raster.space.dims == ("y", "x")
    floating = _raster(np.ones((2, 2), np.float32)).hidden(np.eye(2, dtype=bool))
    assert np.isnan(floating.nodata or 0.0)
    assert floating.observed.sum() == 2


@pytest.mark.parametrize(
    ("written", "read"),
    [("kg m-2", "kg m**-2"), ("m**2 s**-2", "m**2 s**-2"), ("degrees_north", "degree"), ("deg C", "degC"), ("", "1")],
)
def test_units_of_files_are_read(written: str, read: str) -> None:
    assert readable_unit(written) == read


def test_times_of_files_are_read() -> None:
    assert str(moments(np.array([133.0]), "days since 2017-01-01")[0]) == "2017-05-14T00:00:00.000000"
    assert str(moments(np.array([90]), "minutes since 2000-02-28T23:00:00Z")[0])[:16] == "2000-02-29T00:30"
    # NCEP counts hours from year 1 in the mixed calendar: 17067072 is 1 January 1948
    assert str(moments(np.array([17067072.0]), "hours since 1-1-1 00:00:0.0")[0])[:13] == "1948-01-01T00"
    assert str(moments(np.array([0]), "days since 1582-10-04", "gregorian")[0])[:10] == "1582-10-14"
    assert str(moments(np.array([0]), "days since 1582-10-04", "proleptic_gregorian")[0])[:10] == "1582-10-04"
    for zone, utc in (("+02:00", "22:00"), (" -6", "06:00"), (" +0530", "18:30"), (" UTC", "00:00"), ("T06Z", "06:00")):
        assert str(moments(np.array([24]), f"hours since 2019-03-01{zone}"))[-17:-12] == utc
    with pytest.raises(DataError, match="beyond what is counted"):
        moments(np.array([10**12]), "days since 1970-01-01")
    for unit, calendar in (
        ("days since 2000-01-01 noon", "standard"),
        ("months since 2000-01-01", "standard"),
        ("days since 2000-01-01", "360_day"),
        ("K", "standard"),
    ):
        with pytest.raises(DataError):
            moments(np.array([1.0]), unit, calendar)


def test_hours_are_counted_in_every_calendar() -> None:
    """A year of 360 days, and the mean Gregorian one, are the CF conventions'; a zone is taken off."""
    assert elapsed(np.array([0.0, 1.5]), "days since 2000-01-01 06:00", "360_day").tolist() == [6.0, 42.0]
    assert elapsed(np.array([2]), "months since 1960-01-01", "360_day").tolist() == [1440.0]
    assert elapsed(np.array([1]), "years since 1960-01-01", "noleap").tolist() == [8760.0]
    assert elapsed(np.array([1]), "hours since 2019-03-01 00:00 +02:00").tolist() == [-1.0]
    hourly = np.arange(1000)
    assert elapsed(3600 * (400_000 + hourly), "seconds since 1970-01-01").tolist() == (400_000 + hourly).tolist()
    assert elapsed(43_000 + hourly / 24, "days since 1900-01-01").tolist() == (1_032_000 + hourly).tolist()
    assert (year_hours("standard"), unit_hours("weeks since 2000-01-01")) == (8765.82, 168.0)
    later = Layers("time", np.array([30, 60]), "days since 2000-01-01", "360_day").after(36.0)
    assert (later.labels.tolist(), later.calendar) == ([61.5], "360_day")
    with pytest.raises(DataError, match="is no time"):
        elapsed(np.array([1.0]), "K")
    with pytest.raises(DataError, match="not finite"):
        elapsed(np.array([np.nan]), "days since 2000-01-01")


REFUSED: dict[str, tuple[Callable[[], Any], type[PosterioriError], str]] = {
    "shape": (lambda: _raster(np.ones((2, 2)), MapGrid((2, 3))), ShapeError, "its layers and its grid are"),
    "scale": (lambda: _raster(np.ones((2, 2)), scale=0.0), DataError, "scale not 0"),
    "nodata": (lambda: _raster(np.ones((2, 2), np.int16), nodata=99999), DataError, "cannot hold the nodata"),
    "nodata of whole numbers": (lambda: _raster([[1, 2]], nodata=np.nan), DataError, "give None"),
    "infinite": (lambda: _raster([[1.0, -np.inf]]), DataError, "declare them as nodata"),
    "no numbers": (lambda: _raster(np.array([["a"]])), DataError, "real numbers"),
    "transform": (lambda: MapGrid((2, 2), (1, 1, 0, 1, 1, 0)), DataError, "cells without area"),
    "system": (lambda: as_wkt("EPSG:999999"), DataError, "EPSG:32633"),
    "system of a grid": (lambda: MapGrid((2, 2), crs="here"), DataError, "'here' is no coordinate system"),
    "broken system": (lambda: areas(MapGrid((2, 2), crs='GEOGCS["odd"]')), DataError, "no coordinate system"),
    "turning axis": (lambda: MapGrid.of_axes(_axis(0, 2, 1), _axis(0, 1), None), DataError, "turns back"),
    "axis length": (lambda: MapGrid((2, 2), y=_axis(0, 1, 2), x=_axis(0, 1)), ShapeError, "3,"),
    "filled shape": (lambda: _gappy().replaced(np.ones((1, 3, 3))), ShapeError, "cannot fill"),
    "filled infinite": (lambda: _gappy().replaced(np.full((1, 2, 2), np.inf)), DataError, "are infinite"),
    "filled too large": (
        lambda: _gappy().replaced(np.full((1, 2, 2), 300.0)),
        DataError,
        r"does not fit uint8.*derived",
    ),
    "negative rain": (
        lambda: _gappy(Kind.NON_NEGATIVE).replaced(np.full((1, 2, 2), -1.0)),
        DataError,
        "cannot be negative",
    ),
    "unseen class": (lambda: _gappy(Kind.CATEGORICAL).replaced(np.full((1, 2, 2), 9.0)), DataError, "has no class 9"),
    "no nodata": (
        lambda: _raster(np.ones((2, 2), np.int16)).hidden(np.eye(2, dtype=bool)),
        DataError,
        "no nodata number",
    ),
    "mask shape": (lambda: _gappy().hidden(np.ones((3, 3), bool)), ShapeError, "does not fit"),
    "no times": (lambda: _gappy().times, DataError, "are no times"),
    "rotated": (lambda: MapGrid((2, 2), (1, 0.2, 0, 0.1, -1, 0)).centres, ShapeError, r"regrid\.onto"),
    "other grid": (
        lambda: require_same_grid(_gappy(), _raster(np.ones((2, 2)), GLOBE.window(slice(2), slice(2)))),
        ShapeError,
        r"regrid\.onto\(",
    ),
    "other system": (
        lambda: require_same_grid(_gappy(), replace(_gappy(), grid=MapGrid((2, 2), (1, 0, 0, 0, -1, 0)))),
        ShapeError,
        "EPSG:4326 against none",
    ),
    "other layers": (
        lambda: require_same_grid(
            _raster(np.ones((3, 2, 2)), layers=_three()), _raster(np.ones((2, 2, 2)), layers=Layers("t", np.arange(2)))
        ),
        ShapeError,
        "3",
    ),
    "other unit": (
        lambda: require_same_quantity(_raster([[1.0]], unit="K"), _raster([[1.0]], unit="degC")),
        UnitError,
        r"in_unit\('K'\)",
    ),
    "unknown system": (lambda: onto(_gappy(), MapGrid((2, 2))), DataError, "give both a coordinate system"),
    "far away": (lambda: onto(_gappy(), MapGrid((2, 2), (1, 0, 90, 0, -1, 60), WGS84)), DataError, "one place"),
    "classes averaged": (lambda: onto(_gappy(Kind.CATEGORICAL), GLOBE, Resampling.AVERAGE), DataError, "NEAREST"),
    "no area": (lambda: areas(MapGrid((2, 2))), DataError, "coordinate system"),
    "no latitude": (lambda: cos_latitude(MapGrid((2, 2), crs=as_wkt("EPSG:32633"))), ShapeError, "cells.weights"),
    "not around": (lambda: padded(np.ones((2, 2)), _gappy().grid, 1), ShapeError, "does not go around"),
    "no scene": (lambda: in_sight(_raster(np.array([[12, 1]], np.uint8))), DataError, "class 12"),
    "no extent": (lambda: even_grid(1, 0, 0, 1, 0.1), DataError, "nothing lies there"),
    "block": (lambda: coarser(_gappy().grid, 3), ShapeError, "blocks of 3"),
}


def _axis(*centres: float) -> Axis:
    return Axis("a", np.array(centres, float))


def _three() -> Layers:
    return Layers("t", np.arange(3))


def _gappy(kind: Kind = Kind.CONTINUOUS) -> Raster:
    return _raster(np.array([[255, 1], [2, 3]], np.uint8), nodata=255, kind=kind)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_next_step(case: str) -> None:
    act, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        act()


def test_masks_of_files_fit_or_are_refused(tmp_path: Any) -> None:
    raster = _raster(np.ones((3, 2, 2)), layers=_three())
    write_raster(_raster(np.array([[0, 1], [0, 0]], np.uint8)), tmp_path / "mask.tif")
    assert read_mask(tmp_path / "mask.tif", raster).sum() == 3
    write_raster(_raster(np.array([[0, 1], [0, 0]], np.uint8), GLOBE.window(slice(2), slice(2))), tmp_path / "far.tif")
    with pytest.raises(ShapeError, match="does not lie on the grid of v: transform"):
        read_mask(tmp_path / "far.tif", raster)
    for bad, message in (
        (np.zeros((2, 2)), "hides nothing"),
        (np.ones((2, 2)), "every cell"),
        (np.eye(3), "does not fit"),
    ):
        np.save(tmp_path / "bad.npy", bad)
        with pytest.raises(DataError, match=message):
            read_mask(tmp_path / "bad.npy", raster)


def test_areas_sum_to_the_ellipsoid_and_to_polygons() -> None:
    """Surface of WGS 84: 510 065 621 724 088 m² (closed form); one cell by Karney's geodesic polygons."""
    assert areas(GLOBE).sum() == pytest.approx(510_065_621_724_088.44, rel=1e-13)
    y, x = np.linspace(40.0, 41.0, 2001), np.linspace(5.0, 6.0, 2001)  # densely, since parallels are no geodesics
    ring_x = np.concatenate([x, np.full(2001, 6.0), x[::-1], np.full(2001, 5.0)])
    ring_y = np.concatenate([np.full(2001, 40.0), y, np.full(2001, 41.0), y[::-1]])
    polygon, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(ring_x, ring_y)
    assert areas(GLOBE)[49, 185] == pytest.approx(abs(polygon), rel=1e-8)
    sphere = MapGrid((180, 360), GLOBE.transform, as_wkt("+proj=longlat +R=6371229"))
    assert areas(sphere).sum() == pytest.approx(4 * np.pi * 6371229.0**2, rel=1e-13)
    assert areas(MapGrid((2, 3), (10.0, 0, 0, 0, -20.0, 0), as_wkt("EPSG:32633"))).tolist() == [[200.0] * 3] * 2
    poles = MapGrid((181, 360), (1.0, 0, -180.0, 0, -1.0, 90.5), WGS84)
    assert areas(poles).sum() == pytest.approx(areas(GLOBE).sum(), rel=1e-12)
    assert weights(GLOBE).mean() == pytest.approx(1.0)
    assert np.allclose(weights(GLOBE), cos_latitude(GLOBE), atol=0.01)


def test_grids_that_go_around_the_earth() -> None:
    assert around(GLOBE)
    assert not around(GLOBE.window(slice(None), slice(0, 359)))
    row = np.arange(360.0)[None]
    assert padded(row, MapGrid((1, 360), GLOBE.transform, WGS84), 2)[0, [0, 1, -2, -1]].tolist() == [358, 359, 0, 1]
    raster = Raster("v", row[None], MapGrid((1, 360), GLOBE.transform, WGS84))
    east = turned(raster, 0.0)
    assert east.grid.transform is not None
    assert east.grid.transform[2] == 0.0
    assert east.stored[0, 0, [0, 179, 180]].tolist() == [180, 359, 0]
    back = turned(east, -180.0)
    assert (back.stored == raster.stored).all()
    assert back.grid.transform == raster.grid.transform
    assert (onto(raster, east.grid, Resampling.NEAREST).stored == east.stored).all()
    assert np.allclose(onto(raster, east.grid, Resampling.AVERAGE).values, east.values)


def test_bilinear_agrees_with_scipy_at_places_of_pyproj() -> None:
    dem = load_dem()
    grid = covering(dem.grid, "EPSG:32616", 300.0)
    x, y = places(grid, *np.meshgrid(*(np.arange(n) + 0.5 for n in grid.shape), indexing="ij"))
    lon, lat = pyproj.Transformer.from_crs("EPSG:32616", "EPSG:4326", always_xy=True).transform(x, y)
    down, along = dem.grid.centres
    exact = RegularGridInterpolator((-down, along), dem.values[0], bounds_error=False)(np.stack([-lat, lon], -1))
    found = onto(dem, grid, Resampling.BILINEAR).values[0]
    inside = np.isfinite(exact)
    assert inside.mean() > 0.8
    assert np.abs(found - exact)[inside].max() < 1e-9


def test_nearest_agrees_with_gdal_and_keeps_stored_numbers() -> None:
    classes = np.random.default_rng(1).choice(np.array([3, 7, 90], np.uint8), (1, 60, 50))
    grid = MapGrid((60, 50), (100, 0, 5e5, 0, -100, 5e6), as_wkt("EPSG:32633"))
    cover = Raster("cover", classes, grid, "1", Kind.CATEGORICAL, 255)
    wanted = covering(grid, "EPSG:4326", 0.002)
    found = onto(cover, wanted)
    other = np.full(wanted.shape, 255, np.uint8)
    assert grid.transform is not None
    assert wanted.transform is not None
    rasterio.warp.reproject(
        classes[0],
        other,
        src_transform=rasterio.Affine(*grid.transform),
        src_crs="EPSG:32633",
        dst_transform=rasterio.Affine(*wanted.transform),
        dst_crs="EPSG:4326",
        src_nodata=255,
        resampling=rasterio.warp.Resampling.nearest,
        tolerance=1e-6,
    )
    assert found.stored.dtype == np.uint8
    assert (found.stored[0] == other).mean() > 0.999


def test_averages_keep_the_mean_over_the_map_and_leave_out_gaps() -> None:
    rng = np.random.default_rng(2)
    raster = Raster("v", rng.normal(size=(2, 180, 360)), GLOBE, layers=Layers("t", np.arange(2)))
    coarse = onto(raster, coarser(GLOBE, 7), Resampling.AVERAGE)
    fine = raster.values[:, :175, :357].reshape(2, 25, 7, 51, 7)
    w = areas(GLOBE)[:175, :357].reshape(25, 7, 51, 7)
    assert np.allclose(coarse.values, (fine * w).sum((2, 4)) / w.sum((1, 3)), atol=1e-12)
    uneven = onto(raster, MapGrid((50, 90), (4.0, 0, -180, 0, -3.6, 90), WGS84), Resampling.AVERAGE)
    total = [(values * areas(r.grid)).sum() for r in (raster, uneven) for values in r.values[:1]]
    assert total[0] == pytest.approx(total[1], rel=1e-9)
    wide = MapGrid((90, 90), (4.0, 0, -180, 0, -2, 90), WGS84)
    for hidden, seen in ((1, True), (3, False)):
        gaps = np.broadcast_to(np.arange(360) % 4 < hidden, (180, 360))
        if seen:
            kept = raster.values[:, :, 1:].reshape(2, 180, -1)[:, :2, :3]
            first = onto(raster.hidden(gaps), wide, Resampling.AVERAGE).values[:, 0, 0]
            zone = areas(GLOBE)[:2, 1:4]
            assert np.allclose(first, (kept * zone).sum((1, 2)) / zone.sum())
        else:
            with pytest.raises(DataError, match="no observed cell"):
                onto(raster.hidden(gaps), wide, Resampling.AVERAGE)


def test_averages_in_another_system_agree_with_gdal() -> None:
    """Both lay cells over cells, by points here and by whole cells there: metres of a field whose sd is 170 m."""
    dem, grid = load_dem(), covering(load_dem().grid, "EPSG:32616", 2000.0)
    found = onto(dem, grid, Resampling.AVERAGE).values[0]
    other = np.full(grid.shape, np.nan)
    assert dem.grid.transform is not None
    assert grid.transform is not None
    rasterio.warp.reproject(
        dem.values[0],
        other,
        src_transform=rasterio.Affine(*dem.grid.transform),
        src_crs="EPSG:4326",
        dst_transform=rasterio.Affine(*grid.transform),
        dst_crs="EPSG:32616",
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=rasterio.warp.Resampling.average,
        tolerance=1e-6,
    )
    inside = np.isfinite(found[1:-1, 1:-1])
    assert np.abs(found - other)[1:-1, 1:-1][inside].max() < 6.0


def test_directions_are_averaged_on_the_circle() -> None:
    wind = _raster(np.array([[350.0, 10.0], [350.0, 10.0]]), unit="degree", kind=Kind.CIRCULAR)
    found = onto(wind, MapGrid((1, 1), (2, 0, 0, 0, -2, 0), WGS84))
    assert np.abs((found.values + 180) % 360 - 180).max() < 1e-9


def test_uneven_axes_are_interpolated() -> None:
    y, x = Axis("y", np.array([5.0, 4.0, 2.0])), Axis("x", np.array([0.0, 1.0, 3.0, 7.0]))
    grid = MapGrid.of_axes(y, x, None)
    assert grid.transform is None
    plane = 2.0 * y.centres[:, None] - x.centres
    found = onto(Raster("v", plane[None], grid), MapGrid((3, 6), (1, 0, 0.5, 0, -1, 5.0)), Resampling.BILINEAR)
    rows, columns = found.grid.centres
    assert np.allclose(found.values[0], 2 * rows[:, None] - columns)


def test_blocks_of_an_uneven_grid_have_the_mean_axes_and_leave_the_rest_out() -> None:
    grid = MapGrid.of_axes(_axis(0, 1, 3, 7, 8), _axis(0, 10, 30, 40), None)
    coarse = coarser(grid, 2)
    assert (coarse.transform, coarse.shape) == (None, (2, 2))
    assert [axis.tolist() for axis in coarse.centres] == [[0.5, 5.0], [5.0, 35.0]]


def test_systems_are_compared_by_what_they_are() -> None:
    assert same_crs(WGS84, pyproj.CRS("EPSG:4326").to_wkt())
    assert not same_crs(as_wkt("EPSG:32633"), as_wkt("EPSG:32634"))
    assert crs_name(as_wkt("EPSG:32633")) == "EPSG:32633"
    x, y = transformed(np.array([15.0]), np.array([50.0]), WGS84, as_wkt("EPSG:32633"))
    assert (float(x[0]), float(y[0])) == pytest.approx((500000.0, 5538630.70), abs=0.01)  # central meridian of zone 33


@pytest.mark.parametrize("crs", ["EPSG:32633", "epsg:4326", "+proj=utm +zone=33 +datum=WGS84", WGS84])
@pytest.mark.parametrize("ending", [".tif", ".nc", ".zarr"])
def test_a_grid_takes_a_system_by_its_code_and_every_format_gives_it_back(
    crs: str, ending: str, tmp_path: Path
) -> None:
    raster = _raster(np.ones((2, 2)), MapGrid((2, 2), (10.0, 0, 0, 0, -10.0, 40), crs))
    assert raster.grid.crs == as_wkt(crs)
    assert pyproj.CRS.from_wkt(as_wkt(crs)).equals(pyproj.CRS(crs), ignore_axis_order=True)
    assert areas(raster.grid).shape == (2, 2)
    assert read_raster(write_raster(raster, tmp_path / f"a{ending}")).grid.crs == raster.grid.crs


def test_a_file_may_name_its_system_by_code(tmp_path: Path) -> None:
    raster = _raster(np.ones((2, 2)), MapGrid((2, 2), (10.0, 0, 0, 0, -10.0, 40), "EPSG:32633"))
    with xr.open_dataset(write_raster(raster, tmp_path / "a.nc"), decode_cf=False) as dataset:
        dataset["spatial_ref"].attrs = {"spatial_ref": "EPSG:32633"}
        dataset.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    assert read_raster(tmp_path / "b.nc").grid.crs == as_wkt("EPSG:32633")


def test_clouds_become_gaps_and_clear_cells_keep_their_bits() -> None:
    band = _raster(np.array([[1, 2, 3, 4]], np.uint16), nodata=0)
    scene = _raster(
        np.array([[Scene.VEGETATION, Scene.CLOUD_HIGH, Scene.CLOUD_SHADOW, Scene.WATER]], np.uint8), nodata=0
    )
    assert cleared(band, scene).stored.tolist() == [[[1, 0, 0, 4]]]
    assert cleared(band, scene, (Scene.WATER,)).stored.tolist() == [[[0, 0, 0, 4]]]


def test_windows_of_grids_lie_where_they_should() -> None:
    part = GLOBE.window(slice(10, 20), slice(-5, None))
    assert part.transform == (1.0, 0.0, 175.0, 0.0, -1.0, 80.0)
    assert part.shape == (10, 5)
    assert part.centres[0].tolist() == GLOBE.centres[0][10:20].tolist()
