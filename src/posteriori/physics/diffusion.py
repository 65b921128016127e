"""Diffusion in a section: heat, pore pressure or a slowly varying field released at sources and sampled in time."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core import memory, units
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.grid import centres, even_step
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.physics.conduction import Factor, Floats, Lattice

GAMMA = 1 - sqrt(0.5)
"""The one diagonal coefficient that makes two implicit stages of equal matrix second-order and L-stable."""
AHEAD = (1 - GAMMA) / GAMMA
WHOLE = 1e-6
"""Times agree with whole steps to this share of a step."""


class Diffusion(Operator):
    """u of ∂u/∂t = ∇·(D ∇u) + q at receivers, for a diffusivity D [m²/s] given on cells, (z, x).

    Each source releases a unit amount at t = 0, spread over the nodes of its cell (u is then per m²: the heat kernel
    exp(-r²/4Dt) / 4πDt in a homogeneous plane), or, with ``steady``, one unit a second from then on. Nothing flows
    through the borders of the section, but what lies between them is all there is: keep them √(4 D t) away.

    Potentials live at the corners of cells, by the compact scheme of :class:`~posteriori.physics.conduction.Lattice`
    (fourth-order in space where D is constant); time advances by Alexander's two-stage implicit Runge-Kutta method,
    second-order and L-stable, with one matrix M + γ Δt L(D), factorised once for all steps, stages and sources.
    Derivatives are those of the computed numbers: ``jvp`` steps along, ``vjp`` runs the same steps backwards with that
    factor.

    Args:
        domain: diffusivity, dims ("z", "x"), centres of cells [m], evenly spaced along each.
        sources, receivers: rows (z, x) [m], inside the section.
        times: of the samples [s], (t,), whole multiples of ``step``, rising.
        step: Δt [s].
        steady: sources go on for ever instead of acting at once.

    Raises:
        ShapeError, DataError: positions outside, times off the steps, diffusivities that are not positive.

    Reference: Alexander (1977), Diagonally implicit Runge-Kutta methods for stiff O.D.E.'s, SIAM J. Numer. Anal. 14,
    1006.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Alexander (1977), Diagonally implicit Runge-Kutta methods for stiff O.D.E.'s, SIAM J. Numer. Anal. 14, 1006.",
    )

    def __init__(
        self, domain: Space, sources: Tensor, receivers: Tensor, times: Tensor, step: float, steady: bool = False
    ) -> None:
        super().__init__()
        if domain.dims != ("z", "x"):
            raise ShapeError(f"{domain} needs the dims ('z', 'x'), centres of cells [m].")
        self.domain, self.step, self.steady = domain, step, steady
        self.per_unit = units.factor(domain.unit, "m^2/s")
        self.lattice = Lattice(_nodes(domain, "x"), _nodes(domain, "z"))
        self.conduction, self.storage = self.lattice.conduction(), self.lattice.storage()
        self.samples = _whole_steps(times, step)
        self.inject, self.read = (
            _interpolation(self.lattice, p, w) for p, w in ((sources, "source"), (receivers, "receiver"))
        )
        time = torch.as_tensor(times, dtype=torch.float64).numpy()
        coords = {"source": self.inject.shape[1], "receiver": self.read.shape[1], "time": time}
        self.codomain = Space("u", coords, "1")

    def forward(self, m: Tensor) -> Tensor:
        """Samples, (*batch, source, receiver, time)."""
        out = np.empty((len(flat := self._models(m)), *self._sampled))
        for k, d in enumerate(flat):
            for n, u, _ in self._steps(d):
                out[k, self.samples == n] = self._seen(u)
        return self._tensor(out, m)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """J(m) v, stepped along with the solution."""
        change = self._cells(v)
        out = np.empty((len(flat := self._models(m)), *self._sampled))
        for k, d in enumerate(flat):
            factor, moved = self._factor(d), np.zeros_like(self.inject)
            for n, u, stage in self._steps(d):
                if n:
                    first = factor.solve(self._mass(moved) - self._pushed(change[k], stage))
                    ahead = moved + AHEAD * (first - moved)
                    moved = factor.solve(self._mass(ahead) - self._pushed(change[k], u))
                out[k, self.samples == n] = self._seen(moved)
        return self._tensor(out, v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(m)ᵀ r: the steps in reverse; all states are held, (2 steps, nodes, sources)."""
        flat = self._models(m)
        last, size = int(self.samples.max()), self.inject.size
        memory.require(16 * last * size, f"{last} steps of {size} values", "take fewer sources at once or longer steps")
        pull = self.codomain.check(r).detach().reshape(-1, *self.codomain.shape).double().numpy().transpose(0, 3, 1, 2)
        out = np.empty((len(flat), self.domain.size))
        for k, d in enumerate(flat):
            factor, states = self._factor(d), list(self._steps(d))
            gradient, back = np.zeros(self.lattice.cells), np.zeros_like(self.inject)
            for n, u, stage in reversed(states):
                for at in np.flatnonzero(self.samples == n):
                    back += self.read @ pull[k, at].T
                if n:
                    second = factor.solve(back)
                    first = factor.solve(AHEAD * self._mass(second))
                    gradient -= self._pulled(second, u) + self._pulled(first, stage)
                    back = self._mass((1 - AHEAD) * second + first)
            out[k] = gradient.reshape(len(self.lattice.x) - 1, -1).T.ravel() * self.per_unit
        return torch.from_numpy(out).to(r.dtype).reshape(*r.shape[:-3], *self.domain.shape)

    def _steps(self, d: Floats) -> Iterator[tuple[int, Floats, Floats]]:
        """Number, state and inner stage (nodes, source) of each step, the start first."""
        # a nodal value, not M⁻¹ of it, keeps the fourth order of the compact scheme
        released = self.inject / self._mass(np.ones((self.lattice.nodes, 1)))
        rate = GAMMA * self.step * self._mass(released) if self.steady else np.zeros_like(released)
        u = np.zeros_like(released) if self.steady else released
        factor = self._factor(d)
        yield 0, u, u
        for n in range(1, int(self.samples.max()) + 1):
            stage = factor.solve(self._mass(u) + rate)
            # the slope at the inner stage is (stage - u) / γΔt, so that no product with L is needed
            u = factor.solve(self._mass(u + AHEAD * (stage - u)) + rate)
            yield n, u, stage

    def _factor(self, d: Floats) -> Factor:
        return self.lattice.factor(self.storage + GAMMA * self.step * d * self.conduction)

    def _mass(self, u: Floats) -> Floats:
        """M u."""
        return self.lattice.gathered(self.storage[..., None] * self.lattice.drops(u))

    def _pushed(self, change: Floats, u: Floats) -> Floats:
        """γ Δt ∂(L u) along a change of D (cells,)."""
        weights = GAMMA * self.step * change * self.conduction
        return self.lattice.gathered(weights[..., None] * self.lattice.drops(u))

    def _pulled(self, pull: Floats, u: Floats) -> Floats:
        """Transpose of :meth:`_pushed` in the change."""
        products = (self.lattice.drops(pull) * self.lattice.drops(u)).sum(-1)
        found: Floats = GAMMA * self.step * (self.conduction * products).sum(0)
        return found

    def _seen(self, u: Floats) -> Floats:
        """(source, receiver)."""
        return u.T @ self.read

    @property
    def _sampled(self) -> tuple[int, int, int]:
        source, receiver, time = self.codomain.shape
        return time, source, receiver

    def _cells(self, v: Tensor) -> Floats:
        """Values on the lattice's cells, z fastest, in m²/s, (models, cells)."""
        given = v.detach().reshape(-1, *self.domain.shape).double().numpy().transpose(0, 2, 1)
        return given.reshape(-1, self.domain.size) * self.per_unit

    def _models(self, m: Tensor) -> Floats:
        if m.device.type != "cpu":
            raise UnanswerableError(f"{type(self).__name__} computes on the CPU, its input is on {m.device}: move it.")
        flat = self._cells(m)
        if (bad := ~((flat > 0) & np.isfinite(flat))).any():
            raise DataError(
                f"diffusivity {flat[bad][0] / self.per_unit:.4g} {self.domain.unit} is not positive and finite "
                f"({int(bad.sum())} such cells): mend them, and let a search move its log10 (PowerOfTen)."
            )
        return flat

    def _tensor(self, out: Floats, like: Tensor) -> Tensor:
        ordered = torch.from_numpy(out.transpose(0, 2, 3, 1).copy()).to(like.dtype)
        return ordered.reshape(*like.shape[:-2], *self.codomain.shape)

    def select(self, dim: str, labels: Any) -> Operator:
        """Fewer sources, receivers or times; what is left out is not computed."""
        index = self.codomain.index(dim, labels).numpy()
        other = Diffusion.__new__(Diffusion)
        Operator.__init__(other)
        other.__dict__.update({k: v for k, v in self.__dict__.items() if not k.startswith("_")})
        other.codomain = self.codomain.select(dim, labels)
        if dim == "source":
            other.inject = self.inject[:, index]
        elif dim == "receiver":
            other.read = self.read[:, index]
        else:
            other.samples = self.samples[index]
        return other

    @staticmethod
    def example() -> Diffusion:
        """Two sources, three receivers and two times over a few cells."""
        space = Space("diffusivity", {"z": [0.5, 1.5, 2.5], "x": [0.5, 1.5, 2.5, 3.5]}, "m^2/s", Positive())
        sources = torch.tensor([[0.4, 1.0], [2.0, 2.6]], dtype=torch.float64)
        receivers = torch.tensor([[1.0, 0.2], [2.5, 3.5], [0.0, 2.0]], dtype=torch.float64)
        return Diffusion(space, sources, receivers, torch.tensor([0.4, 1.0], dtype=torch.float64), 0.2)


def _nodes(space: Space, dim: str) -> Floats:
    """Borders of evenly spaced cells."""
    c, h = centres(space, dim), even_step(space, dim)
    return c[0] - h / 2 + h * np.arange(len(c) + 1)


def _whole_steps(times: Tensor, step: float) -> Any:
    if not (np.isfinite(step) and step > 0):
        raise OptionError(f"step={step} s must be positive.")
    given = torch.as_tensor(times, dtype=torch.float64).numpy() / step
    if given.ndim != 1 or not len(given) or (np.diff(given) <= 0).any() or not (given > 0.5).all():
        raise DataError("times must be one rising row of positive numbers [s].")
    if np.abs(given - np.round(given)).max() > WHOLE:
        bad = int(np.abs(given - np.round(given)).argmax())
        raise DataError(f"time {given[bad] * step:g} s is no whole number of steps of {step:g} s; choose another step.")
    return np.round(given).astype(np.int64)


def _interpolation(lattice: Lattice, points: Tensor, what: str) -> Floats:
    """Bilinear weights of each point (p, 2) at the nodes, (nodes, p)."""
    given = np.asarray(points.detach().double().numpy())
    if given.ndim != 2 or given.shape[1] != 2 or not len(given):
        raise ShapeError(f"{what}s {given.shape} should be (n, 2), rows (z, x) [m].")
    out = np.zeros((len(lattice.x), len(lattice.z), len(given)))
    for p, (z, x) in enumerate(given):
        share = []
        for dim, nodes, at in (("x", lattice.x, x), ("z", lattice.z, z)):
            if not nodes[0] <= at <= nodes[-1]:
                raise DataError(
                    f"{what} {p} lies at {dim} = {at:g} m, outside the section {nodes[0]:g} to {nodes[-1]:g} m; check "
                    "the order (z, x), the unit and that depth counts downwards, or widen it."
                )
            share.append(np.clip(1 - np.abs(nodes - at) / (nodes[1] - nodes[0]), 0.0, None))
        out[:, :, p] = np.outer(*share)
    return out.reshape(lattice.nodes, -1)
