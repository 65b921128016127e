"""Parts of a padded field copied to short rows and back: the absorbing ring, and the frame of the model beside it.

Rows are written by whole vectors, each over the tail of the one before; the last needs a vector's room behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from posteriori.core.optional import require
from posteriori.physics.acoustic_lanes import first, lanes, load, store

numba = require("numba", "geophysics")
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compiled once for each type, without Python's lock."""
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


@compiled
def pack(mesh: Any, field: Any, kept: Any) -> None:
    """Copy the ring of ``field`` to ``kept``, row by row."""
    one, o = lanes(field), 0
    columns = mesh.nx + 2 * mesh.width
    for k in range(mesh.top + mesh.nz + mesh.width):
        begin = mesh.base + k * mesh.stride + mesh.edge - mesh.width
        wide = mesh.width if mesh.level[k] == 0 else columns
        for c in range(0, wide, one):
            store(kept, o + c, load(field, begin + c))
        o += wide
        if mesh.level[k] == 0:
            for c in range(0, wide, one):
                store(kept, o + c, load(field, begin + mesh.width + mesh.nx + c))
            o += wide


@compiled
def unpack(mesh: Any, field: Any, kept: Any) -> None:
    """The inverse of :func:`pack`."""
    one, o = lanes(field), 0
    columns = mesh.nx + 2 * mesh.width
    for k in range(mesh.top + mesh.nz + mesh.width):
        begin = mesh.base + k * mesh.stride + mesh.edge - mesh.width
        wide = mesh.width if mesh.level[k] == 0 else columns
        for c in range(0, wide, one):
            store(field, begin + c, first(wide - c, load(kept, o + c), load(field, begin + c)))
        o += wide
        if mesh.level[k] == 0:
            j = begin + mesh.width + mesh.nx
            for c in range(0, wide, one):
                store(field, j + c, first(wide - c, load(kept, o + c), load(field, j + c)))
            o += wide


@compiled
def pack_frame(mesh: Any, field: Any, kept: Any) -> None:
    """Copy the outermost cells of the model, as deep as the stencil reaches, to ``kept``."""
    one, reach, o = lanes(field), len(mesh.down) - 1, 0
    for k in range(mesh.nz):
        begin = mesh.base + (mesh.top + k) * mesh.stride + mesh.edge
        whole = (k < reach and not mesh.surface) or k >= mesh.nz - reach
        wide = mesh.nx if whole else reach
        for c in range(0, wide, one):
            store(kept, o + c, load(field, begin + c))
        o += wide
        if not whole:
            store(kept, o, load(field, begin + mesh.nx - reach))
            o += wide


@compiled
def unpack_frame(mesh: Any, field: Any, kept: Any) -> None:
    """The inverse of :func:`pack_frame`."""
    one, reach, o = lanes(field), len(mesh.down) - 1, 0
    for k in range(mesh.nz):
        begin = mesh.base + (mesh.top + k) * mesh.stride + mesh.edge
        whole = (k < reach and not mesh.surface) or k >= mesh.nz - reach
        wide = mesh.nx if whole else reach
        for c in range(0, wide, one):
            store(field, begin + c, first(wide - c, load(kept, o + c), load(field, begin + c)))
        o += wide
        if not whole:
            j = begin + mesh.nx - reach
            store(field, j, first(wide, load(kept, o), load(field, j)))
            o += wide
