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

from posteriori.physics.acoustic_lanes import lanes, laplacian, load, store
from posteriori.physics.acoustic_ring import model, ring_rows, ring_rows_back, side, side_back
from posteriori.physics.acoustic_strips import compiled, pack, pack_frame, unpack, unpack_frame

BLOCK = 16
"""Rows that a step takes at a time."""


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

    u_n lies in ``w`` from ``now`` on, u_(n-1) from ``past`` on. Rows go by blocks; the second step finds the first
    one's still in the cache. Row s of ``rates`` are the sources' samples of step s. The operator's value goes to
    ``y`` where that is not empty; the ring alone moves unless ``inside``.
    """
    keep, reach = len(y) > 0, len(mesh.down) - 1
    one, rows = lanes(w), mesh.top + mesh.nz + mesh.width
    above[:] = 0
    taps = np.zeros(2, np.int64)
    for front in range(0, rows + (len(rates) - 1) * reach, BLOCK):
        for s in range(len(rates)):
            low, high = max(front - s * reach, 0), min(front + BLOCK - s * reach, rows)
            if low >= high:
                continue
            a, b = (now, past) if s == 0 else (past, now)
            lag = s * mesh.stride
            first, end = model(mesh, low, high)
            ring_rows(mesh, w, a, b, c2, fx, fz, above, lag, y, low, first)
            for c in range(0, mesh.left, one):
                side(mesh, w, a, b, c2, fx, fz, above, lag, y, c, first, end)
            if inside:
                for k in range(first, end):
                    begin = mesh.base + k * mesh.stride
                    for j in range(begin + mesh.left, begin + mesh.right, one):
                        here = load(w, a + j)
                        value = laplacian(w, a + j, mesh.stride, mesh.across, mesh.down)
                        store(w, b + j, (here + here) - load(w, b + j) + load(c2, j) * value)
                        if keep:
                            store(y, j, value)
            for c in range(mesh.right, mesh.stride, one):
                side(mesh, w, a, b, c2, fx, fz, above, lag, y, c, first, end)
            ring_rows(mesh, w, a, b, c2, fx, fz, above, lag, y, end, high)
            taps[s] = _inject(w[b:], c2, fired, rates[s], taps[s], mesh.base + high * mesh.stride)
            if mesh.surface and front == 0 and len(rates) > 1:
                _mirror(mesh, w[b:])


@compiled
def _steps_back(
    mesh: Any,
    u: Any,
    un: Any,
    z: Any,
    zp: Any,
    image: Any,
    c2: Any,
    fx: Any,
    fz: Any,
    above: Any,
    fired: Any,
    heard: Any,
    wavelets: Any,
    residual: Any,
    n: int,
    many: int,
) -> None:
    """u_(n-1) over ``un`` in the model, z_n over ``zp``, ``image`` += u_n (L z + D⁻φ + r)_n; twice if ``many`` is 2.

    The second step follows by as many rows as the stencil reaches, as in :func:`_steps`.
    """
    one, rows, reach = lanes(u), mesh.top + mesh.nz + mesh.width, len(mesh.down) - 1
    above[:] = 0
    source, receiver = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for front in range(0, rows + (many - 1) * reach, BLOCK):
        for s in range(many):
            low, high = max(front - s * reach, 0), min(front + BLOCK - s * reach, rows)
            if low >= high:
                continue
            a, b, y, v = (u, un, z, zp) if s == 0 else (un, u, zp, z)
            lag, limit = s * mesh.stride, mesh.base + high * mesh.stride
            first, end = model(mesh, low, high)
            ring_rows_back(mesh, a, y, v, image, c2, fx, fz, above, lag, low, first)
            for c in range(0, mesh.left, one):
                side_back(mesh, a, b, y, v, image, c2, fx, fz, above, lag, c, first, end)
            for k in range(first, end):
                begin = mesh.base + k * mesh.stride
                for j in range(begin + mesh.left, begin + mesh.right, one):
                    here, there, speed = load(a, j), load(y, j), load(c2, j)
                    value = laplacian(y, j, mesh.stride, mesh.across, mesh.down)
                    past = laplacian(a, j, mesh.stride, mesh.across, mesh.down)
                    store(image, j, load(image, j) + here * value)
                    store(v, j, (there + there) - load(v, j) + speed * value)
                    store(b, j, (here + here) - load(b, j) + speed * past)
            for c in range(mesh.right, mesh.stride, one):
                side_back(mesh, a, b, y, v, image, c2, fx, fz, above, lag, c, first, end)
            ring_rows_back(mesh, a, y, v, image, c2, fx, fz, above, lag, end, high)
            source[s] = _inject(b, c2, fired, wavelets[n - s], source[s], limit)
            receiver[s] = _observe(v, a, image, c2, heard, residual, n - s, receiver[s], limit)
            if mesh.surface and front == 0 and many > 1:
                _mirror(mesh, b)
                _mirror(mesh, v)


@compiled
def _mirror(mesh: Any, field: Any) -> None:
    """Continue ``field`` oddly above the free surface, on which it vanishes."""
    for j in range(1, len(mesh.down)):
        up, down = mesh.base - j * mesh.stride, mesh.base + j * mesh.stride
        for c in range(mesh.stride):
            field[up + c] = -field[down + c]


@compiled
def _inject(field: Any, c2: Any, fired: Any, rates: Any, t: int, limit: int) -> int:
    """field += c2 Σ weight rate from tap ``t`` to the first at or behind node ``limit``, which is returned."""
    while t < len(fired.at) and fired.at[t] < limit:
        field[fired.at[t]] += c2[fired.at[t]] * fired.weight[t] * rates[fired.point[t]]
        t += 1
    return t


@compiled
def _observe(z: Any, u: Any, image: Any, c2: Any, heard: Any, residual: Any, n: int, t: int, limit: int) -> int:
    """Sample ``n`` of the residual into the adjoint field and the image; taps as in :func:`_inject`."""
    while t < len(heard.at) and heard.at[t] < limit:
        share = heard.weight[t] * residual[heard.point[t], n]
        z[heard.at[t]] += c2[heard.at[t]] * share
        image[heard.at[t]] += u[heard.at[t]] * share
        t += 1
    return t


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
    inner: Any,
    heard: Any,
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
    be run back, it is replayed forward in pieces of ``every`` steps. ``inner`` are the sources' nodes in the model.
    """
    u, un = last
    zs, fx, fz, above = state
    z, zp = zs[: len(zs) // 2], zs[len(zs) // 2 :]
    every, ring = tape[2], tape[4]
    steps = len(wavelets)
    _observe(z, u, image, c2, heard, residual, steps - 1, 0, len(z))
    u, un = un, u
    n = steps - 2
    while n > 0:
        begin = n // every * every
        if n == steps - 2 or n == begin + every - 1:
            _replay(mesh, sources, wavelets, c2, again, tape, begin, n, pieces)
        many = 2 if n > max(begin, 1) else 1
        unpack(mesh, u, pieces[(n - begin) * ring :])
        if many == 2:
            unpack(mesh, un, pieces[(n - 1 - begin) * ring :])
        if mesh.surface:
            _mirror(mesh, u)
            _mirror(mesh, z)
        _steps_back(mesh, u, un, z, zp, image, c2, fx, fz, above, inner, heard, wavelets, residual, n, many)
        if many == 1:
            u, un = un, u
            z, zp = zp, z
        n -= many


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
        _inject(v, change, sources, wavelets[n], 0, len(v))
        _record(v, receivers, traces, n + 1)
        now, past = past, now
