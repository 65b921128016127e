"""A coarse simulator that asks for tensions, and three ways to answer it: exactly, by back-mapping, by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.domains.molecules.backmapping import Segment
from posteriori.inference.back_mapping import Generator, closure

Floats = NDArray[np.float64]
Answer = Callable[[Tensor, Rng], tuple[Tensor, int]]
"""Vectors from bead to bead (segment, 3) → slope of their free energies, same shape, and fine-scale calls."""


@dataclass(frozen=True)
class Loop:
    """Beads in an overdamped bath, the first held, the last pulled: dY = (pull - ∂A/∂Y) dt + √2 dW.

    Attributes:
        segments: between beads.
        pull: force on the last bead, along x [kT per length].
        step: dt, in units of length² / diffusion.
        steps: how many.
    """

    segments: int = 4
    pull: float = 5.0
    step: float = 0.02
    steps: int = 500

    def run(self, answer: Answer, rng: Rng) -> Trajectory:
        """The chain from a relaxed start; the bath is the same for every way to answer."""
        y = torch.zeros(self.segments + 1, 3, dtype=torch.float64)
        y[:, 0] = torch.arange(self.segments + 1)
        ends, slopes, calls = [], [], 0
        for k in range(self.steps):
            vectors = y[1:] - y[:-1]
            slope, more = answer(vectors, rng.child("closure", k))
            ends.append(vectors)
            slopes.append(slope)
            calls += more
            force = torch.cat([slope[1:] - slope[:-1], -slope[-1:]])
            force[-1, 0] += self.pull
            noise = rng.child("bath", k).normal((self.segments, 3))
            y = torch.cat([y[:1], y[1:] + self.step * force + (2 * self.step) ** 0.5 * noise])
        return Trajectory(torch.stack(ends), torch.stack(slopes), calls)


@dataclass(frozen=True)
class Trajectory:
    """What a loop went through.

    Attributes:
        ends: (step, segment, 3).
        slopes: answers, same shape.
        calls: fine-scale calls of all answers.
    """

    ends: Tensor
    slopes: Tensor
    calls: int

    def extension(self) -> Floats:
        """Distance along x of the last bead from the first, (step,)."""
        found: Floats = self.ends[..., 0].sum(-1).numpy()
        return found

    def error(self, segment: Segment) -> float:
        """Root mean square error of the answers as a share of the root mean square answer, against the exact ones."""
        wanted = exact(segment)(self.ends.reshape(-1, 3), Rng(0))[0].reshape(self.slopes.shape)
        return float(((self.slopes - wanted).square().sum() / wanted.square().sum()).sqrt())


def exact(segment: Segment) -> Answer:
    """Tensions by the Fourier integral, interpolated from a fine table."""
    table, known = _table(segment)

    def answer(ends: Tensor, rng: Rng) -> tuple[Tensor, int]:
        distance = ends.norm(dim=-1, keepdim=True)
        tension = np.interp(distance.numpy(), np.concatenate([[0.0], table]), np.concatenate([[0.0], known]))
        return torch.from_numpy(tension) * ends / distance, 0

    return answer


@cache
def _table(segment: Segment) -> tuple[Floats, Floats]:
    distance = np.linspace(0.02, 1.25 * segment.bonds, 800)
    return distance, segment.tension(distance)


def mapped(segment: Segment, generator: Generator, draws: int) -> Answer:
    """Tensions from ``draws`` back-mapped configurations for each segment."""

    def answer(ends: Tensor, rng: Rng) -> tuple[Tensor, int]:
        found = closure(generator, segment.energy, ends[:, None], draws, rng)
        return found.slope[:, 0], found.calls

    return answer


@dataclass(frozen=True)
class Held:
    """Direct simulation: HMC of the fine vectors with the beads held; its equilibration is not counted.

    Attributes:
        leapfrogs: gradients of each transition.
        step: of each leapfrog.
        burn: transitions before, for nothing.
    """

    leapfrogs: int = 5
    step: float = 0.25
    burn: int = 40

    def tension(self, segment: Segment, ends: Tensor, transitions: int, rng: Rng) -> tuple[Tensor, float]:
        """Running mean force of each state after 1, 2, … transitions, (transition, state, 3), and the acceptance."""
        x = 0.2 * rng.normal((len(ends), segment.bonds - 1, 3))
        energy, g, force = _slope(segment, x, ends)
        total, taken_share = [], 0.0
        for k in range(self.burn + transitions):
            h = self.step * (0.8 + 0.4 * float(rng.uniform(())))
            p = rng.normal(x.shape)
            before = energy + 0.5 * p.square().sum((-2, -1))
            y, e, s, f = x, energy, g, force
            p = p - 0.5 * h * s
            for i in range(self.leapfrogs):
                y = y + h * p
                e, s, f = _slope(segment, y, ends)
                p = p - (0.5 if i == self.leapfrogs - 1 else 1.0) * h * s
            taken = rng.uniform(energy.shape).log() < before - e - 0.5 * p.square().sum((-2, -1))
            x, g = (torch.where(taken[:, None, None], a, b) for a, b in ((y, x), (s, g)))
            energy, force = torch.where(taken, e, energy), torch.where(taken[:, None], f, force)
            if k >= self.burn:
                total.append(force)
                taken_share += float(taken.double().mean()) / transitions
        counts = torch.arange(1, transitions + 1, dtype=torch.float64)[:, None, None]
        return torch.stack(total).cumsum(0) / counts, taken_share


def _slope(segment: Segment, u: Tensor, ends: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Energy, its gradient in the fine vectors, and minus the mean force on the end: ∂U/∂R with u held."""
    b = segment.vectors(u, ends[:, None])
    squared = b.square().sum(-1, keepdim=True)
    energy = (segment.stiffness / 2 * squared + segment.quartic / 4 * squared.square()).sum((-2, -1))
    springs = (segment.stiffness + segment.quartic * squared) * b
    return energy, springs[:, :-1] - springs[:, 1:], springs.mean(-2)


def calls_for(error: float, calls: Floats, errors: Floats) -> float:
    """Calls at which a falling curve of errors passes ``error``, on a straight line between logarithms."""
    slope, offset = np.polyfit(np.log(calls), np.log(errors), 1)
    return float(np.exp((np.log(error) - offset) / slope))
