"""How the copies of replica exchange move between swaps: in torch for any energy, or in compiled code."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.target import Boltzmann, Target
from posteriori.inference.adaptation import Diagonal
from posteriori.inference.compiled_kernels import walk
from posteriori.inference.compiled_target import moving
from posteriori.inference.compiled_walkers import relaxed
from posteriori.inference.hmc import slope_of, starts
from posteriori.inference.parts import written_out
from posteriori.inference.unconstrained import Unconstrained


class Motion(Protocol):
    """Configurations of every ladder and copy."""

    @property
    def energy(self) -> Tensor:
        """At the target's own temperature, (ladder, copy, *problem), float64."""

    def move(self, betas: Tensor, steps: Tensor) -> Tensor:
        """Move copy k in ``betas[k]`` times the energy by leapfrogs of ``steps`` (copy, *problem).

        Returns the mean acceptance, shaped as ``energy``.
        """

    def take(self, index: Tensor) -> None:
        """Copy k of each ladder becomes what was copy ``index`` (ladder, copy, *problem)."""

    def lay(self, index: Tensor) -> None:
        """Copy k of every ladder becomes what was copy ``index[k]``; there may be more or fewer afterwards."""

    def learn(self) -> None:
        """Take what was seen since the last call as the shape of each copy, where shapes are used."""

    def cold(self) -> Tensor:
        """The target's values in the copies at its own temperature, (ladder, *problem, *space.shape)."""


class TorchMotion:
    """Hamiltonian transitions of all ladders, copies and problems at once, in coordinates without borders."""

    def __init__(
        self, target: Target, start: Samples | None, shape: tuple[int, int], steps: int, moves: int, rng: Rng
    ) -> None:
        fixed = written_out(target)
        self._map = Unconstrained(fixed.space, "ReplicaExchange")
        self._slope = slope_of(fixed, self._map)
        u, spread = starts(fixed, self._map, self._slope, start, shape[0] * shape[1], rng.child("start"))
        self._u = u.reshape(*shape, *u.shape[1:])
        self._energy, self._g = self._slopes(self._u)
        self._shape = Diagonal(spread.expand(shape[1], *spread.shape).clone())
        self._steps, self._moves, self._rng = steps, moves, rng.child("moves")
        self._seen: list[Tensor] = []

    @property
    def energy(self) -> Tensor:
        return self._energy

    def move(self, betas: Tensor, steps: Tensor) -> Tensor:
        shape = self._shape.stretched(steps)
        hot = betas.reshape(-1, *(1,) * (self._energy.ndim - 2))
        total = torch.zeros_like(self._energy)
        for _ in range(self._moves):
            length = (self._steps + 1) // 2
            length += int(self._rng.integers(self._steps - length + 1, ()))
            total += self._transition(hot.to(self._energy), shape, length)
        self._seen.append(self._u)
        return total / self._moves

    def take(self, index: Tensor) -> None:
        wide = index[..., None].expand_as(self._u)
        self._u, self._g = self._u.gather(1, wide), self._g.gather(1, wide)
        self._energy = self._energy.gather(1, index)

    def lay(self, index: Tensor) -> None:
        self._u, self._g, self._energy = (t[:, index].clone() for t in (self._u, self._g, self._energy))
        self._shape = Diagonal(self._shape.scale[index])
        self._seen = []

    def learn(self) -> None:
        later = self._seen[len(self._seen) // 2 :]
        self._seen = []
        if later:
            self._shape = self._shape.learnt(torch.cat(later))

    def cold(self) -> Tensor:
        self._seen = []
        return self._map.values(self._u[:, 0]).detach()

    def _transition(self, beta: Tensor, shape: Diagonal, length: int) -> Tensor:
        p = self._rng.normal(self._u.shape, self._u)
        before = beta * self._energy + 0.5 * p.double().square().sum(-1)
        warm = beta[..., None].to(self._u)
        u, energy, g = self._u, self._energy, self._g
        p = p - 0.5 * warm * shape.pull(g)
        for i in range(length):
            u = u + shape.push(p)
            energy, g = self._slopes(u)
            p = p - (0.5 if i == length - 1 else 1.0) * warm * shape.pull(g)
        gained = before - beta * energy - 0.5 * p.double().square().sum(-1)
        accepted = torch.where(torch.isfinite(gained), gained, -torch.inf).clamp_max(0.0).exp()
        taken = self._rng.uniform(accepted.shape, accepted) < accepted
        self._u, self._g = (torch.where(taken[..., None], new, old) for new, old in ((u, self._u), (g, self._g)))
        self._energy = torch.where(taken, energy, self._energy)
        return accepted

    def _slopes(self, u: Tensor) -> tuple[Tensor, Tensor]:
        energy, g = self._slope(u.flatten(0, 1))
        return energy.reshape(u.shape[:-1]), g.reshape(u.shape)


class CompiledMotion:
    """Hamiltonian transitions in a compiled energy; ladders begin relaxed, identical particles change labels."""

    def __init__(
        self, target: Boltzmann, start: Samples | None, shape: tuple[int, int], steps: int, moves: int, rng: Rng
    ) -> None:
        self._one = moving(target, "ReplicaExchange")[0]
        self._x = relaxed(self._one, start, shape[0] * shape[1], rng.child("start"))
        self._u, self._g = self._one.energy(self._x)
        self._shape, self._steps, self._moves, self._rng = shape, steps, moves, rng.child("moves")

    @property
    def energy(self) -> Tensor:
        return torch.from_numpy(self._one.beta * self._u).reshape(self._shape)

    def move(self, betas: Tensor, steps: Tensor) -> Tensor:
        one, (n, size) = self._one, self._x.shape
        ladders = self._shape[0]
        accepted = np.empty(n)
        walk(
            one.energy.function,
            one.energy.parameters,
            np.tile(one.beta * betas.numpy(), ladders),
            np.tile(steps.numpy(), ladders),
            self._steps,
            self._moves,
            one.axes,
            one.energy.identical,
            self._x,
            self._g,
            self._u,
            np.empty((n, 1, size)),
            np.empty((n, 1)),
            accepted,
            self._rng.numpy,
        )
        return torch.from_numpy(accepted).reshape(self._shape)

    def take(self, index: Tensor) -> None:
        ladders, copies = self._shape
        rows = (index + copies * torch.arange(ladders)[:, None]).flatten().numpy()
        self._x, self._g, self._u = self._x[rows], self._g[rows], self._u[rows]

    def lay(self, index: Tensor) -> None:
        self.take(index.expand(self._shape[0], -1))
        self._shape = (self._shape[0], len(index))

    def learn(self) -> None:
        """Shapes are not used."""

    def cold(self) -> Tensor:
        return self._one.values(self._x.reshape(*self._shape, -1)[:, 0].copy())
