"""What a gravimetrist takes off before interpreting: normal gravity, height, plate, terrain, a regional trend."""

from __future__ import annotations

import warnings
from math import pi

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.optional import require
from posteriori.physics.gravity import MGAL, G

Floats = NDArray[np.float64]

CRUST = 2670.0
"""Density of the plate and the terrain [kg/m³], Hayford's mean of surface rocks, by convention."""


def normal_gravity(latitude: ArrayLike, height: ArrayLike) -> Floats:
    """Gravity [mGal] of the WGS84 ellipsoid at geodetic ``latitude`` [degrees] and ``height`` [m], in closed form.

    At the station's own height: no separate free-air correction is needed.

    Reference: Lakshmanan (1991), The generalized gravity anomaly, Geophysics 56, 1113; Li & Götze (2001), Ellipsoid,
    geoid, gravity, geodesy, and geophysics, Geophysics 66, 1660.
    """
    boule = require("boule", "geophysics")
    phi, h = np.broadcast_arrays(np.asarray(latitude, np.float64), np.asarray(height, np.float64))
    with warnings.catch_warnings():
        # stations below sea level are a few hundred metres inside the ellipsoid, where the closed form still holds
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(boule.WGS84.normal_gravity((np.zeros_like(phi), phi, h)), np.float64)


def gravity_disturbance(gravity: ArrayLike, latitude: ArrayLike, height: ArrayLike) -> Floats:
    """Absolute gravity less normal gravity at the same point [mGal].

    With heights above sea level instead of the ellipsoid it is the free-air anomaly; the two differ by 0.31 mGal for
    each metre of the geoid, smooth over hundreds of kilometres.
    """
    return np.asarray(gravity, np.float64) - normal_gravity(latitude, height)


def bouguer_plate(height: ArrayLike, density: float = CRUST) -> Floats:
    """Gravity [mGal] of an endless plate of ``density`` [kg/m³] between height zero and ``height`` [m]: 2π G ρ h."""
    return 2 * pi * G * MGAL * density * np.asarray(height, np.float64)


def terrain_effect(
    dem: xr.DataArray, easting: ArrayLike, northing: ArrayLike, height: ArrayLike, density: float = CRUST
) -> Floats:
    """Gravity [mGal] of the rock between height zero and the ground, at stations, one prism for each cell of a map.

    Rock of a cell below height zero counts as missing. The complete Bouguer anomaly is the disturbance less this; the
    terrain correction is :func:`bouguer_plate` less this. What the map leaves out is an error: ground finer than its
    cells, worst within a few cells of the station (a smooth cone of 40 cells' radius seen from its tip: 0.03 %), and
    ground beyond its ends, for a plate of height h about 2π G ρ h · h / (2 R) at R from them.

    Args:
        dem: heights [m] with dims northing and easting [m], even and rising, see ``core.formats.netcdf.read_grid``.
        easting, northing, height: of the stations [m].

    Raises:
        ShapeError, DataError: a map with other dims or gaps, or a station beyond it.
    """
    harmonica = require("harmonica", "geophysics")
    if set(dem.dims) != {"northing", "easting"}:
        raise ShapeError(f"a map of heights has the dims northing and easting, not {dem.dims}; rename them.")
    dem = dem.transpose("northing", "easting")
    if not np.isfinite(dem.values).all():
        where = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(dem.values)))
        raise DataError(f"the map of heights is not finite at {where}; fill the gap or cut the map.")
    east, north, h = (np.asarray(a, np.float64) for a in (easting, northing, height))
    for name, at in {"easting": east, "northing": north}.items():
        beyond = (at < float(dem[name].min())) | (at > float(dem[name].max()))
        if beyond.any():
            first = int(beyond.argmax())
            raise DataError(f"station {first} lies beyond the map along {name} ({at[first]:.0f} m); take a wider map.")
    surface = dem.values.astype(np.float64)
    layer = harmonica.prism_layer(
        (dem["easting"].values.astype(np.float64), dem["northing"].values.astype(np.float64)),
        surface=surface,
        reference=0.0,
        properties={"density": np.where(surface >= 0, density, -density)},
    )
    return np.asarray(layer.prism_layer.gravity((east, north, h), field="g_z"), np.float64)


def polynomial_basis(easting: ArrayLike, northing: ArrayLike, degree: int) -> Floats:
    """Columns of a polynomial in easting and northing (n, k), each of size about one over the stations.

    Raises:
        OptionError: a degree below zero or above three.
    """
    if not 0 <= degree <= 3:
        raise OptionError(f"a trend of degree {degree}; a regional field is a polynomial of degree 0 to 3.")
    u, v = (_scaled(np.asarray(a, np.float64)) for a in (easting, northing))
    return np.stack([u**i * v ** (total - i) for total in range(degree + 1) for i in range(total, -1, -1)], axis=1)


def regional(easting: ArrayLike, northing: ArrayLike, value: ArrayLike, degree: int = 2) -> Floats:
    """The polynomial trend of ``value`` by least squares, at the same stations; the residual is ``value`` less this.

    It knows of no errors and takes the long wavelengths of the geology with it: the law of stations has the trend as
    part of itself.
    """
    basis = polynomial_basis(easting, northing, degree)
    v = np.asarray(value, np.float64)
    if len(v) < basis.shape[1]:
        raise DataError(f"{len(v)} stations cannot determine the {basis.shape[1]} numbers of a trend.")
    return np.asarray(basis @ np.linalg.lstsq(basis, v, rcond=None)[0])


def _scaled(a: Floats) -> Floats:
    low, high = float(a.min()), float(a.max())
    return (a - 0.5 * (low + high)) / max(0.5 * (high - low), 1e-9)
