"""Models and their uncertainty as VTK rectilinear grids (``.vtr``), which ParaView and PyVista open."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.space import Space
from posteriori.physics.prism_mesh import borders

Floats = NDArray[np.float64]


def write_vtr(path: Path, space: Space, fields: Mapping[str, Tensor]) -> None:
    """Fields on a mesh ("z", "y", "x") or a section ("z", "x") as cell data of a VTK rectilinear grid.

    X is easting, Y northing (0 for a section) and Z **upwards**: Z = -depth, so that the model hangs below zero. Cells
    outside the mask are NaN, which viewers leave blank.

    Args:
        fields: name → values, space.shape; the unit of the Space is put behind each name.

    Raises:
        ShapeError: other dims, or values of another shape.
        DataError: no field, or a path that does not end in ``.vtr``.

    Reference: Kitware, VTK XML file formats, docs.vtk.org.
    """
    if space.dims not in (("z", "y", "x"), ("z", "x")):
        raise ShapeError(f"{space} is neither a mesh ('z', 'y', 'x') nor a section ('z', 'x').")
    if path.suffix != ".vtr" or not fields:
        raise DataError(f"{path.name} with {len(fields)} fields: name a .vtr file and give at least one field.")
    x, z = borders(space, "x"), -borders(space, "z")[::-1]
    y = borders(space, "y") if "y" in space.dims else np.zeros(1)
    extent = f"0 {len(x) - 1} 0 {len(y) - 1} 0 {len(z) - 1}"
    cells = [_array(f"{name} [{space.unit}]", _cells(space, values)) for name, values in fields.items()]
    points = [_array(name, edges) for name, edges in (("x", x), ("y", y), ("z", z))]
    lines = [
        '<?xml version="1.0"?>',
        '<VTKFile type="RectilinearGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
        f'<RectilinearGrid WholeExtent="{extent}"><Piece Extent="{extent}">',
        "<CellData>",
        *cells,
        "</CellData>",
        "<Coordinates>",
        *points,
        "</Coordinates>",
        "</Piece></RectilinearGrid>",
        "</VTKFile>",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cells(space: Space, values: Tensor) -> Floats:
    """x fastest, then y, then z upwards."""
    held = space.check(values, "field").detach().cpu().double().numpy()
    if space.mask is not None:
        held = np.where(space.mask.cpu().numpy(), held, np.nan)
    return held[::-1].ravel()


def _array(name: str, values: Floats) -> str:
    data = np.ascontiguousarray(values, "<f8").tobytes()
    text = base64.b64encode(np.uint64(len(data)).astype("<u8").tobytes() + data).decode("ascii")
    return f'<DataArray type="Float64" Name={quoteattr(name)} format="binary">{text}</DataArray>'
