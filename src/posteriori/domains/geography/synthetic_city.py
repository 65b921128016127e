"""A made-up city over the shipped elevation model, grown by a cellular automaton whose law is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Raster
from posteriori.domains.geography.dem import load_dem
from posteriori.domains.geography.land_maps import Codes, Driver, Floats, LandMaps, Mask

SIDE = 120
CELL = 85.0
"""Mean side of a cell of the elevation model [m]."""
TOWNS = 9
YEARS = (1960.0, 1975.0, 1990.0, 2005.0)
STEPS = 3
"""Moves of the automaton between two maps."""
WATER = 0.06
"""Share of the cells, the lowest, that is water and never built on."""


@dataclass(frozen=True, eq=False)
class City:
    """Where it grows and by what law; cells change independently in each move, given the map before.

    Attributes:
        slope: of the ground [%] (y, x).
        roads, water: where they run (y, x).
    """

    slope: Floats
    roads: Mask
    water: Mask

    @staticmethod
    def over_the_dem(rng: Rng) -> tuple[City, Mask, Raster]:
        """The city, its first map and the elevation under it."""
        dem = load_dem().window(slice(180, 180 + SIDE), slice(120, 120 + SIDE))
        height = ndimage.gaussian_filter(dem.values[0], 1.0)
        slope = 100 * np.hypot(*np.gradient(height, CELL))
        water = ndimage.binary_opening(height <= np.quantile(height, WATER), iterations=1)
        draw = rng.numpy
        sites = np.argwhere((slope < np.quantile(slope, 0.4)) & ~water)
        towns = [sites[draw.integers(len(sites))]]
        while len(towns) < TOWNS:
            site = sites[draw.integers(len(sites))]
            if min(np.hypot(*(site - town)) for town in towns) > 18:
                towns.append(site)
        roads = _roads(np.array(towns), 1 + (slope / 8) ** 2 + 20 * water)
        first = np.zeros_like(water)
        for (row, column), radius in zip(towns, np.linspace(4.5, 1.5, TOWNS), strict=True):
            y, x = np.ogrid[: water.shape[0], : water.shape[1]]
            first |= np.hypot(y - row, x - column) < radius
        return City(slope, roads, water), first & ~water, dem

    def chance(self, urban: Mask) -> Floats:
        """Probability that each cell is built on in the next move, (y, x)."""
        near = ndimage.convolve(urban.astype(np.float64), np.ones((3, 3)), mode="constant")
        around = ndimage.gaussian_filter(urban.astype(np.float64), 4.0, mode="constant")
        road = ndimage.distance_transform_edt(~self.roads)
        score = -4.4 + 1.1 * near + 9.0 * around - 0.06 * self.slope - 0.6 * np.log1p(road) + 0.6 * (road < 2)
        return np.asarray(np.where(urban | self.water, 0.0, 1 / (1 + np.exp(-score))))

    def grown(self, urban: Mask, rng: Rng) -> Mask:
        """The map ``STEPS`` moves later."""
        for _ in range(STEPS):
            urban = urban | (rng.numpy.random(urban.shape) < self.chance(urban))
        return urban

    def truth(self, urban: Mask, runs: int, rng: Rng) -> Floats:
        """Probability that each cell is built on when the next map comes, by many runs (y, x)."""
        return np.asarray(np.mean([self.grown(urban, rng.child("run", at)) for at in range(runs)], axis=0))


def _roads(towns: Codes, cost: Floats) -> Mask:
    """Cheapest ways from each town to the one nearest to it among those before."""
    rows, columns = cost.shape
    at = np.arange(cost.size).reshape(cost.shape)
    ends, weights = [], []
    for down, along in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = at[: rows - down, max(0, -along) : columns - max(0, along)].ravel()
        two = at[down:, max(0, along) : columns + min(0, along)].ravel()
        ends.append(np.stack([one, two]))
        weights.append(np.hypot(down, along) * (cost.ravel()[one] + cost.ravel()[two]) / 2)
    joined, weight = np.concatenate(ends, 1), np.concatenate(weights)
    graph = coo_array((weight, (joined[0], joined[1])), shape=(cost.size, cost.size)).tocsr()
    place = at[towns[:, 0], towns[:, 1]]
    far, before = dijkstra(graph, directed=False, indices=place, return_predecessors=True)
    roads = np.zeros(cost.size, bool)
    for town in range(1, len(place)):
        start = int(np.argmin(far[:town, place[town]]))
        cell = place[town]
        while cell != place[start]:
            roads[cell] = True
            cell = before[start, cell]
        roads[cell] = True
    return np.asarray(roads.reshape(cost.shape))


def grown_city(rng: Rng) -> tuple[LandMaps, City]:
    """Maps of the made-up city in time, and its law."""
    city, urban, dem = City.over_the_dem(rng.child("site"))
    maps = [urban]
    for at in range(len(YEARS) - 1):
        maps.append(city.grown(maps[-1], rng.child("growth", at)))
    codes = np.stack(maps).astype(np.int64)
    raster = Raster("land", codes[-1:].astype(np.uint8), dem.grid, "1", Kind.CATEGORICAL, 255)
    drivers = (Driver("roads", city.roads[None].astype(np.float64)), Driver("slope", city.slope[None]))
    return LandMaps(raster, (0, 1), codes, YEARS, drivers, ~city.water), city
