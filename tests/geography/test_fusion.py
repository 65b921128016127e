"""Points, districts and pixels as one question, against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import torch

from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import DataError, PosterioriError, ShapeError, UnitError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.map_grid import WGS84, MapGrid, as_wkt
from posteriori.core.raster import Kind, Raster
from posteriori.domains.geography.cells import areas
from posteriori.domains.geography.footprints import at_points, over_districts
from posteriori.domains.geography.fusion import districts, fused, pixels, sensors
from posteriori.domains.geography.vectors import Districts, Points, read_districts, read_points
from posteriori.inference.exact import Exact
from posteriori.testing.operators import check_operator

GRID = MapGrid((4, 5), (1.0, 0, 10.0, 0, -1.0, 50.0), WGS84)
EMPTY = Raster("t", np.full((1, 4, 5), np.nan), GRID, "degC", nodata=np.nan)


def _points(x: list[float], y: list[float], values: list[float], **others: Any) -> Points:
    n = len(x)
    facts = {"unit": "degC", "crs": WGS84} | others
    return Points("stations", np.arange(n), np.array(x), np.array(y), np.array(values), np.full(n, 0.5), **facts)


def _regions(*shapes: Any, **others: Any) -> Districts:
    n = len(shapes)
    facts = {"unit": "degC", "crs": WGS84} | others
    return Districts("means", np.arange(n), np.array(shapes, object), np.zeros(n), np.ones(n), **facts)


def test_points_see_a_plane_exactly_also_from_another_system() -> None:
    y, x = GRID.centres
    plane = torch.from_numpy(2.0 * x - 3.0 * y[:, None])
    places = _points([10.5, 12.3, 14.1], [49.5, 47.9, 46.7], [0, 0, 0])
    seen = at_points(places, GRID, EMPTY.space)(plane)
    assert torch.allclose(seen, torch.from_numpy(2.0 * places.x - 3.0 * places.y))
    moved = places.in_crs(as_wkt("EPSG:32633")).in_crs(WGS84)
    assert torch.allclose(at_points(moved, GRID, EMPTY.space)(plane), seen, atol=1e-7)
    corner = at_points(_points([10.01], [49.99], [0]), GRID, EMPTY.space)(plane)
    assert corner.tolist() == pytest.approx([float(plane[0, 0])])
    check_operator(at_points(places, GRID, EMPTY.space))


def test_districts_see_means_weighted_by_area_with_shares_of_cells() -> None:
    whole, half = shapely.box(10, 46, 15, 50), shapely.box(10.5, 48.0, 12.0, 49.0)
    operator = over_districts(_regions(whole, half), GRID, EMPTY.space)
    field = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 5)))
    area = torch.from_numpy(areas(GRID))
    mean, part = operator(field)
    assert float(mean) == pytest.approx(float((field * area).sum() / area.sum()), rel=1e-12)
    assert float(part) == pytest.approx(float(field[1, 0] * 0.5 + field[1, 1]) / 1.5, rel=1e-12)
    check_operator(operator)


def test_a_triangle_on_a_map_has_the_mean_that_its_corners_give() -> None:
    """The mean of a plane over a triangle is its value at the centroid; cells resolve it to second order."""
    grid = MapGrid((80, 80), (0.05, 0, 0, 0, -0.05, 4.0), as_wkt("EPSG:32633"))
    triangle = shapely.Polygon([(0.3, 0.4), (3.7, 1.1), (1.2, 3.8)])
    y, x = grid.centres
    plane = torch.from_numpy(1.0 + x - 0.5 * y[:, None])
    regions = _regions(triangle, unit="1", crs=grid.crs)
    found = over_districts(regions, grid, grid.space("v", "1"))(plane)
    exact = 1.0 + triangle.centroid.x - 0.5 * triangle.centroid.y
    assert float(found[0]) == pytest.approx(exact, abs=1e-4)


def test_raster_sensors_and_districts_together_are_the_closed_form() -> None:
    """Gaussian posterior by hand: K Aᵀ (A K Aᵀ + R)⁻¹ on the stacked data."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(4, 5))
    stored = np.where(rng.uniform(size=(1, 4, 5)) < 0.5, truth, np.nan)
    raster = Raster("t", stored, GRID, "degC", nodata=np.nan)
    cells = np.stack(np.meshgrid(np.arange(4), np.arange(5), indexing="ij"), -1).reshape(-1, 2)
    k = np.exp(-0.5 * ((cells[:, None] - cells) ** 2).sum(-1) / 2.0**2) + 1e-6 * np.eye(20)
    prior = Gaussian(raster.space, torch.zeros(4, 5).double(), DenseCovariance(torch.from_numpy(k)))
    kelvin = _points([11.2, 13.7], [48.3, 46.6], [273.15, 274.15], unit="K")
    table = _regions(shapely.box(10, 46, 15, 50))
    target = fused(
        prior, satellite=pixels(raster, 0.2), stations=sensors(kelvin, raster), means=districts(table, raster)
    )
    posterior = infer(target, Exact(), seed=0)
    seen = raster.observed[0]
    a = np.concatenate([np.eye(20)[seen.ravel()], target.operator.rows(torch.zeros(1).double()).numpy()[seen.sum() :]])
    data = np.concatenate([truth[seen], [0.0, 1.0], [0.0]])
    r = np.diag(np.concatenate([np.full(seen.sum(), 0.2), [0.5, 0.5], [1.0]]) ** 2)
    exact = k @ a.T @ np.linalg.solve(a @ k @ a.T + r, data)
    assert np.allclose(posterior.mean().values.ravel(), exact, atol=1e-9)


