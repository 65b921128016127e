"""The time loops of the acoustic operator for one shot, compiled: forward, linearised, and backward with the image.

Arrays are flat and padded as :class:`Mesh` says. A step reads ``u`` = u_n and overwrites ``up`` = u_(n-1) by

    u_(n+1) = p u_n - q u_(n-1) + c2 (L u_n + D⁻φx + D⁻φz + f_n),

where p = 2, q = 1 and φ = 0 but in the absorbing ring. There φ, at the points between nodes, is D⁺u filtered in time
by coefficients of the place alone. The operator is symmetric, so that z = c2 λ obeys the same recursion backwards
in time: one step serves the field, its linearisation and its adjoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from posteriori.core.optional import require
from posteriori.physics.acoustic_lanes import first, lanes, laplacian, load, shifted, splat, store

numba = require("numba", "geophysics")
Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    return numba.njit(cache=True, nogil=True, error_model="numpy")(function)


def _inlined(function: Function) -> Function:
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


class Taps(NamedTuple):
    """Point p takes ``weight[start[p] : start[p + 1]]`` of the flat nodes ``at``."""

    start: Any
    at: Any
    weight: Any


@_inlined
def _ring(
    u: Any, up: Any, c2: Any, fx: Any, fz: Any, above: Any, mesh: Any, j: int, c: int, before: Any, own: Any
) -> Any:
    """The new vector of the ring at node ``j`` in column ``c``, its φx, and the operator's value there."""
    ax, gx, az, gz, p, q = own
    here = load(u, j)
    across, down = load(u, j + 1) - here, load(u, j + mesh.stride) - here
    value = laplacian(u, j, mesh.stride, mesh.across, mesh.down)
    oldx, oldz, last = load(fx, j), load(fz, j), load(above, c)
    newx, newz = ax * oldx + gx * across, az * oldz + gz * down
    phix, phiz = oldx + newx, oldz + newz
    value = (value - last) + (phix - shifted(before, phix)) + phiz
    fresh = p * here - q * load(up, j) + load(c2, j) * value
    store(fx, j, newx)
    store(fz, j, newz)
    store(above, c, phiz)
    return fresh, phix, value


@_inlined
def _corner(u: Any, mesh: Any, k: int, c: int) -> Any:
    """The ring's coefficients where both dampings act (or may)."""
    i = mesh.level[k] * mesh.stride + c
    gx = splat(u, mesh.dz[k]) * load(mesh.bx, c) - load(mesh.ex, c)
    gz = splat(u, mesh.bz[k]) * load(mesh.dx, c) - splat(u, mesh.ez[k])
    return load(mesh.ax, c), gx, splat(u, mesh.az[k]), gz, load(mesh.p, i), load(mesh.q, i)


@_inlined
def _band(u: Any, mesh: Any, k: int) -> Any:
    """The same in a row of the ring between the corners, where the columns do not damp."""
    i = mesh.level[k] * mesh.stride + mesh.left
    one = splat(u, mesh.ax[mesh.left])
    gx = splat(u, mesh.dz[k] * mesh.bx[mesh.left])
    gz = splat(u, -mesh.ez[k])
    return one, gx, splat(u, mesh.az[k]), gz, splat(u, mesh.p[i]), splat(u, mesh.q[i])


@_compiled
def _step(mesh: Any, u: Any, up: Any, c2: Any, fx: Any, fz: Any, above: Any, y: Any, inside: bool) -> None:
    """u_(n+1) over ``up``; the operator's value to ``y`` where that is not empty; the ring alone unless ``inside``."""
    one, keep = lanes(u), len(y) > 0
    zero = splat(u, mesh.dz[mesh.top])
    above[:] = 0
    for k in range(mesh.top + mesh.nz + mesh.width):
        begin = mesh.base + k * mesh.stride
        before = zero
        for c in range(0, mesh.left, one):
            j = begin + c
            fresh, before, value = _ring(u, up, c2, fx, fz, above, mesh, j, c, before, _corner(u, mesh, k, c))
            store(up, j, fresh)
            if keep:
                store(y, j, value)
        if mesh.level[k] > 0:
            own = _band(u, mesh, k)
            for c in range(mesh.left, mesh.right, one):
                j = begin + c
                fresh, before, value = _ring(u, up, c2, fx, fz, above, mesh, j, c, before, own)
                store(up, j, fresh)
                if keep:
                    store(y, j, value)
        elif inside:
            for j in range(begin + mesh.left, begin + mesh.right, one):
                here = load(u, j)
                value = laplacian(u, j, mesh.stride, mesh.across, mesh.down)
                store(up, j, (here + here) - load(up, j) + load(c2, j) * value)
                if keep:
                    store(y, j, value)
        for c in range(mesh.right, mesh.stride, one):
            j = begin + c
            fresh, before, value = _ring(u, up, c2, fx, fz, above, mesh, j, c, before, _corner(u, mesh, k, c))
            store(up, j, fresh)
            if keep:
                store(y, j, value)


