"""Lines, areas and points of a grid are what geometry says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError, ShapeError
from posteriori.physics.areal_means import areal_means, blocks, cos_latitude
from posteriori.physics.line_of_sight import line_of_sight
from posteriori.physics.point_values import point_values
from posteriori.testing import check_operator

GRID = Space("t", {"y": np.array([30.0, 20.0, 10.0]), "x": np.array([0.0, 1.0, 3.0, 4.0])}, "K")


def test_operators_keep_the_contract() -> None:
    check_operator(line_of_sight(GRID, [[6.0, 0.0], [30.0, 4.0]], [[34.0, 4.0], [12.0, 0.1]]))
    check_operator(areal_means(GRID, blocks(GRID, 2), 1 + torch.arange(12.0).reshape(3, 4)))
    check_operator(point_values(GRID, [[12.0, 0.5], [30.0, 4.0]]))


def test_a_line_is_the_fine_sum_along_it() -> None:
    rng = np.random.default_rng(0)
    low, high = np.array([5.0, -0.5]), np.array([35.0, 4.5])
    a, b = (low + (high - low) * rng.random((20, 2)) for _ in range(2))
    field = Rng(1).normal(GRID.shape)
    found = line_of_sight(GRID, a, b)(field)
    t = (np.arange(200_000) + 0.5) / 200_000
    for i in range(20):
        path = a[i] + t[:, None] * (b[i] - a[i])
        y = 2 - np.clip(np.floor((path[:, 0] - 5) / 10), 0, 2).astype(int)
        x = np.searchsorted([0.5, 2.0, 3.5], path[:, 1])
        assert float(found[i]) == pytest.approx(float(field[y, x].mean()), abs=1e-4)
    length = np.linalg.norm(b - a, axis=1)
    np.testing.assert_allclose(line_of_sight(GRID, a, b, integral=True)(torch.ones(3, 4).double()), length)


def test_areas_are_weighted_means() -> None:
    field = Rng(2).normal(GRID.shape)
    regions = torch.tensor([[5, 5, -1, 2], [5, 5, 2, 2], [-1, -1, 2, 2]])
    w = 1 + Rng(3).uniform(GRID.shape)
    found = areal_means(GRID, regions, w)
    assert found.codomain.labels("region").tolist() == [2, 5]
    for row, name in enumerate((2, 5)):
        inside = regions == name
        assert float(found(field)[row]) == pytest.approx(float((w * field)[inside].sum() / w[inside].sum()))
    assert blocks(Space("m", {"y": 3, "x": 5}), 2).tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    globe = Space("t", {"latitude": np.array([-60.0, 0.0, 60.0]), "longitude": 4})
    torch.testing.assert_close(cos_latitude(globe)[:, 0], torch.tensor([0.5, 1.0, 0.5]).double())


def test_points_of_a_plane_are_exact() -> None:
    y, x = (torch.from_numpy(GRID.labels(dim)) for dim in ("y", "x"))
    plane = 2 + 0.3 * y[:, None] - 1.5 * x
    points = np.array([[30.0, 0.0], [10.0, 4.0], [17.0, 2.2], [29.9, 3.7]])
    found = point_values(GRID, points)(plane)
    np.testing.assert_allclose(found, 2 + 0.3 * points[:, 0] - 1.5 * points[:, 1])


def test_no_lines_no_points_and_no_latitudes_are_refused() -> None:
    with pytest.raises(ShapeError, match="one at least"):
        line_of_sight(GRID, np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(ShapeError, match="one at least"):
        point_values(GRID, np.zeros((0, 2)))
    with pytest.raises(ShapeError, match="no dim 'latitude'"):
        cos_latitude(GRID)


def test_what_leaves_the_grid_is_refused() -> None:
    with pytest.raises(DataError, match="leaves the grid"):
        line_of_sight(GRID, [[0.0, 0.0]], [[20.0, 1.0]])
    with pytest.raises(ShapeError, match="lines"):
        line_of_sight(GRID, [0.0], [1.0])
    with pytest.raises(DataError, match="outside"):
        point_values(GRID, [[31.0, 0.0]])
    with pytest.raises(DataError, match="no defined cell"):
        areal_means(GRID, torch.full((3, 4), -1))
    sea = torch.ones(3, 4, dtype=torch.bool)
    sea[1, 1] = False
    holed = Space("t", GRID.coords, "K", mask=sea)
    with pytest.raises(DataError, match="does not define"):
        line_of_sight(holed, [[30.0, 0.0]], [[10.0, 3.0]])
    with pytest.raises(DataError, match="next to"):
        point_values(holed, [[25.0, 0.5]])
    field = torch.arange(12.0).double().reshape(3, 4)
    assert float(areal_means(holed, blocks(holed, 4))(field)[0]) == pytest.approx((66 - 5) / 11)
