"""What a coarse-graining does to the couplings of a lattice: flow, linearised map, and the exact one of a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.errors import ShapeError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.molecules.finite_size import CHAINS, CLUSTERS, WARMUP, Estimate
from posteriori.inference.lattice_walk import Length, settled, walk
from posteriori.learn.coarse_graining import BlockRule, patches, surroundings
from posteriori.learn.mutual_information import InformationMaximisation
from posteriori.physics.ising_kernels import swendsen_wang, wolff

Floats = NDArray[np.float64]
NEWTON = 30
SMALLEST = 8
"""Sites a side below which couplings to second neighbours mean little."""


@dataclass(frozen=True)
class Flow:
    """Couplings (level, 2) to nearest and second neighbours after 0, 1, … coarse-grainings, from ``temperature``."""

    temperature: float
    couplings: Floats


def configurations(size: int, coupling: float, n: int, rng: Rng) -> Tensor:
    """``n`` nearly independent configurations ±1, float32 (n, size, size), from a few chains of clusters."""
    spins = settled(CHAINS, (size, size), coupling, WARMUP, rng.child("start"))
    length = Length(-(-n // CHAINS), 2 * CLUSTERS)
    rows = [torch.from_numpy(now.copy()) for now in walk(spins, coupling, wolff, length, rng.child("moves"))]
    return torch.cat(rows)[:n].float()


def levels(rule: BlockRule, spins: Tensor, smallest: int) -> list[Tensor]:
    """Spins (n, L, L) after 0, 1, … coarse-grainings, as long as ``smallest`` sites a side are left."""
    found = [spins]
    while all(n % b == 0 and n // b >= smallest for n, b in zip(found[-1].shape[-2:], rule.shape, strict=True)):
        found.append(rule.coarse(found[-1]))
    return found


def couplings(spins: Tensor) -> Floats:
    """Couplings to nearest and second (diagonal) neighbours that make each spin given the others most likely.

    Maximum pseudo-likelihood: P(s = +1 | rest) = 1 / (1 + exp(-2 Σ K_a h_a)), h_a the sums over neighbours of kind a.

    Reference: Besag (1975), Statistical analysis of non-lattice data, The Statistician 24, 179.
    """
    near = sum((spins.roll(d, axis) for axis in (-2, -1) for d in (1, -1)), torch.zeros_like(spins))
    diagonal = sum((spins.roll((a, b), (-2, -1)) for a in (1, -1) for b in (1, -1)), torch.zeros_like(spins))
    code = (9 * (spins * near + 4) + spins * diagonal + 4).long().flatten()
    count = code.bincount(minlength=81).double()
    h = torch.cartesian_prod(torch.arange(-4.0, 5.0), torch.arange(-4.0, 5.0)).double()
    k = torch.zeros(2, dtype=torch.float64)
    for _ in range(NEWTON):
        miss = torch.sigmoid(-2 * h @ k)
        slope = 2 * (count * miss) @ h
        bend = 4 * (h.mT * (count * miss * (1 - miss))) @ h
        k = k + torch.linalg.solve(bend + 1e-9 * torch.eye(2), slope).clamp(-0.5, 0.5)
    return np.asarray(k)


def flow(rule: BlockRule, size: int, temperatures: Sequence[float], n: int, rng: Rng) -> list[Flow]:
    """How couplings move as ``rule`` is applied again and again, from each temperature [J / k]."""
    found = []
    for i, temperature in enumerate(temperatures):
        spins = configurations(size, 1 / temperature, n, rng.child(i))
        found.append(Flow(temperature, np.stack([couplings(s) for s in levels(rule, spins, SMALLEST)])))
    return found


def linearised(rule: BlockRule, size: int, coupling: float, steps: int, rng: Rng) -> list[Estimate]:
    """ν from the largest eigenvalue of ∂K' / ∂K of each further coarse-graining, with jackknife errors over chains.

    The couplings are those to nearest and second neighbours and of the four spins of a square; derivatives follow from
    the covariances of their sums, at ``coupling``, before and after.

    Reference: Swendsen (1979), Monte Carlo renormalization group, Phys. Rev. Lett. 42, 859.
    """
    spins = settled(CHAINS, (size, size), coupling, WARMUP, rng.child("start"))
    walked = walk(spins, coupling, wolff, Length(steps, CLUSTERS), rng.child("moves"))
    kept = [
        torch.stack([_sums(s) for s in levels(rule, torch.from_numpy(now).float(), SMALLEST // 2)]) for now in walked
    ]
    sums = torch.stack(kept).double()  # (step, level, chain, coupling)
    if sums.shape[1] < 2:
        raise ShapeError(f"{size} sites a side cannot be coarse-grained; take at least {SMALLEST}.")
    return [_exponent(sums[:, i], sums[:, i + 1], rule.shape[0]) for i in range(sums.shape[1] - 1)]


@dataclass(frozen=True)
class Decimation:
    """The filter learnt on a chain, and the coupling of its coarse spins."""

    weights: Floats
    coupling: float


def chain(coupling: float, sites: int, n: int, context: Context) -> Decimation:
    """Learn the coarse spin of two sites of a chain, and measure the coupling of ``n`` coarse chains of ``sites`` / 2.

    Reference: Nelson & Fisher (1975), Soluble renormalization groups, Ann. Phys. 91, 226.
    """
    rng = context.rng
    spins = settled(CHAINS, (sites,), coupling, WARMUP, rng.child("start"))
    length = Length(-(-n // CHAINS), 1)
    walked = walk(spins, coupling, swendsen_wang, length, rng.child("moves"))
    rows = torch.cat([torch.from_numpy(now.copy()) for now in walked]).float()
    around = surroundings((1, 2), 0, 1)
    block, seen = patches(rows, (1, 2), around, 20_000, rng.child("patches"))
    rule = InformationMaximisation()(
        BlockRule.random((1, 2), rng.child("rule")), block, seen, context.child("fit")
    ).rule
    coarse = rule.coarse(rows)
    correlation = float((coarse * coarse.roll(1, -1)).double().mean())
    return Decimation(np.asarray(rule.weights.detach()), float(np.arctanh(correlation)))


def _sums(spins: Tensor) -> Tensor:
    """Sums over the lattice of products of two, four and four spins: (chain, coupling)."""
    right, below = spins.roll(1, -1), spins.roll(1, -2)
    corner = below.roll(1, -1)
    knight = right.roll(1, -1), below.roll(1, -2)
    products = [
        spins * (right + below),
        spins * corner + right * below,
        spins * (knight[0] + knight[1]),
        spins * (knight[0].roll(1, -2) + knight[0].roll(-1, -2) + knight[1].roll(1, -1) + knight[1].roll(-1, -1)),
        spins * right * below * corner,
        spins * right * corner * corner.roll(1, -1) + spins * below * corner * corner.roll(1, -2),
        spins * corner * (below * corner.roll(-2, -1) + right * corner.roll(-2, -2)),
    ]
    return torch.stack([x.sum((-2, -1)) for x in products], -1)


def _exponent(before: Tensor, after: Tensor, side: int) -> Estimate:
    whole = _nu(before, after, side)
    chains = range(before.shape[1])
    keep = [[c for c in chains if c != out] for out in chains]
    without = [_nu(before[:, kept], after[:, kept], side) for kept in keep]
    return Estimate(whole, float(np.sqrt((len(chains) - 1) * np.var(without))))


def _nu(before: Tensor, after: Tensor, side: int) -> float:
    """log side / log λ, ⟨S'; S'⟩ ∂K'/∂K = ⟨S'; S⟩ with λ the largest eigenvalue."""
    a, b = (x.flatten(0, 1) - x.flatten(0, 1).mean(0) for x in (after, before))
    step = torch.linalg.solve(a.mT @ a, a.mT @ b)
    return log(side) / log(float(torch.linalg.eigvals(step).real.max()))