def test_files_of_points_and_districts_are_joined_by_key(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"code": ["b", "a"]}, geometry=[shapely.box(10, 46, 12, 50), shapely.box(12, 46, 15, 50)], crs=4326
    )
    frame.to_file(tmp_path / "regions.gpkg")
    (tmp_path / "means.csv").write_text("code,mean,error\na,1.5,0.1\nb,2.5,0.2\n")
    found = read_districts(tmp_path / "regions.gpkg", "code", tmp_path / "means.csv", "mean", "error", "K")
    assert found.ids.tolist() == ["a", "b"]
    assert found.values.tolist() == [1.5, 2.5]
    assert [shape.bounds[0] for shape in found.shapes] == [12.0, 10.0]
    assert found.crs == WGS84
    (tmp_path / "sensors.csv").write_text("id,lon,lat,pm\ns1,10.5,47,3\ns2,11,48,4\n")
    points = read_points(tmp_path / "sensors.csv", "pm", 0.3, "ug/m^3", "id")
    assert (points.ids.tolist(), points.x.tolist(), points.sd.tolist(), points.crs) == (
        ["s1", "s2"], [10.5, 11.0], [0.3, 0.3], WGS84,
    )  # fmt: skip
    places = geopandas.GeoDataFrame({"pm": [3.0]}, geometry=[shapely.Point(5e5, 5e6)], crs=32633)
    places.to_file(tmp_path / "p.geojson", driver="GeoJSON")
    assert read_points(tmp_path / "p.geojson", "pm", 1.0, crs="EPSG:32633").values.tolist() == [3.0]
    with pytest.raises(DataError, match="is in EPSG:32633, not EPSG:32634"):
        read_points(tmp_path / "p.geojson", "pm", 1.0, crs="EPSG:32634")
    (tmp_path / "map.csv").write_text("x,y,pm\n500000,5000000,3\n")
    assert read_points(tmp_path / "map.csv", "pm", 1.0).crs is None
    assert read_points(tmp_path / "map.csv", "pm", 1.0, crs="EPSG:32633").crs == as_wkt("EPSG:32633")


BAD: dict[str, tuple[Callable[[], Any], type[PosterioriError], str]] = {
    "outside": (lambda: sensors(_points([99.0], [47.0], [0]), EMPTY), DataError, "point 0 of stations at .* outside"),
    "system": (lambda: sensors(_points([11.0], [47.0], [0], crs=as_wkt("EPSG:32633")), EMPTY), DataError, "in_crs"),
    "no system": (lambda: _points([1.0], [1.0], [0], crs=None).in_crs(WGS84), DataError, "give both systems"),
    "unit": (lambda: sensors(_points([11.0], [47.0], [0], unit="m"), EMPTY), UnitError, "degC"),
    "nan": (lambda: _points([11.0], [np.nan], [0]), DataError, "y of point 0"),
    "no point": (lambda: _points([], [], []), ShapeError, "needs points"),
    "no source": (lambda: fused(None), DataError, "nothing to fuse"),  # type: ignore[arg-type]
    "no pixel": (lambda: pixels(EMPTY, 0.1), DataError, "leave that source out"),
    "classes": (
        lambda: pixels(Raster("c", np.ones((1, 2, 2), np.uint8), MapGrid((2, 2)), kind=Kind.CATEGORICAL), 1.0),
        DataError,
        "classes",
    ),
    "beyond": (lambda: districts(_regions(shapely.box(14, 46, 16, 50)), EMPTY), DataError, "50% of district 0"),
    "shapes": (
        lambda: Districts("d", np.arange(2), np.array([None], object), np.zeros(2), np.ones(2)),
        ShapeError,
        "1 shapes for 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused(case: str) -> None:
    act, error, message = BAD[case]
    with pytest.raises(error, match=message):
        act()


def test_tables_that_do_not_join_are_refused(tmp_path: Path) -> None:
    shape = geopandas.GeoDataFrame({"code": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    shape.to_file(tmp_path / "r.gpkg")
    point = geopandas.GeoDataFrame({"code": ["a"]}, geometry=[shapely.Point(0, 0)], crs=4326)
    point.to_file(tmp_path / "p.gpkg")
    cases = [
        ("r.gpkg", "code,m\nz,1\n", "speaks of code 'z'"),
        ("r.gpkg", "code,m\na,1\na,2\n", "stands 2 times"),
        ("r.gpkg", "code,m\na,x\n", "m in row 1 .* 'x', no number"),
        ("r.gpkg", "code,n\na,1\n", "not 'm'"),
        ("p.gpkg", "code,m\na,1\n", "polygons are needed"),
        ("none.gpkg", "code,m\na,1\n", "there is no file"),
    ]
    for regions, table, message in cases:
        (tmp_path / "t.csv").write_text(table)
        with pytest.raises(DataError, match=message):
            read_districts(tmp_path / regions, "code", tmp_path / "t.csv", "m", 1.0)
    with pytest.raises(DataError, match="points are needed"):
        read_points(tmp_path / "r.gpkg", "code", 1.0)
    (tmp_path / "c.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="longitude and latitude"):
        read_points(tmp_path / "c.csv", "a", 1.0)
    (tmp_path / "bad.gpkg").write_bytes((tmp_path / "r.gpkg").read_bytes()[:3000])
    with pytest.raises(DataError, match="cannot read"):
        read_points(tmp_path / "bad.gpkg", "a", 1.0)
