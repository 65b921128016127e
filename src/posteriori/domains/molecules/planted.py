"""Failures planted in sound rows: eighteen ways in which samples mislead, each from barely material to gross."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import torch
from torch import Tensor

from posteriori.audit.weighted_rows import Forward
from posteriori.core.random import Rng
from posteriori.domains.molecules import sound_rows
from posteriori.domains.molecules.planted_case import Case, Kind

CHAINS, LENGTH = 32, 125
WEIGHED = ("gaussian_1", "gaussian_10", "mixture", "even_double_well", "many_well_4", "mueller_brown")
"""Sources that a mixture of Gaussians can propose for."""
MOST_FOR_KERNELS = 6
"""Dimensions up to which kernels around rows make a proposal; beyond, one Gaussian does."""
ROWS = CHAINS * LENGTH


@dataclass(frozen=True)
class Planter:
    """Makes sound and planted cases; the long runs of particles behind some are made once.

    Args:
        seed: of the long runs.
    """

    seed: int

    @cached_property
    def dw4(self) -> sound_rows.Pooled:
        """Four particles in the plane."""
        return sound_rows.dw4(self.seed)

    @cached_property
    def lj13(self) -> sound_rows.Pooled:
        """Thirteen particles in space."""
        return sound_rows.lj13(self.seed)

    def sound(self, which: int, rng: Rng) -> tuple[str, Case]:
        """The ``which``-th sound case: chains, weights and independent rows of every source in turn."""
        sources = self.sources
        exact = [source for source in sources if isinstance(source, sound_rows.Drawn)]
        weighed = [s for s in exact if s.name in WEIGHED]
        turn = which % (2 * len(sources) + len(weighed))
        if turn < len(sources):
            return f"{sources[turn].name}, chains", _chained(sources[turn], rng, forward=which % 2 == 0)
        if turn < len(sources) + len(weighed):
            chosen = weighed[turn - len(sources)]
            return f"{chosen.name}, weights", _weighed(chosen, rng, forward=which % 3 > 0)
        source = sources[turn - len(sources) - len(weighed)]
        if isinstance(source, sound_rows.Pooled):
            return f"{source.name}, chains", _chained(source, rng, forward=which % 2 == 1)
        rows = source.independent(ROWS, rng.child("rows"))
        return f"{source.name}, independent", Case(source, rows, forward=_forward(source, rng))

    @property
    def sources(self) -> tuple[sound_rows.Source, ...]:
        """Whose sound rows are audited."""
        return (
            *(sound_rows.gaussian(n) for n in (1, 10, 50)),
            sound_rows.mixture(),
            sound_rows.double_well(),
            sound_rows.double_well(0.3),
            *(sound_rows.many_well(n) for n in (4, 8)),
            sound_rows.funnel(),
            sound_rows.mueller_brown(),
            self.dw4,
            self.lj13,
        )

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Every way to fail."""
        return (
            Kind("missed mode", "the proposal leaves a mode out", 0.003, 0.5, "population", _missed_mode),
            Kind("lost mode", "no chain has found a mode", 0.003, 0.5, "population", _lost_mode),
            Kind("thin tail", "the proposal is too narrow", 0.43, 0.8, "1 - width", _thin_tail),
            Kind("wrong sign", "log-weights with the other sign", 0.006, 0.5, "widening", _wrong_sign),
            Kind("wrong energy", "weights of a multiple of the energy", 0.025, 2.0, "factor - 1", _wrong_energy),
            Kind("wrong temperature", "rows of another temperature", 0.085, 1.5, "T/T₀ - 1", _wrong_temperature),
            Kind("uncentred", "centres of mass wander", 0.16, 5.0, "spread", self._uncentred),
            Kind("duplicates", "rows repeated in any order", 4.0, 60.0, "repeats", _duplicates, "error"),
            Kind("stuck chains", "chains stay where they began", 5.0, 24.0, "chains of 32", _stuck),
            Kind("no warm-up", "chains begin far away", 3.6, 40.0, "distance", _unequilibrated),
            Kind("correlated", "one chain passed as independent rows", 4.0, 100.0, "rows", _correlated, "error"),
            Kind("truncated weights", "the largest weights are cut off", 0.042, 0.4, "share", _truncated),
            Kind("mislabelled chains", "chains interleaved", 4.0, 60.0, "rows", _mislabelled, "error"),
            Kind("permuted weights", "weights on the wrong rows", 0.04, 1.0, "share", _permuted),
            Kind("rounded rows", "coordinates of few digits", 0.075, 0.5, "of the spread", self._rounded),
            Kind("shifted rows", "all rows moved", 0.08, 2.0, "spreads", _shifted),
            Kind("noisy density", "log q with noise of low precision", 0.18, 2.0, "nat", _noisy),
            Kind("cut energies", "rows of high energy are dropped", 0.008, 0.5, "share", _cut),
        )

    def weighed_example(self, rng: Rng) -> Case:
        """Sound rows with weights and forward rows."""
        return _weighed(sound_rows.double_well(0.3), rng, forward=True)

    def _uncentred(self, strength: float, rng: Rng) -> Case:
        case = _chained(self.dw4, rng)
        wander = strength * case.rows.std() * rng.child("wander").normal((len(case.rows), 1, 2))
        return Case(case.source, case.rows + wander, chains=CHAINS)

    def _rounded(self, strength: float, rng: Rng) -> Case:
        case = _chained(self.lj13, rng)
        grain = strength * case.rows.std()
        rounded = (case.rows / grain).round() * grain
        return Case(case.source, rounded - rounded.mean(1, keepdim=True), chains=CHAINS)


