"""Single shots of an acoustic survey in one float type: the compiled time loops with their arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import NamedTuple

import numpy as np
import torch

from posteriori.physics import acoustic_kernels as kernels
from posteriori.physics.acoustic_kernels import Fired, Taps
from posteriori.physics.acoustic_lanes import LINE
from posteriori.physics.acoustic_mesh import Floats, Section, aligned
from posteriori.physics.acoustic_survey import Survey

State = tuple[Floats, Floats, Floats, Floats]


class Tape(NamedTuple):
    """What a forward run keeps so that its adjoint can run the field back."""

    frames: Floats
    """nt rows: the model's outermost nodes at every step."""
    marks: Floats
    """nt / every times 4 rows: all of the ring, every so many steps."""
    last: Floats
    """The field at the last step."""
    before: Floats
    """The one before."""


class Shots:
    """A survey on a section, ready to run in one ``dtype``; c2 is a padded array of :meth:`speed`."""

    def __init__(self, section: Section, survey: Survey, dtype: np.dtype[np.floating]) -> None:
        self.section, self.steps, self.dtype = section, survey.steps, dtype
        self.mesh = section.mesh(dtype)
        scale = section.dx / section.dz  # of v² dt² δ(z) δ(x), as a share of c2
        self.sources, self.wavelets = [], []
        for shot in range(survey.size):
            own = survey.firing(shot)
            self.sources.append(_fired(section.taps(survey.points[own].numpy(), dtype, scale)))
            self.wavelets.append(np.ascontiguousarray(survey.wavelets[own].numpy().T, dtype))
        self.inner = [self._within(fired) for fired in self.sources]
        many = survey.size if survey.receivers.ndim == 3 else 1
        listening = [section.taps(survey.listening(shot).numpy(), dtype) for shot in range(many)]
        self.receivers = listening * (survey.size // many)
        self.heard = [_fired(taps) for taps in listening] * (survey.size // many)
        self.channels = survey.channels
        self._factor = section.factor(dtype)

    @property
    def every(self) -> int:
        """Steps between marks: so many that marks and replayed pieces of the ring together are least."""
        return max(2 * isqrt(self.steps), 2)

    @property
    def field_bytes(self) -> int:
        """Memory of one padded array [B]."""
        return self.section.size(self.dtype) * self.dtype.itemsize

    @property
    def tape_bytes(self) -> int:
        """Memory of what the forward run keeps of one shot [B], without its last fields."""
        marks = -(-self.steps // self.every) * 4 * self.section.ring
        return (self.steps * self.section.frame + marks) * self.dtype.itemsize

    def speed(self, velocity: Floats) -> Floats:
        """(v dt / dx)² and the ring's damping, padded, of a velocity (nz, nx)."""
        found = self._zeros()
        self.section.whole(found)[:] = self.section.extended(velocity) ** 2 * self._factor
        return found

    def change(self, c2: Floats, share: Floats) -> Floats:
        """What c2 changes by when the velocity (nz, nx) changes by ``share`` of itself."""
        found = self._zeros()
        self.section.whole(found)[:] = 2 * self.section.extended(share) * self.section.whole(c2)
        return found

    def traces(self, c2: Floats, shot: int) -> Floats:
        """(channels, nt) of one shot."""
        nothing = np.zeros(0, self.dtype)
        return self._forward(c2, shot, self._state(), (nothing, nothing, 1, 0, 0))

    def taped(self, c2: Floats, shot: int) -> tuple[Floats, Tape]:
        """(channels, nt) of one shot, and its tape."""
        frame, ring = self.section.frame, self.section.ring
        spare = LINE // self.dtype.itemsize  # vectors are written whole
        frames = np.empty(self.steps * frame + spare, self.dtype)
        marks = np.empty(-(-self.steps // self.every) * 4 * ring + spare, self.dtype)
        state = self._state()
        traces = self._forward(c2, shot, state, (frames, marks, self.every, frame, ring))
        ends = state[0].reshape(2, -1)
        last = (ends[0], ends[1]) if self.steps % 2 else (ends[1], ends[0])
        return traces, Tape(frames, marks, *last)

    def image(self, c2: Floats, shot: int, tape: Tape, residual: Floats) -> Floats:
        """½ v ∂/∂v of ⟨traces, residual⟩, residual (channels, nt), with v everywhere: (rows, columns) with the ring."""
        ring, spare = self.section.ring, LINE // self.dtype.itemsize
        pieces = np.empty(self.every * ring + spare, self.dtype)
        kept = (tape.frames, tape.marks, self.every, self.section.frame, ring)
        last, image = (tape.last.copy(), tape.before.copy()), self._zeros()
        given = np.ascontiguousarray(residual)
        with _flushed():
            kernels.backward(
                self.mesh,
                self.sources[shot],
                self.inner[shot],
                self.heard[shot],
                self.wavelets[shot],
                c2,
                last,
                self._state(),
                self._state(),
                given,
                kept,
                pieces,
                image,
            )
        return self.section.whole(image)

    def born(self, c2: Floats, change: Floats, shot: int) -> Floats:
        """(channels, nt): the first change of the traces of one shot when c2 changes by ``change``."""
        traces = np.empty((self.channels, self.steps), self.dtype)
        with _flushed():
            kernels.linearised(
                self.mesh, *self._shot(shot), c2, change, self._state(), self._state(), self._zeros(), traces
            )
        return traces

    def _forward(self, c2: Floats, shot: int, state: State, tape: tuple[Floats, Floats, int, int, int]) -> Floats:
        traces = np.empty((self.channels, self.steps), self.dtype)
        with _flushed():
            kernels.forward(self.mesh, *self._shot(shot), c2, state, traces, tape)
        return traces

    def _shot(self, shot: int) -> tuple[Fired, Taps, Floats]:
        return self.sources[shot], self.receivers[shot], self.wavelets[shot]

    def _within(self, fired: Fired) -> Fired:
        """Those nodes of ``fired`` that are the model's."""
        own = np.zeros(self.section.size(self.dtype), bool).reshape(-1, self.mesh.stride)
        top, left = self.section.reach + self.section.top, self.mesh.edge
        own[top : top + self.section.nz, left : left + self.section.nx] = True
        return Fired(*(values[own.ravel()[fired.at]] for values in fired))

    def _zeros(self) -> Floats:
        return aligned(self.section.size(self.dtype), self.dtype)

    def _state(self) -> State:
        """Two fields behind one another, φx, φz, and room for two rows and a column of a block."""
        row = aligned(2 * self.section.stride(self.dtype) + kernels.BLOCK * LINE // self.dtype.itemsize, self.dtype)
        return (aligned(2 * self.section.size(self.dtype), self.dtype), self._zeros(), self._zeros(), row)


def _fired(taps: Taps) -> Fired:
    """The taps by node."""
    order = np.argsort(taps.at, kind="stable")
    point = np.repeat(np.arange(len(taps.start) - 1), np.diff(taps.start))
    return Fired(taps.at[order], taps.weight[order], point[order])


@contextmanager
def _flushed() -> Iterator[None]:
    """Numbers below the normal range count as zero in this thread: ahead of a wave they would cost tenfold."""
    before = float(np.finfo(np.float64).tiny) / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
