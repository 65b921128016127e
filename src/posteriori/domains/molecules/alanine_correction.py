"""Draws of the generator weighed against the molecule, and sequential Monte Carlo from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import systematic
from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.weights import ess, normalised
from posteriori.domains.molecules import alanine_coordinates as parts
from posteriori.domains.molecules.alanine_generator import Generator
from posteriori.domains.molecules.alanine_target import InternalBoltzmann

AT_ONCE = 8192


@dataclass(frozen=True)
class Weighed:
    """Draws and what they weigh.

    Attributes:
        rows: internal coordinates (row, 60).
        log_weights: unnormalised, (row,), float64.
        calls: energies worked out.
        accepted: mean acceptance of moves; 1 where there were none.
        roots: which first draw each row descends from, (row,), where rows were drawn anew on the way.
    """

    rows: Tensor
    log_weights: Tensor
    calls: int
    accepted: float = 1.0
    roots: Tensor | None = None

    @property
    def share(self) -> float:
        """The effective sample size as a share of the rows; rows of one root count as one, though moves part them."""
        if self.roots is None:
            return float(ess(self.log_weights)) / len(self.rows)
        weights = normalised(self.log_weights)
        together = torch.zeros_like(weights).index_add(0, self.roots, weights)
        return 1 / float(together.square().sum()) / len(self.rows)


def weighed(generator: Generator, target: InternalBoltzmann, n: int, rng: Rng, share: float) -> Weighed:
    """``n`` draws with log-weights -energy - log q; of their (φ, ψ) a ``share`` is flat."""
    rows, log_q = generator.draw(n, rng, share)
    energy = torch.cat([target.energy(some) for some in rows.split(AT_ONCE)])
    return Weighed(rows, -energy - log_q, n)


@dataclass(frozen=True)
class Correction:
    """Sequential Monte Carlo from the generator q to the target p through q^(1-b) p^b, b from 0 to 1.

    Moves leave q alone and are accepted by the ratio of (p/q)^b: (φ, ψ) are drawn anew, or the base points of the flows
    are moved a little or drawn anew. No gradient is needed, and the constant of p / q comes out without bias.

    Args:
        stages: values of b.
        rounds: rounds of the three moves at each.
        kept: correlation of a small move's base points with those before.
        threshold: effective share of the weights below which particles are drawn anew.

    Raises:
        OptionError: numbers out of range.

    Reference: Del Moral, Doucet & Jasra (2006), Sequential Monte Carlo samplers, J. R. Stat. Soc. B 68, 411.
    """

    stages: int = 8
    rounds: int = 1
    kept: float = 0.7
    threshold: float = 0.5

    references: ClassVar[tuple[str, ...]] = (
        "Del Moral, Doucet & Jasra (2006), Sequential Monte Carlo samplers, J. R. Stat. Soc. B 68, 411.",
    )

    def __post_init__(self) -> None:
        if min(self.stages, self.rounds) < 1 or not 0 <= self.kept < 1 or not 0 < self.threshold <= 1:
            raise OptionError(f"{self}: stages and rounds at least 1, kept in [0, 1), threshold in (0, 1].")

    def __call__(self, generator: Generator, target: InternalBoltzmann, n: int, rng: Rng, share: float) -> Weighed:
        """``n`` weighted particles."""
        points = _Particles(generator, target, n, rng, share)
        log_w, roots = torch.zeros(n, dtype=torch.float64), torch.arange(n)
        for k in range(1, self.stages + 1):
            b = k / self.stages
            log_w = log_w + points.log_ratio / self.stages
            if float(ess(log_w)) < self.threshold * n:
                again = systematic(normalised(log_w)[:, None], n, rng.child("again", k))[:, 0]
                points.take(again)
                roots = roots[again]
                log_w = torch.full_like(log_w, float(torch.logsumexp(log_w, 0)) - float(torch.tensor(n).log()))
            for i in range(self.rounds):
                points.move(b, self.kept, rng.child("move", k, i))
        rows = parts.plain(parts.unfolded(points.rows, rng.child("labels")))
        return Weighed(rows, log_w, points.calls, points.accepted, roots)


class _Particles:
    """(φ, ψ) and base points of particles, what they stand for, and log p / q there."""

    def __init__(self, generator: Generator, target: InternalBoltzmann, n: int, rng: Rng, share: float) -> None:
        self.generator, self.target, self.share = generator, target, share
        surface, density = generator.law.draw(n, rng.child("surface"), share)
        methyl, stiff = generator.methyl.base(n, rng.child("methyl")), generator.stiff.base(n, rng.child("stiff"))
        self.base = (surface, density, methyl, stiff)
        self.calls, self.tried, self.taken = 0, 0, 0.0
        self.rows, self.log_ratio = self._of(self.base)

    @property
    def accepted(self) -> float:
        return self.taken / max(self.tried, 1)

    def take(self, index: Tensor) -> None:
        """Particles ``index`` in the places of all."""
        a, b, c, d = self.base
        self.base = (a[index], b[index], c[index], d[index])
        self.rows, self.log_ratio = self.rows[index], self.log_ratio[index]

    def move(self, b: float, kept: float, rng: Rng) -> None:
        """A new (φ, ψ), then all base points a little, then those of the methyl groups anew."""
        n = len(self.rows)
        surface, density, methyl, stiff = self.base
        self._try((*self.generator.law.draw(n, rng.child("surface"), self.share), methyl, stiff), b, rng.child("first"))
        surface, density, methyl, stiff = self.base
        moved = kept * stiff + (1 - kept**2) ** 0.5 * self.generator.stiff.base(n, rng.child("stiff"))
        self._try((surface, density, methyl, moved), b, rng.child("second"))
        surface, density, methyl, stiff = self.base
        anew = self.generator.methyl.base(n, rng.child("methyl"))
        self._try((surface, density, anew, stiff), b, rng.child("third"))

    def _try(self, base: tuple[Tensor, Tensor, Tensor, Tensor], b: float, rng: Rng) -> None:
        rows, log_ratio = self._of(base)
        taken = rng.uniform((len(rows),)).log() < b * (log_ratio - self.log_ratio)
        self.base = tuple(torch.where(_like(taken, new), new, old) for new, old in zip(base, self.base, strict=True))  # type: ignore[assignment]
        self.rows = torch.where(taken[:, None], rows, self.rows)
        self.log_ratio = torch.where(taken, log_ratio, self.log_ratio)
        self.tried += len(rows)
        self.taken += float(taken.sum())

    def _of(self, base: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        surface, density, methyl, stiff = base
        rows, log_q = self.generator.push(surface, methyl, stiff)
        self.calls += len(rows)
        energy = torch.cat([self.target.energy(parts.plain(some)) for some in rows.split(AT_ONCE)])
        return rows, -energy - density - log_q


def _like(taken: Tensor, values: Tensor) -> Tensor:
    return taken.reshape(-1, *(1,) * (values.ndim - 1))


def forward_share(generator: Generator, target: InternalBoltzmann, rows: Tensor) -> float:
    """1 / (mean of p/q times mean of q/p) over ``rows`` of the target itself: the forward effective share.

    It is small where the target has places that the generator hardly ever draws, which no draw of its own can tell.
    """
    log_ratio = torch.cat([-target.energy(some) - generator.log_prob(some) for some in rows.split(AT_ONCE)])
    n = torch.tensor(len(rows)).double().log()
    return float((2 * n - torch.logsumexp(log_ratio, 0) - torch.logsumexp(-log_ratio, 0)).exp())