def _forward(source: sound_rows.Source, rng: Rng, proposal: sound_rows.Proposal | None = None) -> Forward:
    rows = source.chains(CHAINS, LENGTH, rng.child("forward"))
    return Forward(rows, None if proposal is None else proposal.log_prob(rows), CHAINS)


def _chained(source: sound_rows.Source, rng: Rng, forward: bool = False) -> Case:
    rows = source.chains(CHAINS, LENGTH, rng.child("rows"))
    return Case(source, rows, forward=_forward(source, rng) if forward else None, chains=CHAINS)


def _weighed(source: sound_rows.Source, rng: Rng, forward: bool = False, width: float = 0.5) -> Case:
    kernels = source.independent(sound_rows.KERNELS, rng.child("kernels"))
    many = kernels.shape[1] > MOST_FOR_KERNELS
    proposal = sound_rows.Proposal.fitted(kernels) if many else sound_rows.Proposal.around(kernels, width)
    rows, log_q = proposal.draw(ROWS, rng.child("rows"))
    ways = _forward(source, rng, proposal) if forward else None
    return Case(source, rows, log_q=log_q, forward=ways)


def _uneven(population: float) -> sound_rows.Drawn:
    """A double well whose right side holds a ``population``."""
    low, high = 0.0, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        u = torch.linspace(-6, 6, 6001, dtype=torch.float64)
        p = torch.softmax(-(u**4 / 4 - 3 * u.square() + middle * u), 0)
        low, high = (middle, high) if float(p[u > 0].sum()) > population else (low, middle)
    return sound_rows.double_well(low)


def _missed_mode(strength: float, rng: Rng) -> Case:
    source = _uneven(strength)
    seen = source.independent(8 * sound_rows.KERNELS, rng.child("kernels"))
    proposal = sound_rows.Proposal.around(seen[seen[:, 0] < 0], 0.5, wide=0.0)
    rows, log_q = proposal.draw(ROWS, rng.child("rows"))
    return Case(source, rows, log_q=log_q, forward=_forward(source, rng, proposal))


def _lost_mode(strength: float, rng: Rng) -> Case:
    source = _uneven(strength)
    rows = source.independent(8 * ROWS, rng.child("rows"))
    rows = rows[rows[:, 0] < 0][:ROWS]
    return Case(source, rows, forward=Forward(source.independent(ROWS, rng.child("forward"))), chains=CHAINS)


def _gaussian_weighed(
    dimensions: int, width: float, rng: Rng
) -> tuple[sound_rows.Drawn, sound_rows.Proposal, Tensor, Tensor]:
    source = sound_rows.gaussian(dimensions)
    proposal = sound_rows.Proposal(torch.zeros(1, dimensions).double(), torch.full((dimensions,), width).double(), 0.0)
    return source, proposal, *proposal.draw(ROWS, rng.child("rows"))


def _thin_tail(strength: float, rng: Rng) -> Case:
    source, proposal, rows, log_q = _gaussian_weighed(4, 1 - strength, rng)
    return Case(source, rows, log_q=log_q, forward=_forward(source, rng, proposal))


def _wrong_sign(strength: float, rng: Rng) -> Case:
    source, _, rows, log_q = _gaussian_weighed(4, 1 + strength, rng)
    return Case(source, rows, log_weights=source.target.energy(rows) + log_q)


