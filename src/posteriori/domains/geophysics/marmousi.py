"""Velocity sections: the user's file (Marmousi's raw floats too), or one of layers and faults made in code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from posteriori.core import units
from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.domains.geophysics.segy import read_segy
from posteriori.domains.geophysics.ubc import read_mesh, read_model
from posteriori.physics.prism_mesh import borders

SPACING = 7.5
"""Node spacing of the raw Marmousi file that circulates as ``vp_marmousi_bi`` [m]."""
SHAPE = (1601, 401)
"""Its nodes along x and z; z is fastest."""
MOST = 5e7
"""Cells of a section."""
WATER = 1500.0
ROCKS = (300.0, 9000.0)
"""Velocities [m/s] outside which a file is taken to be something else."""


def read_section(
    path: str | Path, shape: tuple[int, int] | None = None, spacing: float = SPACING, mesh: Path | None = None
) -> xr.DataArray:
    """P velocity [m/s] over (z, x) [m], from raw little-endian float32, ``.npy``, netCDF, SEG-Y or UBC-GIF's text.

    Raw files and ``.npy`` are (x, z), z fastest, as the Marmousi file is. km/s are told from m/s by their size.

    Args:
        path: the file.
        shape: nodes (nx, nz) of a raw file; Marmousi's without.
        spacing: of the nodes [m], both ways; netCDF brings its own.
        mesh: of a UBC-GIF model, one cell wide across the section; resampled to squares of its smallest cell.

    Raises:
        DataError: no such file, a wrong length, or values that are no velocities; the message says which and where.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}.")
    if not spacing > 0:
        raise OptionError(f"spacing {spacing} m must be positive.")
    if mesh is not None:
        return _on_mesh(path, mesh)
    if path.suffix == ".nc":
        return _labelled(path)
    if path.suffix in (".segy", ".sgy"):
        values = read_segy(path, interval=0.001).values
    elif path.suffix == ".npy":
        values = _array_of(path)
    else:
        nx, nz = shape or SHAPE
        if min(nx, nz) < 8:
            raise OptionError(f"shape={nx},{nz}; a section has at least 8 × 8 nodes.")
        raw = np.fromfile(path, "<f4")
        if raw.size != nx * nz:
            raise DataError(
                f"{path} holds {raw.size} floats, not {nx} × {nz} = {nx * nz}; say its shape (nx,nz), or copy it again."
            )
        values = raw.reshape(nx, nz)
    if values.ndim != 2 or min(values.shape) < 8:
        raise DataError(f"{path} has shape {values.shape}; a section (x, z) of at least 8 × 8 nodes is needed.")
    return _checked(path, np.asarray(values, float).T, *(spacing * np.arange(n) for n in values.shape[::-1]))


def synthetic_section(rng: Rng, nz: int = 400, nx: int = 1000, spacing: float = SPACING) -> xr.DataArray:
    """A section (z, x) [m/s] in the manner of Marmousi: water, dipping layers on an unconformity, normal faults.

    Depths fold and dip slowly; faults displace everything below them; a deeper set of layers dips otherwise. Layers are
    20 to 150 m thick, and their velocities scatter by about an eighth around a trend that grows with depth.
    """
    draw = rng.numpy
    z, x = spacing * np.arange(nz)[:, None], spacing * np.arange(nx)[None, :]
    depth, width = z[-1, 0], x[0, -1]
    bend = sum(
        draw.normal(0, 0.02 * depth) * np.sin(2 * np.pi * (x / width * k + draw.uniform()))
        for k in (0.5, 1.0, 1.7, 2.6)
    )
    level = z - bend - draw.normal(0, 0.05) * (x - 0.5 * width)
    for _ in range(draw.integers(3, 6)):
        dip = np.tan(np.radians(draw.uniform(50, 75)) * draw.choice([-1, 1]))
        at = draw.uniform(0.1, 0.9) * width
        throw = draw.uniform(0.02, 0.08) * depth
        side = x > at + z / dip
        level = level + np.where(side, throw, 0.0) * np.clip(z / (0.5 * depth), 0.0, 1.0)
    edge = draw.uniform(0.5, 0.75) * depth + draw.normal(0, 0.04) * (x - 0.5 * width)
    below = level > edge
    deeper = level - draw.normal(0, 0.15) * (x - 0.5 * width)
    ratio = np.where(below, _layers(draw, deeper), _layers(draw, level))
    trend = WATER + 150.0 + 2300.0 * np.clip(z - 200.0, 0, None) / 2800.0
    velocity = np.clip(trend * (1 + ratio), WATER, 4700.0)
    velocity[np.broadcast_to(z <= 200.0, velocity.shape)] = WATER
    return _array(velocity, z[:, 0], x[0])


def smoothed(section: xr.DataArray, sigma: float, water: float) -> xr.DataArray:
    """The section blurred by a Gaussian of ``sigma`` [m] below the known ``water`` [m]; the water as it is.

    The water does not leak into the rocks: the blur is that of the rocks alone.
    """
    spacing = float(section["z"][1] - section["z"][0])
    rock = (section["z"].values > water)[:, None] * np.ones(section.shape)
    values = section.values
    near = gaussian_filter(rock, sigma / spacing, mode="nearest")
    blurred = gaussian_filter(values * rock, sigma / spacing, mode="nearest") / np.maximum(near, 1e-9)
    return section.copy(data=np.where(rock > 0, blurred, values))


def water_depth(section: xr.DataArray) -> float:
    """Depth [m] of the last node down to which all of the section is water; -1 without water."""
    wet = np.all(np.abs(section.values - WATER) < 1.0, axis=1)
    return float(section["z"][int(wet.argmin()) - 1]) if wet[0] else -1.0