@_inlined
def _image(g: Any, u: Any, j: int, value: Any) -> None:
    store(g, j, load(g, j) + load(u, j) * value)


@_inlined
def _undo(mesh: Any, u: Any, un: Any, c2: Any, j: int) -> None:
    """u_(n-1) over ``un``, where nothing is absorbed."""
    here = load(u, j)
    past = laplacian(u, j, mesh.stride, mesh.across, mesh.down)
    store(un, j, (here + here) - load(un, j) + load(c2, j) * past)


@_compiled
def _step_back(mesh: Any, u: Any, un: Any, z: Any, zp: Any, g: Any, c2: Any, fx: Any, fz: Any, above: Any) -> None:
    """u_(n-1) over ``un`` in the model, z_n over ``zp``, and the image ``g`` += u_n (L z + D⁻φ)."""
    one = lanes(u)
    zero = splat(u, mesh.dz[mesh.top])
    above[:] = 0
    for k in range(mesh.top + mesh.nz + mesh.width):
        model = mesh.level[k] == 0
        begin = mesh.base + k * mesh.stride
        before = zero
        for c in range(0, mesh.left, one):
            j = begin + c
            fresh, before, value = _ring(z, zp, c2, fx, fz, above, mesh, j, c, before, _corner(z, mesh, k, c))
            store(zp, j, fresh)
            _image(g, u, j, value)
            if model:
                _undo(mesh, u, un, c2, j)
        if model:
            for j in range(begin + mesh.left, begin + mesh.right, one):
                here, there, speed = load(u, j), load(z, j), load(c2, j)
                value = laplacian(z, j, mesh.stride, mesh.across, mesh.down)
                past = laplacian(u, j, mesh.stride, mesh.across, mesh.down)
                store(g, j, load(g, j) + here * value)
                store(zp, j, (there + there) - load(zp, j) + speed * value)
                store(un, j, (here + here) - load(un, j) + speed * past)
        else:
            own = _band(z, mesh, k)
            for c in range(mesh.left, mesh.right, one):
                j = begin + c
                fresh, before, value = _ring(z, zp, c2, fx, fz, above, mesh, j, c, before, own)
                store(zp, j, fresh)
                _image(g, u, j, value)
        for c in range(mesh.right, mesh.stride, one):
            j = begin + c
            fresh, before, value = _ring(z, zp, c2, fx, fz, above, mesh, j, c, before, _corner(z, mesh, k, c))
            store(zp, j, fresh)
            _image(g, u, j, value)
            if model:
                _undo(mesh, u, un, c2, j)


@_compiled
def _pack(mesh: Any, field: Any, kept: Any) -> None:
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


@_compiled
def _unpack(mesh: Any, field: Any, kept: Any) -> None:
    """The inverse of :func:`_pack`."""
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


@_compiled
def _pack_frame(mesh: Any, field: Any, kept: Any) -> None:
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


@_compiled
def _unpack_frame(mesh: Any, field: Any, kept: Any) -> None:
    """The inverse of :func:`_pack_frame`."""
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


@_compiled
def _mirror(mesh: Any, field: Any) -> None:
    """Continue ``field`` oddly above the free surface, on which it vanishes."""
    for j in range(1, len(mesh.down)):
        up, down = mesh.base - j * mesh.stride, mesh.base + j * mesh.stride
        for c in range(mesh.stride):
            field[up + c] = -field[down + c]


@_compiled
def _inject(field: Any, c2: Any, taps: Any, values: Any) -> None:
    """field += c2 Σ weight value."""
    for p in range(len(values)):
        for t in range(taps.start[p], taps.start[p + 1]):
            field[taps.at[t]] += c2[taps.at[t]] * taps.weight[t] * values[p]


@_compiled
def _record(field: Any, taps: Any, traces: Any, n: int) -> None:
    """Sample ``n`` of every trace: Σ weight field."""
    for p in range(len(traces)):
        total = field[0] * 0
        for t in range(taps.start[p], taps.start[p + 1]):
            total += taps.weight[t] * field[taps.at[t]]
        traces[p, n] = total