def _wrong_energy(strength: float, rng: Rng) -> Case:
    case = _weighed(sound_rows.double_well(), rng)
    assert case.log_q is not None
    return Case(case.source, case.rows, log_weights=-(1 + strength) * case.target.energy(case.rows) - case.log_q)


def _wrong_temperature(strength: float, rng: Rng) -> Case:
    hot = sound_rows.double_well(0.3, 1 / (1 + strength))
    rows = hot.chains(CHAINS, LENGTH, rng.child("rows"))
    return Case(sound_rows.double_well(0.3), rows, chains=CHAINS)


def _duplicates(strength: float, rng: Rng) -> Case:
    source = sound_rows.many_well(4)
    distinct = source.independent(max(2, round(ROWS / (strength - 1))), rng.child("rows"))
    return Case(source, distinct[rng.child("repeats").integers(len(distinct), (ROWS,))])


def _stuck(strength: float, rng: Rng) -> Case:
    source, stuck = sound_rows.double_well(0.3), round(strength)
    start = source.independent(40 * CHAINS, rng.child("start"))
    right = source.moved(start[start[:, 0] > 0][:stuck], LENGTH, rng.child("stuck"), 0.0)
    rows = source.chains(CHAINS - stuck, LENGTH, rng.child("rows"))
    return Case(source, torch.cat([right, rows]), chains=CHAINS)


def _autoregressive(dimensions: int, chains: int, length: int, cost: float, rng: Rng) -> Tensor:
    """Chains (chain, length, n) of a standard normal law whose rows are worth 1 / cost independent ones."""
    keep = (cost - 1) / (cost + 1)
    noise = rng.normal((length, chains, dimensions))
    x = [noise[0]]
    for fresh in noise[1:]:
        x.append(keep * x[-1] + sqrt(1 - keep**2) * fresh)
    return torch.stack(x, 1)


def _unequilibrated(strength: float, rng: Rng) -> Case:
    x = _autoregressive(10, CHAINS, LENGTH, 9.0, rng.child("rows"))
    away = strength * 0.8 ** torch.arange(LENGTH, dtype=torch.float64)
    return Case(sound_rows.gaussian(10), (x + away[:, None] / sqrt(10)).flatten(0, 1), chains=CHAINS)


def _correlated(strength: float, rng: Rng) -> Case:
    return Case(sound_rows.gaussian(5), _autoregressive(5, 1, ROWS, strength, rng.child("rows"))[0])


def _mislabelled(strength: float, rng: Rng) -> Case:
    x = _autoregressive(5, CHAINS, LENGTH, strength, rng.child("rows"))
    return Case(sound_rows.gaussian(5), x.transpose(0, 1).flatten(0, 1), chains=4)


def _truncated(strength: float, rng: Rng) -> Case:
    source, _, rows, log_q = _gaussian_weighed(4, 1.4, rng)
    log_w = -source.target.energy(rows) - log_q
    return Case(source, rows, log_weights=log_w.clamp_max(log_w.quantile(1 - strength)))


def _permuted(strength: float, rng: Rng) -> Case:
    source, _, rows, log_q = _gaussian_weighed(4, 1.3, rng)
    log_w = -source.target.energy(rows) - log_q
    some = rng.child("which").permutation(ROWS)[: round(strength * ROWS)]
    log_w[some] = log_w[some.roll(1)]
    return Case(source, rows, log_weights=log_w)


def _shifted(strength: float, rng: Rng) -> Case:
    case = _chained(sound_rows.mixture(), rng)
    return Case(case.source, case.rows + strength * torch.tensor([1.0, 0.0]) * case.rows.std(0), chains=CHAINS)


def _noisy(strength: float, rng: Rng) -> Case:
    source, proposal, rows, log_q = _gaussian_weighed(3, 1.2, rng)
    noise = strength * rng.child("noise").normal((ROWS,))
    forward = _forward(source, rng, proposal)
    assert forward.log_q is not None
    other = forward.log_q + strength * rng.child("other").normal((ROWS,))
    return Case(source, rows, log_q=log_q + noise, forward=Forward(forward.rows, other, CHAINS))


def _cut(strength: float, rng: Rng) -> Case:
    source = sound_rows.gaussian(5)
    rows = source.independent(2 * ROWS, rng.child("rows"))
    energy = source.target.energy(rows)
    return Case(source, rows[energy <= energy.quantile(1 - strength)][:ROWS])