def coarsened(section: xr.DataArray, block: int) -> xr.DataArray:
    """Block means of ``block`` × ``block`` nodes, at their centres; nodes left over at the far edges are dropped."""
    if block < 1 or min(section.shape) < 8 * block:
        raise OptionError(f"blocks of {block} nodes leave too little of a section {section.shape}; give a smaller one.")
    return section.coarsen(z=block, x=block, boundary="trim").mean()


@dataclass(frozen=True)
class Cut:
    """Part of a section, ``x`` from ``low`` to ``high`` [m], its distances counted from its own edge."""

    low: float
    high: float

    def __call__(self, section: xr.DataArray) -> xr.DataArray:
        part = section.sel(x=slice(self.low - 1e-6, self.high + 1e-6))
        if part.sizes["x"] < 8:
            raise OptionError(
                f"x from {self.low:g} to {self.high:g} m leaves {part.sizes['x']} columns of the section."
            )
        return part.assign_coords(x=part["x"] - float(part["x"][0]))


def _layers(draw: np.random.Generator, level: np.ndarray) -> np.ndarray:
    """Relative velocity (of mean zero) that is constant within layers of random thickness."""
    low, high = float(level.min()) - 200.0, float(level.max()) + 200.0
    thickness = 20.0 + draw.exponential(60.0, 400).clip(0, 130.0)
    tops = low + thickness.cumsum()
    tops = tops[tops < high]
    slow = gaussian_filter(draw.normal(size=len(tops) + 1), 2.0)
    value = 0.08 * draw.normal(size=len(tops) + 1) + 0.10 * slow / max(slow.std(), 1e-9)
    return value[np.searchsorted(tops, level)]


def _array_of(path: Path) -> np.ndarray:
    """The numbers of a ``.npy`` file."""
    try:
        with path.open("rb") as raw:
            values = np.load(raw, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise DataError(f"{path} is no .npy of numbers; write one with numpy.save ({problem}).") from problem
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise DataError(f"{path} holds no array of real numbers; write one with numpy.save.")
    return values


def _labelled(path: Path) -> xr.DataArray:
    try:
        with xr.open_dataset(path, engine="h5netcdf") as held:
            names = [name for name in held.data_vars if set(held[name].dims) == {"z", "x"}]
            if len(names) != 1:
                raise DataError(f"{path} needs one variable over (z, x); it has {names or list(held.data_vars)}.")
            found = held[names[0]].transpose("z", "x").load()
    except (OSError, ValueError) as problem:
        raise DataError(f"cannot read {path}: {problem}; give a netCDF-4 file.") from problem
    if missing := [d for d in ("z", "x") if d not in found.coords]:
        raise DataError(f"{path} has no coordinates along {missing[0]}; write the depths z and distances x [m].")
    z, x = (_stated(found[d], "m") for d in ("z", "x"))
    for name, axis in (("z", z), ("x", x)):
        steps = np.diff(axis)
        if len(axis) < 8 or not (steps > 0).all() or np.ptp(steps) > 1e-3 * steps.mean():
            raise DataError(f"{path}: {name} must rise in even steps (depth downwards), in metres.")
    down, across = float(np.diff(z).mean()), float(np.diff(x).mean())
    if abs(down - across) > 1e-3 * across:
        raise DataError(f"{path}: nodes lie {down:g} m apart in z and {across:g} m in x; resample to squares.")
    return _checked(path, _stated(found, "m/s"), z, x)


def _stated(array: xr.DataArray, unit: str) -> np.ndarray:
    """The numbers of an array in ``unit``, converted where the attribute ``units`` states another."""
    return np.asarray(array.values, float) * units.factor(str(array.attrs.get("units") or unit), unit)


def _on_mesh(path: Path, mesh: Path) -> xr.DataArray:
    """A UBC-GIF model whose mesh has one cell in easting or in northing, on square cells."""
    space = read_mesh(mesh, "velocity", "m/s")
    nz, ny, nx = space.shape
    if min(ny, nx) != 1:
        raise DataError(f"{mesh} has {nx} cells east and {ny} north; a section is one cell wide: cut a slice first.")
    edges = borders(space, "z"), borders(space, "x" if ny == 1 else "y")
    cell = float(min(np.diff(e).min() for e in edges))
    z, x = (e[0] + cell * (0.5 + np.arange(max(1, round((e[-1] - e[0]) / cell)))) for e in edges)
    if min(len(z), len(x)) < 8 or len(z) * len(x) > MOST:
        raise DataError(
            f"{mesh} makes {len(z)} × {len(x)} square cells of {cell:g} m; 8 × 8 to {MOST:g} in all are taken: "
            "leave padding cells out, or widen the smallest."
        )
    values = read_model(path, space).values.numpy().reshape(nz, -1)
    row, column = (np.searchsorted(e, c).clip(1, len(e) - 1) - 1 for e, c in zip(edges, (z, x), strict=True))
    return _checked(path, values[np.ix_(row, column)], z, x)


def _checked(path: Path, values: np.ndarray, z: np.ndarray, x: np.ndarray) -> xr.DataArray:
    if not np.isfinite(values).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise DataError(f"{path}: the velocity at (z, x) node {at} is not finite; fill or cut the model first.")
    scale = 1000.0 if values.min() > 0 and values.max() < 20.0 else 1.0
    values = scale * values
    if values.min() < ROCKS[0] or values.max() > ROCKS[1]:
        raise DataError(
            f"{path} holds {values.min():g} to {values.max():g} m/s, outside {ROCKS}: is it a velocity, "
            "in m/s or km/s, with the right shape and byte order?"
        )
    return _array(values, z, x)


def _array(values: np.ndarray, z: np.ndarray, x: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, {"z": z, "x": x}, ("z", "x"), "velocity", attrs={"units": "m/s"})
