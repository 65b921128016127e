"""UBC-GIF tensor meshes and models (``.msh`` with ``.den`` or ``.sus``), read and written.

A mesh file gives the numbers of cells, the top south-west corner (easting, northing, elevation) and the widths of the
cells from west to east, south to north, top to bottom; ``3*50`` stands for three cells of 50 m. A model file gives one
value a line, from top to bottom fastest, then from west to east, then from south to north. Elevation counts upwards
there, depth downwards here: z = -elevation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.space import Space
from posteriori.physics.prism_mesh import borders, mesh, require_dims

Floats = NDArray[np.float64]
AIR = {"g/cm^3": -100.0, "1": -1.0}
"""What UBC-GIF's programs write into cells above the ground, by unit: densities and susceptibilities."""
MOST = 200_000_000
"""Cells; a count above this is no count of cells."""


@dataclass(frozen=True)
class MeshModel:
    """Values (z, y, x) on a mesh; cells of air are outside the mask of the Space and zero."""

    space: Space
    values: Tensor


def read_mesh(path: Path, name: str = "density", unit: str = "g/cm^3") -> Space:
    """The mesh of a ``.msh`` file, for values of this name and unit.

    Raises:
        DataError: the file is not such a mesh; the message says where it departs.
    """
    words = [w for line in _text(path).splitlines() for w in line.partition("!")[0].split()]
    if len(words) < 7:
        raise DataError(f"{path.name} holds {len(words)} numbers; a mesh needs counts, a corner and widths.")
    counts = [_number(word, path, at) for at, word in enumerate(words[:3])]
    if not all(c == int(c) and 0 < c <= MOST for c in counts) or np.prod(counts) > MOST:
        raise DataError(f"{path.name} begins with {words[:3]}; give the numbers of cells east, north and down.")
    east, north, top = (_number(word, path, at + 3) for at, word in enumerate(words[3:6]))
    widths: list[float] = []
    for at, word in enumerate(words[6:], start=6):
        many, star, width = word.rpartition("*")
        if star and not (many.isdigit() and int(many) <= max(counts)):
            raise DataError(f"{path.name}: {word!r} should read like 3*50, three cells of 50 m.")
        widths += [_number(width, path, at)] * (int(many) if star else 1)
    if len(widths) != sum(counts) or min(widths) <= 0:
        raise DataError(
            f"{path.name} gives {len(widths)} widths, the smallest {min(widths):g} m, for {int(sum(counts))} columns, "
            "rows and layers; the file is cut, or a width is not positive."
        )
    x, y, z = np.split(np.array(widths), np.cumsum(counts[:2]).astype(int))
    edges = [start + np.append(0.0, np.cumsum(w)) for start, w in ((east, x), (north, y), (-top, z))]
    return mesh(name, unit, x=edges[0], y=edges[1], z=edges[2])


def read_model(path: Path, space: Space, air: float | None = None) -> MeshModel:
    """The values of a model file on its mesh.

    Args:
        space: as :func:`read_mesh` gives it.
        air: the number that stands for air; by default UBC-GIF's own for the unit of the Space. Numbers at or below it
            are air.

    Raises:
        DataError: another number of values than of cells, or a value that is no finite number.
    """
    require_dims(space, ("z", "y", "x"))
    nz, ny, nx = space.shape
    words = _text(path).split()
    if len(words) != space.size:
        raise DataError(
            f"{path.name} holds {len(words)} values for a mesh of {nx} × {ny} × {nz} = {space.size} cells: "
            "the file is cut, or it belongs to another mesh."
        )
    flat = np.array([_number(word, path, at) for at, word in enumerate(words)])
    values = torch.from_numpy(np.ascontiguousarray(flat.reshape(ny, nx, nz).transpose(2, 0, 1)))
    nothing = AIR.get(space.unit) if air is None else air
    solid = torch.ones(space.shape, dtype=torch.bool) if nothing is None else values > nothing
    if not bool(solid.any()):
        raise DataError(f"{path.name} holds air alone (values at or below {nothing:g}); check air= and the unit.")
    mask = None if bool(solid.all()) else solid
    return MeshModel(replace(space, mask=mask), torch.where(solid, values, 0.0))


def write_mesh(path: Path, space: Space) -> None:
    """The mesh as a ``.msh`` file."""
    require_dims(space, ("z", "y", "x"))
    x, y, z = (borders(space, dim) for dim in ("x", "y", "z"))
    lines = [" ".join(str(len(e) - 1) for e in (x, y, z)), f"{x[0]:.17g} {y[0]:.17g} {-z[0]:.17g}"]
    lines += [" ".join(f"{w:.12g}" for w in np.diff(e)) for e in (x, y, z)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_model(path: Path, space: Space, values: Tensor, air: float | None = None) -> None:
    """Values (z, y, x) as a model file, cells outside the mask as air.

    Raises:
        ShapeError: values of another shape, or a mask where no number is known to stand for air.
        DataError: a value that is not finite, or would be read as air.
    """
    require_dims(space, ("z", "y", "x"))
    held = space.check(values, "values").detach().cpu().double().numpy()
    nothing = AIR.get(space.unit) if air is None else air
    if space.mask is not None:
        if nothing is None:
            raise ShapeError(f"{space} has cells of air and [{space.unit}] no usual number for them; give air=.")
        held = np.where(space.mask.cpu().numpy(), held, nothing)
    solid = np.ones(space.shape, bool) if space.mask is None else space.mask.cpu().numpy()
    if not np.isfinite(held).all() or (nothing is not None and (held[solid] <= nothing).any()):
        raise DataError(f"a value of {space.name} is not finite, or lies at or below {nothing}, which stands for air.")
    flat = held.transpose(1, 2, 0).ravel()
    path.write_text("".join(f"{value:.17g}\n" for value in flat.tolist()), encoding="ascii")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text of numbers; give a UBC-GIF file.") from None
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}; give the path of a UBC-GIF file.") from problem


def _number(word: str, path: Path, at: int) -> float:
    try:
        found = float(word)
    except ValueError:
        raise DataError(f"{path.name}: {word!r}, number {at + 1}, is no number.") from None
    if not np.isfinite(found):
        raise DataError(
            f"{path.name}: number {at + 1} is {word}; a model is finite everywhere, air has its own number."
        )
    return found