@_compiled
def forward(
    mesh: Any, sources: Any, receivers: Any, wavelets: Any, c2: Any, state: Any, traces: Any, tape: Any
) -> None:
    """Traces (receivers, nt) of wavelets (nt, sources); ``tape`` takes what :func:`backward` needs unless empty.

    ``state``: zeros u, up, φx, φz and a row. ``tape``: frames, marks, every, and the length of a row of either.
    """
    u, up, fx, fz, above = state
    frames, marks, every, frame, ring = tape
    keep, nothing = len(frames) > 0, c2[:0]
    _record(u, receivers, traces, 0)
    for n in range(len(wavelets) - 1):
        if keep:
            if n % every == 0:
                for i, field in enumerate((u, up, fx, fz)):
                    _pack(mesh, field, marks[(n // every * 4 + i) * ring :])
            _pack_frame(mesh, u, frames[n * frame :])
        if mesh.surface:
            _mirror(mesh, u)
        _step(mesh, u, up, c2, fx, fz, above, nothing, True)
        _inject(up, c2, sources, wavelets[n])
        u, up = up, u
        _record(u, receivers, traces, n + 1)


@_compiled
def _replay(
    mesh: Any, sources: Any, wavelets: Any, c2: Any, state: Any, tape: Any, begin: int, end: int, pieces: Any
) -> None:
    """u_n in the ring, for n = ``begin`` … ``end``, to the rows of ``pieces``: from its mark and the model's frames."""
    u, up, fx, fz, above = state
    frames, marks, every, frame, ring = tape
    for i, field in enumerate((u, up, fx, fz)):
        _unpack(mesh, field, marks[(begin // every * 4 + i) * ring :])
    for n in range(begin, end + 1):
        _pack(mesh, u, pieces[(n - begin) * ring :])
        if n == end:
            break
        _unpack_frame(mesh, u, frames[n * frame :])
        if mesh.surface:
            _mirror(mesh, u)
        _step(mesh, u, up, c2, fx, fz, above, c2[:0], False)
        _inject(up, c2, sources, wavelets[n])
        u, up = up, u


@_compiled
def backward(
    mesh: Any,
    sources: Any,
    receivers: Any,
    wavelets: Any,
    c2: Any,
    last: Any,
    state: Any,
    again: Any,
    residual: Any,
    tape: Any,
    pieces: Any,
    image: Any,
) -> None:
    """image += Σ_n u_n (L z + D⁻φ + r)_n: what c2 ∂/∂c2 of ⟨traces, residual⟩ is.

    The field runs back in time in the model while its adjoint does everywhere; in the ring, which absorbs and cannot
    be run back, it is replayed forward in pieces of ``every`` steps.
    """
    u, un = last
    z, zp, fx, fz, above = state
    every, ring = tape[2], tape[4]
    steps = len(wavelets)
    _inject_image(z, u, image, c2, receivers, residual, steps - 1)
    u, un = un, u
    for n in range(steps - 2, 0, -1):
        begin = n // every * every
        if n == steps - 2 or n == begin + every - 1:
            _replay(mesh, sources, wavelets, c2, again, tape, begin, n, pieces)
        _unpack(mesh, u, pieces[(n - begin) * ring :])
        if mesh.surface:
            _mirror(mesh, u)
            _mirror(mesh, z)
        _step_back(mesh, u, un, z, zp, image, c2, fx, fz, above)
        _inject(un, c2, sources, wavelets[n])
        _inject_image(zp, u, image, c2, receivers, residual, n)
        u, un = un, u
        z, zp = zp, z


@_compiled
def _inject_image(z: Any, u: Any, image: Any, c2: Any, taps: Any, residual: Any, n: int) -> None:
    """Add sample ``n`` of the residual to the adjoint field and to the image."""
    for p in range(len(residual)):
        for t in range(taps.start[p], taps.start[p + 1]):
            share = taps.weight[t] * residual[p, n]
            z[taps.at[t]] += c2[taps.at[t]] * share
            image[taps.at[t]] += u[taps.at[t]] * share


@_compiled
def linearised(
    mesh: Any,
    sources: Any,
    receivers: Any,
    wavelets: Any,
    c2: Any,
    change: Any,
    state: Any,
    born: Any,
    y: Any,
    traces: Any,
) -> None:
    """Traces of the field's first change when c2 changes by ``change``: a source ``change`` (L u + D⁻φ + f)."""
    u, up, fx, fz, above = state
    v, vp, gx, gz, below = born
    one, nothing = lanes(u), c2[:0]
    _record(v, receivers, traces, 0)
    for n in range(len(wavelets) - 1):
        if mesh.surface:
            _mirror(mesh, u)
            _mirror(mesh, v)
        _step(mesh, u, up, c2, fx, fz, above, y, True)
        _step(mesh, v, vp, c2, gx, gz, below, nothing, True)
        _inject(up, c2, sources, wavelets[n])
        for j in range(mesh.base, mesh.base + (mesh.top + mesh.nz + mesh.width) * mesh.stride, one):
            store(vp, j, load(vp, j) + load(change, j) * load(y, j))
        _inject(vp, change, sources, wavelets[n])
        u, up, v, vp = up, u, vp, v
        _record(v, receivers, traces, n + 1)
