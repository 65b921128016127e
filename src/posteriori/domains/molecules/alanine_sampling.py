"""Alanine dipeptide sampled on every part of its surface: a bias that flattens it, and replicas that carry less of it.

The bias is learnt by well-tempered metadynamics over (φ, ψ), then frozen. Replicas at 0 … 1 times the bias exchange:
those with all of it cross barriers, the one without samples the molecule itself. Every move is a Hamiltonian
transition with acceptance, so each level is exact, whatever the bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.optional import require
from posteriori.core.random import Rng
from posteriori.domains.molecules.alanine import GAS_CONSTANT, PHI, PSI, require_left
from posteriori.domains.molecules.alanine_sampling_kernels import exchange, flatten
from posteriori.inference.mbar import States, mbar
from posteriori.physics.compiled import Floats
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics, Surface

HEAVY_HYDROGEN = 4.0
"""Mass [u] that hydrogens are given: positions at equilibrium do not depend on masses, the longest step does."""
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Sampling:
    """How replicas are run.

    Attributes:
        temperature: [K].
        levels: shares of the bias that the replicas of one walker carry, from 0 to 1.
        walkers: independent ladders.
        hills: rounds of metadynamics, one hill of each walker in each.
        settle: exchanged transitions of each replica before rows are kept.
        rows: kept transitions of each replica.
        step: of the leapfrog [ps].
        shortest, longest: leapfrogs of a transition.
        order: of the Fourier series of the bias.
        height: of the first hills [kJ/mol].
        width: of hills [rad].
        factor: the bias factor of well-tempered metadynamics.
    """

    temperature: float = 300.0
    levels: tuple[float, ...] = (0.0, 0.35, 0.7, 1.0)
    walkers: int = 8
    hills: int = 6000
    settle: int = 200
    rows: int = 5000
    step: float = 0.0025
    shortest: int = 20
    longest: int = 100
    order: int = 8
    height: float = 1.0
    width: float = 0.35
    factor: float = 12.0

    @property
    def beta(self) -> float:
        """1 / RT [mol/kJ]."""
        return 1 / (GAS_CONSTANT * self.temperature)


@dataclass(frozen=True)
class Frames:
    """What replicas have left behind.

    Attributes:
        positions: (row, walker, level, atom, 3) [nm], float32.
        angles: φ and ψ (row, walker, level, 2) [rad].
        bias: β times the whole bias at every frame, (row, walker, level), float64.
        levels: shares of the bias.
        moves, swaps: acceptance rates of moves and of exchanges upwards, (level,).
        surface: the frozen bias.
    """

    positions: Tensor
    angles: Tensor
    bias: Tensor
    levels: tuple[float, ...]
    moves: Tensor
    swaps: Tensor
    surface: Surface

    @cached_property
    def states(self) -> States:
        """The levels joined by MBAR; rows run level after level, walker after walker."""
        flat = self.by_level(self.bias)
        levels = torch.tensor(self.levels, dtype=torch.float64)
        counts = [len(flat) // len(self.levels)] * len(self.levels)
        return mbar(levels[:, None] * flat, counts, chains=self.positions.shape[1])

    def by_level(self, values: Tensor) -> Tensor:
        """Values (row, walker, level, …) in the order of :attr:`states`: level after level, chain after chain."""
        return values.transpose(0, 2).flatten(0, 2)

    @cached_property
    def log_weights(self) -> Tensor:
        """Unnormalised log-weights of the rows, in that order, for the molecule without bias."""
        return self.states.log_weights(torch.zeros(len(self.by_level(self.bias)), dtype=torch.float64))


def sampled(terms: ForceField, frame: Tensor, weights: Floats, sampling: Sampling, rng: Rng) -> Frames:
    """Learn the bias from ``frame`` (atom, 3) [nm] on, freeze it, run the replicas.

    Args:
        weights: masses of the atoms [u], (atom,); those below 4 are raised to it.

    Raises:
        UnanswerableError: moves that are hardly ever accepted.
        DataError: a chain that has left the L form.
    """
    heavy = np.repeat(np.maximum(np.asarray(weights, dtype=np.float64), HEAVY_HYDROGEN), 3)
    surface, x = flattened(terms, frame, heavy, sampling, rng.child("bias"))
    levels = [MolecularMechanics(terms, replace(surface, factor=share)) for share in sampling.levels]
    energy = levels[0].compiled()
    tables = np.stack([level.compiled().parameters for level in levels])
    x = np.repeat(x[:, None], len(levels), 1)
    random, rates = rng.child("exchange").numpy, np.zeros((2, len(levels)))
    move = (heavy, sampling.beta, sampling.step, sampling.shortest, sampling.longest)
    exchange(energy.function, tables, x, *move, np.empty((sampling.settle, *x.shape)), rates, random)
    kept, total = [], np.zeros_like(rates)
    for start in range(0, sampling.rows, ROWS_AT_ONCE):
        rows = np.empty((min(ROWS_AT_ONCE, sampling.rows - start), *x.shape))
        exchange(energy.function, tables, x, *move, rows, rates, random)
        total += rates * len(rows) / sampling.rows
        kept.append(torch.from_numpy(rows.astype(np.float32)))
    positions = torch.cat(kept).unflatten(-1, (-1, 3))
    if total[0].min() < 0.2:
        raise UnanswerableError(f"moves of {1000 * sampling.step:g} fs are accepted at {total[0].min():.0%}; shorten.")
    for end in positions[-1].flatten(0, 1):
        require_left(end)
    angles = torch.stack([torsions(positions, PHI), torsions(positions, PSI)], -1)
    bias = sampling.beta * surface.at(angles[..., 0], angles[..., 1])
    moves, swaps = (torch.from_numpy(rate.copy()) for rate in total)
    return Frames(positions, angles, bias, sampling.levels, moves, swaps, surface)


def masses(system: str) -> Floats:
    """Of the atoms of a serialised OpenMM system [u], (atom,)."""
    found = require("openmm", "molecules").XmlSerializer.deserialize(system)
    dalton = require("openmm.unit", "molecules").dalton
    return np.array([found.getParticleMass(i).value_in_unit(dalton) for i in range(found.getNumParticles())])


def flattened(terms: ForceField, frame: Tensor, heavy: Floats, sampling: Sampling, rng: Rng) -> tuple[Surface, Floats]:
    """The bias of well-tempered metadynamics, and where its walkers stand at the end, (walker, 3 atoms)."""
    order = sampling.order
    empty = Surface(PHI, PSI, np.zeros((2 * order + 1, order + 1), dtype=np.complex128))
    energy = MolecularMechanics(terms, empty).compiled()
    table = energy.parameters.copy()
    at = len(table) - 2 * empty.coefficients.size
    x = np.repeat(frame.double().numpy().reshape(1, -1), sampling.walkers, 0)
    first, second = np.array(PHI, dtype=np.int64), np.array(PSI, dtype=np.int64)
    tempering = (sampling.factor - 1) / sampling.beta
    motion = (heavy, sampling.beta, sampling.step, sampling.longest // 2, sampling.hills)
    hills = (sampling.height, sampling.width, tempering)
    flatten(energy.function, table, at, order, first, second, x, *motion, *hills, rng.numpy)
    found = table[at:].reshape(2 * order + 1, order + 1, 2)
    return replace(empty, coefficients=found[..., 0] + 1j * found[..., 1]), x


def torsions(x: Tensor, atoms: tuple[int, int, int, int]) -> Tensor:
    """The torsion [rad] of four atoms in positions (*batch, atom, 3), in (-π, π], float64 (*batch,)."""
    i, j, k, last = (x[..., a, :].double() for a in atoms)
    u, v, w = j - i, k - j, last - k
    normal = torch.linalg.cross(v, w)
    return torch.atan2(v.norm(dim=-1) * (u * normal).sum(-1), (torch.linalg.cross(u, v) * normal).sum(-1))
