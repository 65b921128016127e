"""Meshes of upright prisms: a Space of cell centres that knows its borders, and stations above it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.space import Space

Floats = NDArray[np.float64]
EVEN = 1e-6
"""Cells are even, and borders meet, when they agree to this share of a cell."""


def mesh(name: str, unit: str, *, z: ArrayLike, x: ArrayLike, y: ArrayLike | None = None) -> Space:
    """A Space of prisms between borders [m]: depth ``z`` downwards, ``y`` northing, ``x`` easting; no ``y``: a section.

    The labels are centres of cells; the widths come along as coordinates ``z_width``, …, so that layers of any
    thickness keep their borders.

    Raises:
        ShapeError: borders that do not rise.
    """
    coords, extra = {}, {}
    for dim, given in {"z": z, "y": y, "x": x}.items():
        if given is None:
            continue
        edges = np.asarray(given, np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ShapeError(
                f"borders of {name} along {dim} must be two or more rising numbers [m], depth counted downwards."
            )
        coords[dim] = 0.5 * (edges[1:] + edges[:-1])
        extra[f"{dim}_width"] = (dim, np.diff(edges))
    return Space(name, coords, unit, extra=extra)


def borders(space: Space, dim: str) -> Floats:
    """The borders of the cells along ``dim`` (n + 1,) [m].

    They follow from the coordinate ``<dim>_width`` where there is one; otherwise they lie halfway between the centres.

    Raises:
        ShapeError: labels that do not rise, widths that do not fit them, or a single cell without a width.
    """
    centres = space.labels(dim).astype(np.float64)
    if not (np.diff(centres) > 0).all():
        raise ShapeError(
            f"labels of {space.name}.{dim} must rise: depth downwards, easting and northing upwards; sort."
        )
    given = space.extra.get(f"{dim}_width")
    if given is None:
        if len(centres) == 1:
            raise ShapeError(f"one cell along {space.name}.{dim} has no width; make the Space by prism_mesh.mesh.")
        middle = 0.5 * (centres[1:] + centres[:-1])
        return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
    width = given[1].astype(np.float64)
    low, high = centres - 0.5 * width, centres + 0.5 * width
    if not (width > 0).all() or (np.abs(low[1:] - high[:-1]) > EVEN * width.min()).any():
        raise ShapeError(
            f"the cells of {space.name} along {dim} overlap or leave gaps; give widths that fit the centres."
        )
    return np.append(low, high[-1])


def require_dims(space: Space, dims: tuple[str, ...]) -> None:
    """Refuse a Space that is not a mesh with these axes."""
    if space.dims != dims:
        raise ShapeError(f"{space} needs the dims {dims}: depth first, easting last.")


def positions(easting: ArrayLike, northing: ArrayLike, height: ArrayLike) -> Floats:
    """Stations (n, 3), rows (x, y, z) with z = -height downwards [m]; a single height or northing serves all.

    Raises:
        DataError, ShapeError: a number that is not finite, or lengths that differ.
    """
    columns = [np.asarray(c, np.float64) for c in (easting, northing, height)]
    try:
        east, north, up = (np.atleast_1d(c) for c in np.broadcast_arrays(*columns))
    except ValueError as error:
        raise ShapeError(
            f"easting, northing and height have shapes {[c.shape for c in columns]}; give one number a station."
        ) from error
    if east.ndim != 1:
        raise ShapeError(f"stations have shape {east.shape}; flatten them to one axis.")
    found = np.stack([east, north, -up], axis=1)
    bad = ~np.isfinite(found).all(1)
    if bad.any():
        raise DataError(f"station {int(np.flatnonzero(bad)[0])} has no finite position ({int(bad.sum())} such rows).")
    return found


def require_near(stations: Floats, x: Floats, y: Floats, beyond: float) -> None:
    """Refuse stations (n, 3) outside the mesh with borders ``x`` and ``y`` by more than ``beyond`` [m].

    Raises:
        DataError: the first of them, with what may be wrong.
    """
    for axis, (name, edges) in enumerate((("easting", x), ("northing", y))):
        at = stations[:, axis]
        out = (at < edges[0] - beyond) | (at > edges[-1] + beyond)
        if out.any():
            first = int(np.flatnonzero(out)[0])
            raise DataError(
                f"station {first} lies at {name} {at[first]:g} m, outside the mesh {edges[0]:g} to {edges[-1]:g} m "
                f"({int(out.sum())} such stations): check units (metres, not degrees) and the order of the columns, "
                "widen the mesh, or allow it by beyond=."
            )


def require_outside(stations: Floats, space: Space, touch: bool) -> None:
    """Refuse stations (n, 3) inside a cell of the mesh; where the Space has a mask only its True cells count.

    Args:
        touch: whether a station may lie on the upper face of a cell.

    Raises:
        DataError: the first of them.
    """
    z, y, x = (borders(space, dim) for dim in ("z", "y", "x"))
    solid = np.ones(space.shape, bool) if space.mask is None else space.mask.cpu().numpy()
    slack = EVEN * float(np.diff(z).min())
    down = stations[:, 2] + (-slack if touch else slack)
    at = [
        np.searchsorted(edges, p, side="right") - 1
        for edges, p in ((z, down), (y, stations[:, 1]), (x, stations[:, 0]))
    ]
    within = np.all([(i >= 0) & (i < n) for i, n in zip(at, solid.shape, strict=True)], axis=0)
    inside = within.copy()
    inside[within] = solid[at[0][within], at[1][within], at[2][within]]
    if inside.any():
        first = int(np.flatnonzero(inside)[0])
        raise DataError(
            f"station {first} at height {-stations[first, 2]:g} m lies inside the mesh, whose top is at "
            f"{-z[0]:g} m ({int(inside.sum())} such stations): heights count upwards, depth downwards from one zero; "
            "raise the stations, lower the mesh, or mask the cells of air."
        )
