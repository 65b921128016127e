"""Chains of Ising configurations: what every sampler of them shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from posteriori.core import memory
from posteriori.core.draws import Draws
from posteriori.core.errors import UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann, Target
from posteriori.physics.ising import Ising
from posteriori.physics.ising_kernels import Spins, energies, swendsen_wang

Floats = NDArray[np.float64]
Move = Callable[[Spins, float, int, np.random.Generator], None]
"""Spins (chain, rows, columns), coupling, number of moves, random numbers; the spins change in place."""
MOST = 2.0
"""Largest coupling J / kT; beyond it hardly a spin stands out."""


@dataclass(frozen=True)
class Length:
    """How far chains walk: ``draws`` steps that are kept, of ``between`` moves each."""

    draws: int
    between: int


def ising(target: Target, method: str) -> tuple[Ising, float]:
    """The model of ``target`` and its coupling K = J / kT.

    Raises:
        UnanswerableError: the target is no ``Boltzmann(Ising(…), K)``, or K is not between 0 and :data:`MOST`.
    """
    if not isinstance(target, Boltzmann) or not isinstance(target.potential, Ising):
        raise UnanswerableError(f"{method} turns spins; give it Boltzmann(Ising(shape), coupling).")
    if not 0 <= target.beta <= MOST:
        raise UnanswerableError(f"{method} takes couplings J / kT from 0 to {MOST:g}, not {target.beta:g}.")
    return target.potential, float(target.beta)


def hot(chains: int, shape: tuple[int, ...], rng: Rng) -> Spins:
    """Random spins ±1 (chain, rows, columns); a ring has one row."""
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    return (2 * rng.numpy.integers(0, 2, (chains, rows, columns)) - 1).astype(np.int8)


def settled(chains: int, shape: tuple[int, ...], coupling: float, sweeps: int, rng: Rng) -> Spins:
    """Random spins after ``sweeps`` of Swendsen and Wang, which grow order on all scales at once."""
    spins = hot(chains, shape, rng)
    swendsen_wang(spins, coupling, sweeps, rng.numpy)
    return spins


def walk(spins: Spins, coupling: float, move: Move, length: Length, rng: Rng) -> Iterator[Spins]:
    """The chains after every ``between`` moves, ``draws`` times; always the same array, which moves on."""
    for _ in range(length.draws):
        move(spins, coupling, length.between, rng.numpy)
        yield spins


def measured(spins: Spins, coupling: float) -> tuple[Floats, Floats]:
    """Energy of each chain [J], and the same with less variance and the same mean (Callen's identity)."""
    energy, smooth = np.empty(len(spins)), np.empty(len(spins))
    energies(spins, coupling, energy, smooth)
    return energy, smooth


def draws_of(model: Ising, spins: Spins, coupling: float, move: Move, length: Length, context: Context) -> Draws:
    """Rows, as classes, of chains that start at ``spins``, chain after chain; ``stats`` hold each row's energy [J]."""
    memory.require(4 * len(spins) * length.draws * model.domain.size, f"{length.draws} draws of {len(spins)} chains")
    steps = walk(spins, coupling, move, length, context.rng.child("moves"))
    kept = np.empty((len(spins), length.draws, *spins.shape[1:]), np.float32)
    energy = np.empty((len(spins), length.draws))
    for i, now in enumerate(context.progress(steps, "lattice", length.draws)):
        kept[:, i] = (now + 1) / 2
        energy[:, i] = measured(now, coupling)[0]
    values = torch.from_numpy(kept).reshape(-1, *model.domain.shape)
    return Draws(model.domain, values, chains=len(spins), stats={"energy": torch.from_numpy(energy).flatten()})
