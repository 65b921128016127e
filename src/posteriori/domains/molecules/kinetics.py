"""A committor learnt, held against finite differences: rows, networks of independent chains, errors, transitions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.infer import infer
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules.backward_kolmogorov import Solved
from posteriori.inference.committor import BackwardKolmogorov, VariationalCommittor
from posteriori.inference.committor_net import CommittorNet
from posteriori.inference.hmc import HMC
from posteriori.inference.regions import Ball
from posteriori.inference.tempered import Heated
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.mueller_brown import MuellerBrown

LEVELS = 10
"""Slices of q between which the flux is compared."""
LOW, HIGH = 0.05, 0.95
"""The transition region is where q lies between."""
LIKELY = 1e-6
"""Share of the largest density above which an unweighted mean counts a cell."""
AT_ONCE = 65_536


@dataclass(frozen=True)
class Reaction:
    """A plane potential with two discs between which it reacts.

    Attributes:
        potential: an Operator onto the energy.
        a, b: centres of the discs.
        radius: of both.
        x, y: the box for finite differences.
        temperature: kT where none is given.
        hot: kT at which barriers are crossed freely.
    """

    potential: Operator
    a: tuple[float, float]
    b: tuple[float, float]
    radius: float
    x: tuple[float, float]
    y: tuple[float, float]
    temperature: float
    hot: float

    def target(self, temperature: float) -> Boltzmann:
        """exp(-U / kT); ``OptionError`` for a temperature that is not positive."""
        if not 0 < temperature < float("inf"):
            raise OptionError(f"temperature={temperature:g} must be positive, in the unit of the potential.")
        return Boltzmann(self.potential, 1 / temperature)

    @property
    def sets(self) -> tuple[Ball, Ball]:
        """A and B."""
        return Ball(self.a, self.radius), Ball(self.b, self.radius)


def reaction(name: str) -> Reaction:
    """The reaction called ``mueller-brown`` or ``double-well``."""
    if name == "mueller-brown":
        ends = (-0.558, 1.442), (0.624, 0.028)
        return Reaction(MuellerBrown(), *ends, 0.1, (-1.7, 1.3), (-0.5, 2.2), 15.0, 37.0)
    if name == "double-well":
        return Reaction(DoubleWell(), (-2.53, 0.0), (2.36, 0.0), 0.4, (-4.0, 4.0), (-4.0, 4.0), 1.0, 3.0)
    raise OptionError(f"potential={name!r} is not offered; it has mueller-brown, double-well.")


@dataclass(frozen=True)
class Rows:
    """Configurations (n, 2), chain after chain, with log-weights (n,) of the Boltzmann law over theirs."""

    values: Tensor
    log_weights: Tensor
    chains: int

    def thinned(self, rows: int) -> Rows:
        """About ``rows`` of them, evenly from every chain, at least one."""
        length = len(self.values) // self.chains
        kept = torch.arange(0, length, max(1, len(self.values) // rows))
        index = (torch.arange(self.chains)[:, None] * length + kept).flatten()
        return Rows(self.values[index], self.log_weights[index], self.chains)

    def fold(self, k: int, of: int) -> Rows:
        """The chains k, k + ``of``, k + 2 ``of`` …, which other folds do not hold."""
        n = len(self.values) // self.chains
        values, weights = (
            self.values.reshape(self.chains, n, -1)[k::of],
            self.log_weights.reshape(self.chains, n)[k::of],
        )
        return Rows(values.flatten(0, 1), weights.flatten(), len(values))


def hot_rows(target: Boltzmann, heat: float, chains: int, draws: int, rng: Rng) -> Rows:
    """Hamiltonian chains at ``heat`` times the temperature, with exact weights."""
    hot = Heated(target, heat)
    found = infer(hot, HMC(draws, 150, chains, steps=8), seed=rng.entropy)
    assert isinstance(found, Draws)
    return Rows(found.values, hot.log_weights(found.values), chains)


def committors(net: CommittorNet, rows: Rows, members: int, learnt_from: int, rng: Rng) -> Draws:
    """Networks of least flux, each from chains of its own, so that their errors are independent.

    Args:
        net: the network.
        rows: from hot chains.
        members: networks, at most half as many as chains.
        learnt_from: rows that each of them sees.
        rng: of hidden layers and bootstraps.
    """
    found = []
    for k in range(members):
        part = rows.fold(k, members).thinned(learnt_from)
        question = BackwardKolmogorov(net, part.values, part.log_weights, part.chains)
        one = infer(question, VariationalCommittor(1), seed=rng.child("member", k).entropy)
        assert isinstance(one, Draws)
        found.append(one.values)
    return Draws(net.weights, torch.cat(found))


def values_at(net: CommittorNet, weights: Tensor, points: Tensor) -> Tensor:
    """q of each network (members, n) at points (n, d), in pieces."""
    with torch.no_grad():
        return torch.cat([net.at(part)(weights) for part in points.split(AT_ONCE)], -1)


@dataclass(frozen=True)
class Errors:
    """A learnt committor against finite differences.

    Attributes:
        weighted: root mean square error under the Boltzmann law, over cells with q between LOW and HIGH.
        plain: the same, each cell alike, over those whose density exceeds LIKELY times the largest.
        inside: share of the weighted region where the truth lies in the 90 % band of the members.
        z: (truth - mean) / spread in the unweighted region, (cells,).
    """

    weighted: float
    plain: float
    inside: float
    z: Tensor


def errors_of(members: Tensor, truth: Solved, every: int) -> Errors:
    """Errors of the ``members`` (members, x, y) on each ``every``-th node of the grid."""
    exact = torch.from_numpy(truth.q[::every, ::every].copy())
    pi = torch.from_numpy(truth.pi[::every, ::every].copy())
    between = (exact > LOW) & (exact < HIGH)
    pi, likely = pi * between, between & (pi > LIKELY * pi.max())
    gap = members.mean(0) - exact
    wide = BAND * members.std(0) if len(members) > 1 else torch.zeros_like(exact)
    inside = (gap.abs() <= wide).double()
    z = -gap[likely] / members.std(0)[likely].clamp_min(1e-12)
    return Errors(
        float(((pi * gap.square()).sum() / pi.sum()).sqrt()),
        float(gap[likely].square().mean().sqrt()),
        float((pi * inside).sum() / pi.sum()),
        z,
    )


BAND = 1.645
"""Standard deviations of a 90 % band."""


def grid_of(truth: Solved, every: int) -> Tensor:
    """Each ``every``-th node of the grid, (nodes, 2)."""
    x, y = (torch.from_numpy(axis[::every].copy()) for axis in (truth.x, truth.y))
    return torch.stack(torch.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)


def transition_states(net: CommittorNet, weights: Tensor, rows: Rows, n: int, rng: Rng) -> Tensor:
    """``n`` configurations with q near 1/2 under the Boltzmann law, (n, 2), drawn by weight from the rows."""
    q = values_at(net, weights, rows.values).mean(0)
    near = (q - 0.5).abs() < 0.05
    share = torch.softmax(rows.log_weights[near], 0)
    index = torch.searchsorted(share.cumsum(0), rng.uniform((n,))).clamp_max(int(near.sum()) - 1)
    return rows.values[near][index]
