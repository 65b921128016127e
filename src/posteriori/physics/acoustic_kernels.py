"""The time loops of the acoustic operator for one shot, compiled: forward, linearised, and backward with the image.

Arrays are flat and padded as :class:`Mesh` says. A step reads ``u`` = u_n and overwrites ``up`` = u_(n-1) by

    u_(n+1) = p u_n - q u_(n-1) + c2 (L u_n + D⁻φx + D⁻φz + f_n),

where p = 2, q = 1 and φ = 0 but in the absorbing ring. There φ, at the points between nodes, is D⁺u filtered in time
by coefficients of the place alone. The operator is symmetric, so that z = c2 λ obeys the same recursion backwards
in time: one step serves the field, its linearisation and its adjoint.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from posteriori.core.optional import require
from posteriori.physics.acoustic_lanes import lanes, laplacian, load, shifted, splat, store
from posteriori.physics.acoustic_strips import Function, compiled, pack, pack_frame, unpack, unpack_frame

numba = require("numba", "geophysics")


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


class Fired(NamedTuple):
    """Flat nodes ``at``, in their order, each taking ``weight`` of a ``point``: the transpose of :class:`Taps`."""

    at: Any
    weight: Any
    point: Any


@_inlined
def _ring(
    u: Any, iu: int, up: Any, ip: int, c2: Any, fx: Any, fz: Any, mesh: Any, j: int, row: Any, c: int, own: Any
) -> Any:
    """The new vector of the ring at node ``j``, ``u[iu]`` and ``up[ip]``, and the operator's value there.

    ``row`` holds φz of the row above, ``before`` φx of the vector before.
    """
    above, begin, before = row
    ax, gx, az, gz, p, q = own
    here = load(u, iu)
    across, down = load(u, iu + 1) - here, load(u, iu + mesh.stride) - here
    value = laplacian(u, iu, mesh.stride, mesh.across, mesh.down)
    oldx, oldz, last = load(fx, j), load(fz, j), load(above, begin + c)
    newx, newz = ax * oldx + gx * across, az * oldz + gz * down
    phix, phiz = oldx + newx, oldz + newz
    value = (value - last) + (phix - shifted(before, phix)) + phiz
    fresh = p * here - q * load(up, ip) + load(c2, j) * value
    store(fx, j, newx)
    store(fz, j, newz)
    store(above, begin + c, phiz)
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


@compiled
def _steps(
    mesh: Any,
    w: Any,
    now: int,
    past: int,
    c2: Any,
    fx: Any,
    fz: Any,
    above: Any,
    y: Any,
    inside: bool,
    fired: Any,
    rates: Any,
) -> None:
    """u_(n+1) over u_(n-1), then, with two ``rates``, u_(n+2) over u_n, as many rows behind as the stencil reaches.

    u_n lies in ``w`` from ``now`` on, u_(n-1) from ``past`` on. The second step finds the first one's rows still in
    the cache. Row s of ``rates`` are the sources' samples of step s. The operator's value goes to ``y`` where that is
    not empty; the ring alone moves unless ``inside``.
    """
    one, keep, reach = lanes(w), len(y) > 0, len(mesh.down) - 1
    rows = mesh.top + mesh.nz + mesh.width
    zero = splat(w, mesh.dz[mesh.top])
    above[:] = 0
    next_tap = np.zeros(2, np.int64)
    for front in range(rows + (len(rates) - 1) * reach):
        for s in range(len(rates)):
            k = front - s * reach
            if k < 0 or k >= rows:
                continue
            a, b = (now, past) if s == 0 else (past, now)
            begin, lag = mesh.base + k * mesh.stride, s * mesh.stride
            before = zero
            for c in range(0, mesh.left, one):
                j = begin + c
                fresh, before, value = _ring(
                    w, a + j, w, b + j, c2, fx, fz, mesh, j, (above, lag, before), c, _corner(w, mesh, k, c)
                )
                store(w, b + j, fresh)
                if keep:
                    store(y, j, value)
            if mesh.level[k] > 0:
                own = _band(w, mesh, k)
                for c in range(mesh.left, mesh.right, one):
                    j = begin + c
                    fresh, before, value = _ring(w, a + j, w, b + j, c2, fx, fz, mesh, j, (above, lag, before), c, own)
                    store(w, b + j, fresh)
                    if keep:
                        store(y, j, value)
            elif inside:
                for j in range(begin + mesh.left, begin + mesh.right, one):
                    here = load(w, a + j)
                    value = laplacian(w, a + j, mesh.stride, mesh.across, mesh.down)
                    store(w, b + j, (here + here) - load(w, b + j) + load(c2, j) * value)
                    if keep:
                        store(y, j, value)
            for c in range(mesh.right, mesh.stride, one):
                j = begin + c
                fresh, before, value = _ring(
                    w, a + j, w, b + j, c2, fx, fz, mesh, j, (above, lag, before), c, _corner(w, mesh, k, c)
                )
                store(w, b + j, fresh)
                if keep:
                    store(y, j, value)
            t = next_tap[s]
            while t < len(fired.at) and fired.at[t] < begin + mesh.stride:
                w[b + fired.at[t]] += c2[fired.at[t]] * fired.weight[t] * rates[s, fired.point[t]]
                t += 1
            next_tap[s] = t
            if mesh.surface and k == reach and len(rates) > 1:
                _mirror(mesh, w[b:])


@_inlined
def _image(g: Any, u: Any, j: int, value: Any) -> None:
    store(g, j, load(g, j) + load(u, j) * value)


@_inlined
def _undo(mesh: Any, u: Any, un: Any, c2: Any, j: int) -> None:
    """u_(n-1) over ``un``, where nothing is absorbed."""
    here = load(u, j)
    past = laplacian(u, j, mesh.stride, mesh.across, mesh.down)
    store(un, j, (here + here) - load(un, j) + load(c2, j) * past)


@compiled
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
            fresh, before, value = _ring(
                z, j, zp, j, c2, fx, fz, mesh, j, (above, 0, before), c, _corner(z, mesh, k, c)
            )
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
                fresh, before, value = _ring(z, j, zp, j, c2, fx, fz, mesh, j, (above, 0, before), c, own)
                store(zp, j, fresh)
                _image(g, u, j, value)
        for c in range(mesh.right, mesh.stride, one):
            j = begin + c
            fresh, before, value = _ring(
                z, j, zp, j, c2, fx, fz, mesh, j, (above, 0, before), c, _corner(z, mesh, k, c)
            )
            store(zp, j, fresh)
            _image(g, u, j, value)
            if model:
                _undo(mesh, u, un, c2, j)


@compiled
def _mirror(mesh: Any, field: Any) -> None:
    """Continue ``field`` oddly above the free surface, on which it vanishes."""
    for j in range(1, len(mesh.down)):
        up, down = mesh.base - j * mesh.stride, mesh.base + j * mesh.stride
        for c in range(mesh.stride):
            field[up + c] = -field[down + c]


@compiled
def _inject(field: Any, c2: Any, fired: Any, rates: Any) -> None:
    """field += c2 Σ weight rate."""
    for t in range(len(fired.at)):
        field[fired.at[t]] += c2[fired.at[t]] * fired.weight[t] * rates[fired.point[t]]


@compiled
def _record(field: Any, taps: Any, traces: Any, n: int) -> None:
    """Sample ``n`` of every trace: Σ weight field."""
    for p in range(len(traces)):
        total = field[0] * 0
        for t in range(taps.start[p], taps.start[p + 1]):
            total += taps.weight[t] * field[taps.at[t]]
        traces[p, n] = total


@compiled
def forward(
    mesh: Any, sources: Any, receivers: Any, wavelets: Any, c2: Any, state: Any, traces: Any, tape: Any
) -> None:
    """Traces (receivers, nt) of wavelets (nt, sources); ``tape`` takes what :func:`backward` needs unless empty.

    ``state``: zeros for u_n and u_(n-1) behind one another, φx, φz and two rows.
    ``tape``: frames, marks, every, and the length of a row of either.
    """
    w, fx, fz, above = state
    frames, marks, every, frame, ring = tape
    keep, half, last = len(frames) > 0, len(w) // 2, len(wavelets) - 1
    u, up = w[:half], w[half:]
    _record(u, receivers, traces, 0)
    for n in range(0, last, 2):
        if keep:
            if n % every == 0:
                for i, field in enumerate((u, up, fx, fz)):
                    pack(mesh, field, marks[(n // every * 4 + i) * ring :])
            pack_frame(mesh, u, frames[n * frame :])
        if mesh.surface:
            _mirror(mesh, u)
        _steps(mesh, w, 0, half, c2, fx, fz, above, c2[:0], True, sources, wavelets[n : min(n + 2, last)])
        _record(up, receivers, traces, n + 1)
        if n + 2 <= last:
            if keep:
                pack_frame(mesh, up, frames[(n + 1) * frame :])
            _record(u, receivers, traces, n + 2)


@compiled
def _replay(
    mesh: Any, sources: Any, wavelets: Any, c2: Any, state: Any, tape: Any, begin: int, end: int, pieces: Any
) -> None:
    """u_n in the ring, for n = ``begin`` … ``end``, to the rows of ``pieces``: from its mark and the model's frames."""
    w, fx, fz, above = state
    frames, marks, every, frame, ring = tape
    now, past, half = 0, len(w) // 2, len(w) // 2
    for i, field in enumerate((w[:half], w[half:], fx, fz)):
        unpack(mesh, field, marks[(begin // every * 4 + i) * ring :])
    for n in range(begin, end + 1):
        u = w[now : now + half]
        pack(mesh, u, pieces[(n - begin) * ring :])
        if n == end:
            break
        unpack_frame(mesh, u, frames[n * frame :])
        if mesh.surface:
            _mirror(mesh, u)
        _steps(mesh, w, now, past, c2, fx, fz, above, c2[:0], False, sources, wavelets[n : n + 1])
        now, past = past, now


@compiled
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
    zs, fx, fz, above = state
    z, zp = zs[: len(zs) // 2], zs[len(zs) // 2 :]
    every, ring = tape[2], tape[4]
    steps = len(wavelets)
    _inject_image(z, u, image, c2, receivers, residual, steps - 1)
    u, un = un, u
    for n in range(steps - 2, 0, -1):
        begin = n // every * every
        if n == steps - 2 or n == begin + every - 1:
            _replay(mesh, sources, wavelets, c2, again, tape, begin, n, pieces)
        unpack(mesh, u, pieces[(n - begin) * ring :])
        if mesh.surface:
            _mirror(mesh, u)
            _mirror(mesh, z)
        _step_back(mesh, u, un, z, zp, image, c2, fx, fz, above)
        _inject(un, c2, sources, wavelets[n])
        _inject_image(zp, u, image, c2, receivers, residual, n)
        u, un = un, u
        z, zp = zp, z


@compiled
def _inject_image(z: Any, u: Any, image: Any, c2: Any, taps: Any, residual: Any, n: int) -> None:
    """Add sample ``n`` of the residual to the adjoint field and to the image."""
    for p in range(len(residual)):
        for t in range(taps.start[p], taps.start[p + 1]):
            share = taps.weight[t] * residual[p, n]
            z[taps.at[t]] += c2[taps.at[t]] * share
            image[taps.at[t]] += u[taps.at[t]] * share


@compiled
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
    w, fx, fz, above = state
    x, gx, gz, below = born
    now, past, half = 0, len(w) // 2, len(w) // 2
    one, silent = lanes(w), np.zeros_like(wavelets[:1])
    _record(x, receivers, traces, 0)
    for n in range(len(wavelets) - 1):
        if mesh.surface:
            _mirror(mesh, w[now:])
            _mirror(mesh, x[now:])
        _steps(mesh, w, now, past, c2, fx, fz, above, y, True, sources, wavelets[n : n + 1])
        _steps(mesh, x, now, past, c2, gx, gz, below, c2[:0], True, sources, silent)
        v = x[past : past + half]
        for j in range(mesh.base, mesh.base + (mesh.top + mesh.nz + mesh.width) * mesh.stride, one):
            store(v, j, load(v, j) + load(change, j) * load(y, j))
        _inject(v, change, sources, wavelets[n])
        _record(v, receivers, traces, n + 1)
        now, past = past, now
