"""The absorbing ring of the acoustic operator, compiled: one step of its rows and of its columns beside the model.

φ, at the points between nodes, is D⁺u filtered in time by coefficients of the place alone. In the model's rows these
are the column's, so that a column of vectors runs down the rows with all of them in registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from posteriori.core.optional import require
from posteriori.physics.acoustic_lanes import first, lanes, laplacian, load, shifted, splat, store
from posteriori.physics.acoustic_strips import Function, compiled

numba = require("numba", "geophysics")


def inlined(function: Function) -> Function:
    return numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")(function)


class Mesh(NamedTuple):
    """Where rows and columns lie in a flat array, and the ring's coefficients.

    ``top`` rows of ring (0 below a free surface), ``nz`` of the model, ``width`` of ring; the columns of the model
    begin at ``edge``. Row k begins at ``base + k stride``; vectors in columns [``left``, ``right``) hold it alone.
    """

    base: int
    stride: int
    top: int
    nz: int
    nx: int
    width: int
    edge: int
    left: int
    right: int
    surface: bool
    across: Any
    """Weights of the Laplacian along x (w_1, …, w_h, centre)."""
    down: Any
    """Weights along z, times (dx / dz)²."""
    level: Any
    """By row: how deep in the ring, 0 in the model."""
    p: Any
    """By level and column; 0 outside."""
    q: Any
    ax: Any
    """By column: memory of φx; its gain is dz bx - ex."""
    bx: Any
    ex: Any
    dx: Any
    az: Any
    """By row: memory of φz; its gain is dx bz - ez."""
    bz: Any
    ez: Any
    dz: Any


@inlined
def _ring(
    u: Any, iu: int, up: Any, ip: int, c2: Any, fx: Any, fz: Any, mesh: Any, j: int, own: Any, before: Any, last: Any
) -> Any:
    """The new vector of the ring at node ``j``, ``u[iu]`` and ``up[ip]``, with its φx, φz and the operator's value.

    ``before`` is φx of the vector before, ``last`` φz of the row above.
    """
    ax, gx, az, gz, p, q = own
    here = load(u, iu)
    across, down = load(u, iu + 1) - here, load(u, iu + mesh.stride) - here
    value = laplacian(u, iu, mesh.stride, mesh.across, mesh.down)
    oldx, oldz = load(fx, j), load(fz, j)
    newx, newz = ax * oldx + gx * across, az * oldz + gz * down
    phix, phiz = oldx + newx, oldz + newz
    value = (value - last) + (phix - shifted(before, phix)) + phiz
    fresh = p * here - q * load(up, ip) + load(c2, j) * value
    store(fx, j, newx)
    store(fz, j, newz)
    return fresh, phix, phiz, value


@inlined
def _corner(u: Any, mesh: Any, k: int, c: int) -> Any:
    """The ring's coefficients where both dampings act (or may)."""
    i = mesh.level[k] * mesh.stride + c
    gx = splat(u, mesh.dz[k]) * load(mesh.bx, c) - load(mesh.ex, c)
    gz = splat(u, mesh.bz[k]) * load(mesh.dx, c) - splat(u, mesh.ez[k])
    return load(mesh.ax, c), gx, splat(u, mesh.az[k]), gz, load(mesh.p, i), load(mesh.q, i)


@inlined
def _band(u: Any, mesh: Any, k: int) -> Any:
    """The same in a row of the ring between the corners, where the columns do not damp."""
    i = mesh.level[k] * mesh.stride + mesh.left
    one = splat(u, mesh.ax[mesh.left])
    gx = splat(u, mesh.dz[k] * mesh.bx[mesh.left])
    gz = splat(u, -mesh.ez[k])
    return one, gx, splat(u, mesh.az[k]), gz, splat(u, mesh.p[i]), splat(u, mesh.q[i])


@inlined
def model(mesh: Any, low: int, high: int) -> tuple[int, int]:
    """Which of the rows [``low``, ``high``) are the model's."""
    return min(max(low, mesh.top), high), max(min(high, mesh.top + mesh.nz), low)


