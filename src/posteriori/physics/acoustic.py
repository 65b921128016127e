"""Acoustic waves in a section: pressure at receivers as an operator of the velocity, with its exact derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import Compose, Operator, Selection
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.threads import free_threads, side_by_side
from posteriori.physics.acoustic_mesh import STENCILS, Floats, Section
from posteriori.physics.acoustic_shots import Shots
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.wavelets import ricker

NODES_PER_WAVELENGTH = {2: 8.0, 4: 4.0, 8: 2.8}
"""Fewest nodes of the shortest wavelength, by order: the phase velocity errs by 2 to 3 % there."""


class Acoustic(Operator):
    """Pressure ``p`` [Pa], (shot, receiver, time), in a section of velocity ``v`` [m/s], (z, x): p_tt / v² = Δp + f.

    Sources radiate f = wavelet δ(z - z_s) δ(x - x_s); time begins with the wavelets, and p with 0. Sources and
    receivers lie anywhere in the mesh. Around it lies an absorbing ring of ``width`` nodes that continue v's edge
    values, set for waves of ``speed``; ``surface`` puts a pressure-free surface on the first row instead.

    The derivative is exact for the discrete equations, ring included. The adjoint runs the field back in time and
    keeps only a frame of the model for each step: memory grows as steps times perimeter.

    Args:
        domain: velocity with dims z (depth, downwards) and x, both [m] and evenly spaced.
        survey: sources, wavelets, receivers.
        dt: time step [s].
        order: of the differences in space, 2, 4 or 8.
        width: nodes of the absorbing ring.
        speed: velocity [m/s] that the ring is set for, best that of the fastest edge; 0.8 of what dt allows without.
        surface: whether the first row is a free surface.
        nodes: fewest nodes per shortest wavelength that are accepted; by order without.

    Example::

        space = Space("velocity", {"z": 10.0 * np.arange(70), "x": 10.0 * np.arange(70)}, "m/s", Positive())
        wavelet = ricker(15.0, 1e-3 * torch.arange(1000))
        survey = Survey.shots([[10.0, 350.0]], [[10.0, 10.0 * i] for i in range(70)], wavelet)
        operator = Acoustic(space, survey, dt=1e-3)
        traces = operator(velocity)                 # (*batch, 1, 70, 1000)

    References: Plessix (2006), A review of the adjoint-state method; Grote & Sim (2010), Efficient PML for the wave
    equation; Gauthier, Virieux & Tarantola (1986), Two-dimensional nonlinear inversion of seismic waveforms.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Plessix (2006), A review of the adjoint-state method, doi:10.1111/j.1365-246X.2006.02978.x",
        "Grote & Sim (2010), Efficient PML for the wave equation, arXiv:1001.0319",
        "Hicks (2002), Arbitrary source and receiver positioning, doi:10.1190/1.1451454",
    )

    def __init__(
        self,
        domain: Space,
        survey: Survey,
        dt: float,
        order: int = 4,
        width: int = 10,
        speed: float | None = None,
        surface: bool = False,
        nodes: float | None = None,
    ) -> None:
        super().__init__()
        if order not in STENCILS:
            raise OptionError(f"order {order} is not offered; take one of {', '.join(map(str, STENCILS))}.")
        if not dt > 0 or width < 1 or (speed is not None and not speed > 0):
            raise OptionError(f"dt = {dt} s, width = {width} and speed = {speed} m/s must be positive.")
        if domain.dims != ("z", "x"):
            raise DataError(f"{domain.name} has dims {domain.dims}; a section has ('z', 'x').")
        (z, dz), (x, dx) = _even(domain, "z"), _even(domain, "x")
        survey.check(z, x, surface)
        self.domain, self.survey, self.dt, self.order = domain, survey, dt, order
        self.nodes = NODES_PER_WAVELENGTH[order] if nodes is None else nodes
        section = Section(len(z), len(x), z[0], x[0], dz, dx, dt, order, width, 1.0, surface)
        self.section = replace(section, speed=0.8 * section.fastest if speed is None else speed)
        if min(len(z), len(x)) < 2 * self.section.reach:
            raise DataError(f"a section of {len(z)} × {len(x)} nodes is narrower than the stencil of order {order}.")
        self.codomain = Space(
            "pressure",
            {"shot": survey.size, "receiver": survey.channels, "time": dt * np.arange(survey.steps)},
            "Pa",
        )
        self._highest = survey.highest(dt)
        self._shots: dict[np.dtype[np.floating], Shots] = {}

    def forward(self, m: Tensor) -> Tensor:
        """Traces (*batch, shot, receiver, time)."""
        shots, speeds = self._ready(m)
        memory.require(free_threads() * 8 * shots.field_bytes, "the wave fields")
        found = self._map(lambda b, s: shots.traces(speeds[b], s), len(speeds))
        return self._gathered(m, found)

    def pull(self, m: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The traces, and ``r ↦ vjp(m, r)`` that does not run forward again: it keeps the tapes of all shots."""
        shots, speeds = self._ready(m)
        every = len(speeds) * self.survey.size
        need = every * (shots.tape_bytes + 2 * shots.field_bytes) + free_threads() * 20 * shots.field_bytes
        memory.require(
            need, f"the tapes of {every} shots", "call vjp(m, r), which keeps one at a time, or take fewer shots"
        )
        taped = self._map(lambda b, s: shots.taped(speeds[b], s), len(speeds))

        def back(r: Tensor) -> Tensor:
            given = self._residual(m, r)
            return self._velocity(
                m, lambda b, s: shots.image(speeds[b], s, taped[b * self.survey.size + s][1], given[b, s])
            )

        return self._gathered(m, [traces for traces, _ in taped]), back

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(m)ᵀ r, shot by shot: forward, then the adjoint with the image."""
        shots, speeds = self._ready(m)
        given = self._residual(m, r)
        memory.require(free_threads() * (shots.tape_bytes + 20 * shots.field_bytes), "the tape of a shot")

        def image(b: int, s: int) -> Floats:
            if not given[b, s].any():
                return np.zeros((self.section.rows, self.section.columns), shots.dtype)
            return shots.image(speeds[b], s, shots.taped(speeds[b], s)[1], given[b, s])

        return self._velocity(m, image)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """J(m) v by Born modelling: the field and its first change side by side."""
        shots, speeds = self._ready(m)
        share = _models(v / m, self.domain)
        memory.require(free_threads() * 14 * shots.field_bytes, "the wave fields")
        found = self._map(lambda b, s: shots.born(speeds[b], shots.change(speeds[b], share[b]), s), len(speeds))
        return self._gathered(m, found)

    def select(self, dim: str, labels: Any) -> Operator:
        """Only some shots or receivers: only these shots run."""
        part = self.codomain.select(dim, labels)
        if dim not in ("shot", "receiver"):
            return Compose(Selection.along(self.codomain, dim, labels), self)
        index = self.codomain.index(dim, labels)
        survey = self.survey.part(index) if dim == "shot" else self.survey.channel(index)
        own = self.section
        found = Acoustic(self.domain, survey, self.dt, self.order, own.width, own.speed, own.surface, self.nodes)
        found.codomain = part
        return found

    @staticmethod
    def example() -> Acoustic:
        """Two shots over a small section in metres and seconds of order one."""
        space = Space("velocity", {"z": np.arange(12.0), "x": 3.0 + 1.2 * np.arange(14.0)}, "m/s", Positive())
        wavelet = ricker(0.15, 0.15 * torch.arange(70, dtype=torch.float64), 5.0)
        places = [[2.0, 6.6], [3.3, 12.6]]
        survey = Survey.shots(places, [[1.0, 7.8], [8.2, 10.7], [1.0, 15.0]], wavelet)
        return Acoustic(space, survey, 0.15, width=5, nodes=0.5)

    def _ready(self, m: Tensor) -> tuple[Shots, list[Floats]]:
        """The survey in the dtype of ``m``, and c2 of each model of the batch, after all checks."""
        if m.device.type != "cpu" or m.dtype not in (torch.float32, torch.float64):
            raise OptionError(
                f"the compiled solver takes float32 or float64 on a CPU, not {m.dtype} on {m.device}; "
                "AcousticTorch runs anywhere."
            )
        models = _models(m, self.domain)
        if models.size:
            self._check(models)
        if models.dtype not in self._shots:
            self._shots[models.dtype] = Shots(self.section, self.survey, models.dtype)
        shots = self._shots[models.dtype]
        return shots, [shots.speed(model) for model in models]

    def _check(self, models: Floats) -> None:
        """Refuse velocities that cannot be run, before the run."""
        slowest, fastest = float(models.min()), float(models.max())
        if not slowest > 0 or not np.isfinite(fastest):
            where = np.argwhere(~((models > 0) & np.isfinite(models)))[0]
            raise DataError(
                f"velocity {models[tuple(where)]:g} m/s at {tuple(where[1:].tolist())} (z, x) is not above zero; "
                "mask, mend or bound the model."
            )
        most = self.section.fastest
        if fastest > most:
            raise DataError(
                f"velocity reaches {fastest:g} m/s and a step of {self.dt:g} s is stable up to {most:g} m/s; "
                f"take dt ≤ {self.dt * most / fastest:.3g} s or coarser nodes."
            )
        spacing, highest = max(self.section.dx, self.section.dz), self._highest
        if slowest < self.nodes * spacing * highest:
            finest = slowest / (self.nodes * highest)
            raise DataError(
                f"waves of {highest:.3g} Hz at {slowest:g} m/s have {slowest / highest / spacing:.2g} nodes a "
                f"wavelength and order {self.order} needs {self.nodes:g}: take nodes ≤ {finest:.3g} m apart, wavelets "
                f"below {slowest / (self.nodes * spacing):.3g} Hz, a higher order, or a smaller ``nodes`` if you "
                "accept the dispersion."
            )

    def _residual(self, m: Tensor, r: Tensor) -> Floats:
        """(models, shots, channels, nt)."""
        whole = self.codomain.check(r, "residual").to(m.dtype)
        return np.asarray(whole.detach().reshape(-1, *self.codomain.shape).numpy())

    def _velocity(self, m: Tensor, image: Callable[[int, int], Floats]) -> Tensor:
        """The gradient (*batch, z, x) from the images of all shots, summed in their order."""
        many, shots = m.shape[:-2].numel(), self.survey.size
        images = self._map(image, many)
        sums = [self.section.folded(sum(images[b * shots : (b + 1) * shots])) for b in range(many)]
        found = torch.from_numpy(np.array(sums)) if sums else m.new_zeros(0)
        return 2 * found.reshape(m.shape).to(m.dtype) / m.detach()

    def _map(self, task: Callable[[int, int], Any], models: int) -> list[Any]:
        """``task(model, shot)`` of all, in order, on as many threads as are free."""
        work = [(b, s) for b in range(models) for s in range(self.survey.size)]
        return list(side_by_side(lambda one: task(*one), work))

    def _gathered(self, m: Tensor, traces: list[Floats]) -> Tensor:
        whole = torch.from_numpy(np.array(traces)) if traces else m.new_zeros(0)
        return whole.reshape(*m.shape[:-2], *self.codomain.shape)


def _models(m: Tensor, domain: Space) -> Floats:
    """(models, z, x)."""
    return np.ascontiguousarray(domain.check(m).detach().reshape(-1, *domain.shape).numpy())


def _even(space: Space, dim: str) -> tuple[Floats, float]:
    """The labels of ``dim`` and their spacing.

    Raises:
        DataError: they do not increase evenly.
    """
    labels = np.asarray(space.labels(dim), np.float64)
    steps = np.diff(labels)
    if len(labels) < 2 or not steps.min() > 0 or np.ptp(steps) > 1e-3 * steps.mean():
        raise DataError(f"{space.name}.{dim} must increase evenly; resample the model, or turn the axis round.")
    return labels, float((labels[-1] - labels[0]) / (len(labels) - 1))