@compiled
def ring_rows(
    mesh: Any,
    w: Any,
    a: int,
    b: int,
    c2: Any,
    fx: Any,
    fz: Any,
    above: Any,
    lag: int,
    y: Any,
    low: int,
    high: int,
) -> None:
    """One step of whole rows of the ring."""
    one, keep = lanes(w), len(y) > 0
    for k in range(low, high):
        begin = mesh.base + k * mesh.stride
        before = splat(w, mesh.dz[mesh.top])
        band = _band(w, mesh, k)
        for c in range(0, mesh.stride, one):
            own = band if mesh.left <= c < mesh.right else _corner(w, mesh, k, c)
            j = begin + c
            fresh, before, phiz, value = _ring(
                w, a + j, w, b + j, c2, fx, fz, mesh, j, own, before, load(above, lag + c)
            )
            store(w, b + j, fresh)
            store(above, lag + c, phiz)
            if keep:
                store(y, j, value)


@compiled
def side(
    mesh: Any,
    w: Any,
    a: int,
    b: int,
    c2: Any,
    fx: Any,
    fz: Any,
    above: Any,
    lag: int,
    y: Any,
    c: int,
    low: int,
    high: int,
) -> None:
    """One step of the ring's vector ``c`` in rows of the model, where its coefficients are those of the column."""
    keep = len(y) > 0
    own = _corner(w, mesh, mesh.top, c)
    beside, one = 2 * mesh.stride, lanes(w)
    phiz = load(above, lag + c)
    for k in range(low, high):
        j = mesh.base + k * mesh.stride + c
        before = load(above, beside)
        fresh, before, phiz, value = _ring(w, a + j, w, b + j, c2, fx, fz, mesh, j, own, before, phiz)
        store(above, beside, before)
        beside += one
        store(w, b + j, fresh)
        if keep:
            store(y, j, value)
    store(above, lag + c, phiz)


@inlined
def _image(g: Any, u: Any, j: int, value: Any) -> None:
    store(g, j, load(g, j) + load(u, j) * value)


@inlined
def _undo(mesh: Any, u: Any, un: Any, c2: Any, j: int, c: int) -> None:
    """u_(n-1) over ``un`` in the model's lanes of the vector at column ``c``; those of the ring stay."""
    here, old = load(u, j), load(un, j)
    new = (here + here) - old + load(c2, j) * laplacian(u, j, mesh.stride, mesh.across, mesh.down)
    store(un, j, first(mesh.edge - c, old, first(mesh.edge + mesh.nx - c, new, old)))


@compiled
def ring_rows_back(
    mesh: Any, u: Any, z: Any, zp: Any, g: Any, c2: Any, fx: Any, fz: Any, above: Any, lag: int, low: int, high: int
) -> None:
    """The adjoint's step and the image in whole rows of the ring."""
    one = lanes(z)
    for k in range(low, high):
        begin = mesh.base + k * mesh.stride
        before = splat(z, mesh.dz[mesh.top])
        band = _band(z, mesh, k)
        for c in range(0, mesh.stride, one):
            own = band if mesh.left <= c < mesh.right else _corner(z, mesh, k, c)
            j = begin + c
            fresh, before, phiz, value = _ring(z, j, zp, j, c2, fx, fz, mesh, j, own, before, load(above, lag + c))
            store(zp, j, fresh)
            store(above, lag + c, phiz)
            _image(g, u, j, value)


@compiled
def side_back(
    mesh: Any,
    u: Any,
    un: Any,
    z: Any,
    zp: Any,
    g: Any,
    c2: Any,
    fx: Any,
    fz: Any,
    above: Any,
    lag: int,
    c: int,
    low: int,
    high: int,
) -> None:
    """The adjoint's step, the image, and the field one step back in the ring's vector ``c`` in rows of the model."""
    own = _corner(z, mesh, mesh.top, c)
    beside, one = 2 * mesh.stride, lanes(z)
    phiz = load(above, lag + c)
    for k in range(low, high):
        j = mesh.base + k * mesh.stride + c
        before = load(above, beside)
        fresh, before, phiz, value = _ring(z, j, zp, j, c2, fx, fz, mesh, j, own, before, phiz)
        store(above, beside, before)
        beside += one
        store(zp, j, fresh)
        _image(g, u, j, value)
        _undo(mesh, u, un, c2, j, c)
    store(above, lag + c, phiz)
